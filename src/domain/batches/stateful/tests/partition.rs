//! The user's own partition: never passed, kept when the manifest names none, and restored after an
//! abort.

use serde_json::json;

use super::{
    super::{RolloutAction, StatefulSettings, plan_rescue},
    Run, amounts, manifest, typed,
};
use crate::{
    api::label,
    domain::batches::{Records, RescuePatches},
};

#[test]
fn the_users_own_partition_is_never_passed_and_all_is_what_it_leaves() {
    let own = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2, "maxUnavailable": 1}}});
    let mut run = Run::new(6, &["1", "50%", "100%"], own.clone());
    for (upto, want) in [(1, "ooooon"), (2, "oooonn")] {
        run.upto = upto;
        assert_eq!(run.run(), RolloutAction::Held);
        assert_eq!(run.places(), want);
        assert_eq!(
            run.sim.live["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
            1
        );
    }
    run.upto = 3;
    assert_eq!(run.run(), RolloutAction::Done);
    assert_eq!(run.places(), "oonnnn");
    assert_eq!(
        run.sim.live["spec"]["updateStrategy"],
        own["updateStrategy"]
    );
    assert_eq!((run.progress().done, run.progress().replicas), (3, 4));
    assert_eq!(run.undo(), (1, 0));
    assert_eq!(run.places(), "oooooo");
    // Where it covers no pods, only the template changes.
    let own =
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 9}}});
    let mut run = Run::new(3, &["1"], own);
    assert_eq!(run.run(), RolloutAction::Done);
    assert_eq!((run.places().as_str(), run.sim.partition()), ("ooo", 9));
}

#[test]
fn a_manifest_that_names_no_partition_leaves_the_users_own() {
    let own =
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}});
    for named in [
        json!({}),
        json!({"updateStrategy": {}}),
        json!({"updateStrategy": {"type": "RollingUpdate"}}),
    ] {
        let mut run = Run::of(5, &amounts(&["100%"]), &own, &named);
        assert_eq!(run.run(), RolloutAction::Done);
        assert_eq!(
            (
                run.places().as_str(),
                &run.sim.live["spec"]["updateStrategy"]
            ),
            ("ooonn", &own["updateStrategy"])
        );
    }
    // OnDelete cannot stop anywhere, so it keeps no partition.
    let on_delete = typed(&manifest(
        5,
        "v2",
        &json!({"updateStrategy": {"type": "OnDelete"}}),
    ));
    let strategy = StatefulSettings::from_stateful_set(&typed(&manifest(5, "v1", &own)))
        .overlay_manifest(&on_delete)
        .update_strategy;
    assert_eq!(strategy, Some(json!({"type": "OnDelete"})));
}

#[test]
fn old_pods_that_a_partition_held_back_go_batch_by_batch_too() {
    let strategy = |partition: usize| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
    let run = || {
        let mut run = Run::of(6, &amounts(&["1", "4", "100%"]), &strategy(3), &strategy(0));
        run.sim
            .patch(&json!({"spec": {"template": run.wanted["spec"]["template"]}}))
            .unwrap();
        run.sim.settle();
        assert_eq!(run.places(), "ooonnn");
        run
    };
    let mut forwards = run();
    for (upto, want, partition) in [(1, "ooonnn", 3), (2, "oonnnn", 2)] {
        forwards.upto = upto;
        assert_eq!(forwards.run(), RolloutAction::Held);
        assert_eq!(
            (forwards.places().as_str(), forwards.sim.partition()),
            (want, partition)
        );
    }
    forwards.upto = 3;
    assert_eq!(
        (forwards.run(), forwards.places().as_str()),
        (RolloutAction::Done, "nnnnnn")
    );
    assert_eq!(
        forwards.sim.live["spec"]["updateStrategy"],
        strategy(0)["updateStrategy"]
    );
    // No pod is released before it is allowed, and an abort releases no more.
    let mut back = run();
    (back.hold, back.upto) = (true, 0);
    assert_eq!((back.run(), back.sim.partition()), (RolloutAction::Held, 3));
    back.hold = false;
    assert_eq!((back.run(), back.sim.partition()), (RolloutAction::Held, 3));
    back.upto = 2;
    assert_eq!(
        (back.run(), back.places().as_str()),
        (RolloutAction::Held, "oonnnn")
    );
    assert_eq!(
        (back.undo(), back.sim.partition(), back.places().as_str()),
        ((1, 0), 3, "oonnnn")
    );
}

#[test]
fn pods_below_the_users_own_partition_come_back_before_it_does() {
    let strategy = |partition: usize| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
    for (upto, places, ends) in [
        (1, "oooonn", RolloutAction::Held),
        (2, "onnnnn", RolloutAction::Held),
        (3, "nnnnnn", RolloutAction::Done),
    ] {
        let mut run = Run::of(6, &amounts(&["2", "5", "100%"]), &strategy(4), &strategy(0));
        for upto in 1..=upto {
            run.upto = upto;
            run.run();
        }
        assert_eq!((run.look(), run.places().as_str()), (ends, places));
        if let Some(RescuePatches { abort, .. }) =
            plan_rescue(&run.sim.seen(), &Records::default()).unwrap()
        {
            let sim = run.sim.clone();
            run.sim.patch(&abort).unwrap();
            run.sim.settle();
            assert_eq!(run.places(), "oooooo");
            run.sim = sim;
        }
        assert_eq!(run.undo(), (if upto == 1 { 1 } else { 2 }, 0));
        assert_eq!((run.places().as_str(), run.sim.partition()), ("oooooo", 4));
        assert_eq!(
            run.sim.live["metadata"]["annotations"],
            json!({label::APPLIED: "v1"})
        );
    }
}
