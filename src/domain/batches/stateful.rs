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
mod orphaned;
mod patch;
mod settings;
mod slots;
mod undo;

use k8s_openapi::api::apps::v1::StatefulSet;

use super::{
    compute_targets,
    goal::{
        Goal, Progress, RolloutAction, describe_pod, find_other_driver, not_approved, patch_or_wait,
    },
    latch::Latch,
    records::ActiveRollout,
    template,
    workload::plan_replicas,
};
use crate::{
    api::BatchPhase,
    domain::{
        observe::{MAX_STATEFUL_REPLICAS, StatefulSeen},
        text::format_count,
    },
};
use slots::SlotTable;

pub use foreign::has_wanted_template;
pub use orphaned::OrphanedPartition;
pub use orphaned::may_be_orphaned;
pub(super) use orphaned::shows_rollout;
pub use settings::{PartitionStep, StatefulSettings};
pub use undo::{find_blocking_pod, plan_rescue, undo_rollout};

type StatefulLatch = Latch<PartitionStep, StatefulSettings>;

/// Number of pods that a rollout of this manifest covers: those above the user's own partition.
pub fn rollout_size(seen: Option<&StatefulSeen>, manifest: &StatefulSet) -> u32 {
    let asked = manifest.spec.as_ref().and_then(|s| s.replicas);
    let replicas = plan_replicas(asked, seen.map(|s| (&s.live.metadata, s.replicas())));
    let Some(seen) = seen else { return replicas };
    let latch = StatefulLatch::from_meta(&seen.live.metadata).ok().flatten();
    let own = latch.map_or_else(
        || StatefulSettings::from_stateful_set(&seen.live).overlay_manifest(manifest),
        |l| l.after,
    );
    replicas.saturating_sub(own.partition())
}

/// Number of pods that the user's own partition leaves alone, also while a rollout holds the
/// partition.
pub fn pods_left_alone(live: &StatefulSet) -> u32 {
    let latch = StatefulLatch::from_meta(&live.metadata).ok().flatten();
    let own = latch.map_or_else(|| StatefulSettings::from_stateful_set(live), |l| l.after);
    let replicas = live
        .spec
        .as_ref()
        .and_then(|s| s.replicas)
        .map_or(1, |n| u32::try_from(n).unwrap_or(0));
    own.partition().min(replicas)
}

/// Partition that the manifest itself names.
pub fn named_partition(manifest: &StatefulSet) -> Option<u32> {
    let strategy = StatefulSettings::from_stateful_set(manifest).update_strategy?;
    (!strategy["rollingUpdate"]["partition"].is_null())
        .then(|| StatefulSettings::from_stateful_set(manifest).partition())
}

/// Warning before a rollout of a manifest that names no partition, where the StatefulSet has one.
pub fn warn_beforehand(live: &StatefulSet, manifest: &StatefulSet) -> Option<String> {
    let named = named_partition(manifest).is_some();
    let left = pods_left_alone(live);
    let pods = format_count(left, "pod");
    (left > 0
        && !named
        && StatefulLatch::from_meta(&live.metadata) == Ok(None)
        && !StatefulSettings::from_stateful_set(live).is_on_delete())
    .then(|| {
        format!(
            "its partition excludes {pods}, and the manifest sets none: they keep their version"
        )
    })
}

/// Next action for a StatefulSet.
pub fn next_action(seen: Option<&StatefulSeen>, goal: &Goal<StatefulSet>) -> RolloutAction {
    let decided = match seen {
        Some(seen) => decide_action(seen, goal),
        None if goal.hold => Ok(RolloutAction::Held),
        None => Ok(RolloutAction::Create),
    };
    decided.unwrap_or_else(|stop| stop)
}

/// Next action for a StatefulSet that exists; `Err` says why it is not touched.
fn decide_action(
    seen: &StatefulSeen,
    goal: &Goal<StatefulSet>,
) -> Result<RolloutAction, RolloutAction> {
    check_own(seen, goal)?;
    match find_active_rollout(seen, goal)? {
        Some(rollout) => next_latched(seen, &rollout, goal),
        None => next_unlatched(seen, goal),
    }
}

