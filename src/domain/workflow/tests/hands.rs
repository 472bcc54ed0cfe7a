//! Foreign changes to a workload in the middle of its rollout: no batch continues that nobody
//! allowed, the change is reported, and every way out leaves the user's own settings.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::*, cluster::*};
use crate::{
    api::{Decision::Pass, EnvironmentState, ReleasePhase, TaskPhase, label},
    domain::batches::simulator::Sim,
};

const NEVER: i64 = 2_147_483_646;

fn own() -> Value {
    json!({"minReadySeconds": 3, "progressDeadlineSeconds": 77,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}})
}

/// Current values of the settings that a rollout takes over.
fn settings(sim: &Sim) -> Value {
    let spec = &sim.live["spec"];
    let mut told = json!({});
    for key in [
        "minReadySeconds",
        "progressDeadlineSeconds",
        "strategy",
        "paused",
    ] {
        if let Some(value) = spec.get(key) {
            told[key] = value.clone();
        }
    }
    told
}

fn prod(c: &mut Cluster) -> &mut Sim {
    c.sims.get_mut(&name(PROD)).unwrap()
}

/// Production may begin, with settings of the user's own.
fn ready() -> Cluster {
    let mut c = Cluster::new(production());
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
        (c.prod(), c.status().phase),
        ((1, 3), ReleasePhase::Waiting)
    );
    c
}

pub(super) fn image(object: &mut Value, image: &str) {
    object["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
}

hands! {
    Resume,
    ResumeAndUndo,
    UndoLater,
    ApplyOlder,
    NoAnnotations,
    NoLatchAnnotation,
    NonsenseAnnotation,
    AnnotationOfLongAgo,
    SetImage,
    Recreate,
    MaxSurge,
    NoMinReady,
    NoDeadline,
    AllOfItOff,
    OldTemplateBare,
    NoSets,
    Delete,
    Orphan,
    MakeOld,
    MakeNew,
    MakeAsSaved,
    MakeAsSavedOverOrphans,
}

/// Merge patch that replaces the whole latch annotation.
pub(super) fn annotation(value: Value) -> Value {
    json!({"metadata": {"annotations": {label::LATCH: value}}})
}

pub(super) fn no_annotations(live: &Value) -> Value {
    let all = live["metadata"]["annotations"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let none: Value = all
        .keys()
        .map(|k| (k.clone(), Value::Null))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({"metadata": {"annotations": none}})
}

fn do_it(c: &mut Cluster, hand: Hand) {
    let Some(sim) = c.sims.get_mut(&name(PROD)) else {
        return;
    };
    let spec = |spec: Value| json!({"spec": spec});
    let template = |image: &str| json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}});
    let patch = match hand {
        Resume | ResumeAndUndo => spec(json!({"paused": null})),
        UndoLater => {
            sim.patch(&spec(json!({"paused": null}))).unwrap();
            sim.settle();
            sim.undo();
            sim.settle();
            return;
        }
        ApplyOlder => spec(template("v1")),
        NoAnnotations | OldTemplateBare => json!({}),
        NoLatchAnnotation => annotation(Value::Null),
        NonsenseAnnotation => annotation("nonsense".into()),
        AnnotationOfLongAgo => annotation(
            json!({"release": "a-1", "releaseUid": "uid-a-1", "task": "t", "attempt": 1, "batches": [], "template": "",
                "written": {"phase": "hold", "replicas": 4, "from": 0, "to": 0}, "after": {}, "before": {"own": {}, "template": {}}})
            .to_string()
            .into(),
        ),
        SetImage => spec(template("x")),
        Recreate => spec(json!({"strategy": {"type": "Recreate", "rollingUpdate": null}})),
        MaxSurge => spec(json!({"strategy": {"rollingUpdate": {"maxSurge": 3}}})),
        NoMinReady => spec(json!({"minReadySeconds": null})),
        NoDeadline => spec(json!({"progressDeadlineSeconds": 600})),
        AllOfItOff => spec(json!({"paused": null, "minReadySeconds": null, "progressDeadlineSeconds": 600, "strategy": null})),
        NoSets => {
            (sim.sets, sim.pods) = (vec![], vec![]);
            return;
        }
        Delete => return drop(c.delete_prod()),
        Orphan => {
            let left = c.delete_prod().unwrap();
            c.orphans.insert(name(PROD), left);
            return;
        }
        MakeOld | MakeNew | MakeAsSaved | MakeAsSavedOverOrphans => {
            let left = c.delete_prod().unwrap();
            let mut object = left.live.clone();
            if hand == MakeAsSavedOverOrphans {
                c.orphans.insert(name(PROD), left);
            }
            if matches!(hand, MakeOld | MakeNew) {
                image(&mut object, if hand == MakeOld { "v1" } else { "v2" });
                let spec = object["spec"].as_object_mut().unwrap();
                for key in ["paused", "minReadySeconds", "progressDeadlineSeconds", "strategy"] {
                    spec.shift_remove(key);
                }
                object["metadata"]["annotations"].as_object_mut().unwrap().shift_remove(label::LATCH);
            }
            c.make_prod(&object);
            return prod(c).settle();
        }
    };
    sim.patch(&patch).unwrap();
    match hand {
        ResumeAndUndo => drop(sim.undo()),
        NoAnnotations | AllOfItOff => sim.patch(&no_annotations(&sim.live.clone())).unwrap(),
        OldTemplateBare => {
            sim.patch(&spec(template("v1"))).unwrap();
            sim.patch(&no_annotations(&sim.live.clone())).unwrap();
        }
        _ => {}
    }
}

