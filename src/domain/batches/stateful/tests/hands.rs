//! Foreign changes, workloads owned by others, and StatefulSets that cannot be rolled out: all are
//! reported and left alone.

use serde_json::{Value, json};

use super::{
    super::{
        super::{Records, WorkloadSeen},
        Goal, RolloutAction, find_blocking_pod, next_action, undo_rollout,
    },
    Run, UID, UndoAction, manifest, typed,
};

#[test]
fn a_foreign_hand_is_named_with_what_it_changed() {
    let held = || {
        let mut run = Run::new(4, &["1"], json!({}));
        assert_eq!(run.run(), RolloutAction::Held);
        run.upto = 2;
        run
    };
    for (patch, word) in [
        (
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}}),
            "partition is 2, not the 3",
        ),
        (
            json!({"spec": {"updateStrategy": {"rollingUpdate": null}}}),
            "partition is 0, not the 3",
        ),
        (
            json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
            "updateStrategy.type",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}}}),
            "image now x",
        ),
        (
            json!({"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}}),
            "spec.template",
        ),
    ] {
        let mut run = held();
        run.sim.patch(&patch).unwrap();
        run.sim.settle();
        match run.look() {
            RolloutAction::Stop(why) => assert!(why.contains(word), "{why} has no {word}"),
            other => panic!("{patch}: {other:?}"),
        }
        // A new attempt takes over again, and ends exactly.
        run.attempt = 2;
        assert_eq!(run.run(), RolloutAction::Done);
        assert_eq!(run.places(), "nnnn");
    }
    let mut run = held();
    run.wanted = manifest(4, "v3", &json!({}));
    assert!(matches!(run.look(), RolloutAction::Stop(why) if why.contains("nobody approved")));
    let mut run = held();
    run.sim.live["metadata"]["managedFields"] = json!([{"manager": "kubectl-rollout", "operation": "Update",
        "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}}]);
    run.sim
        .patch(
            &json!({"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}}),
        )
        .unwrap();
    run.sim.settle();
    assert!(
        matches!(run.look(), RolloutAction::Stop(why) if why.contains("by kubectl-rollout at 2026-01-01T00:00:00Z"))
    );
}

#[test]
fn what_cannot_be_rolled_is_refused_in_words_beforehand() {
    let stopped = |run: &Run, words: &[&str]| match run.look() {
        RolloutAction::Stop(why) => assert!(
            words.iter().all(|w| why.contains(w)),
            "{why} lacks one of {words:?}"
        ),
        other => panic!("{words:?}: {other:?}"),
    };
    let mut huge = Run::new(3, &["1"], json!({}));
    huge.wanted["spec"]["replicas"] = json!(i32::MAX);
    stopped(&huge, &["2147483647 replicas", "100000"]);
    huge.sim.live["spec"]["replicas"] = json!(i32::MAX);
    stopped(&huge, &["2147483647 replicas"]);
    assert_eq!(
        (huge.progress().done, huge.progress().replicas),
        (0, i32::MAX as u32)
    );
    assert!(matches!(
        undo_rollout(&huge.sim.seen(), &UID, &Records::default()),
        UndoAction::Wait(..)
    ));
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    stopped(
        &Run::new(3, &["1"], on_delete),
        &["OnDelete", "Set RollingUpdate", "delete its pods"],
    );
    let run = |change: Value| {
        let mut run = Run::new(
            3,
            &["1"],
            json!({"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]}),
        );
        json_patch::merge(&mut run.wanted["spec"], &change);
        run
    };
    stopped(
        &run(json!({"serviceName": "other", "podManagementPolicy": "Parallel"})),
        &["spec.serviceName, spec.podM"],
    );
    stopped(
        &run(json!({"selector": {"matchLabels": {"app": "b"}}})),
        &["spec.selector of"],
    );
    stopped(
        &run(json!({"volumeClaimTemplates": null})),
        &["spec.volumeClaimTemplates of"],
    );
    stopped(
        &run(json!({"ordinals": {"start": 1}})),
        &["spec.ordinals of"],
    );
    let mut owned = Run::new(3, &["1"], json!({}));
    owned.sim.live["metadata"]["ownerReferences"] = json!([{"apiVersion": "x/v1", "kind": "Database", "name": "x", "uid": "x", "controller": true}]);
    stopped(&owned, &["Database x"]);
    let mut other = Run::new(3, &["1"], json!({}));
    assert_eq!(other.run(), RolloutAction::Held);
    let manifest = typed(&other.wanted);
    let goal = Goal {
        release_uid: &"other".into(),
        ..other.goal(&manifest)
    };
    assert!(
        matches!(next_action(Some(&other.sim.seen()), &goal), RolloutAction::Stop(why) if why.contains("release r-1"))
    );
    // Failing old pods of a workload owned by others are not deleted.
    let mut lame = other.sim.clone();
    lame.patch(&json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}))
        .unwrap();
    lame.sync();
    lame.remove_terminating();
    lame.fail_pod(0);
    let seen = WorkloadSeen::StatefulSet(Box::new(lame.seen()));
    assert!(find_blocking_pod(&lame.seen()).is_some());
    assert_eq!(
        seen.undo(&"other".into(), &Records::default()),
        UndoAction::Done,
        "nothing of its own to undo"
    );
    assert!(matches!(
        seen.undo(&UID, &Records::default()),
        UndoAction::Patch(_)
    ));
    assert_eq!(next_action(None, &goal), RolloutAction::Create);
}
