//! Foreign changes to a StatefulSet in the middle of its rollout: see [`super::hands`].

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::*,
    cluster::*,
    hands::{annotation, image, look, no_annotations, play_to_the_end, retry_failed, unbegun},
};
use crate::{
    api::{Decision::Pass, EnvironmentState, FIELD_MANAGER, ReleasePhase, label},
    domain::batches::stateful::simulator::Sim,
};

/// Partition that somebody else sets.
const RAISED: usize = 100;
const LOWERED: usize = 1;

hands! {
    PartitionRaised,
    PartitionLowered,
    PartitionRemoved,
    OnDelete,
    MaxUnavailable,
    NoMinReady,
    Undo,
    Restart,
    SetImage,
    NoAnnotations,
    NoLatchAnnotation,
    NonsenseAnnotation,
    AnnotationOfLongAgo,
    AllOfItOff,
    OldTemplateBare,
    ReplicasUp,
    ReplicasDown,
    Delete,
    Orphan,
    MakeOld,
    MakeNew,
    MakeAsSaved,
    MakeAsSavedOverOrphans,
}

fn own() -> Value {
    json!({"minReadySeconds": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}})
}

/// Current values of the settings that a rollout takes over.
fn settings(sim: &Sim) -> Value {
    let spec = &sim.live["spec"];
    let mut told = json!({"updateStrategy": spec["updateStrategy"]});
    if let Some(value) = spec.get("minReadySeconds") {
        told["minReadySeconds"] = value.clone();
    }
    told
}

fn prod(c: &mut Cluster) -> &mut Sim {
    c.sets.get_mut(&name(PROD)).unwrap()
}

/// Number of new and old pods in production.
fn pods(c: &Cluster) -> (u32, u32) {
    let sim = &c.sets[&name(PROD)];
    (sim.count_by_image("v2").0, sim.count_by_image("v1").0)
}

fn ready() -> Cluster {
    let mut c = Cluster::with_stateful(production());
    prod(&mut c).patch(&json!({"spec": own()})).unwrap();
    c.settle();
    c.approve("gate", "me", Pass);
    c.control().allow.insert("go".into(), 1);
    c
}

fn at_batch_one() -> Cluster {
    let mut c = ready();
    c.settle();
    assert_eq!(
        (pods(&c), c.status().phase),
        ((1, 3), ReleasePhase::Waiting),
        "{:#?}",
        c.status()
    );
    c
}

fn do_it(c: &mut Cluster, hand: Hand) {
    let Some(sim) = c.sets.get_mut(&name(PROD)) else {
        return;
    };
    let spec = |spec: Value| json!({"spec": spec});
    let partition =
        |at: usize| spec(json!({"updateStrategy": {"rollingUpdate": {"partition": at}}}));
    let template = |image: &str| json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}});
    let off = json!({"updateStrategy": {"rollingUpdate": null}, "minReadySeconds": null});
    let patch = match hand {
        PartitionRaised => partition(RAISED),
        PartitionLowered => partition(LOWERED),
        PartitionRemoved => spec(json!({"updateStrategy": {"rollingUpdate": null}})),
        OnDelete => spec(json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}})),
        MaxUnavailable => spec(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}})),
        NoMinReady => spec(json!({"minReadySeconds": null})),
        // Unlike for a Deployment, it restores no annotations.
        Undo => spec(template("v1")),
        Restart => spec(json!({"template": {"metadata": {"annotations": {"restartedAt": "now"}}}})),
        SetImage => spec(template("x")),
        NoAnnotations => no_annotations(&sim.live),
        NoLatchAnnotation => annotation(Value::Null),
        NonsenseAnnotation => annotation("nonsense".into()),
        AnnotationOfLongAgo => annotation(
            json!({"release": "a-1", "releaseUid": "uid-a-1", "task": "t", "attempt": 1, "batches": [], "template": "",
                "written": {"partition": 3, "replicas": 4}, "after": {}, "before": {"own": {}, "template": {}}})
            .to_string()
            .into(),
        ),
        AllOfItOff | OldTemplateBare => {
            let bare = no_annotations(&sim.live);
            sim.patch(&bare).unwrap();
            let mut all = off;
            if hand == OldTemplateBare {
                json_patch::merge(&mut all, &template("v1"));
            }
            spec(all)
        }
        ReplicasUp => spec(json!({"replicas": 6})),
        ReplicasDown => spec(json!({"replicas": 2})),
        Delete => return drop(c.delete_set()),
        Orphan => {
            let left = c.delete_set().unwrap();
            c.orphans_of_sets.insert(name(PROD), left);
            return;
        }
        MakeOld | MakeNew | MakeAsSaved | MakeAsSavedOverOrphans => {
            let left = c.delete_set().unwrap();
            let mut object = left.live.clone();
            if hand == MakeAsSavedOverOrphans {
                c.orphans_of_sets.insert(name(PROD), left);
            }
            if matches!(hand, MakeOld | MakeNew) {
                image(&mut object, if hand == MakeOld { "v1" } else { "v2" });
                let spec = object["spec"].as_object_mut().unwrap();
                spec.shift_remove("updateStrategy");
                spec.shift_remove("minReadySeconds");
                object["metadata"]["annotations"].as_object_mut().unwrap().shift_remove(label::LATCH);
            }
            c.make_prod(&object);
            return prod(c).settle();
        }
    };
    sim.patch(&patch).unwrap();
}

