//! Against the simulated controller: exact counts at every hold, never two pods missing by our doing.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::Undo, super::WorkloadSeen, super::batches, simulator::Sim, *};
use crate::api::{Amount, label};

const UID: &str = "release-uid";

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

fn amounts(text: &[&str]) -> Vec<Amount> {
    text.iter().map(|t| t.parse().unwrap()).collect()
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

    /// From what is live to what the manifest says.
    fn of(replicas: usize, plan: &[Amount], live: &Value, more: &Value) -> Self {
        let mut sim = Sim::create(&manifest(replicas, "v1", live), "s", 1_000_000);
        sim.settle();
        assert_eq!(sim.of("v1").1 as usize, replicas);
        let wanted = manifest(replicas, "v2", more);
        let batches = batches(plan, &[size(Some(&sim.seen()), &typed(&wanted))]);
        Self { sim, wanted, batches, upto: 1, hold: false, attempt: 1 }
    }

    fn goal<'a>(&'a self, manifest: &'a StatefulSet) -> Goal<'a, StatefulSet> {
        Goal {
            manifest,
            release: "r-1",
            release_uid: UID,
            task: "deploy",
            attempt: self.attempt,
            batches: &self.batches,
            upto: self.upto,
            hold: self.hold,
            surge: None,
            now: self.now(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.sim.now).unwrap()
    }

    fn look(&self) -> Move {
        let manifest = typed(&self.wanted);
        next(Some(&self.sim.seen()), &self.goal(&manifest))
    }

    fn progress(&self) -> Progress {
        let manifest = typed(&self.wanted);
        progress(Some(&self.sim.seen()), &self.goal(&manifest))
    }

    /// One look, and what it asks for.
    fn step(&mut self) -> Move {
        let next = self.look();
        match &next {
            Move::Patch(patch, _) => {
                assert!(patch.pointer("/metadata/resourceVersion").is_some(), "{patch}");
                self.sim.patch(patch).unwrap();
            }
            Move::Delete(pod, _) => {
                assert!(pod.ready.is_none(), "a pod that serves is not deleted: {pod:?}");
                self.sim.delete(&pod.uid, &pod.version).unwrap();
            }
            _ => {}
        }
        next
    }

    /// Looks and settles until nothing more is done.
    fn run(&mut self) -> Move {
        for _ in 0..300 {
            match self.step() {
                Move::Patch(..) | Move::Delete(..) => self.sim.settle(),
                Move::Wait(_, Some(again)) => self.sim.now += again.as_secs().max(1),
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

    /// All the way back.
    fn undo(&mut self) -> (u32, u32) {
        let (mut patches, mut deleted) = (0, 0);
        for _ in 0..300 {
            match undo(&self.sim.seen(), UID, self.now()) {
                Undo::Patch(patch) => {
                    patches += 1;
                    self.sim.patch(&patch).unwrap();
                }
                Undo::Delete(pod, _) => {
                    assert!(pod.ready.is_none(), "a pod that serves is not deleted: {pod:?}");
                    deleted += 1;
                    self.sim.delete(&pod.uid, &pod.version).unwrap();
                }
                Undo::Wait(_, again) => self.sim.now += again.map_or(1, |a| a.as_secs().max(1)),
                Undo::Done => return (patches, deleted),
            }
            self.sim.settle();
        }
        panic!("never back: {:?}", undo(&self.sim.seen(), UID, self.now()));
    }

    /// Which places are new: `ooon`.
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
        assert_eq!(run.run(), Move::Held);
        assert_eq!((run.places().as_str(), run.sim.partition()), (want, 4 - upto));
        let told = run.progress();
        let n = upto as u32;
        assert_eq!((told.done, told.new, told.ready, told.old, told.phase), (upto, n, n, 4 - n, BatchPhase::Done));
    }
    run.upto = 3;
    assert_eq!(run.run(), Move::Done);
    assert_eq!((run.places().as_str(), run.sim.replaced), ("nnnn", 4));
    let spec = &run.sim.live["spec"];
    assert_eq!((&spec["updateStrategy"], &spec["minReadySeconds"]), (&own["updateStrategy"], &json!(3)));
    assert!(run.sim.live["metadata"]["annotations"].get(label::LATCH).is_none());
    assert_eq!(run.progress().done, 3);
}

#[test]
fn the_users_own_partition_is_never_passed_and_all_is_what_it_leaves() {
    let own =
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2, "maxUnavailable": 1}}});
    let mut run = Run::new(6, &["1", "50%", "100%"], own.clone());
    for (upto, want) in [(1, "ooooon"), (2, "oooonn")] {
        run.upto = upto;
        assert_eq!(run.run(), Move::Held);
        assert_eq!(run.places(), want);
        assert_eq!(run.sim.live["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], 1);
    }
    run.upto = 3;
    assert_eq!(run.run(), Move::Done);
    assert_eq!(run.places(), "oonnnn");
    assert_eq!(run.sim.live["spec"]["updateStrategy"], own["updateStrategy"]);
    assert_eq!((run.progress().done, run.progress().replicas), (3, 4));
    assert_eq!(run.undo(), (1, 0));
    assert_eq!(run.places(), "oooooo");
    // Where it leaves nothing, only the template changes.
    let own = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 9}}});
    let mut run = Run::new(3, &["1"], own);
    assert_eq!(run.run(), Move::Done);
    assert_eq!((run.places().as_str(), run.sim.partition()), ("ooo", 9));
}

