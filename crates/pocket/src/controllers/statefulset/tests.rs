//! Tests of the algorithm by example, then with random sequences of events.

use super::history::RevisionPair;
use super::model::{self, is_terminating};
use super::plan::{Action, ReconcilePlan};
use super::simulator::{Sim, image};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

#[test]
fn pods_come_one_after_the_other_and_go_from_the_top() {
    let mut sim = Sim::new(json!({"replicas": 3}));
    sim.look();
    sim.look();
    assert_eq!(sim.images(), "0:v1", "the second waits for the first");
    let first = sim.pods[&0].clone();
    assert_eq!(
        first.spec.as_ref().unwrap().hostname.as_deref(),
        Some("web-0")
    );
    assert_eq!(
        first.spec.as_ref().unwrap().subdomain.as_deref(),
        Some("web")
    );
    assert_eq!(
        first.metadata.labels.as_ref().unwrap()[model::POD_INDEX],
        "0"
    );
    sim.settle();
    assert_eq!(sim.images(), "0:v1 1:v1 2:v1");
    sim.change(json!({"replicas": 1}));
    sim.look();
    sim.look();
    let going: Vec<i32> = sim
        .pods
        .iter()
        .filter(|(_, p)| is_terminating(p))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(going, [2], "one at a time");
    sim.settle();
    assert_eq!(sim.images(), "0:v1");
}

#[test]
fn an_update_stops_at_its_partition_and_is_over_at_none() {
    let mut sim = Sim::new(json!({"replicas": 4}));
    sim.settle();
    sim.partition(3);
    sim.image("v2");
    for (partition, images) in [(3, "0:v1 1:v1 2:v1 3:v2"), (1, "0:v1 1:v2 2:v2 3:v2")] {
        sim.partition(partition);
        sim.settle();
        assert_eq!(sim.images(), images);
        let status = sim.set.status.clone().unwrap();
        assert_ne!(status.current_revision, status.update_revision);
        let numbers = (status.current_replicas, status.updated_replicas);
        assert_eq!(numbers, (Some(partition), Some(4 - partition)));
        // A lost pod is replaced with the same image.
        for at in 0..4 {
            sim.lose(at);
        }
        sim.settle();
        assert_eq!(sim.images(), images);
    }
    sim.partition(0);
    sim.settle();
    let status = sim.set.status.clone().unwrap();
    assert_eq!(status.current_revision, status.update_revision);
    assert_eq!(
        (status.current_replicas, status.updated_replicas),
        (Some(4), Some(4))
    );
}

#[test]
fn a_pod_that_never_gets_ready_holds_its_set_until_it_is_deleted() {
    let mut sim = Sim::new(json!({"replicas": 3}));
    sim.settle();
    sim.image("crash");
    sim.settle();
    assert_eq!(sim.images(), "0:v1 1:v1 2:crash");
    sim.image("v1");
    sim.settle();
    assert_eq!(
        sim.images(),
        "0:v1 1:v1 2:crash",
        "the template alone brings nothing back"
    );
    assert_eq!(
        sim.revisions.iter().map(|r| r.revision).max(),
        Some(3),
        "the old revision is the newest again"
    );
    assert_eq!(sim.revisions.len(), 2);
    sim.lose(2);
    sim.settle();
    assert_eq!(sim.images(), "0:v1 1:v1 2:v1");
}

#[test]
fn all_at_once_where_asked() {
    let mut sim = Sim::new(
        json!({"replicas": 3, "podManagementPolicy": "Parallel", "ordinals": {"start": 5}}),
    );
    sim.look();
    assert_eq!(sim.images(), "5:v1 6:v1 7:v1");
    sim.settle();
    sim.image("crash");
    sim.settle();
    assert_eq!(
        sim.images(),
        "5:v1 6:v1 7:crash",
        "an update goes one by one all the same"
    );
    sim.image("v3");
    sim.settle();
    assert_eq!(sim.images(), "5:v3 6:v3 7:v3", "and a bad pod is replaced");
    sim.change(json!({"replicas": 1}));
    sim.look();
    assert_eq!(sim.pods.values().filter(|p| is_terminating(p)).count(), 2);
}