/// New pods that the change itself rolls out or creates: 0 when the batches stay as they were
/// allowed. A StatefulSet that is created from nothing creates all pods of the version it names,
/// whatever its partition; pods added by scaling are at the top, and new.
fn rolled_by(hand: Hand) -> u32 {
    match hand {
        PartitionRemoved | AllOfItOff | MakeNew | MakeAsSaved => 4,
        PartitionLowered | ReplicasUp => 3,
        _ => 0,
    }
}

#[test]
fn every_hand_closes_the_gate_is_told_and_can_be_got_past_either_way() {
    for &hand in ALL {
        for abort in [true, false] {
            let mut c = at_batch_one();
            do_it(&mut c, hand);
            c.settle();
            let told = c.status().message.unwrap_or_default();
            // Scaling is up to the user: the rollout adapts to it.
            let scales = matches!(hand, ReplicasUp | ReplicasDown);
            let stands = if scales {
                ReleasePhase::Waiting
            } else {
                ReleasePhase::Failed
            };
            assert_eq!(c.status().phase, stands, "{hand:?}: {told}");
            assert!(scales || told.contains(PROD), "{hand:?}: {told}");
            match c.sets.get(&name(PROD)) {
                Some(sim) => assert!(
                    sim.count_by_image("v2").0 <= rolled_by(hand).max(1),
                    "{hand:?}: {} new",
                    sim.count_by_image("v2").0
                ),
                None => assert!(
                    matches!(hand, Delete | Orphan),
                    "nothing is made again before somebody asks for it"
                ),
            }
            let size = match hand {
                ReplicasUp => 6,
                ReplicasDown => 2,
                _ => 4,
            };
            if abort {
                c.control().abort = true;
                c.settle();
                assert_eq!(
                    c.status().phase,
                    ReleasePhase::Aborted,
                    "{hand:?}: {:#?}",
                    c.status()
                );
                let theirs = matches!(hand, MakeOld | MakeNew);
                assert_eq!(
                    pods(&c),
                    if hand == MakeNew { (4, 0) } else { (0, size) },
                    "{hand:?}"
                );
                let mut want = own();
                if theirs {
                    want.as_object_mut()
                        .unwrap()
                        .shift_remove("minReadySeconds");
                }
                assert_eq!(settings(prod(&mut c)), want, "{hand:?}");
                let again = theirs || matches!(hand, MakeAsSaved | MakeAsSavedOverOrphans);
                let state = if again {
                    EnvironmentState::Error
                } else {
                    EnvironmentState::Running
                };
                assert_eq!(
                    c.environment("prod").state,
                    state,
                    "{hand:?}: {:?}",
                    c.environment("prod").message
                );
                assert!(
                    prod(&mut c).live["metadata"]["annotations"]
                        .get(label::LATCH)
                        .is_none(),
                    "{hand:?}"
                );
                continue;
            }
            if !scales {
                // Allowing more changes nothing while the task has failed.
                c.control().allow.insert("deploy-prod".into(), 2);
                c.settle();
                assert_eq!(c.status().phase, ReleasePhase::Failed, "{hand:?}");
                c.control().allow.remove("deploy-prod");
                c.control().retry.insert("deploy-prod".into(), 1);
                c.settle();
            }
            assert_eq!(
                c.status().phase,
                ReleasePhase::Waiting,
                "{hand:?}: {:#?}",
                c.status()
            );
            let new = pods(&c).0;
            assert!(
                new <= rolled_by(hand).max(1) && new > 0,
                "{hand:?}: {new} new after a retry"
            );
            c.control().allow.insert("deploy-prod".into(), 2);
            c.settle();
            assert_eq!(
                (c.status().phase, pods(&c)),
                (ReleasePhase::Succeeded, (size, 0)),
                "{hand:?}: {:#?}",
                c.status()
            );
            let left = settings(prod(&mut c));
            assert_eq!(left["updateStrategy"], own()["updateStrategy"], "{hand:?}");
            assert!(
                matches!(hand, MakeOld | MakeNew) || left == own(),
                "{hand:?}: {left}"
            );
        }
    }
}