/// Stops when another controller rolls it out, or it cannot be rolled out to this manifest.
fn check_own(seen: &StatefulSeen, goal: &Goal<StatefulSet>) -> Result<(), RolloutAction> {
    if let Some(why) = find_other_driver(&seen.live.metadata)
        .or_else(|| foreign::find_immutable_changes(&seen.live, goal.manifest))
    {
        return Err(RolloutAction::Stop(why));
    }
    let asked = goal.manifest.spec.as_ref().and_then(|s| s.replicas);
    let most = seen.replicas().max(plan_replicas(asked, None));
    if most > MAX_STATEFUL_REPLICAS {
        return Err(RolloutAction::Stop(format!(
            "{most} replicas are more than the {MAX_STATEFUL_REPLICAS} that can be rolled out pod by pod"
        )));
    }
    Ok(())
}

fn find_active_rollout(
    seen: &StatefulSeen,
    goal: &Goal<StatefulSet>,
) -> Result<Option<ActiveRollout<PartitionStep, StatefulSettings>>, RolloutAction> {
    goal.find_active_rollout(
        &seen.live.metadata,
        |_| false,
        |latch, _| shows_rollout(&seen.live, latch),
    )
}

/// How many new pods are reached for certain.
///
/// A pod that is not Ready for a while does not undo finished batches: those before the current one
/// were done when it began. If the replicas have changed, only the Ready pods count.
fn reached_pods(in_hand: u32, ready: u32, exact: bool, as_written: bool) -> u32 {
    match (exact, as_written) {
        (true, true) => in_hand,
        (false, true) => in_hand.saturating_sub(1),
        (_, false) => ready,
    }
}

