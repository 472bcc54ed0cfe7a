//! What a release came to is told as it is: what never ran did not fail, what has ended does not turn, and a decision
//! says whose it was, when, and in what words.

use graylane::{
    api::{BatchPhase, RecordedTime, ReleasePhase, TaskPhase},
    domain::world::World,
    ui::{Model, fixture},
};

use crate::{
    screen::{draw, press},
    worlds::with_release,
};

/// Rolled back in the middle of a batch; what came after never ran.
fn aborted() -> World {
    with_release(|release| {
        let status = release.status.as_mut().expect("it has begun");
        (status.phase, status.task) = (ReleasePhase::Aborted, None);
        status.message = Some("aborted by mia: wrong build".into());
        let end: RecordedTime = fixture::now().into();
        status.finished_at = Some(end.clone());
        for task in status.tasks.iter_mut().filter(|t| !t.phase.is_passed()) {
            task.phase = TaskPhase::Aborted;
            task.finished_at = Some(end.clone());
            for batch in task.batches.iter_mut().filter(|b| b.number == 2) {
                (batch.phase, batch.started_at) = (BatchPhase::Surging, Some(end.clone()));
            }
        }
        let approved = status
            .history
            .iter_mut()
            .find(|h| h.action == "approved")
            .expect("it is there");
        approved.message = Some("looked at the trace".into());
    })
}

fn lines(model: &mut Model) -> Vec<String> {
    let (buffer, _) = draw(model, 120, 36);
    (0..36)
        .map(|y| (0..120).map(|x| buffer[(x, y)].symbol()).collect())
        .collect()
}

#[test]
fn what_has_ended_does_not_turn_and_what_never_ran_did_not_fail() {
    let mut model = fixture::model_of(aborted());
    model.world = {
        let mut world = (*model.world).clone();
        // Only this one.
        std::sync::Arc::make_mut(&mut world.releases)
            .retain(|name, _| name == crate::worlds::RELEASE);
        world.into()
    };
    model.select_app(Some(crate::worlds::A.into()));
    press(&mut model, "3z");
    let before = lines(&mut model);
    let row = |name: &str| {
        before
            .iter()
            .find(|l| l.contains(name))
            .unwrap_or_else(|| panic!("{before:#?}"))
    };
    assert!(
        row("clean-gray").contains("· clean-gray"),
        "{}",
        row("clean-gray")
    );
    assert!(
        row("rolled back").contains("–  2"),
        "{}",
        row("rolled back")
    );
    assert!(
        before
            .iter()
            .any(|l| l.contains("aborted by mia: wrong build")),
        "{before:#?}"
    );
    for beat in 1..4 {
        model.beat = beat;
        let now: Vec<String> = lines(&mut model);
        let rollout = |all: &[String]| all[2..35].to_vec();
        assert_eq!(
            rollout(&before),
            rollout(&now),
            "something turns at beat {beat}"
        );
    }
}

#[test]
fn an_approval_says_who_when_and_in_what_words() {
    let mut model = fixture::model_of(aborted());
    model.select_app(Some(crate::worlds::A.into()));
    press(&mut model, "3gj");
    let row = lines(&mut model)
        .into_iter()
        .find(|l| l.contains("▌✓ approve"))
        .expect("it is selected");
    assert!(row.contains("approved by noah"), "{row}");
    press(&mut model, "<enter>");
    let told = lines(&mut model).concat();
    assert!(
        told.contains("by noah at 2026-11-23 21:01:09: looked at the trace"),
        "{told}"
    );
}

/// One key does not undo what was said at the start.
#[test]
fn a_cockpit_that_was_started_read_only_stays_so() {
    let mut model = fixture::model();
    (model.options.read_only, model.read_only) = (true, true);
    press(&mut model, "R");
    assert!(
        model.read_only && model.notices[0].text.contains("--read-only"),
        "{:?}",
        model.notices
    );
    assert!(press(&mut model, "3A<ctrl-y>").is_empty() && model.overlays.is_empty());
    // Whoever took the keys away here gives them back here.
    let mut model = fixture::model();
    press(&mut model, "RR");
    assert!(!model.read_only);
}