#[test]
fn a_manifest_that_names_no_partition_leaves_the_users_own() {
    let own = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}});
    for named in [json!({}), json!({"updateStrategy": {}}), json!({"updateStrategy": {"type": "RollingUpdate"}})] {
        let mut run = Run::of(5, &amounts(&["100%"]), &own, &named);
        assert_eq!(run.run(), Move::Done);
        assert_eq!((run.places().as_str(), &run.sim.live["spec"]["updateStrategy"]), ("ooonn", &own["updateStrategy"]));
    }
    // What cannot stop anywhere keeps none.
    let on_delete = typed(&manifest(5, "v2", &json!({"updateStrategy": {"type": "OnDelete"}})));
    let strategy = Own::of(&typed(&manifest(5, "v1", &own))).overlaid(&on_delete).update_strategy;
    assert_eq!(strategy, Some(json!({"type": "OnDelete"})));
}

#[test]
fn old_pods_that_a_partition_held_back_go_batch_by_batch_too() {
    let strategy = |partition: usize| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
    let run = || {
        let mut run = Run::of(6, &amounts(&["1", "4", "100%"]), &strategy(3), &strategy(0));
        run.sim.patch(&json!({"spec": {"template": run.wanted["spec"]["template"]}})).unwrap();
        run.sim.settle();
        assert_eq!(run.places(), "ooonnn");
        run
    };
    let mut forwards = run();
    for (upto, want, partition) in [(1, "ooonnn", 3), (2, "oonnnn", 2)] {
        forwards.upto = upto;
        assert_eq!(forwards.run(), Move::Held);
        assert_eq!((forwards.places().as_str(), forwards.sim.partition()), (want, partition));
    }
    forwards.upto = 3;
    assert_eq!((forwards.run(), forwards.places().as_str()), (Move::Done, "nnnnnn"));
    assert_eq!(forwards.sim.live["spec"]["updateStrategy"], strategy(0)["updateStrategy"]);
    // Nothing is let go before it is allowed, and an abort lets no more go.
    let mut back = run();
    (back.hold, back.upto) = (true, 0);
    assert_eq!((back.run(), back.sim.partition()), (Move::Held, 3));
    back.hold = false;
    assert_eq!((back.run(), back.sim.partition()), (Move::Held, 3));
    back.upto = 2;
    assert_eq!((back.run(), back.places().as_str()), (Move::Held, "oonnnn"));
    assert_eq!((back.undo(), back.sim.partition(), back.places().as_str()), ((1, 0), 3, "oonnnn"));
}

#[test]
fn pods_below_the_users_own_partition_come_back_before_it_does() {
    let strategy = |partition: usize| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
    for (upto, places, ends) in [(1, "oooonn", Move::Held), (2, "onnnnn", Move::Held), (3, "nnnnnn", Move::Done)] {
        let mut run = Run::of(6, &amounts(&["2", "5", "100%"]), &strategy(4), &strategy(0));
        for upto in 1..=upto {
            run.upto = upto;
            run.run();
        }
        assert_eq!((run.look(), run.places().as_str()), (ends, places));
        if let Some((_, abort)) = rescue(&run.sim.seen().live).unwrap() {
            let sim = run.sim.clone();
            run.sim.patch(&abort).unwrap();
            run.sim.settle();
            assert_eq!(run.places(), "oooooo");
            run.sim = sim;
        }
        assert_eq!(run.undo(), (if upto == 1 { 1 } else { 2 }, 0));
        assert_eq!((run.places().as_str(), run.sim.partition()), ("oooooo", 4));
        assert_eq!(run.sim.live["metadata"]["annotations"], json!({label::APPLIED: "v1"}));
    }
}