/// Progress of a StatefulSet in the rollout of this manifest.
pub fn measure_progress(seen: Option<&StatefulSeen>, goal: &Goal<StatefulSet>) -> Progress {
    let Some(seen) = seen else {
        return Progress::default();
    };
    let latch = find_active_rollout(seen, goal)
        .ok()
        .flatten()
        .map(|rollout| rollout.latch);
    let latched =
        latch.is_some() || !matches!(StatefulLatch::from_meta(&seen.live.metadata), Ok(None));
    let own = latch.as_ref().map_or_else(
        || StatefulSettings::from_stateful_set(&seen.live).overlay_manifest(goal.manifest),
        |l| l.after.clone(),
    );
    let replicas = seen.replicas().saturating_sub(own.partition());
    let is_new = foreign::has_wanted_template(&seen.live, goal.manifest);
    let (new, ready) = if is_new {
        (seen.new.active_pods(), seen.new.ready_pods(own.min_ready()))
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
    let all = compute_targets(goal.batches, replicas);
    let count = |exact: u32| all.iter().take_while(|t| **t <= exact).count();
    match latch {
        None if is_new && seen.check_settled(&own).is_ok() => {
            (told.done, told.phase) = (all.len(), BatchPhase::Done);
        }
        // No rollout of graylane: the native controller is rolling it out.
        None if is_new => told.phase = BatchPhase::Surging,
        None => {}
        Some(latch) => {
            let table = SlotTable::from_observed(seen, latch.written.partition);
            let exact = is_new && seen.is_observed() && table.is_all_new(own.min_ready());
            let as_written = latch.written.replicas == seen.replicas();
            let in_hand = seen.replicas().saturating_sub(latch.written.partition);
            told.done = if is_new {
                count(reached_pods(in_hand, ready, exact, as_written))
            } else {
                0
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

/// Next action for a StatefulSet that no rollout of this release holds.
fn next_unlatched(
    seen: &StatefulSeen,
    goal: &Goal<StatefulSet>,
) -> Result<RolloutAction, RolloutAction> {
    let live = &seen.live;
    if let Some(freed) = orphaned::release_orphaned_partition(seen, goal) {
        return Ok(freed);
    }
    if !foreign::has_wanted_template(live, goal.manifest) {
        goal.check_not_changed_after_end(&live.metadata)?;
        return Ok(begin_rollout(seen, goal));
    }
    if super::foreign::applied_digest(&live.metadata)
        != super::foreign::applied_digest(&goal.manifest.metadata)
    {
        let (own, after) = (
            StatefulSettings::from_stateful_set(live),
            StatefulSettings::from_stateful_set(live).overlay_manifest(goal.manifest),
        );
        if after.partition() < own.partition()
            && SlotTable::from_observed(seen, after.partition()).has_old_pods()
        {
            // The user's partition kept old pods back: they are released batch by batch, as for a
            // new template.
            return Ok(begin_rollout(seen, goal));
        }
        // Nothing to roll out, but other fields may differ.
        if let Some(patch) = patch::sync_other_fields(live, goal.manifest).filter(|_| !goal.hold) {
            return Ok(RolloutAction::Patch(patch, "the rest of the manifest"));
        }
    }
    Ok(
        match seen.check_settled(&StatefulSettings::from_stateful_set(live)) {
            Ok(()) => RolloutAction::Done,
            Err((why, again)) => RolloutAction::Wait(why, again),
        },
    )
}

fn begin_rollout(seen: &StatefulSeen, goal: &Goal<StatefulSet>) -> RolloutAction {
    let live = &seen.live;
    if goal.hold || goal.upto == 0 {
        return RolloutAction::Held;
    }
    let own = StatefulSettings::from_stateful_set(live);
    let after = own.overlay_manifest(goal.manifest);
    if own.is_on_delete() || after.is_on_delete() {
        return stop_on_delete();
    }
    if let Some(patch) = patch::scale(live, goal.manifest) {
        return RolloutAction::Patch(patch, "the replicas of the manifest");
    }
    if !seen.is_observed() || seen.beyond > 0 {
        return RolloutAction::Wait(seen.describe_waiting(seen.replicas(), 0).0, None);
    }
    let replicas = seen.replicas();
    let mut written = PartitionStep {
        partition: wanted_partition(&after, goal, replicas),
        replicas,
    };
    if foreign::has_wanted_template(live, goal.manifest) {
        // Pods that are already new stay new.
        written.partition = written.partition.min(own.partition());
    }
    patch_or_wait(
        patch::begin_rollout(live, goal, written),
        "the new version, down to the first batch's partition",
    )
}

fn stop_on_delete() -> RolloutAction {
    RolloutAction::Stop(
        "its updateStrategy is OnDelete: pods take a new version only when somebody deletes them, and no batch can be \
         held. Set RollingUpdate, in the manifest and on the StatefulSet (kubectl patch), and retry; or apply the new \
         version by hand and delete its pods one after the other"
            .into(),
    )
}

/// Partition that allows as many new pods as the batch does, and never goes below the user's own.
fn wanted_partition(own: &StatefulSettings, goal: &Goal<StatefulSet>, replicas: u32) -> u32 {
    let all = compute_targets(goal.batches, replicas.saturating_sub(own.partition()));
    let target = goal
        .upto
        .checked_sub(1)
        .and_then(|i| all.get(i).or(all.last()))
        .copied()
        .unwrap_or(0);
    replicas.saturating_sub(target).max(own.partition())
}

/// Next action of a rollout of this release in progress; `Err` says why it cannot go on.
fn next_latched(
    seen: &StatefulSeen,
    rollout: &ActiveRollout<PartitionStep, StatefulSettings>,
    goal: &Goal<StatefulSet>,
) -> Result<RolloutAction, RolloutAction> {
    let latch = &rollout.latch;
    if latch.template != template::short_digest(&template::of_stateful(goal.manifest)) {
        return Err(not_approved());
    }
    if goal.attempt > latch.attempt || (rollout.takes && rollout.foreign_change.is_some()) {
        return Ok(take_over(seen, rollout, goal));
    }
    let change = foreign::find_foreign_change(seen, latch, goal.manifest);
    match (&rollout.foreign_change, change) {
        (Some(words), change) => Err(goal.stop_for_foreign_change(words, change)),
        (None, Some(why)) => Err(RolloutAction::Stop(why)),
        (None, None) if !seen.is_observed() => Ok(RolloutAction::Wait(
            "waiting for the StatefulSet controller".into(),
            None,
        )),
        (None, None) => Ok(next_step(seen, latch, goal)),
    }
}

/// Takes the rollout in hand for a new attempt.
fn take_over(
    seen: &StatefulSeen,
    rollout: &ActiveRollout<PartitionStep, StatefulSettings>,
    goal: &Goal<StatefulSet>,
) -> RolloutAction {
    let (latch, replicas) = (&rollout.latch, seen.replicas());
    let own = patch::recreated_settings(&seen.live, rollout)
        .map(|own| (own.overlay_manifest(goal.manifest), own));
    if own.is_some_and(|(after, own)| own.is_on_delete() || after.is_on_delete()) {
        return stop_on_delete();
    }
    // Where somebody else made more pods new, they stay: a batch never shrinks.
    let is_template = foreign::has_wanted_template(&seen.live, goal.manifest);
    let lowest = SlotTable::from_observed(seen, 0)
        .lowest_new()
        .filter(|_| is_template && seen.is_observed());
    // With other replicas, the same partition would allow another number of pods; with another
    // version, the pods that were new may no longer be.
    let same = latch.written.replicas == replicas && is_template;
    let at = latch.written.partition.max(if same {
        0
    } else {
        wanted_partition(&latch.after, goal, replicas)
    });
    let partition = lowest.map_or(at, |lowest| lowest.min(at));
    let written = PartitionStep {
        partition: partition.max(latch.after.partition()),
        replicas,
    };
    patch_or_wait(
        patch::take_over(&seen.live, rollout, goal, written),
        "taken over again, for the new attempt",
    )
}

fn write_partition(
    seen: &StatefulSeen,
    latch: &StatefulLatch,
    partition: u32,
    words: &'static str,
) -> RolloutAction {
    let written = PartitionStep {
        partition,
        replicas: seen.replicas(),
    };
    let patch = patch::write_step(&seen.live, latch, written, seen.new.hash.clone());
    patch_or_wait(patch, words)
}

/// The next step of a rollout that nobody has disturbed.
fn next_step(
    seen: &StatefulSeen,
    latch: &StatefulLatch,
    goal: &Goal<StatefulSet>,
) -> RolloutAction {
    let replicas = seen.replicas();
    let write = |partition, words| write_partition(seen, latch, partition, words);
    let (at, min_ready) = (latch.written.partition, latch.after.min_ready());
    let table = SlotTable::from_observed(seen, at);
    let reached = table.lowest_reached();
    let wanted = wanted_partition(&latch.after, goal, replicas);
    if goal.hold {
        if table.has_old_pods() && reached > at {
            let words = "held: it stops after the pod that is being replaced";
            return write(reached, words);
        }
        return RolloutAction::Held;
    }
    // The recorded revision reveals foreign changes that leave all fields of the manifest alone,
    // such as `kubectl rollout restart`.
    if latch.hash.is_none() {
        return write(at, "notes which revision is the new one");
    }
    if latch.written.replicas != replicas {
        let back = wanted.min(reached).max(at);
        return write(
            if table.has_old_pods() { back } else { at },
            "the replicas were changed: no further than is allowed now",
        );
    }
    // Deleting a pod that cannot start again loses nothing; a slow pod is left to the controller.
    if let Some(pod) = table.find_blocking_pod(|pod| pod.crashing) {
        return RolloutAction::Delete(
            Box::new(pod.clone()),
            describe_pod(
                pod,
                "of the old version holds up the new one: it is deleted",
            ),
        );
    }
    if !table.is_all_new(min_ready) {
        let (why, again) = seen.describe_waiting(replicas.saturating_sub(at), min_ready);
        return RolloutAction::Wait(why, again);
    }
    if wanted < at {
        return write(wanted, "the next pods, one after the other");
    }
    if !is_last_batch(latch, goal, replicas) {
        return RolloutAction::Held;
    }
    patch_or_wait(
        patch::finish_rollout(&seen.live, latch),
        "done: your own settings are restored",
    )
}

/// Whether the partition stands where the last batch leaves it, and that batch is allowed.
fn is_last_batch(latch: &StatefulLatch, goal: &Goal<StatefulSet>, replicas: u32) -> bool {
    let own = latch.after.partition();
    let all = compute_targets(goal.batches, replicas.saturating_sub(own));
    goal.upto >= all.len() && latch.written.partition.min(replicas) <= own.min(replicas)
}

#[cfg(test)]
pub(crate) mod simulator;
#[cfg(test)]
mod tests;
