//! Against the simulated controllers: exact counts at every hold, and never a Ready pod missing on
//! the way.

use std::sync::LazyLock;

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::{simulator::Sim, *};
use crate::api::{BatchPhase, Uid, label};

pub(super) static UID: LazyLock<Uid> = LazyLock::new(|| "release-uid".into());

pub(super) mod any_order;
mod extremes;

fn manifest(replicas: u32, image: &str, strategy: Value) -> Value {
    let mut m = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "ns", "labels": {"v": image}, "annotations": {label::APPLIED: image}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}]}}},
    });
    if !strategy.is_null() {
        m["spec"]["strategy"] = strategy;
    }
    m
}

fn typed(value: &Value) -> Deployment {
    serde_json::from_value(value.clone()).unwrap()
}

struct Run {
    sim: Sim,
    wanted: Value,
    batches: Vec<Amount>,
    upto: usize,
    hold: bool,
    attempt: u32,
    surge: Option<Amount>,
}

impl Run {
    fn new(replicas: u32, plan: &[Amount], strategy: Value) -> Self {
        let mut sim = Sim::create(&manifest(replicas, "v1", strategy.clone()), "d", 1_000_000);
        sim.settle();
        assert_eq!(sim.count_by_image("v1"), (replicas, replicas));
        let batches = plan_batches(plan, &[replicas]);
        let wanted = manifest(replicas, "v2", strategy);
        Self {
            sim,
            wanted,
            batches,
            upto: 1,
            hold: false,
            attempt: 1,
            surge: None,
        }
    }

    fn goal<'a>(&'a self, manifest: &'a Deployment) -> Goal<'a> {
        Goal {
            manifest,
            release: "r-1",
            home: None,
            release_uid: &UID,
            task: "deploy",
            attempt: self.attempt,
            batches: &self.batches,
            upto: self.upto,
            hold: self.hold,
            surge: self.surge,
            records: Records::default(),
        }
    }

    fn look(&self) -> RolloutAction {
        let manifest = typed(&self.wanted);
        next_action(Some(&self.sim.seen()), &self.goal(&manifest))
    }

    fn progress(&self) -> Progress {
        let manifest = typed(&self.wanted);
        measure_progress(Some(&self.sim.seen()), &self.goal(&manifest))
    }

    /// Observes and settles until nothing more happens; every step is checked.
    fn run(&mut self) -> RolloutAction {
        for _ in 0..300 {
            let before = self.sim.ready();
            match self.look() {
                RolloutAction::Patch(patch, _) => {
                    assert!(
                        patch.pointer("/metadata/resourceVersion").is_some(),
                        "{patch}"
                    );
                    self.sim.patch(&patch).unwrap();
                    self.sim.settle();
                    assert!(
                        self.sim.ready() >= before.min(self.sim.replicas()),
                        "a ready pod is missing"
                    );
                }
                RolloutAction::Wait(_, Some(again)) => self.sim.now += again.as_secs().max(1),
                other => {
                    let at = self.sim.now;
                    self.sim.settle();
                    // Waiting for time to pass is not an end.
                    if self.look() == other || self.sim.now > at + 100_000 {
                        return other;
                    }
                }
            }
        }
        panic!("never ends: {:?}", self.look());
    }
}

pub(super) fn amounts(text: &[&str]) -> Vec<Amount> {
    text.iter().map(|t| t.parse().unwrap()).collect()
}

#[test]
fn targets_are_shares_rounded_up_that_never_shrink_and_end_with_all() {
    let plan = amounts(&["1", "50%", "100%"]);
    assert_eq!(compute_targets(&plan, 4), [1, 2, 4]);
    assert_eq!(compute_targets(&plan, 5), [1, 3, 5]);
    assert_eq!(compute_targets(&amounts(&["3", "1"]), 6), [3, 6]);
    assert_eq!(compute_targets(&[], 3), [3]);
    assert_eq!(compute_targets(&plan, 0), [0, 0, 0]);
    assert_eq!(plan_batches(&plan, &[4]).len(), 3);
    assert_eq!(plan_batches(&plan, &[2]), amounts(&["1", "100%"]));
    assert_eq!(plan_batches(&plan, &[1]), amounts(&["100%"]));
    assert_eq!(plan_batches(&plan, &[1, 4]).len(), 3);
    assert_eq!(
        plan_batches(&amounts(&["0", "1", "1", "9"]), &[4]),
        amounts(&["1", "100%"])
    );
    assert_eq!(plan_batches(&[], &[4]), amounts(&["100%"]));
}

