//! Exact batches on a plain StatefulSet, by its `partition`: the same rules as for a Deployment
//! (see [`super`]), with another latch.
//!
//! The controller replaces one pod after another from the highest position down to the partition,
//! each when all others are Ready, and starts no new pod beside the old one: while a pod is
//! replaced, one fewer serves. The partition itself holds a batch; a lost pod comes back in the
//! version of its position. Pods added by scaling come up new, since they are at the top.
//!
//! A user's own partition says which pods to leave alone: "all" means the pods above it, and the
//! last batch ends there.

mod foreign;
mod left;
mod own;
mod patch;
mod table;
mod undo;

use k8s_openapi::api::apps::v1::StatefulSet;

use super::{
    goal::{Goal, Move, Progress, driven, not_approved, patched, settling},
    latch::Latch,
    records::InHand,
    targets, template,
    workload::planned,
};
use crate::{
    api::BatchPhase,
    domain::observe::{MOST, StatefulSeen},
};
use table::Table;

pub use foreign::is_template;
pub use left::may_be_left;
pub(super) use left::shows;
pub use own::{Own, Written};
pub use undo::{in_the_way, rescue, undo};

type Mine = Latch<Written, Own>;

/// Number of pods that a rollout of this manifest covers: those above the user's own partition.
pub fn size(seen: Option<&StatefulSeen>, manifest: &StatefulSet) -> u32 {
    let asked = manifest.spec.as_ref().and_then(|s| s.replicas);
    let replicas = planned(asked, seen.map(|s| (&s.live.metadata, s.replicas())));
    let Some(seen) = seen else { return replicas };
    let latch = Mine::of(&seen.live.metadata).ok().flatten();
    let own = latch.map_or_else(|| Own::of(&seen.live).overlaid(manifest), |l| l.after);
    replicas.saturating_sub(own.partition())
}

/// Number of pods that the user's own partition leaves alone, also while a rollout holds the
/// partition.
pub fn left_alone(live: &StatefulSet) -> u32 {
    let latch = Mine::of(&live.metadata).ok().flatten();
    let own = latch.map_or_else(|| Own::of(live), |l| l.after);
    let replicas = live
        .spec
        .as_ref()
        .and_then(|s| s.replicas)
        .map_or(1, |n| u32::try_from(n).unwrap_or(0));
    own.partition().min(replicas)
}

/// Partition that the manifest itself names.
pub fn partition_named(manifest: &StatefulSet) -> Option<u32> {
    let strategy = Own::of(manifest).update_strategy?;
    (!strategy["rollingUpdate"]["partition"].is_null()).then(|| Own::of(manifest).partition())
}

/// Warning before a rollout of a manifest that names no partition, where the StatefulSet has one.
pub fn told_beforehand(live: &StatefulSet, manifest: &StatefulSet) -> Option<String> {
    let named = partition_named(manifest).is_some();
    let left = left_alone(live);
    let pods = if left == 1 {
        "1 pod".to_owned()
    } else {
        format!("{left} pods")
    };
    (left > 0 && !named && Mine::of(&live.metadata) == Ok(None) && !Own::of(live).on_delete())
        .then(|| format!("its partition leaves {pods} alone, and the manifest names none: they keep their version"))
}

/// Next action for a StatefulSet.
pub fn next(seen: Option<&StatefulSeen>, goal: &Goal<StatefulSet>) -> Move {
    let Some(seen) = seen else {
        return if goal.hold { Move::Held } else { Move::Create };
    };
    if let Some(why) =
        driven(&seen.live.metadata).or_else(|| foreign::fixed(&seen.live, goal.manifest))
    {
        return Move::Stop(why);
    }
    let asked = goal.manifest.spec.as_ref().and_then(|s| s.replicas);
    let most = seen.replicas().max(planned(asked, None));
    if most > MOST {
        return Move::Stop(format!(
            "{most} replicas are more than the {MOST} that can be rolled out pod by pod"
        ));
    }
    match in_hand(seen, goal) {
        Err(stop) => stop,
        Ok(Some(hand)) => latched(seen, &hand, goal),
        Ok(None) => unlatched(seen, goal),
    }
}

fn in_hand(
    seen: &StatefulSeen,
    goal: &Goal<StatefulSet>,
) -> Result<Option<InHand<Written, Own>>, Move> {
    goal.in_hand(
        &seen.live.metadata,
        |_| false,
        |latch, _| shows(&seen.live, latch),
    )
}