#[test]
fn on_delete_waits_for_a_hand() {
    let mut sim = Sim::new(json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}));
    sim.settle();
    sim.image("v2");
    sim.settle();
    assert_eq!(sim.images(), "0:v1 1:v1 2:v1");
    sim.lose(1);
    sim.settle();
    assert_eq!(sim.images(), "0:v1 1:v2 2:v1");
}

#[test]
fn minimum_seconds_are_waited_for_and_asked_about() {
    let mut sim = Sim::new(json!({"replicas": 2, "minReadySeconds": 10}));
    sim.look();
    sim.kubelet(0);
    let (_, plan) = sim.look();
    assert!(
        plan.actions.is_empty() && plan.requeue.is_some_and(|left| left.as_secs() == 10),
        "{plan:?}"
    );
    assert_eq!(
        (plan.status.ready_replicas, plan.status.available_replicas),
        (Some(1), Some(0))
    );
    sim.later(11);
    sim.look();
    assert_eq!(sim.images(), "0:v1 1:v1");
}

#[test]
fn failed_pods_and_lost_labels_are_mended() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.say(1, "Failed", "False");
    sim.look();
    assert!(is_terminating(&sim.pods[&1]));
    sim.settle();
    Arc::make_mut(sim.pods.get_mut(&0).unwrap())
        .metadata
        .labels
        .as_mut()
        .unwrap()
        .remove(model::POD_NAME);
    sim.settle();
    assert_eq!(
        sim.pods[&0].metadata.labels.as_ref().unwrap()[model::POD_NAME],
        "web-0"
    );
}

#[test]
fn the_past_is_kept_to_its_limit() {
    let mut sim = Sim::new(json!({"replicas": 1, "revisionHistoryLimit": 2}));
    for version in ["a", "b", "c", "d", "e"] {
        sim.image(version);
        sim.settle();
    }
    let mut numbers: Vec<i64> = sim.revisions.iter().map(|r| r.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4, 5]);
}

#[derive(Debug, Clone)]
enum Event {
    Look,
    Kubelet(i32),
    Lose(i32),
    Fail(i32),
    Later(i64),
    Scale(i32),
    Partition(i32),
    Image(&'static str),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Look),
        8 => (0..6i32).prop_map(Event::Kubelet),
        1 => (0..6i32).prop_map(Event::Lose),
        1 => (0..6i32).prop_map(Event::Fail),
        2 => (1..20i64).prop_map(Event::Later),
        1 => (0..6i32).prop_map(Event::Scale),
        1 => (0..6i32).prop_map(Event::Partition),
        1 => prop_oneof![Just("v1"), Just("v2"), Just("v3"), Just("crash")].prop_map(Event::Image),
    ]
}

