//! Which release every pane means: the one that waits, until somebody chooses another one; never one that only was
//! acted on.

use std::sync::Arc;

use graylane::{
    api::{Release, ReleasePhase, TaskPhase},
    domain::{text::Clean, world::World},
    ui::{Effect, IntentOutcome, Model, Msg, fixture, update},
};

use crate::{
    screen::{self, press, see},
    worlds::{self, A, RELEASE},
};

const NEXT: &str = "spring-cloud-a-production-8";

/// The release has been aborted, and the App's next one waits for an approval.
fn after_an_abort() -> World {
    let mut world = worlds::approval();
    let releases = Arc::make_mut(&mut world.releases);
    let old = releases.get_mut(RELEASE).expect("it is there");
    let mut next: Release = (**old).clone();
    next.metadata.name = Some(NEXT.into());
    next.metadata.uid = Some("uid-next".into());
    let born = fixture::now();
    next.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(born));
    let status = Arc::make_mut(old).status.as_mut().expect("it has begun");
    status.phase = ReleasePhase::Aborted;
    status.task = None;
    status
        .tasks
        .iter_mut()
        .for_each(|t| t.phase = TaskPhase::Aborted);
    releases.insert(NEXT.into(), Arc::new(next));
    world.revision += 1;
    world
}

/// What is drawn at 120 columns.
fn shown(model: &mut Model) -> String {
    screen::shown(model, 120, 36)
}

/// Seen once: whoever had aborted a release went on seeing it, and `a` acted on it.
#[test]
fn after_an_abort_the_next_release_is_taken_up() {
    let mut model = fixture::model();
    let sent = press(&mut model, "3A<ctrl-y>");
    let [Effect::Perform(ticket, ..)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    let done = IntentOutcome {
        text: Clean::from("aborting"),
        releases: vec![RELEASE.into()],
        ..IntentOutcome::default()
    };
    update(&mut model, Msg::Settled(*ticket, Ok(done)));
    see(&mut model, after_an_abort());
    assert_eq!(
        model.selected_release().map(|(name, _)| name.as_str()),
        Some(NEXT)
    );
    let screen = shown(&mut model);
    assert!(
        screen.contains(&format!("3 Rollout {NEXT}")) && screen.contains("approve?"),
        "{screen}"
    );
    press(&mut model, "a");
    let screen = shown(&mut model);
    assert!(screen.contains(&format!("Approve {NEXT}?")), "{screen}");
}

/// An older one that somebody has chosen stays, and every pane means it; it is told that it is not the newest.
#[test]
fn an_older_release_that_was_chosen_is_held_everywhere() {
    let mut model = fixture::model_of(after_an_abort());
    press(&mut model, "3[");
    assert_eq!(
        model.selected_release().map(|(name, _)| name.as_str()),
        Some(RELEASE)
    );
    see(&mut model, after_an_abort());
    assert_eq!(model.release_of(A).map(String::as_str), Some(RELEASE));
    let screen = shown(&mut model);
    let apps = screen
        .lines()
        .find(|l| l.starts_with('│') && l.contains("spring-cloud-a"))
        .expect("its row");
    let row: String = apps.chars().take(50).collect();
    assert!(
        row.contains("aborted") && screen.contains("older, Esc leaves it"),
        "{screen}"
    );
    // Back to the newest by the key that leads there, or by Esc: nothing is held any more.
    for keys in ["]", "<esc>"] {
        let mut model = model.clone();
        press(&mut model, keys);
        assert_eq!(
            (model.release.as_deref(), model.is_release_pinned()),
            (None, false),
            "{keys}"
        );
        assert_eq!(
            model.selected_release().map(|(name, _)| name.as_str()),
            Some(NEXT),
            "{keys}"
        );
    }
}