#[test]
fn one_two_four_of_four_and_the_users_own_settings_after_it() {
    let own =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}});
    let mut run = Run::new(4, &amounts(&["1", "50%", "100%"]), own.clone());
    for (upto, want) in [(1, (1, 3)), (2, (2, 2))] {
        run.upto = upto;
        assert_eq!(run.run(), RolloutAction::Held);
        assert_eq!(
            (
                run.sim.count_by_image("v2").0,
                run.sim.count_by_image("v1").0
            ),
            want
        );
        assert_eq!(run.sim.live["spec"]["paused"], true);
        let told = run.progress();
        assert_eq!(
            (told.done, told.new, told.ready, told.old, told.phase),
            (upto, want.0, want.0, want.1, BatchPhase::Done)
        );
    }
    run.upto = 3;
    assert_eq!(run.run(), RolloutAction::Done);
    assert_eq!(
        (run.sim.count_by_image("v2"), run.sim.count_by_image("v1").0),
        ((4, 4), 0)
    );
    let spec = &run.sim.live["spec"];
    assert_eq!(spec["strategy"], own);
    assert!(
        spec.get("minReadySeconds").is_none() && spec.get("paused").is_none(),
        "{spec}"
    );
    assert!(
        run.sim.live["metadata"]["annotations"]
            .get(label::LATCH)
            .is_none()
    );
    assert_eq!(run.progress().done, 3);
}

#[test]
fn what_is_not_there_is_made_and_what_is_the_same_is_done() {
    let run = Run::new(2, &[], Value::Null);
    let manifest = typed(&run.wanted);
    assert_eq!(
        next_action(None, &run.goal(&manifest)),
        RolloutAction::Create
    );
    let mut run = Run::new(2, &[], Value::Null);
    run.wanted = super::tests::manifest(2, "v1", Value::Null);
    assert_eq!(run.run(), RolloutAction::Done);
    run.wanted["metadata"]["annotations"][label::APPLIED] = "other".into();
    run.wanted["spec"]["revisionHistoryLimit"] = 3.into();
    assert_eq!(run.run(), RolloutAction::Done);
    assert_eq!(run.sim.live["spec"]["revisionHistoryLimit"], 3);
    assert_eq!(run.sim.sets.len(), 1, "nothing was rolled");
}

#[test]
fn recreate_and_nothing_running_are_one_batch_without_the_latch() {
    let mut run = Run::new(3, &amounts(&["1"]), json!({"type": "Recreate"}));
    let RolloutAction::Patch(patch, _) = run.look() else {
        panic!("{:?}", run.look())
    };
    assert!(patch["spec"].get("minReadySeconds").is_none(), "{patch}");
    run.sim.patch(&patch).unwrap();
    run.sim.settle();
    assert_eq!(run.run(), RolloutAction::Done);
    assert_eq!(
        (run.sim.count_by_image("v2"), run.sim.count_by_image("v1").0),
        ((3, 3), 0)
    );
    let mut run = Run::new(0, &amounts(&["1"]), Value::Null);
    assert_eq!(run.run(), RolloutAction::Done);
    run.sim.patch(&json!({"spec": {"replicas": 2}})).unwrap();
    run.sim.settle();
    assert_eq!(run.sim.count_by_image("v2"), (2, 2));
}

#[test]
fn a_foreign_hand_is_named_with_what_it_changed() {
    let held = || {
        let mut run = Run::new(4, &amounts(&["1"]), Value::Null);
        assert_eq!(run.run(), RolloutAction::Held);
        run.upto = 2;
        run
    };
    for (patch, word) in [
        (json!({"spec": {"paused": null}}), "it was resumed"),
        (
            json!({"spec": {"minReadySeconds": null}}),
            "spec.minReadySeconds is unset",
        ),
        (
            json!({"spec": {"progressDeadlineSeconds": 600}}),
            "spec.progressDeadlineSeconds is 600",
        ),
        (
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 2}}}}),
            "maxSurge is 2",
        ),
        (
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
            "strategy.type",
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
        match run.look() {
            RolloutAction::Stop(why) => assert!(why.contains(word), "{why} has no {word}"),
            other => panic!("{patch}: {other:?}"),
        }
        // A new attempt takes over again, and ends exactly.
        run.attempt = 2;
        assert_eq!(run.run(), RolloutAction::Done);
        assert_eq!(
            (run.sim.count_by_image("v2"), run.sim.count_by_image("v1").0),
            ((4, 4), 0)
        );
    }
    let mut run = held();
    run.wanted = manifest(4, "v3", Value::Null);
    assert!(matches!(run.look(), RolloutAction::Stop(why) if why.contains("nobody approved")));
    let mut run = held();
    run.sim.live["metadata"]["managedFields"] = json!([{"manager": "kubectl-set", "operation": "Update",
        "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}}]);
    run.sim
        .patch(
            &json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}}}),
        )
        .unwrap();
    assert!(
        matches!(run.look(), RolloutAction::Stop(why) if why.contains("by kubectl-set at 2026-01-01T00:00:00Z"))
    );
}

