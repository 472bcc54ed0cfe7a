//! Any order of observations, controllers and people.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{DeploymentSettings, Records, UndoAction, compute_targets, undo_rollout},
    Run, UID, typed,
};
use crate::{api::Amount, domain::batches::RolloutAction};

/// What happens between two observations.
#[derive(Clone, Debug)]
pub(in crate::domain::batches) enum Event {
    Look,
    /// The engine reads, somebody else writes, then the engine writes.
    StaleLook,
    Sync,
    Obey,
    Ready(usize),
    /// A node is lost together with a pod of a StatefulSet.
    Lose(usize),
    Tick(u8),
    Allow,
    Hold(bool),
    Retry,
}

pub(in crate::domain::batches) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Look), 1 => Just(Event::StaleLook), 5 => Just(Event::Sync), 5 => Just(Event::Obey),
        4 => (0_usize..8).prop_map(Event::Ready), 1 => (0_usize..8).prop_map(Event::Lose), 1 => (0_u8..40).prop_map(Event::Tick),
        2 => Just(Event::Allow), 1 => any::<bool>().prop_map(Event::Hold), 1 => Just(Event::Retry),
    ]
}

pub(in crate::domain::batches) fn plan() -> impl Strategy<Value = Vec<Amount>> {
    prop::collection::vec(
        prop_oneof![
            (0_u32..9).prop_map(Amount::Count),
            (0_u8..=100).prop_map(Amount::Percent)
        ],
        0..5,
    )
}

fn user_strategy() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (1_u32..5, 0_u32..3).prop_map(|(s, u)| json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": s, "maxUnavailable": u}})),
        (1_u32..100).prop_map(|s| json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": format!("{s}%"), "maxUnavailable": 0}})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any order of observations, controllers, readiness, allowed batches, holds and new attempts:
    /// never a Ready pod missing, never past the allowed batch, and in the end exactly as asked,
    /// with the user's own settings.
    #[test]
    fn exact_in_any_interleaving(
        replicas in 1_u32..13, plan in plan(), strategy in user_strategy(), surge in prop::option::of(1_u32..4),
        min_ready in prop_oneof![Just(None), (1_i64..20).prop_map(Some)], events in prop::collection::vec(event(), 0..120),
        abort in any::<bool>(),
    ) {
        let mut run = Run::new(replicas, &plan, strategy.clone());
        run.surge = surge.map(Amount::Count);
        if let Some(seconds) = min_ready { run.wanted["spec"]["minReadySeconds"] = seconds.into(); }
        let all = compute_targets(&run.batches, replicas);
        let most = run.surge.map_or_else(|| DeploymentSettings::from_deployment(&typed(&run.wanted)).surge_and_unavailable(replicas).0, |s| s.scaled_count(replicas));
        for event in events {
            match event {
                Event::Look => if let RolloutAction::Patch(patch, _) = run.look() { run.sim.patch(&patch).unwrap(); },
                Event::StaleLook => if let RolloutAction::Patch(patch, _) = run.look() {
                    run.sim.patch(&json!({"metadata": {"labels": {"x": "y"}}})).unwrap();
                    prop_assert_eq!(run.sim.patch(&patch), Err("409"));
                },
                Event::Sync => run.sim.sync(),
                Event::Obey => run.sim.sync_pods(),
                Event::Ready(n) => { run.sim.ready_up(n); }
                Event::Tick(s) => run.sim.now += i64::from(s),
                Event::Allow => run.upto = (run.upto + 1).min(all.len()),
                Event::Hold(hold) => run.hold = hold,
                Event::Retry => run.attempt += 1,
                Event::Lose(_) => {}
            }
            prop_assert!(run.sim.ready() >= replicas, "{} of {replicas} ready", run.sim.ready());
            prop_assert!(run.sim.count_by_image("v2").0 <= all[run.upto - 1], "past the batch that is allowed");
            // Once finished, the Deployment uses the user's own strategy, and nothing moves any
            // more.
            prop_assert!(run.sim.pods.len() as u32 <= replicas + most, "{} pods of {replicas} + {most}", run.sim.pods.len());
        }
        run.hold = false;
        if abort {
            if let UndoAction::Patch(patch) = undo_rollout(&run.sim.seen(), &UID, &Records::default()) { run.sim.patch(&patch).unwrap(); }
            run.sim.settle();
            prop_assert_eq!((run.sim.count_by_image("v1"), run.sim.count_by_image("v2").0), ((replicas, replicas), 0));
            run.sim.now += 100;
            prop_assert_eq!(undo_rollout(&run.sim.seen(), &UID, &Records::default()), UndoAction::Done);
        } else {
            for upto in run.upto..=all.len() {
                run.upto = upto;
                let end = run.run();
                prop_assert_eq!(run.sim.count_by_image("v2"), (all[upto - 1], all[upto - 1]));
                prop_assert_eq!(run.sim.count_by_image("v1").0, replicas - all[upto - 1]);
                prop_assert_eq!(end, if upto == all.len() { RolloutAction::Done } else { RolloutAction::Held });
            }
            prop_assert_eq!(run.sim.live["spec"].get("minReadySeconds").and_then(Value::as_i64), min_ready);
        }
        prop_assert_eq!(run.sim.live["spec"].get("strategy").cloned().unwrap_or_default(), strategy);
        prop_assert!(run.sim.live["spec"].get("paused").is_none());
    }

    /// With an autoscaler in between: graylane never causes a Ready pod of the wanted number to go
    /// missing, never passes the allowed batch except by the autoscaler's own scaling, and ends
    /// complete.
    #[test]
    fn an_autoscaler_between_batches_is_planned_around(
        replicas in 1_u32..10, plan in plan(), sizes in prop::collection::vec(1_u32..12, 1..5),
        between in prop::collection::vec(event(), 0..30),
    ) {
        let mut run = Run::new(replicas, &plan, Value::Null);
        run.wanted["spec"].as_object_mut().unwrap().shift_remove("replicas");
        let mut between = between.into_iter();
        for size in sizes {
            run.sim.patch(&json!({"spec": {"replicas": size}})).unwrap();
            for event in between.by_ref().take(8) {
                match event {
                    Event::Look => if let RolloutAction::Patch(patch, _) = run.look() { run.sim.patch(&patch).unwrap(); },
                    Event::Sync => run.sim.sync(),
                    Event::Obey => run.sim.sync_pods(),
                    Event::Ready(n) => { run.sim.ready_up(n); }
                    Event::Allow => run.upto = (run.upto + 1).min(run.batches.len()),
                    _ => {}
                }
            }
        }
        run.sim.settle();
        run.upto = run.batches.len();
        prop_assert_eq!(run.run(), RolloutAction::Done);
        let size = run.sim.replicas();
        prop_assert_eq!((run.sim.count_by_image("v2"), run.sim.count_by_image("v1").0), ((size, size), 0));
    }
}