/// New pods that the change itself rolls out or creates: 0 when the batches stay as they were
/// allowed.
fn rolled_by(hand: Hand) -> u32 {
    // A paused Deployment is still scaled up to what maxSurge allows.
    if matches!(hand, AllOfItOff | MakeNew | MaxSurge) {
        4
    } else {
        0
    }
}

/// It is paused and has no ReplicaSet: no pods run, and none will.
fn runs_nothing(hand: Hand) -> bool {
    matches!(hand, MakeAsSaved | NoSets)
}

/// The message of a failed task describes the current state.
#[test]
fn a_failed_task_tells_the_last_hand_and_not_the_first() {
    let mut c = at_batch_one();
    let object = prod(&mut c).live.clone();
    do_it(&mut c, Delete);
    c.settle();
    let first = c.task("deploy-prod");
    assert!(
        first.message.as_deref().unwrap().contains("it is gone"),
        "{first:?}"
    );
    c.pass(3600);
    c.settle();
    assert_eq!(
        c.task("deploy-prod").message,
        first.message,
        "since when does not change"
    );
    assert!(c.environment("prod").message == first.message);
    c.make_prod(&object);
    c.settle();
    let second = c.task("deploy-prod");
    let told = second.message.clone().unwrap();
    assert!(
        second.phase == TaskPhase::Failed && !told.contains("it is gone"),
        "{told}"
    );
    assert!(
        told.contains("somebody else deleted and recreated it"),
        "{told}"
    );
    assert_eq!(c.environment("prod").message, second.message);
    assert_eq!(c.status().message, second.message);
    do_it(&mut c, Delete);
    c.settle();
    let third = c.task("deploy-prod").message.unwrap();
    assert!(
        third.contains("it is gone in the middle of its rollout"),
        "{third}"
    );
    c.pass(3600);
    c.settle();
    assert_eq!(c.task("deploy-prod").message, Some(third));
    c.control().retry.insert("deploy-prod".into(), 1);
    c.settle();
    assert_eq!(
        (c.status().phase, c.prod()),
        (ReleasePhase::Waiting, (1, 3)),
        "{:#?}",
        c.status()
    );
}

