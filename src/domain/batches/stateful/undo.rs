//! The way back of a StatefulSet, and the way out when its release is gone.
//!
//! Restoring the template alone does not replace a pod that never becomes Ready: the controller
//! waits for it before it touches another pod (with parallel pod management it replaces pods at
//! once, unless it counts unavailable ones). Such a pod of the unwanted version has to be deleted
//! first (Kubernetes calls this a forced rollback).

use kube::ResourceExt;
use serde_json::Value;

use super::{
    super::{
        goal::describe_pod,
        latch::{Latch, PreviousVersion},
        records::{Records, has_ended},
        template,
        undo::{RescueError, RescuePatches, UndoAction},
    },
    orphaned::{OrphanedPartition, has_rollout_partition, is_orphaned, shows_rollout},
    patch,
    settings::{PartitionStep, StatefulSettings},
    slots::SlotTable,
};
use crate::{
    api::{Uid, label},
    domain::observe::{PodSeen, StatefulSeen},
};

/// Next action on the way back of a release.
pub fn undo_rollout(seen: &StatefulSeen, release_uid: &Uid, records: &Records) -> UndoAction {
    let live = &seen.live;
    let shows = |latch: &Latch<PartitionStep, StatefulSettings>, _| shows_rollout(live, latch);
    let before = PreviousVersion::find_for_release::<PartitionStep>(
        &live.metadata,
        release_uid,
        records,
        shows,
        |latch| has_rollout_partition(live, latch),
    );
    if before.is_none() && records.is_recreated(&live.metadata) {
        return UndoAction::Done;
    }
    let (patch, last) = before.map_or((None, false), |before| {
        next_undo_patch(seen, &before, release_uid)
    });
    if let Some(patch) = patch.clone().filter(|_| !last) {
        return UndoAction::Patch(patch);
    }
    if let Some(pod) = find_blocking_pod(seen) {
        return UndoAction::Delete(
            Box::new(pod.clone()),
            describe_pod(pod, "is not ready and holds up the way back: it is deleted"),
        );
    }
    match (
        seen.check_settled(&StatefulSettings::from_stateful_set(live)),
        patch,
    ) {
        (Ok(()), Some(patch)) => UndoAction::Patch(patch),
        (Ok(()), None) => UndoAction::Done,
        (Err((why, again)), _) => UndoAction::Wait(why, again),
    }
}

/// Next patch on the way back, and whether to send it only when all pods are back. One patch is
/// enough, unless the rollout went below the user's own partition: those pods come back first,
/// since nothing would replace them later.
fn next_undo_patch(
    seen: &StatefulSeen,
    before: &PreviousVersion<StatefulSettings>,
    release_uid: &Uid,
) -> (Option<Value>, bool) {
    let live = &seen.live;
    let (at, kept) = (
        StatefulSettings::from_stateful_set(live).partition(),
        before.own.partition(),
    );
    let went_back = template::is_same_template(&template::of_stateful(live), &before.template);
    let reached = SlotTable::from_observed(seen, 0)
        .lowest_new()
        .filter(|_| seen.is_observed());
    let down_to = reached.map_or(at, |reached| reached.min(at));
    if !went_back && down_to < kept {
        return (
            patch::revert_down_to(live, before, release_uid, down_to),
            false,
        );
    }
    let coming = went_back && at < kept && !live.annotations().contains_key(label::LATCH);
    (patch::revert(live, before), coming)
}

/// For a StatefulSet on its way back: the pod of the unwanted version that blocks all others.
pub fn find_blocking_pod(seen: &StatefulSeen) -> Option<&PodSeen> {
    let from = StatefulSettings::from_stateful_set(&seen.live).partition();
    SlotTable::from_observed(seen, from)
        .find_blocking_pod(|_| true)
        .filter(|_| seen.is_observed())
}

/// For a StatefulSet left half-way: the one patch that finishes the rollout, and the one that
/// aborts it. `Err` when neither can be determined.
pub fn plan_rescue(
    seen: &StatefulSeen,
    records: &Records,
) -> Result<Option<RescuePatches>, RescueError> {
    let live = &seen.live;
    let known = records
        .parse_latch::<PartitionStep, StatefulSettings>()
        .filter(|l| !has_ended(&live.metadata, l));
    let (latch, note) = match (
        Latch::<PartitionStep, StatefulSettings>::from_meta(&live.metadata),
        known,
    ) {
        (Ok(Some(latch)), _) => (latch, None),
        (_, Some(known)) if has_rollout_partition(live, &known) => (
            known,
            Some(
                "somebody else removed its annotation: what it kept comes from the release's own record",
            ),
        ),
        (Err(unreadable), _) => return Err(unreadable.into()),
        (Ok(None), _) if is_orphaned(seen) => return Err(OrphanedPartition::from_live(live).into()),
        (Ok(None), _) => return Ok(None),
    };
    let at = StatefulSettings::from_stateful_set(live).partition();
    let went_back =
        template::is_same_template(&template::of_stateful(live), &latch.before.template);
    // A single patch cannot wait: the pods come back, and the user's own partition stays in the
    // annotation.
    let abort = if at < latch.before.own.partition() && !went_back {
        patch::revert_down_to(live, &latch.before, &latch.release_uid, at)
    } else {
        patch::revert(live, &latch.before)
    };
    let patches = patch::finish_rollout(live, &latch).zip(abort);
    Ok(patches.map(|(finish, abort)| RescuePatches {
        of: latch.to_mark(),
        finish,
        abort,
        note,
    }))
}
