//! Tests of the plan against Kubernetes' guarantees, in the simulator.

use super::model::{REVISION, REVISION_HISTORY, annotation, replicas, revision, rs_replicas};
use super::simulator::Sim;
use proptest::prelude::*;
use serde_json::json;

fn condition(sim: &Sim, kind: &str) -> Option<(String, String)> {
    let status = sim.d.status.as_ref()?;
    let found = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone()?))
}

fn is_complete(sim: &Sim) -> bool {
    super::status::is_complete(&sim.d, sim.d.status.as_ref().unwrap())
}

#[test]
fn a_rollout_ends_complete_and_is_told_as_kubectl_expects() {
    let mut sim = Sim::new(4, "v1");
    sim.settle(|_| {});
    assert!(is_complete(&sim));
    assert_eq!(
        condition(&sim, "Progressing").unwrap(),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
    assert_eq!(
        condition(&sim, "Available").unwrap(),
        ("True".into(), "MinimumReplicasAvailable".into())
    );
    assert_eq!(sim.notes.len(), 1, "{:?}", sim.notes);
    sim.patch(json!({"template": Sim::template("v2")}));
    sim.settle(|_| {});
    assert!(is_complete(&sim));
    assert_eq!((sim.split(), sim.sets.len()), ((4, 0), 2));
}

#[test]
fn a_rollback_takes_the_old_set_again_with_a_new_revision() {
    let mut sim = Sim::new(3, "v1");
    sim.settle(|_| {});
    sim.patch(json!({"template": Sim::template("v2")}));
    sim.settle(|_| {});
    sim.patch(json!({"template": Sim::template("v1")}));
    sim.settle(|_| {});
    assert_eq!(sim.sets.len(), 2, "no third set");
    let first = sim.sets.iter().find(|rs| Sim::image(rs) == "v1").unwrap();
    assert_eq!((revision(first), rs_replicas(first)), (3, 3));
    assert_eq!(annotation(first, REVISION_HISTORY), Some("1"));
    assert_eq!(sim.d.metadata.annotations.as_ref().unwrap()[REVISION], "3");
}

#[test]
fn history_beyond_its_limit_goes() {
    let mut sim = Sim::new(1, "v0");
    sim.patch(json!({"revisionHistoryLimit": 2}));
    for i in 1..6 {
        sim.settle(|_| {});
        sim.patch(json!({"template": Sim::template(&format!("v{i}"))}));
    }
    sim.settle(|_| {});
    let mut left: Vec<i64> = sim.sets.iter().map(revision).collect();
    left.sort_unstable();
    assert_eq!(left, [4, 5, 6]);
}

#[test]
fn a_stuck_rollout_is_told_after_its_deadline_and_heals() {
    let mut sim = Sim::new(2, "v1");
    sim.patch(json!({"progressDeadlineSeconds": 5}));
    sim.settle(|_| {});
    sim.broken.insert("v2".into());
    sim.patch(json!({"template": Sim::template("v2")}));
    sim.settle(|_| {});
    let (_, before) = condition(&sim, "Progressing").unwrap();
    assert_ne!(before, "ProgressDeadlineExceeded");
    sim.now += 30;
    sim.settle(|_| {});
    assert_eq!(
        condition(&sim, "Progressing").unwrap(),
        ("False".into(), "ProgressDeadlineExceeded".into())
    );
    assert_eq!(sim.ready_of("v1"), 2, "25 % of 2 is none unavailable");
    sim.broken.clear();
    sim.settle(|_| {});
    assert_eq!(
        condition(&sim, "Progressing").unwrap().1,
        "NewReplicaSetAvailable"
    );
}

#[test]
fn recreate_never_runs_two_versions() {
    let mut sim = Sim::new(3, "v1");
    sim.patch(json!({"strategy": {"type": "Recreate"}}));
    sim.settle(|_| {});
    sim.patch(json!({"template": Sim::template("v2")}));
    sim.settle(|s| {
        let (new, old) = s.split();
        assert!(new == 0 || old == 0, "{new} and {old}");
    });
    assert_eq!(sim.split(), (3, 0));
}

#[test]
fn paused_makes_no_new_set_but_scales() {
    let mut sim = Sim::new(4, "v1");
    sim.settle(|_| {});
    sim.patch(json!({"paused": true, "template": Sim::template("v2"), "replicas": 6}));
    sim.settle(|_| {});
    assert_eq!((sim.split(), sim.sets.len()), ((0, 6), 1));
    assert_eq!(
        condition(&sim, "Progressing").unwrap(),
        ("Unknown".into(), "DeploymentPaused".into())
    );
    sim.patch(json!({"paused": false}));
    sim.settle(|_| {});
    assert_eq!(sim.split(), (6, 0));
}

#[test]
fn scaling_in_mid_rollout_is_proportional() {
    let mut sim = Sim::new(10, "v1");
    sim.patch(json!({"strategy": {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}}));
    sim.settle(|_| {});
    sim.broken.insert("v2".into());
    sim.patch(json!({"template": Sim::template("v2")}));
    sim.settle(|_| {});
    assert_eq!(sim.split(), (5, 8), "the documented example: 5 new, 8 old");
    sim.patch(json!({"replicas": 15}));
    sim.settle(|_| {});
    assert_eq!(sim.split(), (7, 11), "15 + 3, in the shares of before");
}

const LATCH: i32 = 2_147_483_646;

fn latch(surge: i32, unavailable: i32) -> serde_json::Value {
    json!({"paused": false, "minReadySeconds": LATCH, "progressDeadlineSeconds": i32::MAX,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
}

fn users_own() -> serde_json::Value {
    json!({"paused": false, "minReadySeconds": null, "progressDeadlineSeconds": null, "strategy": null})
}

/// Surge step of a batch; the first batch also sets the template.
fn surge(sim: &mut Sim, prev: i32, k: i32, each: impl FnMut(&Sim)) {
    let mut patch = latch(k - prev, prev);
    if prev == 0 {
        patch["template"] = Sim::template("v2");
    }
    sim.patch(patch);
    sim.settle(each);
}

fn retire_and_hold(sim: &mut Sim, k: i32, mut each: impl FnMut(&Sim)) {
    sim.patch(latch(0, k));
    sim.settle(&mut each);
    sim.patch(json!({"paused": true}));
    sim.settle(&mut each);
}

#[test]
fn the_table_of_the_latch() {
    let mut sim = Sim::new(6, "v1");
    sim.settle(|_| {});
    let whole = |s: &Sim| assert!(s.ready() >= 6, "a ready pod is missing: {:?}", s.notes);
    let mut seen = vec![];
    for (prev, k) in [(0, 1), (1, 3), (3, 6)] {
        surge(&mut sim, prev, k, whole);
        seen.push(sim.split());
        retire_and_hold(&mut sim, k, whole);
        seen.push(sim.split());
        assert_eq!(
            condition(&sim, "Progressing"),
            None,
            "no deadline, no claim"
        );
    }
    assert_eq!(seen, [(1, 6), (1, 5), (3, 5), (3, 3), (6, 3), (6, 0)]);
    sim.patch(users_own());
    sim.settle(whole);
    assert_eq!(sim.split(), (6, 0));
    assert!(is_complete(&sim));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_latch_is_exact_for_any_batches(n in 1..=16i32, cuts in proptest::collection::btree_set(1..16i32, 0..5),
        abort_after in proptest::option::of(0..6usize), broken in any::<bool>(), lose in any::<u8>()) {
        let mut sim = Sim::new(n, "v1");
        sim.settle(|_| {});
        if broken {
            sim.broken.insert("v2".into());
        }
        let batches: Vec<i32> = cuts.into_iter().filter(|k| *k < n).chain([n]).collect();
        let mut prev = 0;
        for (i, k) in batches.into_iter().enumerate() {
            surge(&mut sim, prev, k, |s| assert!(s.ready() >= n));
            prop_assert_eq!(sim.split(), (k, n - prev));
            if broken || abort_after == Some(i) {
                // In the middle of a batch: one patch goes back to the base.
                let mut back = users_own();
                back["template"] = Sim::template("v1");
                sim.patch(back);
                let floor = n - super::model::max_unavailable(&sim.d);
                sim.settle(|s| assert!(s.ready() >= floor, "{} ready of {n}", s.ready()));
                prop_assert_eq!((sim.split(), sim.ready_of("v1")), ((n, 0), n));
                prop_assert!(is_complete(&sim));
                return Ok(());
            }
            retire_and_hold(&mut sim, k, |s| assert!(s.ready() >= n));
            prop_assert_eq!(sim.split(), (k, n - k));
            // A pod of either version is lost and replaced: the split stays the same.
            let victim = usize::from(lose) % sim.pods.len();
            sim.pods.remove(victim);
            sim.settle(|_| {});
            prop_assert_eq!(sim.split(), (k, n - k));
            prev = k;
        }
        sim.patch(users_own());
        sim.settle(|s| assert!(s.ready() >= n));
        prop_assert_eq!((sim.split(), is_complete(&sim)), ((n, 0), true));
    }

    #[test]
    fn a_broken_version_costs_no_base_pod(n in 1..=16i32, k in 1..=16i32) {
        let k = k.min(n);
        let mut sim = Sim::new(n, "v1");
        sim.settle(|_| {});
        sim.broken.insert("v2".into());
        surge(&mut sim, 0, k, |s| assert_eq!(s.ready_of("v1"), n));
        sim.now += 100_000;
        sim.settle(|s| assert_eq!(s.ready_of("v1"), n));
        prop_assert_eq!(sim.split(), (k, n));
    }

    #[test]
    fn bounds_hold_in_any_order_and_it_converges(
        n in 0..=9i32, surge in 0..=5i32, unavailable in 0..=5i32, wait in prop_oneof![Just(0), Just(3)],
        recreate in prop_oneof![9 => Just(false), 1 => Just(true)],
        steps in proptest::collection::vec((0..7u8, any::<u8>()), 0..120),
    ) {
        let mut sim = Sim::new(n, "v0");
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        sim.patch(if recreate {
            json!({"minReadySeconds": wait, "strategy": {"type": "Recreate"}})
        } else {
            json!({"minReadySeconds": wait,
                "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
        });
        sim.settle(|_| {});
        for (step, arg) in steps {
            let pick = |len: usize| usize::from(arg) % len.max(1);
            match step {
                0 | 1 => {
                    // The statuses are up to date, so no controller may exceed a limit now.
                    sim.observe();
                    let before = sim.available();
                    sim.sync();
                    sim.obey();
                    if !recreate {
                        sim.check_bounds(before);
                    }
                }
                2 => { sim.ready_up(1 + pick(4)); }
                3 if !sim.pods.is_empty() => { let i = pick(sim.pods.len()); sim.pods[i].ready = None; }
                4 if !sim.pods.is_empty() => { let i = pick(sim.pods.len()); sim.pods.remove(i); }
                5 => sim.now += i64::from(arg % 5),
                6 if arg < 60 => sim.patch(json!({"template": Sim::template(&format!("v{}", arg % 4))})),
                _ => { sim.observe(); }
            }
        }
        // minReadySeconds must pass between the steps.
        for _ in 0..40 {
            sim.settle(|_| {});
            sim.now += 4;
        }
        prop_assert_eq!(sim.split(), (n, 0));
        prop_assert!(is_complete(&sim), "{:?}", sim.d.status);
        let active = sim.sets.iter().filter(|rs| rs_replicas(rs) > 0).count();
        prop_assert!(active <= 1);
        prop_assert_eq!(replicas(&sim.d), n);
    }
}

proptest! {
    /// No values in a Deployment, its ReplicaSets and their annotations cause an overflow.
    #[test]
    fn no_number_overflows(
        want in prop::sample::select(vec![-1, 0, 1, i32::MAX]), recreate: bool, paused: bool,
        fences in prop::collection::vec(prop::sample::select(vec![
            json!(0), json!(1), json!(i32::MAX), json!("100%"), json!("2147483647%"), json!("9223372036854775807%"),
        ]), 2),
        sets in prop::collection::vec((prop::sample::select(vec![-1, 0, 1, i32::MAX]), 0..3_usize), 0..5),
        annotation in prop::sample::select(vec!["0", "-1", "2147483647", "9223372036854775807", "x"]),
        seconds in prop::sample::select(vec![0, 1, i32::MAX]),
    ) {
        let mut sim = Sim::new(want, "v1");
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": fences[0], "maxUnavailable": fences[1]}});
        let strategy = if recreate { json!({"type": "Recreate"}) } else { rolling };
        sim.patch(json!({"strategy": strategy, "paused": paused, "minReadySeconds": seconds,
            "progressDeadlineSeconds": seconds, "revisionHistoryLimit": seconds}));
        let set = |(i, (n, image)): (usize, &(i32, usize))| serde_json::from_value(json!({
            "metadata": {"name": format!("d-{i}"), "namespace": "ns", "uid": format!("s{i}"), "annotations": {
                REVISION: annotation, super::model::DESIRED_ANNOTATION: annotation, super::model::MAX_ANNOTATION: annotation}},
            "spec": {"replicas": n, "selector": {"matchLabels": {"app": "a"}}, "template": Sim::template(&format!("v{image}"))},
            "status": {"replicas": n, "readyReplicas": n, "availableReplicas": n},
        })).unwrap();
        let sets: Vec<_> = sets.iter().enumerate().map(set).collect();
        super::plan::plan_sync(&super::plan::SyncInput {
            deployment: &sim.d, sets: &sets, pods: &std::collections::BTreeMap::default(),
            now: jiff::Timestamp::from_second(sim.now).unwrap(),
        });
    }
}