/// The Release that rolled it out is over or gone, and its annotation too, but its partition is
/// still set.
#[test]
fn the_next_release_takes_no_left_partition_for_the_users_own() {
    let by = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": fields}});
    let partition = || json!({"f:updateStrategy": {"f:rollingUpdate": {"f:partition": {}}}});
    for (known, undone) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut c = at_batch_one();
        do_it(&mut c, NoAnnotations);
        if undone {
            do_it(&mut c, Undo);
            prod(&mut c).settle();
        }
        let template = if undone { "kubectl" } else { FIELD_MANAGER };
        prod(&mut c).live["metadata"]["managedFields"] = json!([
            by(template, json!({"f:template": {}})),
            by(FIELD_MANAGER, partition())
        ]);
        if known {
            let record = c.task("deploy-prod").rollouts[0].clone();
            c.records.insert(record.workload.object.clone(), record);
        }
        c.release = release("a-8", "v3");
        c.approvals.clear();
        c.settle();
        c.approve("gate", "me", Pass);
        c.control().allow.insert("go".into(), 1);
        c.settle();
        let told = c.status().message.unwrap_or_default();
        if !undone {
            // With two versions, nobody knows which one should stay.
            let way = if known {
                "graylane rescue"
            } else {
                "kubectl rollout undo statefulset a-prod"
            };
            assert!(
                c.status().phase == ReleasePhase::Failed && told.contains(way),
                "{told}"
            );
            continue;
        }
        let own_of = |c: &mut Cluster| {
            prod(c).live["spec"]["updateStrategy"]["rollingUpdate"]["partition"].clone()
        };
        if known {
            assert_eq!(c.status().phase, ReleasePhase::Waiting, "{:#?}", c.status());
            assert_eq!(prod(&mut c).count_by_image("v3").0, 1);
            c.control().abort = true;
            c.settle();
            assert_eq!(
                (c.status().phase, own_of(&mut c)),
                (ReleasePhase::Aborted, json!(0))
            );
        } else {
            // With one version the partition may be the user's: it is kept, and reported.
            let warned = c
                .status()
                .history
                .iter()
                .filter_map(|h| h.message.clone())
                .any(|m| m.contains("excludes 3 pods"));
            assert!(warned, "{:#?}", c.status().history);
            assert_eq!(
                (prod(&mut c).count_by_image("v3").0, own_of(&mut c)),
                (1, json!(3))
            );
        }
    }
}

/// A partition that a finished rollout left is the user's own, whoever wrote it.
#[test]
fn what_a_finished_rollout_left_is_nobodys_leftover() {
    let mut c = at_batch_one();
    c.control().allow.insert("deploy-prod".into(), 2);
    c.settle();
    assert_eq!(c.status().phase, ReleasePhase::Succeeded);
    let told = prod(&mut c).live["metadata"]["annotations"][label::PREVIOUS]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["left"], own());
}

