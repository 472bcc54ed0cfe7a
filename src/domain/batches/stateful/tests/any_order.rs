//! Any order of observations, controllers, people and lost pods, from any strategy to any other.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{
        super::tests::any_order::{Event, event, plan},
        RolloutAction, compute_targets,
    },
    Run,
};

/// What a manifest may say about the strategy, and the partition that it names.
fn named() -> impl Strategy<Value = (Value, Option<usize>)> {
    let of = |p: usize| {
        (
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": p}}),
            Some(p),
        )
    };
    prop_oneof![
        Just((Value::Null, None)),
        Just((json!({"type": "RollingUpdate"}), None)),
        Just((json!({"rollingUpdate": {"maxUnavailable": 1}}), None)),
        (0_usize..6).prop_map(of),
    ]
}

fn policy() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("OrderedReady"), Just("Parallel")]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// Any order of observations, controllers, readiness, lost pods, allowed batches, holds and new
    /// attempts: the rollout never passes the allowed batch, never has two pods missing besides the
    /// lost ones, and ends exactly as asked, with the user's own settings.
    #[test]
    fn exact_in_any_interleaving(
        replicas in 1_usize..9, plan in plan(), policy in policy(), partition in 0_usize..4, named in named(),
        min_ready in prop_oneof![Just(0), 1_i64..20], events in prop::collection::vec(event(), 0..120),
        abort in any::<bool>(), crashes in any::<bool>(),
    ) {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
        let more = json!({"podManagementPolicy": policy, "updateStrategy": strategy, "minReadySeconds": min_ready});
        let mut wanted = more.clone();
        wanted["updateStrategy"] = named.0.clone();
        let mut run = Run::of(replicas, &plan, &more, &wanted);
        let kept = named.1.unwrap_or(partition);
        let size = replicas.saturating_sub(kept) as u32;
        let all = compute_targets(&run.batches, size);
        if crashes && abort { run.sim.broken.push("v2".into()); }
        let mut lost = 0;
        for event in events {
            let before = run.sim.ready();
            match event {
                Event::Look => {
                    run.step();
                    prop_assert!(run.sim.ready() >= before, "a look takes nothing that serves");
                }
                Event::StaleLook => match run.look() {
                    RolloutAction::Patch(patch, _) => {
                        run.sim.patch(&json!({"metadata": {"labels": {"x": "y"}}})).unwrap();
                        prop_assert_eq!(run.sim.patch(&patch), Err("409"));
                    }
                    RolloutAction::Delete(pod, _) => prop_assert_eq!(run.sim.delete_pod(&pod.uid, "old"), Err("409")),
                    _ => {}
                },
                Event::Sync => run.sim.sync(),
                Event::Obey => run.sim.remove_terminating(),
                Event::Ready(n) => { run.sim.ready_up(n); }
                Event::Lose(n) => { run.sim.lose_pod(n); lost += 1; }
                Event::Tick(s) => run.sim.now += i64::from(s),
                Event::Allow => run.upto = (run.upto + 1).min(all.len()),
                Event::Hold(hold) => run.hold = hold,
                Event::Retry => run.attempt += 1,
            }
            prop_assert!(run.sim.ready() + 1 + lost >= replicas as u32, "{} of {replicas} ready", run.sim.ready());
            prop_assert!(run.sim.count_by_image("v2").0 <= all[run.upto - 1], "past the batch that is allowed");
        }
        run.hold = false;
        if abort {
            let (patches, _) = run.undo();
            let most = 1 + u32::from(kept < partition);
            prop_assert!(patches <= most);
            prop_assert_eq!((run.sim.count_by_image("v1"), run.sim.count_by_image("v2").0), ((replicas as u32, replicas as u32), 0));
            prop_assert_eq!(&run.sim.live["spec"]["updateStrategy"], &strategy);
        } else {
            for upto in run.upto..=all.len() {
                run.upto = upto;
                let end = run.run();
                prop_assert_eq!(run.sim.count_by_image("v2"), (all[upto - 1], all[upto - 1]));
                prop_assert_eq!(run.sim.count_by_image("v1").0, replicas as u32 - all[upto - 1]);
                let old = "o".repeat(replicas - all[upto - 1] as usize);
                prop_assert!(run.places().starts_with(&old), "the highest first: {}", run.places());
                prop_assert_eq!(end, if upto == all.len() { RolloutAction::Done } else { RolloutAction::Held });
            }
            let mut merged = strategy;
            merged["rollingUpdate"]["partition"] = json!(kept);
            if named.0["rollingUpdate"]["maxUnavailable"] == 1 {
                merged["rollingUpdate"]["maxUnavailable"] = json!(1);
            }
            prop_assert_eq!(&run.sim.live["spec"]["updateStrategy"], &merged);
        }
        prop_assert_eq!(&run.sim.live["spec"]["minReadySeconds"], &json!(min_ready));
    }

    /// With an autoscaler in between, and a version that may crash: whatever happens, the rollout
    /// ends complete, either way.
    #[test]
    fn an_autoscaler_between_batches_is_planned_around(
        replicas in 1_usize..8, plan in plan(), policy in policy(), sizes in prop::collection::vec(1_usize..10, 1..5),
        between in prop::collection::vec(event(), 0..40), abort in any::<bool>(),
    ) {
        let mut run = Run::with(replicas, &plan, &json!({"podManagementPolicy": policy}));
        run.wanted["spec"].as_object_mut().unwrap().shift_remove("replicas");
        if abort { run.sim.broken.push("v2".into()); }
        let mut between = between.into_iter();
        for size in sizes {
            run.sim.patch(&json!({"spec": {"replicas": size}})).unwrap();
            for event in between.by_ref().take(8) {
                match event {
                    Event::Look => { run.step(); }
                    Event::Sync => run.sim.sync(),
                    Event::Obey => run.sim.remove_terminating(),
                    Event::Ready(n) => { run.sim.ready_up(n); }
                    Event::Lose(n) => run.sim.lose_pod(n),
                    Event::Allow => run.upto = (run.upto + 1).min(run.batches.len()),
                    Event::Hold(hold) => run.hold = hold,
                    _ => {}
                }
            }
        }
        run.hold = false;
        let size = run.sim.replicas() as u32;
        if abort {
            run.undo();
            prop_assert_eq!((run.sim.count_by_image("v1"), run.sim.count_by_image("v2").0), ((size, size), 0));
        } else {
            run.sim.settle();
            run.upto = run.batches.len();
            prop_assert_eq!(run.run(), RolloutAction::Done);
            prop_assert_eq!((run.sim.count_by_image("v2"), run.sim.count_by_image("v1").0), ((size, size), 0));
        }
    }
}