#[test]
fn every_hand_closes_the_gate_is_told_and_can_be_got_past_either_way() {
    for &hand in ALL {
        for abort in [true, false] {
            let mut c = at_batch_one();
            do_it(&mut c, hand);
            c.settle();
            let told = c.status().message.unwrap_or_default();
            assert_eq!(c.status().phase, ReleasePhase::Failed, "{hand:?}: {told}");
            assert!(told.contains(PROD), "{hand:?}: {told}");
            if matches!(
                hand,
                Delete
                    | Orphan
                    | NoSets
                    | MakeOld
                    | MakeNew
                    | MakeAsSaved
                    | ResumeAndUndo
                    | NoAnnotations
                    | AllOfItOff
            ) {
                assert!(
                    told.contains("graylane retry a-7") && told.contains("graylane abort a-7"),
                    "{hand:?}: {told}"
                );
            }
            if let Some(sim) = c.sims.get(&name(PROD)) {
                assert!(
                    sim.count_by_image("v2").0 <= rolled_by(hand).max(1),
                    "{hand:?}: {} new",
                    sim.count_by_image("v2").0
                );
            } else {
                assert!(
                    matches!(hand, Delete | Orphan),
                    "nothing is made again before somebody asks for it"
                );
            }
            // Allowing more changes nothing while the task has failed.
            c.control().allow.insert("deploy-prod".into(), 2);
            c.settle();
            assert_eq!(c.status().phase, ReleasePhase::Failed, "{hand:?}");
            c.control().allow.remove("deploy-prod");
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
                let want = if hand == MakeNew { (4, 0) } else { (0, 4) };
                assert_eq!(c.prod(), want, "{hand:?}");
                assert_eq!(
                    settings(prod(&mut c)),
                    if theirs { json!({}) } else { own() },
                    "{hand:?}"
                );
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
                    c.sims[&name(PROD)].live["metadata"]["annotations"]
                        .get(label::LATCH)
                        .is_none(),
                    "{hand:?}"
                );
                continue;
            }
            if runs_nothing(hand) {
                assert_eq!(c.prod(), (0, 0), "{hand:?}");
            }
            c.control().retry.insert("deploy-prod".into(), 1);
            c.settle();
            assert_eq!(
                c.status().phase,
                ReleasePhase::Waiting,
                "{hand:?}: {:#?}",
                c.status()
            );
            let new = c.prod().0;
            assert!(
                new <= rolled_by(hand).max(1) && new > 0,
                "{hand:?}: {new} new after a retry"
            );
            c.control().allow.insert("deploy-prod".into(), 2);
            c.settle();
            assert_eq!(
                (c.status().phase, c.prod()),
                (ReleasePhase::Succeeded, (4, 0)),
                "{hand:?}: {:#?}",
                c.status()
            );
            let left = settings(prod(&mut c));
            assert!(
                left["minReadySeconds"] != NEVER && left.get("paused").is_none(),
                "{hand:?}: {left}"
            );
            if !matches!(hand, MakeOld | MakeNew) {
                assert_eq!(left, own(), "{hand:?}");
            }
        }
    }
}

#[test]
fn who_was_at_it_is_told_as_far_as_the_server_knows() {
    let mut c = at_batch_one();
    do_it(&mut c, ResumeAndUndo);
    let fields = json!({"f:spec": {"f:template": {}}});
    prod(&mut c).live["metadata"]["managedFields"] = json!([{"manager": "kubectl-rollout", "operation": "Update",
        "time": "2026-01-01T00:00:00Z", "fieldsV1": fields}]);
    c.settle();
    let told = c.status().message.unwrap();
    assert!(
        told.contains("removed, last written by kubectl-rollout at 2026-01-01T00:00:00Z"),
        "{told}"
    );
    assert!(
        told.contains("spec.template was changed (image now v1)"),
        "{told}"
    );
}

#[test]
fn what_is_gone_before_its_first_batch_is_made_whole_only_when_somebody_says_so() {
    let mut c = ready();
    c.delete_prod();
    c.settle();
    let told = c.status().message.unwrap_or_default();
    assert!(
        c.status().phase == ReleasePhase::Failed && told.contains("it is gone"),
        "{told}"
    );
    assert!(!c.sims.contains_key(&name(PROD)));
    c.control().retry.insert("deploy-prod".into(), 1);
    c.settle();
    assert_eq!(
        (c.status().phase, c.prod()),
        (ReleasePhase::Succeeded, (4, 0)),
        "{:#?}",
        c.status()
    );
    // When every batch is allowed, nothing holds it.
    let mut c = ready();
    c.delete_prod();
    c.control().allow.insert("deploy-prod".into(), 2);
    c.settle();
    assert_eq!(
        (c.status().phase, c.prod()),
        (ReleasePhase::Succeeded, (4, 0)),
        "{:#?}",
        c.status()
    );
    // An abort comes to an end.
    let mut c = ready();
    c.delete_prod();
    c.settle();
    c.control().abort = true;
    c.settle();
    assert_eq!(c.status().phase, ReleasePhase::Aborted);
}