#[test]
fn a_version_that_never_comes_up_costs_one_pod_and_is_deleted_on_the_way_back() {
    for policy in ["OrderedReady", "Parallel"] {
        let mut run = Run::new(4, &["50%"], json!({"podManagementPolicy": policy}));
        run.sim.broken.push("v2".into());
        let told = run.step();
        assert!(matches!(told, Move::Patch(..)), "{told:?}");
        run.sim.settle();
        assert!(matches!(run.step(), Move::Patch(_, why) if why.contains("revision")));
        assert!(matches!(run.look(), Move::Wait(why, None) if why.contains("0 of 2 new pods ready, waiting for s-3")
            && why.contains("CrashLoopBackOff")));
        assert_eq!((run.places().as_str(), run.sim.ready()), ("ooon", 3));
        // The template alone brings it not back.
        let Undo::Patch(patch) = undo(&run.sim.seen(), UID, run.now()) else { panic!() };
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
            run.sim.fail(n);
        }
        assert_eq!(run.run(), Move::Done);
        assert_eq!((run.places().as_str(), run.sim.ready()), ("nnn", 3));
    }
}

#[test]
fn a_hold_stops_after_the_pod_in_hand() {
    let mut run = Run::new(4, &["100%"], json!({}));
    assert!(matches!(run.step(), Move::Patch(..)));
    // The controller takes the highest; nothing else moves.
    run.sim.sync();
    run.hold = true;
    assert!(matches!(run.step(), Move::Patch(_, why) if why.contains("in hand")));
    run.sim.settle();
    assert_eq!((run.look(), run.places().as_str(), run.sim.partition()), (Move::Held, "ooon", 3));
    run.hold = false;
    assert_eq!(run.run(), Move::Done);
    assert_eq!(run.places(), "nnnn");
}

#[test]
fn a_pod_that_is_not_ready_for_a_while_takes_no_batch_back() {
    let mut run = Run::new(6, &["1", "3", "100%"], json!({}));
    assert_eq!(run.run(), Move::Held);
    run.upto = 2;
    assert!(matches!(run.step(), Move::Patch(..)));
    // The controller takes the next, and the one that was new already flaps.
    run.sim.sync();
    run.sim.obey();
    let flaps = run.sim.pods.iter().position(|p| p.place == 5).unwrap();
    run.sim.fail(flaps);
    run.sim.sync();
    assert_eq!((run.progress().done, run.progress().ready, run.sim.partition()), (1, 0, 3));
    assert!(matches!(run.look(), Move::Wait(..)), "{:?}", run.look());
    // Nor does it where another workload is behind.
    run.upto = 1;
    assert!(matches!(run.look(), Move::Wait(..)), "{:?}", run.look());
    run.upto = 2;
    assert_eq!((run.run(), run.places().as_str(), run.progress().done), (Move::Held, "ooonnn", 2));
    run.sim.fail(0);
    run.sim.lose(5);
    assert_eq!((run.progress().done, run.sim.partition()), (1, 3));
}

#[test]
fn scaling_in_the_middle_is_planned_anew_and_shrinks_no_batch() {
    let mut run = Run::new(6, &["50%", "100%"], json!({}));
    run.wanted["spec"].as_object_mut().unwrap().shift_remove("replicas");
    assert_eq!(run.run(), Move::Held);
    assert_eq!(run.places(), "ooonnn");
    // Those that come are at the top, and new.
    run.sim.patch(&json!({"spec": {"replicas": 8}})).unwrap();
    run.sim.settle();
    assert_eq!((run.run(), run.places().as_str()), (Move::Held, "ooonnnnn"));
    run.sim.patch(&json!({"spec": {"replicas": 4}})).unwrap();
    run.sim.settle();
    assert_eq!(run.places(), "ooon");
    assert_eq!((run.run(), run.places().as_str()), (Move::Held, "oonn"));
    run.upto = 2;
    assert_eq!((run.run(), run.places().as_str()), (Move::Done, "nnnn"));
}

