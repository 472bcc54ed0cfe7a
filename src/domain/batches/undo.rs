//! The way back, from wherever a rollout stands; and the way out for a Deployment whose release is gone.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

use super::{
    latch::{Latch, Own, Previous, Written},
    patch,
};
use crate::domain::observe::{DeploymentSeen, PodSeen};

/// One answer on the way back.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo {
    /// This one merge patch brings the old version back.
    Patch(Value),
    /// This pod goes: it stands in the way, in words.
    Delete(Box<PodSeen>, String),
    /// The old version is coming up.
    Wait(String, Option<SignedDuration>),
    /// The release has left nothing of itself here.
    Done,
}

/// One look on the way back of a release.
pub fn undo(seen: &DeploymentSeen, release_uid: &str, now: Timestamp) -> Undo {
    let live = &seen.live;
    let before = Previous::before::<Written>(&live.metadata, release_uid);
    if let Some(patch) = before.and_then(|b| patch::revert(live, &b)) {
        return Undo::Patch(patch);
    }
    match seen.settled(Own::of(live).min_ready(), now) {
        Ok(()) => Undo::Done,
        Err((why, again)) => Undo::Wait(why, again),
    }
}

/// For a Deployment found half-way: the one patch that finishes it, and the one that aborts it.
pub fn rescue(live: &Deployment) -> Result<Option<(Value, Value)>, String> {
    let Some(latch) = Latch::of(&live.metadata)? else { return Ok(None) };
    Ok(patch::finalize(live, &latch).zip(patch::revert(live, &latch.before)))
}