/// Checks what no reconcile may ever do.
fn check(
    sim: &Sim,
    before: &[Arc<Pod>],
    pair: &RevisionPair,
    plan: &ReconcilePlan,
) -> Result<(), TestCaseError> {
    let (set, replicas) = (&sim.set, model::replicas(&sim.set));
    let ordinal = |pod: &Pod| model::ordinal(set, pod).unwrap();
    let ordered = model::is_ordered(set);
    if ordered {
        let moves = plan
            .actions
            .iter()
            .filter(|a| !matches!(a, Action::Relabel { .. }))
            .count();
        prop_assert!(moves <= 1, "one at a time: {:?}", plan.actions);
    }
    for action in &plan.actions {
        match action {
            Action::Create(pod) => {
                let at = ordinal(pod);
                prop_assert!(at < replicas);
                let below = at < model::partition(set);
                let of = if below { &pair.current } else { &pair.update };
                prop_assert_eq!(model::revision(pod), &of.name);
                let wanted = of.template.spec.as_ref().unwrap().containers[0]
                    .image
                    .as_deref();
                prop_assert_eq!(Some(image(pod)), wanted);
                let all_there = (0..at).all(|lower| {
                    before
                        .iter()
                        .any(|p| ordinal(p) == lower && !model::is_unavailable(set, p, sim.now))
                });
                prop_assert!(!ordered || all_there, "{at} before its time");
            }
            Action::Delete(pod) => {
                let at = ordinal(pod);
                prop_assert!(!is_terminating(pod));
                let failed = super::super::pods::phase(pod) == "Failed";
                if at < replicas && !failed {
                    prop_assert!(at >= model::partition(set), "{at} is below the partition");
                    prop_assert_ne!(model::revision(pod), &pair.update.name);
                    let above = (at + 1..replicas)
                        .filter(|n| *n >= model::partition(set))
                        .all(|higher| {
                            before.iter().any(|p| {
                                ordinal(p) == higher
                                    && model::revision(p) == pair.update.name
                                    && !model::is_unavailable(set, p, sim.now)
                            })
                        });
                    prop_assert!(above, "{at} before one above it");
                }
            }
            Action::Relabel { .. } => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_happens_it_ends_as_asked(
        parallel: bool, wait in 0..8i32, events in proptest::collection::vec(event(), 0..120), last in 0..5i32,
    ) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let mut sim = Sim::new(json!({"podManagementPolicy": policy, "minReadySeconds": wait}));
        for event in events {
            match event {
                Event::Look => {
                    let before: Vec<Arc<Pod>> = sim.pods.values().cloned().collect();
                    let (pair, plan) = sim.look();
                    check(&sim, &before, &pair, &plan)?;
                }
                Event::Kubelet(at) => sim.kubelet(at),
                Event::Lose(at) => sim.lose(at),
                Event::Fail(at) => sim.say(at, "Failed", "False"),
                Event::Later(seconds) => sim.later(seconds),
                Event::Scale(n) => sim.change(json!({"replicas": n})),
                Event::Partition(n) => sim.partition(n),
                Event::Image(image) => sim.image(image),
            }
        }
        // Deletes pods that never become ready and finished pods without a slot. Of several such
        // pods the controller deletes the lowest first and waits for a higher one before it. After
        // that the set must reach the desired state.
        sim.image("good");
        sim.partition(last);
        for _ in 0..8 {
            sim.settle();
            let ended = |pod: &Pod| super::super::pods::phase(pod) == "Failed";
            let places = |look: &dyn Fn(&Pod) -> bool| -> Vec<i32> {
                sim.pods.iter().filter(|(_, pod)| look(pod)).map(|(at, _)| *at).collect()
            };
            let (crashing, stuck) =
                (places(&|pod| image(pod) == "crash"), places(&|pod| image(pod) == "crash" || ended(pod)));
            if stuck.is_empty() {
                break;
            }
            if !crashing.is_empty() {
                // Below the partition the broken template would come back.
                sim.partition(0);
            }
            stuck.into_iter().for_each(|at| sim.lose(at));
        }
        let n = model::replicas(&sim.set);
        let from = model::partition(&sim.set);
        prop_assert_eq!(sim.pods.keys().copied().collect::<Vec<_>>(), (0..n).collect::<Vec<_>>());
        for (at, pod) in &sim.pods {
            prop_assert!(*at < from || image(pod) == "good", "{} at partition {from}", sim.images());
        }
        let status = sim.set.status.clone().unwrap();
        prop_assert_eq!(status.replicas, n);
        prop_assert_eq!(status.available_replicas, Some(n));
        if from == 0 {
            prop_assert_eq!(status.current_revision, status.update_revision);
        }
        prop_assert_eq!(status.observed_generation, sim.set.metadata.generation);
    }
}