/// Progress of a StatefulSet in the rollout of this manifest.
pub fn progress(seen: Option<&StatefulSeen>, goal: &Goal<StatefulSet>) -> Progress {
    let Some(seen) = seen else {
        return Progress::default();
    };
    let latch = in_hand(seen, goal).ok().flatten().map(|hand| hand.latch);
    let latched = latch.is_some() || !matches!(Mine::of(&seen.live.metadata), Ok(None));
    let own = latch.as_ref().map_or_else(
        || Own::of(&seen.live).overlaid(goal.manifest),
        |l| l.after.clone(),
    );
    let replicas = seen.replicas().saturating_sub(own.partition());
    let is_new = foreign::is_template(&seen.live, goal.manifest);
    let (new, ready) = if is_new {
        (seen.new.active(), seen.new.ready(own.min_ready()))
    } else {
        (0, 0)
    };
    let mut told = Progress {
        replicas,
        new,
        ready,
        old: replicas.saturating_sub(new),
        ..Progress::default()
    };
    let all = targets(goal.batches, replicas);
    let count = |exact: u32| all.iter().take_while(|t| **t <= exact).count();
    match latch {
        None if is_new && seen.settled(&own).is_ok() => {
            (told.done, told.phase) = (all.len(), BatchPhase::Done);
        }
        // No rollout of graylane: the native controller is rolling it out.
        None if is_new => told.phase = BatchPhase::Surging,
        None => {}
        Some(latch) => {
            let exact = is_new
                && seen.observed()
                && Table::of(seen, latch.written.partition).is_new(own.min_ready());
            // A pod that is not Ready for a while does not undo finished batches: those before the
            // current one were done when it began. If the replicas have changed, only the Ready
            // pods count.
            let in_hand = seen.replicas().saturating_sub(latch.written.partition);
            told.done = match (exact, latch.written.replicas == seen.replicas()) {
                _ if !is_new => 0,
                (true, true) => count(in_hand),
                (false, true) => count(in_hand.saturating_sub(1)),
                (_, false) => count(ready),
            };
            told.phase = if exact {
                BatchPhase::Done
            } else {
                BatchPhase::Surging
            };
        }
    }
    // The last batch is done only when the user's own settings are restored.
    if told.phase != BatchPhase::Done || latched {
        told.done = told.done.min(all.len().saturating_sub(1));
    }
    told
}

fn unlatched(seen: &StatefulSeen, goal: &Goal<StatefulSet>) -> Move {
    let live = &seen.live;
    if let Some(freed) = left::freed(seen, goal) {
        return freed;
    }
    if !foreign::is_template(live, goal.manifest) {
        return goal
            .changed_since(&live.metadata)
            .unwrap_or_else(|| begin(seen, goal));
    }
    if super::foreign::applied(&live.metadata) != super::foreign::applied(&goal.manifest.metadata) {
        let (own, after) = (Own::of(live), Own::of(live).overlaid(goal.manifest));
        if after.partition() < own.partition() && Table::of(seen, after.partition()).is_open() {
            // The user's partition kept old pods back: they are released batch by batch, as for a
            // new template.
            return begin(seen, goal);
        }
        // Nothing to roll out, but other fields may differ.
        if let Some(patch) = patch::adjust(live, goal.manifest).filter(|_| !goal.hold) {
            return Move::Patch(patch, "the rest of the manifest");
        }
    }
    match seen.settled(&Own::of(live)) {
        Ok(()) => Move::Done,
        Err((why, again)) => Move::Wait(why, again),
    }
}

fn begin(seen: &StatefulSeen, goal: &Goal<StatefulSet>) -> Move {
    let live = &seen.live;
    if goal.hold || goal.upto == 0 {
        return Move::Held;
    }
    let own = Own::of(live);
    let after = own.overlaid(goal.manifest);
    if own.on_delete() || after.on_delete() {
        return on_delete();
    }
    if let Some(patch) = patch::scale(live, goal.manifest) {
        return Move::Patch(patch, "the replicas of the manifest");
    }
    if !seen.observed() || seen.beyond > 0 {
        return Move::Wait(seen.waiting(seen.replicas(), 0).0, None);
    }
    let replicas = seen.replicas();
    let mut written = Written {
        partition: wanted(&after, goal, replicas),
        replicas,
    };
    if foreign::is_template(live, goal.manifest) {
        // Pods that are already new stay new.
        written.partition = written.partition.min(own.partition());
    }
    patched(
        patch::begin(live, goal, written),
        "the new version, down to the first batch's partition",
    )
}