/// Checks that no patch allows more new pods than were allowed, except what the foreign change has
/// already rolled out.
fn check(c: &Cluster, step: &ReleaseStep) {
    let all = c
        .release
        .spec
        .control
        .allow
        .get("deploy-prod")
        .is_some_and(|n| *n >= 2);
    let is_new = |live: &Value| live["spec"]["template"]["spec"]["containers"][0]["image"] == "v2";
    // The old version may be somebody else's with the new image: the extra annotation tells.
    let theirs = |live: &Value| live["spec"]["template"]["metadata"]["annotations"].is_object();
    match step {
        ReleaseStep::Apply { object, .. }
            if object["metadata"]["name"] == PROD && object["kind"] == "StatefulSet" =>
        {
            let told = c
                .task("deploy-prod")
                .rollouts
                .iter()
                .any(|r| r.state == crate::api::RolloutState::Gone);
            assert!(
                all || told || theirs(object) || !is_new(object),
                "made whole with the new version"
            );
        }
        ReleaseStep::Patch {
            workload, patch, ..
        } if workload.key.name == PROD => {
            let sim = &c.sets[&name(PROD)];
            let mut after = sim.clone();
            if after.patch(patch).is_err() || !is_new(&after.live) || theirs(&after.live) {
                return;
            }
            let opened = |sim: &Sim| sim.replicas().saturating_sub(sim.partition());
            let new = sim
                .pods
                .iter()
                .filter(|p| p.image == "v2")
                .map(|p| p.place)
                .min();
            let there = new.map_or(0, |lowest| sim.replicas().saturating_sub(lowest));
            // What somebody else made new as a whole stays so at any size: added pods come up new.
            let whole = is_new(&sim.live) && sim.partition() == 0 && unbegun(c);
            let asked = if is_new(&sim.live) { opened(sim) } else { 0 };
            let most = if whole {
                after.replicas()
            } else {
                1.max(there).max(asked)
            };
            assert!(
                all || opened(&after) <= most,
                "opens {} of {most}: {patch}",
                opened(&after)
            );
        }
        _ => {}
    }
}

#[derive(Clone, Debug)]
enum Event {
    Look,
    Crash(usize),
    Sync,
    Obey,
    Ready(usize),
    Tick(u64),
    Hand(Hand),
    Retry,
    Allow,
    Abort,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Look), 2 => (0_usize..5).prop_map(Event::Crash), 6 => Just(Event::Sync), 6 => Just(Event::Obey),
        5 => (0_usize..8).prop_map(Event::Ready), 2 => (1_u64..6).prop_map(Event::Tick),
        3 => prop::sample::select(ALL).prop_map(Event::Hand), 2 => Just(Event::Retry),
        1 => prop_oneof![2 => Just(Event::Allow), 1 => Just(Event::Abort)],
    ]
}

fn play(events: Vec<Event>, abort: bool) {
    let mut c = ready();
    for event in events {
        match event {
            Event::Look => look(&mut c, usize::MAX, check),
            Event::Crash(n) => look(&mut c, n, check),
            Event::Sync => c.sets.values_mut().for_each(Sim::sync),
            Event::Obey => c.sets.values_mut().for_each(Sim::remove_terminating),
            Event::Ready(n) => c.sets.values_mut().for_each(|s| {
                s.ready_up(n);
            }),
            Event::Tick(n) => c.pass(n),
            Event::Hand(hand) if !c.status().phase.is_final() => do_it(&mut c, hand),
            Event::Hand(_) => {}
            Event::Retry => retry_failed(&mut c),
            Event::Allow => drop(c.control().allow.insert("deploy-prod".into(), 2)),
            Event::Abort => c.control().abort = true,
        }
        c.sims
            .values_mut()
            .for_each(crate::domain::batches::simulator::Sim::settle);
        c.route();
    }
    play_to_the_end(&mut c, abort);
    let Some(sim) = c.sets.get(&name(PROD)) else {
        return;
    };
    // No value of the rollout stays: only what was there before, or what somebody else set.
    assert!(
        [0, LOWERED, RAISED].contains(&sim.partition()),
        "{}",
        sim.live["spec"]["updateStrategy"]
    );
    let latch = sim.live["metadata"]["annotations"]
        .get(label::LATCH)
        .and_then(Value::as_str);
    assert!(
        latch.is_none_or(|l| l.contains("a-1") || l == "nonsense"),
        "{latch:?}"
    );
}

