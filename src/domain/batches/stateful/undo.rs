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
        goal::settling,
        latch::{Latch, Previous},
        records::{Records, has_ended},
        template,
        undo::{Undo, Ways},
    },
    left::{is_nobodys, is_on, nobodys, shows},
    own::{Own, Written},
    patch,
    table::Table,
};
use crate::{
    api::label,
    domain::observe::{PodSeen, StatefulSeen},
};

/// Next action on the way back of a release.
pub fn undo(seen: &StatefulSeen, release_uid: &str, records: &Records) -> Undo {
    let live = &seen.live;
    let shows = |latch: &Latch<Written, Own>, _| shows(live, latch);
    let before =
        Previous::before::<Written>(&live.metadata, release_uid, records, shows, |latch| {
            is_on(live, latch)
        });
    if before.is_none() && records.made_again(&live.metadata) {
        return Undo::Done;
    }
    let (patch, last) = before.map_or((None, false), |before| back(seen, &before, release_uid));
    if let Some(patch) = patch.clone().filter(|_| !last) {
        return Undo::Patch(patch);
    }
    if let Some(pod) = in_the_way(seen) {
        return Undo::Delete(
            Box::new(pod.clone()),
            settling(pod, "is not ready and holds up the way back: it is deleted"),
        );
    }
    match (seen.settled(&Own::of(live)), patch) {
        (Ok(()), Some(patch)) => Undo::Patch(patch),
        (Ok(()), None) => Undo::Done,
        (Err((why, again)), _) => Undo::Wait(why, again),
    }
}

/// Next patch on the way back, and whether to send it only when all pods are back. One patch is
/// enough, unless the rollout went below the user's own partition: those pods come back first,
/// since nothing would replace them later.
fn back(seen: &StatefulSeen, before: &Previous<Own>, release_uid: &str) -> (Option<Value>, bool) {
    let live = &seen.live;
    let (at, kept) = (Own::of(live).partition(), before.own.partition());
    let went_back = template::same(&template::of_stateful(live), &before.template);
    let reached = Table::of(seen, 0).lowest_new().filter(|_| seen.observed());
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
pub fn in_the_way(seen: &StatefulSeen) -> Option<&PodSeen> {
    let from = Own::of(&seen.live).partition();
    Table::of(seen, from)
        .in_the_way(|_| true)
        .filter(|_| seen.observed())
}

/// For a StatefulSet left half-way: the one patch that finishes the rollout, and the one that
/// aborts it. `Err` when neither can be determined.
pub fn rescue(seen: &StatefulSeen, records: &Records) -> Result<Option<Ways>, String> {
    let live = &seen.live;
    let known = records
        .latch::<Written, Own>()
        .filter(|l| !has_ended(&live.metadata, l));
    let (latch, note) = match (Latch::<Written, Own>::of(&live.metadata), known) {
        (Ok(Some(latch)), _) => (latch, None),
        (_, Some(known)) if is_on(live, &known) => (
            known,
            Some(
                "another hand took its annotation away: what it kept is from the release's own record",
            ),
        ),
        (Err(why), _) => return Err(why),
        (Ok(None), _) if is_nobodys(seen) => return Err(nobodys(live)),
        (Ok(None), _) => return Ok(None),
    };
    let at = Own::of(live).partition();
    let went_back = template::same(&template::of_stateful(live), &latch.before.template);
    // A single patch cannot wait: the pods come back, and the user's own partition stays in the
    // annotation.
    let abort = if at < latch.before.own.partition() && !went_back {
        patch::revert_down_to(live, &latch.before, &latch.release_uid, at)
    } else {
        patch::revert(live, &latch.before)
    };
    let patches = patch::finalize(live, &latch).zip(abort);
    Ok(patches.map(|(finish, abort)| Ways {
        of: latch.mark(),
        finish,
        abort,
        note,
    }))
}
