//! The way back of a StatefulSet; and the way out when its release is gone.
//!
//! The template alone brings no pod back that never gets Ready: the controller waits for it before it touches another
//! (pods in parallel it replaces at once, unless it counts how many are unavailable).
//! Such a pod of the version that is not wanted any more has to go first (Kubernetes calls it a forced rollback).

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::Value;

use super::{
    super::{
        goal::settling,
        latch::{Latch, Previous},
        undo::Undo,
    },
    own::{Own, Written},
    patch,
    table::Table,
};
use crate::domain::observe::{PodSeen, StatefulSeen};

/// One look on the way back of a release.
pub fn undo(seen: &StatefulSeen, release_uid: &str, now: Timestamp) -> Undo {
    let live = &seen.live;
    let before = Previous::before::<Written>(&live.metadata, release_uid);
    if let Some(patch) = before.and_then(|b| patch::revert(live, &b)) {
        return Undo::Patch(patch);
    }
    if let Some(pod) = in_the_way(seen) {
        return Undo::Delete(
            Box::new(pod.clone()),
            settling(pod, "is not ready and holds up the way back: it is deleted"),
        );
    }
    match seen.settled(&Own::of(live), now) {
        Ok(()) => Undo::Done,
        Err((why, again)) => Undo::Wait(why, again),
    }
}

/// Of a StatefulSet on its way back: the pod of the version that is not wanted, and why nothing moves before it is gone.
pub fn in_the_way(seen: &StatefulSeen) -> Option<&PodSeen> {
    let from = Own::of(&seen.live).partition();
    Table::of(seen, from).in_the_way(|_| true).filter(|_| seen.observed())
}

/// For a StatefulSet found half-way: the one patch that finishes it, and the one that aborts it.
pub fn rescue(live: &StatefulSet) -> Result<Option<(Value, Value)>, String> {
    let Some(latch) = Latch::of(&live.metadata)? else { return Ok(None) };
    Ok(patch::finalize(live, &latch).zip(patch::revert(live, &latch.before)))
}