#[test]
fn a_foreign_hand_is_named_with_what_it_changed() {
    let held = || {
        let mut run = Run::new(4, &["1"], json!({}));
        assert_eq!(run.run(), Move::Held);
        run.upto = 2;
        run
    };
    for (patch, word) in [
        (json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}}), "partition is 2, not the 3"),
        (json!({"spec": {"updateStrategy": {"rollingUpdate": null}}}), "partition is 0, not the 3"),
        (json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}), "updateStrategy.type"),
        (json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}}}), "image now x"),
        (json!({"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}}), "spec.template"),
    ] {
        let mut run = held();
        run.sim.patch(&patch).unwrap();
        run.sim.settle();
        match run.look() {
            Move::Stop(why) => assert!(why.contains(word), "{why} has no {word}"),
            other => panic!("{patch}: {other:?}"),
        }
        // A new attempt takes it in hand again, and ends exactly.
        run.attempt = 2;
        assert_eq!(run.run(), Move::Done);
        assert_eq!(run.places(), "nnnn");
    }
    let mut run = held();
    run.wanted = manifest(4, "v3", &json!({}));
    assert!(matches!(run.look(), Move::Stop(why) if why.contains("nobody approved")));
    let mut run = held();
    run.sim.live["metadata"]["managedFields"] = json!([{"manager": "kubectl-rollout", "operation": "Update",
        "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}}]);
    run.sim.patch(&json!({"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}})).unwrap();
    run.sim.settle();
    assert!(matches!(run.look(), Move::Stop(why) if why.contains("by kubectl-rollout at 2026-01-01T00:00:00Z")));
}

#[test]
fn what_cannot_be_rolled_is_refused_in_words_beforehand() {
    let stopped = |run: &Run, words: &[&str]| match run.look() {
        Move::Stop(why) => assert!(words.iter().all(|w| why.contains(w)), "{why} lacks one of {words:?}"),
        other => panic!("{words:?}: {other:?}"),
    };
    let mut huge = Run::new(3, &["1"], json!({}));
    huge.wanted["spec"]["replicas"] = json!(i32::MAX);
    stopped(&huge, &["2147483647 replicas", "100000"]);
    huge.sim.live["spec"]["replicas"] = json!(i32::MAX);
    stopped(&huge, &["2147483647 replicas"]);
    assert_eq!((huge.progress().done, huge.progress().replicas), (0, i32::MAX as u32));
    assert!(matches!(undo(&huge.sim.seen(), UID, huge.now()), Undo::Wait(..)));
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    stopped(&Run::new(3, &["1"], on_delete), &["OnDelete", "Set RollingUpdate", "delete its pods"]);
    let run = |change: Value| {
        let mut run = Run::new(3, &["1"], json!({"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]}));
        json_patch::merge(&mut run.wanted["spec"], &change);
        run
    };
    stopped(&run(json!({"serviceName": "other", "podManagementPolicy": "Parallel"})), &["spec.serviceName, spec.podM"]);
    stopped(&run(json!({"selector": {"matchLabels": {"app": "b"}}})), &["spec.selector of"]);
    stopped(&run(json!({"volumeClaimTemplates": null})), &["spec.volumeClaimTemplates of"]);
    stopped(&run(json!({"ordinals": {"start": 1}})), &["spec.ordinals of"]);
    let mut owned = Run::new(3, &["1"], json!({}));
    owned.sim.live["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "x/v1", "kind": "Database", "name": "x", "uid": "x", "controller": true}]);
    stopped(&owned, &["Database x"]);
    let mut other = Run::new(3, &["1"], json!({}));
    assert_eq!(other.run(), Move::Held);
    let manifest = typed(&other.wanted);
    let goal = Goal { release_uid: "other", ..other.goal(&manifest) };
    assert!(matches!(next(Some(&other.sim.seen()), &goal), Move::Stop(why) if why.contains("release r-1")));
    // Old pods that fail are not the other one's to delete.
    let mut lame = other.sim.clone();
    lame.patch(&json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})).unwrap();
    lame.sync();
    lame.obey();
    lame.fail(0);
    let seen = WorkloadSeen::StatefulSet(Box::new(lame.seen()));
    assert!(in_the_way(&lame.seen()).is_some());
    assert_eq!(seen.undo("other", goal.now), Undo::Done, "nothing of its own to undo");
    assert!(matches!(seen.undo(UID, goal.now), Undo::Patch(_)));
    assert_eq!(next(None, &goal), Move::Create);
}

#[test]
fn rescue_finishes_or_aborts_without_the_release() {
    for (all, finishes) in [("nnnnnn", true), ("oooooo", false)] {
        let mut run = Run::new(6, &["50%"], json!({}));
        assert_eq!(run.run(), Move::Held);
        let (finish, abort) = rescue(&run.sim.seen().live).unwrap().unwrap();
        run.sim.patch(if finishes { &finish } else { &abort }).unwrap();
        run.sim.settle();
        assert_eq!(run.places(), all);
        assert_eq!(rescue(&run.sim.seen().live), Ok(None));
    }
}

/// What happens between two looks.
#[derive(Clone, Debug)]
enum Event {
    Look,
    /// The engine read, then somebody else wrote, then the engine wrote.
    StaleLook,
    Sync,
    Obey,
    Ready(usize),
    Lose(usize),
    Tick(u8),
    Allow,
    Hold(bool),
    Retry,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Look), 1 => Just(Event::StaleLook), 5 => Just(Event::Sync), 5 => Just(Event::Obey),
        4 => (0_usize..8).prop_map(Event::Ready), 1 => (0_usize..8).prop_map(Event::Lose),
        1 => (0_u8..40).prop_map(Event::Tick), 2 => Just(Event::Allow), 1 => any::<bool>().prop_map(Event::Hold),
        1 => Just(Event::Retry),
    ]
}

fn plan() -> impl Strategy<Value = Vec<Amount>> {
    prop::collection::vec(prop_oneof![(0_u32..9).prop_map(Amount::Count), (0_u8..=100).prop_map(Amount::Percent)], 0..5)
}

/// What a manifest may say of the strategy, and the partition that it names.
fn named() -> impl Strategy<Value = (Value, Option<usize>)> {
    let of = |p: usize| (json!({"type": "RollingUpdate", "rollingUpdate": {"partition": p}}), Some(p));
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

    /// Any order of looks, controller, readiness, lost pods, allowances, holds and new attempts: never past the batch
    /// that is allowed, never two pods missing but those that were lost, and in the end exactly what was asked, with the
    /// user's own settings.
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
        let all = targets(&run.batches, size);
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
                    Move::Patch(patch, _) => {
                        run.sim.patch(&json!({"metadata": {"labels": {"x": "y"}}})).unwrap();
                        prop_assert_eq!(run.sim.patch(&patch), Err("409"));
                    }
                    Move::Delete(pod, _) => prop_assert_eq!(run.sim.delete(&pod.uid, "old"), Err("409")),
                    _ => {}
                },
                Event::Sync => run.sim.sync(),
                Event::Obey => run.sim.obey(),
                Event::Ready(n) => { run.sim.ready_up(n); }
                Event::Lose(n) => { run.sim.lose(n); lost += 1; }
                Event::Tick(s) => run.sim.now += i64::from(s),
                Event::Allow => run.upto = (run.upto + 1).min(all.len()),
                Event::Hold(hold) => run.hold = hold,
                Event::Retry => run.attempt += 1,
            }
            prop_assert!(run.sim.ready() + 1 + lost >= replicas as u32, "{} of {replicas} ready", run.sim.ready());
            prop_assert!(run.sim.of("v2").0 <= all[run.upto - 1], "past the batch that is allowed");
        }
        run.hold = false;
        if abort {
            let (patches, _) = run.undo();
            let most = 1 + u32::from(kept < partition);
            prop_assert!(patches <= most);
            prop_assert_eq!((run.sim.of("v1"), run.sim.of("v2").0), ((replicas as u32, replicas as u32), 0));
            prop_assert_eq!(&run.sim.live["spec"]["updateStrategy"], &strategy);
        } else {
            for upto in run.upto..=all.len() {
                run.upto = upto;
                let end = run.run();
                prop_assert_eq!(run.sim.of("v2"), (all[upto - 1], all[upto - 1]));
                prop_assert_eq!(run.sim.of("v1").0, replicas as u32 - all[upto - 1]);
                let old = "o".repeat(replicas - all[upto - 1] as usize);
                prop_assert!(run.places().starts_with(&old), "the highest first: {}", run.places());
                prop_assert_eq!(end, if upto == all.len() { Move::Done } else { Move::Held });
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

    /// An autoscaler at work in between, and a version that may crash: whatever it does, the end is whole, either way.
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
                    Event::Obey => run.sim.obey(),
                    Event::Ready(n) => { run.sim.ready_up(n); }
                    Event::Lose(n) => run.sim.lose(n),
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
            prop_assert_eq!((run.sim.of("v1"), run.sim.of("v2").0), ((size, size), 0));
        } else {
            run.sim.settle();
            run.upto = run.batches.len();
            prop_assert_eq!(run.run(), Move::Done);
            prop_assert_eq!((run.sim.of("v2"), run.sim.of("v1").0), ((size, size), 0));
        }
    }
}
