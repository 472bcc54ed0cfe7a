//! One answer for all marked Apps: each release gets what it was asked about, and what came of each is told.

use std::sync::Arc;

use graylane::{
    api::{App, Release, TaskStatus},
    domain::{
        intent::{Intent, ReleaseIntent},
        text::Clean,
        world::World,
    },
    ui::{
        Effect, Fault, IntentOutcome, Model, Msg, Ticket, fixture, model::Overlay,
        question::Question, update,
    },
};

use crate::{
    screen::{press, see},
    worlds::{self, A, RELEASE},
};

/// A world of fourteen Apps whose releases wait for an approval, but for two that run.
fn fourteen() -> World {
    let mut world = worlds::approval();
    let (app, release) = (world.apps[A].clone(), world.releases[RELEASE].clone());
    let apps = Arc::make_mut(&mut world.apps);
    let releases = Arc::make_mut(&mut world.releases);
    let running: Vec<TaskStatus> = fixture::world().releases[RELEASE]
        .status
        .as_ref()
        .expect("it has begun")
        .tasks
        .clone();
    apps.clear();
    releases.clear();
    for n in 0..14 {
        let name = format!("shop-{n:02}");
        let mut app = App::clone(&app);
        app.metadata.name = Some(name.clone());
        let mut release = Release::clone(&release);
        release.spec.app.clone_from(&name);
        release.metadata.name = Some(format!("{name}-1"));
        release.metadata.uid = Some(format!("uid-{name}-1"));
        if n < 2 {
            let status = release.status.as_mut().expect("it has begun");
            status.phase = graylane::api::ReleasePhase::Running;
            status.task = Some("deploy-prod".into());
            status.tasks.clone_from(&running);
        }
        apps.insert(name.clone(), Arc::new(app));
        releases.insert(format!("{name}-1"), Arc::new(release));
    }
    world
}

fn asked(model: &Model) -> &Question {
    match model.overlays.last() {
        Some(Overlay::Confirm(question)) => question,
        other => panic!("{other:?}, {:?}", model.notices.front()),
    }
}

fn sent(effects: Vec<Effect>) -> Vec<(Ticket, String, ReleaseIntent)> {
    let one = |effect| match effect {
        Effect::Perform(
            ticket,
            _,
            Intent::Release {
                name, wish, seen, ..
            },
        ) => {
            assert!(seen.is_some(), "{name} carries what it was decided on");
            (ticket, name, wish)
        }
        other => panic!("{other:?}"),
    };
    effects.into_iter().map(one).collect()
}

#[test]
fn twelve_of_fourteen_are_approved_and_two_are_told() {
    let mut model = fixture::model_of(fourteen());
    press(&mut model, "Ma");
    let question = asked(&model);
    assert_eq!(question.title, "Approve 12 releases?");
    assert!(
        question.doubts[0].contains("12 of 14 marked apps; 2 apps are left out"),
        "{:?}",
        question.doubts
    );
    let left: Vec<&String> = question
        .facts
        .iter()
        .filter(|(label, words)| label == "left out" && words.contains("waits for no approval"))
        .map(|(_, words)| words)
        .collect();
    assert_eq!(left.len(), 2, "{:?}", question.facts);
    for n in 2..14 {
        let name = format!("shop-{n:02}-1");
        assert!(question.happens.iter().any(|w| w.contains(&name)), "{name}");
    }
    let all = sent(press(&mut model, "<ctrl-y>"));
    assert_eq!(all.len(), 12);
    let digests = all.iter().map(|(_, _, wish)| match wish {
        ReleaseIntent::Decide(decision) => decision.digest.clone().expect("what was shown"),
        other @ ReleaseIntent::Control(_) => panic!("{other:?}"),
    });
    // Each is bound to its own objects.
    let digests: std::collections::BTreeSet<String> = digests.collect();
    assert_eq!(digests.len(), 12);
}

#[test]
fn what_comes_of_each_is_told_and_what_failed_is_marked_again() {
    let mut model = fixture::model_of(fourteen());
    press(&mut model, "Ma");
    let all = sent(press(&mut model, "<ctrl-y>"));
    assert!(model.marked.is_empty());
    for (n, (ticket, name, _)) in all.iter().enumerate() {
        assert_eq!(model.runs.len(), 1);
        let outcome = if n == 3 {
            Err(Fault::new("the server said no"))
        } else {
            Ok(IntentOutcome {
                text: Clean::from_untrusted(&format!("{name} approved")),
                ..IntentOutcome::default()
            })
        };
        update(&mut model, Msg::Settled(*ticket, outcome));
    }
    assert!(model.runs.is_empty());
    let notices: Vec<&str> = model.notices.iter().map(|n| n.text.as_str()).collect();
    assert_eq!(
        notices[0],
        "approve 12: 11 of 12 done, 1 failed and marked again"
    );
    assert!(notices.contains(&"shop-02-1 approved"), "{notices:?}");
    assert!(notices.contains(&"the server said no"), "{notices:?}");
    assert_eq!(model.notices[0].detail[0], "shop-05-1: the server said no");
    let marked = model.marked.iter().map(|key| key.name.as_str());
    assert_eq!(marked.collect::<Vec<_>>(), ["shop-05"]);
}

#[test]
fn production_is_typed_once_for_all_and_a_release_that_moves_on_is_not_approved() {
    let mut model = fixture::model_of(worlds::proceed());
    press(&mut model, "Mc");
    let question = asked(&model);
    assert_eq!(
        question.typed.as_ref().map(|(name, _)| name.as_str()),
        Some("prod")
    );
    assert!(!question.can_confirm());
    assert!(press(&mut model, "<ctrl-y>").is_empty());

    let mut model = fixture::model_of(fourteen());
    press(&mut model, "Ma");
    let mut world = fourteen();
    let releases = Arc::make_mut(&mut world.releases);
    let moved = Arc::make_mut(releases.get_mut("shop-09-1").expect("it is there"));
    moved.spec.control.paused = true;
    see(&mut model, world);
    assert!(asked(&model).stale.is_some());
    assert!(press(&mut model, "<ctrl-y>").is_empty());
    // Asked again, the one is left out.
    press(&mut model, "<ctrl-r>");
    assert_eq!(asked(&model).title, "Approve 11 releases?");
}

#[test]
fn marks_mean_nothing_to_read_only_and_to_the_other_panes() {
    let mut model = fixture::model_of(fourteen());
    press(&mut model, "M");
    model.app = Some("shop-05".into());
    press(&mut model, "3a");
    assert_eq!(asked(&model).title, "Approve shop-05-1?");
    press(&mut model, "<esc>1R");
    press(&mut model, "a");
    assert!(model.overlays.is_empty());
}