#[test]
fn another_releases_latch_and_another_controllers_deployment_are_left_alone() {
    let mut run = Run::new(4, &amounts(&["1"]), Value::Null);
    assert_eq!(run.run(), RolloutAction::Held);
    let manifest = typed(&run.wanted);
    let goal = Goal {
        release_uid: &"other".into(),
        ..run.goal(&manifest)
    };
    assert!(
        matches!(next_action(Some(&run.sim.seen()), &goal), RolloutAction::Stop(why) if why.contains("release r-1"))
    );
    let seen = WorkloadSeen::Deployment(Box::new(run.sim.seen()));
    assert_eq!(
        seen.undo(&"other".into(), &Records::default()),
        UndoAction::Done,
        "nothing of its own to undo"
    );
    assert!(matches!(
        seen.undo(&UID, &Records::default()),
        UndoAction::Patch(_)
    ));
    let mut run = Run::new(4, &[], Value::Null);
    run.sim.live["metadata"]["ownerReferences"] = json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "x", "uid": "x", "controller": true}]);
    assert!(matches!(run.look(), RolloutAction::Stop(why) if why.contains("Rollout x")));
    let mut run = Run::new(4, &[], Value::Null);
    run.sim.live["spec"]["paused"] = true.into();
    assert!(matches!(run.look(), RolloutAction::Stop(why) if why.contains("was paused")));
}

#[test]
fn a_hold_lets_pods_come_but_takes_none_away() {
    let mut run = Run::new(4, &[], json!({"rollingUpdate": {"maxSurge": 4}}));
    let RolloutAction::Patch(patch, _) = run.look() else {
        panic!()
    };
    run.sim.patch(&patch).unwrap();
    run.hold = true;
    run.sim.settle();
    assert_eq!(run.run(), RolloutAction::Held);
    assert_eq!(
        (run.sim.count_by_image("v2"), run.sim.count_by_image("v1")),
        ((4, 4), (4, 4))
    );
    run.hold = false;
    assert_eq!(run.run(), RolloutAction::Done);
}

#[test]
fn pods_count_when_they_were_ready_for_the_users_own_seconds() {
    let mut run = Run::new(2, &amounts(&["1"]), Value::Null);
    run.wanted["spec"]["minReadySeconds"] = 30.into();
    let RolloutAction::Patch(patch, _) = run.look() else {
        panic!()
    };
    run.sim.patch(&patch).unwrap();
    run.sim.settle();
    match run.look() {
        RolloutAction::Wait(why, Some(again)) => {
            assert_eq!(why, "0 of 1 new pod ready, each for 30 s");
            assert!((1..=30).contains(&again.as_secs()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(run.run(), RolloutAction::Held);
    run.upto = 2;
    assert_eq!(run.run(), RolloutAction::Done);
    assert_eq!(run.sim.live["spec"]["minReadySeconds"], 30);
}

#[test]
fn a_version_that_never_comes_up_costs_no_old_pod_and_is_told() {
    let mut run = Run::new(4, &amounts(&["50%"]), Value::Null);
    run.sim.broken.push("v2".into());
    assert!(
        matches!(run.run(), RolloutAction::Wait(why, None) if why.contains("0 of 1 new pod ready, waiting for pod-")
        && why.contains("CrashLoopBackOff"))
    );
    assert_eq!(run.sim.count_by_image("v1"), (4, 4));
    let UndoAction::Patch(patch) = undo_rollout(&run.sim.seen(), &UID, &Records::default()) else {
        panic!()
    };
    run.sim.patch(&patch).unwrap();
    run.sim.settle();
    assert_eq!(
        (run.sim.count_by_image("v1"), run.sim.count_by_image("v2").0),
        ((4, 4), 0)
    );
}

#[test]
fn where_no_surge_is_allowed_old_pods_go_first_as_few_as_their_owner_said() {
    let own =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 2}});
    let mut run = Run::new(6, &amounts(&["50%"]), own);
    for upto in 1..=2 {
        run.upto = upto;
        for _ in 0..200 {
            if let RolloutAction::Patch(patch, _) = run.look() {
                run.sim.patch(&patch).unwrap();
            }
            run.sim.sync();
            run.sim.sync_pods();
            assert!(
                run.sim.ready() >= 4 && run.sim.pods.len() <= 6,
                "{} ready",
                run.sim.ready()
            );
            run.sim.ready_up(0);
        }
        assert_eq!(
            run.sim.count_by_image("v2"),
            (upto as u32 * 3, upto as u32 * 3)
        );
    }
    assert_eq!(run.look(), RolloutAction::Done);
}

#[test]
fn rescue_finishes_or_aborts_without_the_release() {
    let held = || {
        let mut run = Run::new(6, &amounts(&["50%"]), Value::Null);
        assert_eq!(run.run(), RolloutAction::Held);
        let RescuePatches {
            finish,
            abort,
            note,
            ..
        } = plan_rescue(&run.sim.seen(), &Records::default())
            .unwrap()
            .unwrap();
        assert_eq!(note, None);
        (run, finish, abort)
    };
    for (all, one) in [("v2", true), ("v1", false)] {
        let (mut run, finish, abort) = held();
        run.sim.patch(if one { &finish } else { &abort }).unwrap();
        run.sim.settle();
        assert_eq!(run.sim.count_by_image(all), (6, 6));
        assert_eq!(run.sim.pods.len(), 6);
    }
}
