//! Against the simulated controller: exact counts at every hold, and never two pods missing because
//! of graylane.

use serde_json::{Value, json};

use super::{
    super::{
        Records, RescuePatches, UndoAction, plan_batches,
        tests::{UID, amounts},
    },
    simulator::Sim,
    *,
};
use crate::api::{Amount, label};

mod any_order;
mod extremes;
mod hands;
mod partition;

fn manifest(replicas: usize, image: &str, more: &Value) -> Value {
    let mut m = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "s", "namespace": "ns", "labels": {"v": image}, "annotations": {label::APPLIED: image}},
        "spec": {"replicas": replicas, "serviceName": "s", "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}]}}},
    });
    json_patch::merge(&mut m["spec"], more);
    m
}

fn typed(value: &Value) -> StatefulSet {
    serde_json::from_value(value.clone()).unwrap()
}

struct Run {
    sim: Sim,
    wanted: Value,
    batches: Vec<Amount>,
    upto: usize,
    hold: bool,
    attempt: u32,
}

impl Run {
    fn new(replicas: usize, plan: &[&str], more: Value) -> Self {
        Self::with(replicas, &amounts(plan), &more)
    }

    fn with(replicas: usize, plan: &[Amount], more: &Value) -> Self {
        Self::of(replicas, plan, more, more)
    }

    /// Rollout from the live object to what the manifest says.
    fn of(replicas: usize, plan: &[Amount], live: &Value, more: &Value) -> Self {
        let mut sim = Sim::create(&manifest(replicas, "v1", live), "s", 1_000_000);
        sim.settle();
        assert_eq!(sim.count_by_image("v1").1 as usize, replicas);
        let wanted = manifest(replicas, "v2", more);
        let batches = plan_batches(plan, &[rollout_size(Some(&sim.seen()), &typed(&wanted))]);
        Self {
            sim,
            wanted,
            batches,
            upto: 1,
            hold: false,
            attempt: 1,
        }
    }