/// The Release that rolled it out is over or gone, and its latch is still on.
#[test]
fn the_next_release_frees_what_an_earlier_one_left() {
    for (known, undone) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut c = at_batch_one();
        do_it(&mut c, if undone { ResumeAndUndo } else { NoAnnotations });
        let by = if undone {
            "kubectl-rollout"
        } else {
            crate::api::FIELD_MANAGER
        };
        prod(&mut c).live["metadata"]["managedFields"] = json!([{"manager": by, "operation": "Update",
            "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}}]);
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
            assert!(
                c.status().phase == ReleasePhase::Failed && told.contains("graylane rescue"),
                "{told}"
            );
            continue;
        }
        assert_eq!(c.status().phase, ReleasePhase::Waiting, "{:#?}", c.status());
        assert_eq!(prod(&mut c).count_by_image("v3").0, 1);
        c.control().abort = true;
        c.settle();
        assert_eq!(
            (c.status().phase, c.prod()),
            (ReleasePhase::Aborted, (0, 4))
        );
        let left = settings(prod(&mut c));
        assert_eq!(left, if known { own() } else { json!({}) });
    }
}

/// Whether this release has not begun a rollout of production.
pub(super) fn unbegun(c: &Cluster) -> bool {
    c.task("deploy-prod")
        .rollouts
        .iter()
        .all(|r| r.state == crate::api::RolloutState::Gone)
}

/// Checks that no patch opens more than was allowed, except what the foreign change has already
/// rolled out.
fn check(c: &Cluster, step: &ReleaseStep) {
    let all = c
        .release
        .spec
        .control
        .allow
        .get("deploy-prod")
        .is_some_and(|n| *n >= 2);
    let live = |sim: &Sim| sim.live["spec"]["template"]["spec"]["containers"][0]["image"] == "v2";
    match step {
        ReleaseStep::Apply { object, .. }
            if object["metadata"]["name"] == PROD && object["kind"] == "Deployment" =>
        {
            let made = &object["spec"]["template"]["spec"]["containers"][0]["image"];
            // When nothing was known about it any more, a person allowed exactly that.
            let told = c
                .task("deploy-prod")
                .rollouts
                .iter()
                .any(|r| r.state == crate::api::RolloutState::Gone);
            // Otherwise it is the old version, which somebody else may have changed by then.
            assert!(
                all || told || made != "v2",
                "made whole with the new version"
            );
        }
        ReleaseStep::Patch {
            workload, patch, ..
        } if workload.key.name == PROD => {
            let mut after = Sim::create(&c.sims[&name(PROD)].live, "x", 0);
            let sim = &c.sims[&name(PROD)];
            let new = |s: &&crate::domain::batches::simulator::Set| {
                s.template["spec"]["containers"][0]["image"] == "v2"
            };
            let asked: u32 = sim.sets.iter().filter(new).map(|s| s.replicas).sum();
            let before = sim.count_by_image("v2").0.max(asked);
            // Recreate is a single batch.
            let native = |s: &Sim| {
                s.live["metadata"]["annotations"][label::LATCH]
                    .as_str()
                    .is_some_and(|l| l.contains("\"mode\":\"native\""))
            };
            after.live = c.sims[&name(PROD)].live.clone();
            if after.patch(patch).is_err() || !live(&after) || native(sim) || native(&after) {
                return;
            }
            let latch = after.live["metadata"]["annotations"]
                .get(label::LATCH)
                .and_then(Value::as_str);
            match latch.map(|text| serde_json::from_str::<Value>(text).unwrap()) {
                Some(latch) => {
                    let to = latch["written"]["to"].as_u64().unwrap() as u32;
                    assert!(all || to <= 1.max(before), "opens for {to} of {before}");
                }
                // Made new by somebody else, or because a person asked for it when it was gone.
                // Without a rollout of graylane no patch finishes it, and its controller already
                // updates all pods.
                None => assert!(
                    all || before >= 4 || (live(sim) && unbegun(c)),
                    "finished unasked"
                ),
            }
        }
        _ => {}
    }
}

#[derive(Clone, Debug)]
enum Event {
    Look,
    Crash(usize),
    Controllers,
    Ready(usize),
    Tick(u64),
    Hand(Hand),
    Retry,
    Allow,
    Abort,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Look), 2 => (0_usize..5).prop_map(Event::Crash), 6 => Just(Event::Controllers),
        5 => (0_usize..8).prop_map(Event::Ready), 2 => (1_u64..6).prop_map(Event::Tick),
        3 => prop::sample::select(ALL).prop_map(Event::Hand), 2 => Just(Event::Retry),
        1 => prop_oneof![2 => Just(Event::Allow), 1 => Just(Event::Abort)],
    ]
}

/// A pass that is cut off after `most` writes, the status first; every step is checked before it is
/// taken.
pub(super) fn look(c: &mut Cluster, most: usize, check: impl Fn(&Cluster, &ReleaseStep)) {
    let decision = c.look();
    if most == 0 {
        return;
    }
    c.take(&decision, 1);
    for step in decision.steps.iter().take(most - 1) {
        check(c, step);
        c.take(
            &Decision {
                status: decision.status.clone(),
                steps: vec![step.clone()],
                look_again: None,
            },
            2,
        );
    }
}

pub(super) fn retry_failed(c: &mut Cluster) {
    for t in c.status().tasks {
        if t.phase == TaskPhase::Failed {
            c.control().retry.insert(t.name, t.attempt);
        }
    }
}