fn on_delete() -> Move {
    Move::Stop(
        "its updateStrategy is OnDelete: pods take a new version only when somebody deletes them, and no batch can be \
         held. Set RollingUpdate, in the manifest and on the StatefulSet (kubectl patch), and retry; or apply the new \
         version by hand and delete its pods one after the other"
            .into(),
    )
}

/// Partition that allows as many new pods as the batch does, and never goes below the user's own.
fn wanted(own: &Own, goal: &Goal<StatefulSet>, replicas: u32) -> u32 {
    let all = targets(goal.batches, replicas.saturating_sub(own.partition()));
    let target = goal
        .upto
        .checked_sub(1)
        .and_then(|i| all.get(i).or(all.last()))
        .copied()
        .unwrap_or(0);
    replicas.saturating_sub(target).max(own.partition())
}

fn latched(seen: &StatefulSeen, hand: &InHand<Written, Own>, goal: &Goal<StatefulSet>) -> Move {
    let latch = &hand.latch;
    if latch.template != template::digest(&template::of_stateful(goal.manifest)) {
        return not_approved();
    }
    let replicas = seen.replicas();
    if goal.attempt > latch.attempt || (hand.takes && hand.hand.is_some()) {
        let own = patch::own_again(&seen.live, hand).map(|own| (own.overlaid(goal.manifest), own));
        if own.is_some_and(|(after, own)| own.on_delete() || after.on_delete()) {
            return on_delete();
        }
        // Where somebody else made more pods new, they stay: a batch never shrinks.
        let is_template = foreign::is_template(&seen.live, goal.manifest);
        let lowest = Table::of(seen, 0)
            .lowest_new()
            .filter(|_| is_template && seen.observed());
        // With other replicas, the same partition would allow another number of pods; with another
        // version, the pods that were new may no longer be.
        let same = latch.written.replicas == replicas && is_template;
        let at = latch.written.partition.max(if same {
            0
        } else {
            wanted(&latch.after, goal, replicas)
        });
        let partition = lowest.map_or(at, |lowest| lowest.min(at));
        let written = Written {
            partition: partition.max(latch.after.partition()),
            replicas,
        };
        return patched(
            patch::take_over(&seen.live, hand, goal, written),
            "in hand again, for the new attempt",
        );
    }
    if let Some(words) = &hand.hand {
        return goal.stopped_by(words, foreign::hand(seen, latch, goal.manifest));
    }
    if let Some(why) = foreign::hand(seen, latch, goal.manifest) {
        return Move::Stop(why);
    }
    if !seen.observed() {
        return Move::Wait("waiting for the StatefulSet controller".into(), None);
    }
    let write = |partition, words| {
        let written = Written {
            partition,
            replicas,
        };
        patched(
            patch::step(&seen.live, latch, written, seen.new.hash.clone()),
            words,
        )
    };
    let (at, min_ready) = (latch.written.partition, latch.after.min_ready());
    let table = Table::of(seen, at);
    let (reached, wanted) = (table.reached(), wanted(&latch.after, goal, replicas));
    if goal.hold {
        let open = table.is_open() && reached > at;
        return if open {
            write(reached, "held: it stops after the pod in hand")
        } else {
            Move::Held
        };
    }
    // The recorded revision reveals foreign changes that leave all fields of the manifest alone,
    // such as `kubectl rollout restart`.
    if latch.hash.is_none() {
        return write(at, "notes which revision is the new one");
    }
    if latch.written.replicas != replicas {
        let back = wanted.min(reached).max(at);
        return write(
            if table.is_open() { back } else { at },
            "the replicas were changed: no further than is allowed now",
        );
    }
    // Deleting a pod that cannot start again loses nothing; a slow pod is left to the controller.
    if let Some(pod) = table.in_the_way(|pod| pod.crashing) {
        return Move::Delete(
            Box::new(pod.clone()),
            settling(
                pod,
                "of the old version holds up the new one: it is deleted",
            ),
        );
    }
    if !table.is_new(min_ready) {
        let (why, again) = seen.waiting(replicas.saturating_sub(at), min_ready);
        return Move::Wait(why, again);
    }
    let all = targets(
        goal.batches,
        replicas.saturating_sub(latch.after.partition()),
    );
    if wanted < at {
        write(wanted, "the next pods, one after the other")
    } else if goal.upto >= all.len() && at.min(replicas) <= latch.after.partition().min(replicas) {
        patched(
            patch::finalize(&seen.live, latch),
            "done: your own settings back",
        )
    } else {
        Move::Held
    }
}

#[cfg(test)]
pub(crate) mod simulator;
#[cfg(test)]
mod tests;