    fn goal<'a>(&'a self, manifest: &'a StatefulSet) -> Goal<'a, StatefulSet> {
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
            surge: None,
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

    /// One observation and the action that it asks for.
    fn step(&mut self) -> RolloutAction {
        let next = self.look();
        match &next {
            RolloutAction::Patch(patch, _) => {
                assert!(
                    patch.pointer("/metadata/resourceVersion").is_some(),
                    "{patch}"
                );
                self.sim.patch(patch).unwrap();
            }
            RolloutAction::Delete(pod, _) => {
                assert!(
                    pod.ready.is_none(),
                    "a pod that serves is not deleted: {pod:?}"
                );
                self.sim.delete_pod(&pod.uid, &pod.version).unwrap();
            }
            _ => {}
        }
        next
    }

    /// Observes and settles until nothing more happens.
    fn run(&mut self) -> RolloutAction {
        for _ in 0..300 {
            match self.step() {
                RolloutAction::Patch(..) | RolloutAction::Delete(..) => self.sim.settle(),
                RolloutAction::Wait(_, Some(again)) => self.sim.now += again.as_secs().max(1),
                other => {
                    self.sim.settle();
                    if self.look() == other {
                        return other;
                    }
                }
            }
        }
        panic!("never ends: {:?}", self.look());
    }

    /// Plays the whole way back.
    fn undo(&mut self) -> (u32, u32) {
        let (mut patches, mut deleted) = (0, 0);
        for _ in 0..300 {
            match undo_rollout(&self.sim.seen(), &UID, &Records::default()) {
                UndoAction::Patch(patch) => {
                    patches += 1;
                    self.sim.patch(&patch).unwrap();
                }
                UndoAction::Delete(pod, _) => {
                    assert!(
                        pod.ready.is_none(),
                        "a pod that serves is not deleted: {pod:?}"
                    );
                    deleted += 1;
                    self.sim.delete_pod(&pod.uid, &pod.version).unwrap();
                }
                UndoAction::Wait(_, again) => {
                    self.sim.now += again.map_or(1, |a| a.as_secs().max(1));
                }
                UndoAction::Done => return (patches, deleted),
            }
            self.sim.settle();
        }
        panic!(
            "never back: {:?}",
            undo_rollout(&self.sim.seen(), &UID, &Records::default())
        );
    }

    /// Which positions hold new pods, such as `ooon`.
    fn places(&self) -> String {
        let sign = |place| {
            let pod = self.sim.pods.iter().find(|p| p.place == place && !p.going);
            pod.map_or('.', |p| if p.image == "v2" { 'n' } else { 'o' })
        };
        (0..self.sim.replicas()).map(sign).collect()
    }
}

#[test]
fn one_two_four_of_four_and_the_users_own_settings_after_it() {
    let own = json!({"updateStrategy": {"type": "RollingUpdate"}, "minReadySeconds": 3});
    let mut run = Run::new(4, &["1", "50%", "100%"], own.clone());
    for (upto, want) in [(1, "ooon"), (2, "oonn")] {
        run.upto = upto;
        assert_eq!(run.run(), RolloutAction::Held);
        assert_eq!(
            (run.places().as_str(), run.sim.partition()),
            (want, 4 - upto)
        );
        let told = run.progress();
        let n = upto as u32;
        assert_eq!(
            (told.done, told.new, told.ready, told.old, told.phase),
            (upto, n, n, 4 - n, BatchPhase::Done)
        );
    }
    run.upto = 3;
    assert_eq!(run.run(), RolloutAction::Done);
    assert_eq!((run.places().as_str(), run.sim.replaced), ("nnnn", 4));
    let spec = &run.sim.live["spec"];
    assert_eq!(
        (&spec["updateStrategy"], &spec["minReadySeconds"]),
        (&own["updateStrategy"], &json!(3))
    );
    assert!(
        run.sim.live["metadata"]["annotations"]
            .get(label::LATCH)
            .is_none()
    );
    assert_eq!(run.progress().done, 3);
}

#[test]
fn a_version_that_never_comes_up_costs_one_pod_and_is_deleted_on_the_way_back() {
    for policy in ["OrderedReady", "Parallel"] {
        let mut run = Run::new(4, &["50%"], json!({"podManagementPolicy": policy}));
        run.sim.broken.push("v2".into());
        let told = run.step();
        assert!(matches!(told, RolloutAction::Patch(..)), "{told:?}");
        run.sim.settle();
        assert!(matches!(run.step(), RolloutAction::Patch(_, why) if why.contains("revision")));
        assert!(
            matches!(run.look(), RolloutAction::Wait(why, None) if why.contains("0 of 2 new pods ready, waiting for s-3")
            && why.contains("CrashLoopBackOff"))
        );
        assert_eq!((run.places().as_str(), run.sim.ready()), ("ooon", 3));
        // Restoring the template alone does not replace it.
        let UndoAction::Patch(patch) = undo_rollout(&run.sim.seen(), &UID, &Records::default())
        else {
            panic!()
        };
        run.sim.patch(&patch).unwrap();
        run.sim.settle();
        assert_eq!(run.places(), "ooon");
        assert_eq!(run.undo(), (0, 1));
        assert_eq!((run.places().as_str(), run.sim.ready()), ("oooo", 4));
    }
}

#[test]
fn an_old_version_that_crashes_does_not_hold_up_the_new_one() {
    for policy in ["OrderedReady", "Parallel"] {
        let mut run = Run::new(3, &["100%"], json!({"podManagementPolicy": policy}));
        run.sim.broken.push("v1".into());
        for n in 0..3 {
            run.sim.fail_pod(n);
        }
        assert_eq!(run.run(), RolloutAction::Done);
        assert_eq!((run.places().as_str(), run.sim.ready()), ("nnn", 3));
    }
}

#[test]
fn a_hold_stops_after_the_pod_in_hand() {
    let mut run = Run::new(4, &["100%"], json!({}));
    assert!(matches!(run.step(), RolloutAction::Patch(..)));
    // The controller replaces the highest pod; nothing else moves.
    run.sim.sync();
    run.hold = true;
    assert!(matches!(run.step(), RolloutAction::Patch(_, why) if why.contains("held")));
    run.sim.settle();
    assert_eq!(
        (run.look(), run.places().as_str(), run.sim.partition()),
        (RolloutAction::Held, "ooon", 3)
    );
    run.hold = false;
    assert_eq!(run.run(), RolloutAction::Done);
    assert_eq!(run.places(), "nnnn");
}

#[test]
fn a_pod_that_is_not_ready_for_a_while_takes_no_batch_back() {
    let mut run = Run::new(6, &["1", "3", "100%"], json!({}));
    assert_eq!(run.run(), RolloutAction::Held);
    run.upto = 2;
    assert!(matches!(run.step(), RolloutAction::Patch(..)));
    // The controller replaces the next one, and the pod that was already new flaps.
    run.sim.sync();
    run.sim.remove_terminating();
    let flaps = run.sim.pods.iter().position(|p| p.place == 5).unwrap();
    run.sim.fail_pod(flaps);
    run.sim.sync();
    assert_eq!(
        (
            run.progress().done,
            run.progress().ready,
            run.sim.partition()
        ),
        (1, 0, 3)
    );
    assert!(
        matches!(run.look(), RolloutAction::Wait(..)),
        "{:?}",
        run.look()
    );
    // Nor does it when another workload is behind.
    run.upto = 1;
    assert!(
        matches!(run.look(), RolloutAction::Wait(..)),
        "{:?}",
        run.look()
    );
    run.upto = 2;
    assert_eq!(
        (run.run(), run.places().as_str(), run.progress().done),
        (RolloutAction::Held, "ooonnn", 2)
    );
    run.sim.fail_pod(0);
    run.sim.lose_pod(5);
    assert_eq!((run.progress().done, run.sim.partition()), (1, 3));
}

#[test]
fn scaling_in_the_middle_is_planned_anew_and_shrinks_no_batch() {
    let mut run = Run::new(6, &["50%", "100%"], json!({}));
    run.wanted["spec"]
        .as_object_mut()
        .unwrap()
        .shift_remove("replicas");
    assert_eq!(run.run(), RolloutAction::Held);
    assert_eq!(run.places(), "ooonnn");
    // The added pods are at the top, and new.
    run.sim.patch(&json!({"spec": {"replicas": 8}})).unwrap();
    run.sim.settle();
    assert_eq!(
        (run.run(), run.places().as_str()),
        (RolloutAction::Held, "ooonnnnn")
    );
    run.sim.patch(&json!({"spec": {"replicas": 4}})).unwrap();
    run.sim.settle();
    assert_eq!(run.places(), "ooon");
    assert_eq!(
        (run.run(), run.places().as_str()),
        (RolloutAction::Held, "oonn")
    );
    run.upto = 2;
    assert_eq!(
        (run.run(), run.places().as_str()),
        (RolloutAction::Done, "nnnn")
    );
}

#[test]
fn rescue_finishes_or_aborts_without_the_release() {
    for (all, finishes) in [("nnnnnn", true), ("oooooo", false)] {
        let mut run = Run::new(6, &["50%"], json!({}));
        assert_eq!(run.run(), RolloutAction::Held);
        let RescuePatches { finish, abort, .. } = plan_rescue(&run.sim.seen(), &Records::default())
            .unwrap()
            .unwrap();
        run.sim
            .patch(if finishes { &finish } else { &abort })
            .unwrap();
        run.sim.settle();
        assert_eq!(run.places(), all);
        assert_eq!(plan_rescue(&run.sim.seen(), &Records::default()), Ok(None));
    }
}