/// Retries what fails and allows everything; later the release is aborted. It must come to an end.
pub(super) fn play_to_the_end(c: &mut Cluster, abort: bool) {
    c.control().abort |= abort;
    for round in 0..12 {
        c.control().abort |= round == 8;
        c.settle();
        retry_failed(c);
        for t in c.status().tasks {
            if t.phase == TaskPhase::Waiting {
                c.control().allow.insert(t.name, 3);
            }
        }
        if c.status().phase.is_final() {
            break;
        }
    }
    assert!(c.status().phase.is_final(), "{:#?}", c.status());
}

fn play(events: Vec<Event>, abort: bool) {
    let mut c = ready();
    // The way back of production is over while gray still drains.
    let over = |c: &Cluster| {
        c.status()
            .tasks
            .iter()
            .any(|t| t.name == "deploy-prod" && t.phase == TaskPhase::Aborted)
    };
    let mut late = false;
    for event in events {
        match event {
            Event::Look => look(&mut c, usize::MAX, check),
            Event::Crash(n) => look(&mut c, n, check),
            Event::Controllers => c.sims.values_mut().for_each(|s| {
                s.sync();
                s.sync_pods();
            }),
            Event::Ready(n) => c.sims.values_mut().for_each(|s| {
                s.ready_up(n);
            }),
            Event::Tick(n) => c.pass(n),
            Event::Hand(hand) if !c.status().phase.is_final() => {
                late |= over(&c);
                do_it(&mut c, hand);
            }
            Event::Hand(_) => {}
            Event::Retry => retry_failed(&mut c),
            Event::Allow => drop(c.control().allow.insert("deploy-prod".into(), 2)),
            Event::Abort => c.control().abort = true,
        }
        c.route();
    }
    play_to_the_end(&mut c, abort);
    let Some(sim) = c.sims.get(&name(PROD)) else {
        return;
    };
    let left = settings(sim);
    assert!(left["minReadySeconds"] != NEVER, "{left}");
    // What somebody else wrote there while nothing was in progress is not this release's to remove.
    let latch = sim.live["metadata"]["annotations"]
        .get(label::LATCH)
        .and_then(Value::as_str);
    assert!(
        late || latch.is_none_or(|l| l.contains("a-1") || l == "nonsense"),
        "{latch:?}"
    );
}

/// Failures found by the property test below; playing the events checks them.
mod found {
    use super::{Event::*, *};

    /// It was to be restored because no pods ran, and the engine died before that patch: without
    /// the annotation the rollout was forgotten, no retry got past the pause, and the abort waited
    /// for pods that could never come.
    #[test]
    fn what_was_to_be_brought_back_is_when_the_patch_never_came() {
        let begun = [
            Look,
            Controllers,
            Hand(MakeOld),
            Ready(0),
            Look,
            Look,
            Look,
            Controllers,
            Ready(0),
            Look,
        ];
        let hands = [
            Controllers,
            Look,
            Hand(NoMinReady),
            Hand(OldTemplateBare),
            Look,
            Retry,
            Hand(NoSets),
            Crash(1),
        ];
        for abort in [false, true] {
            play(begun.iter().chain(&hands).cloned().collect(), abort);
        }
    }

    /// New before any rollout of it began, by somebody else or because a person asked for it: the
    /// missing marks are added, and that allows nothing.
    #[test]
    fn what_was_new_before_its_rollout_is_marked() {
        for hand in [AllOfItOff, NoAnnotations] {
            let gone = [
                Look,
                Hand(Delete),
                Controllers,
                Ready(0),
                Look,
                Look,
                Look,
                Retry,
                Look,
            ];
            play(gone.into_iter().chain([Hand(hand), Look]).collect(), false);
        }
        play(
            vec![
                Hand(MakeNew),
                Look,
                Controllers,
                Ready(0),
                Look,
                Hand(NoSets),
                Look,
                Look,
            ],
            false,
        );
    }

    /// An undo after the abort was done with production restores an annotation of this release from
    /// the new version's ReplicaSet.
    #[test]
    fn what_is_undone_after_the_way_back_is_in_nobodys_hands() {
        let begun = [
            Look,
            Controllers,
            Ready(0),
            Look,
            Look,
            Look,
            Abort,
            Look,
            Controllers,
            Look,
            Controllers,
            Look,
        ];
        play(
            begun
                .into_iter()
                .chain([Look, Hand(ResumeAndUndo), Look, Look, Look, Look])
                .collect(),
            false,
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_hand_lets_a_batch_through_and_no_latch_stays(
        events in prop::collection::vec(event(), 0..60), abort in any::<bool>(),
    ) {
        play(events, abort);
    }
}