/// Found by the property test below: the release created it whole, and then rolled it out because
/// somebody had undone that.
#[test]
fn what_a_release_made_itself_is_freed_by_its_abort() {
    let looks = std::iter::repeat_n(Event::Look, 4);
    let events = [Event::Allow, Event::Hand(Delete)].into_iter().chain(looks);
    play(
        events
            .chain([Event::Hand(Undo), Event::Sync, Event::Look])
            .collect(),
        true,
    );
}

/// Found by the property test below: a restart annotation beside the new image makes another
/// version of it, which is the old one.
#[test]
fn what_is_made_again_is_the_old_version_though_its_image_is_new() {
    use Event::*;
    let begun = [
        Hand(Restart),
        Hand(MakeNew),
        Look,
        Look,
        Look,
        Look,
        Hand(PartitionRaised),
        Look,
    ];
    play(
        begun
            .into_iter()
            .chain([Hand(Delete), Retry, Look])
            .collect(),
        false,
    );
    let scaled = [
        Look,
        Hand(Restart),
        Look,
        Look,
        Hand(MakeNew),
        Crash(1),
        Hand(ReplicasDown),
        Look,
    ];
    play(scaled.to_vec(), false);
}

/// Found by the property test below: OnDelete has no partition, and the value used for it was not
/// accepted by a server.
#[test]
fn what_is_made_again_on_delete_is_not_taken_in_hand() {
    let begun = || std::iter::repeat_n(Event::Look, 5);
    let after = [
        Event::Look,
        Event::Retry,
        Event::Look,
        Event::Hand(NoAnnotations),
        Event::Look,
    ];
    for hands in [
        &[MakeOld, OnDelete][..],
        &[OnDelete, NoAnnotations, MakeAsSaved],
    ] {
        play(
            begun()
                .chain(hands.iter().map(|h| Event::Hand(*h)))
                .chain(after.clone())
                .collect(),
            false,
        );
    }
    let mut c = at_batch_one();
    do_it(&mut c, MakeOld);
    do_it(&mut c, OnDelete);
    c.settle();
    c.control().retry.insert("deploy-prod".into(), 1);
    c.settle();
    let told = c.status().message.unwrap_or_default();
    assert!(
        c.status().phase == ReleasePhase::Failed && told.contains("its updateStrategy is OnDelete"),
        "{told}"
    );
    do_it(&mut c, PartitionRemoved);
    prod(&mut c)
        .patch(&json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}}}))
        .unwrap();
    c.control().retry.insert("deploy-prod".into(), 2);
    c.settle();
    assert_eq!(
        (c.status().phase, pods(&c)),
        (ReleasePhase::Waiting, (1, 3)),
        "{:#?}",
        c.status()
    );
}

/// Found by the property test below: the record was one batch behind, so the rollout's own
/// partition was mistaken for the user's, and stayed.
#[test]
fn what_is_made_again_as_saved_brings_the_partition_of_any_batch() {
    use Event::*;
    let lowered = [Hand(PartitionLowered), Sync, Obey, Sync, Look, Retry, Look];
    let second = [
        Ready(0),
        Tick(3),
        Allow,
        Sync,
        Look,
        Look,
        Hand(MakeAsSaved),
        Hand(NoAnnotations),
    ];
    for abort in [false, true] {
        play(
            std::iter::repeat_n(Look, 4)
                .chain(lowered.clone())
                .chain(second.clone())
                .collect(),
            abort,
        );
    }
}

/// Found by the property test below: taken over after somebody had made more pods new, and
/// recreated with the old version before the next pass: the new pods no longer exist.
#[test]
fn what_is_made_again_old_opens_for_no_more_than_the_batch() {
    let looks = std::iter::repeat_n(Event::Look, 4);
    let grown = [
        Event::Hand(PartitionLowered),
        Event::Hand(ReplicasUp),
        Event::Look,
        Event::Retry,
        Event::Sync,
    ];
    let again = [Event::Look, Event::Hand(MakeOld), Event::Look];
    play(looks.chain(grown).chain(again).collect(), false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_hand_lets_a_batch_through_and_no_partition_stays(
        events in prop::collection::vec(event(), 0..60), abort in any::<bool>(),
    ) {
        play(events, abort);
    }
}
