//! The way back from any point of a rollout, and the way out for a Deployment whose release is
//! gone.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    latch::{
        AnnotationError, DeploymentSettings, Latch, LatchStep, PreviousVersion, RolloutMark,
        RolloutMode,
    },
    orphaned::{self, is_latch_on},
    patch,
    records::{Records, has_ended},
    stateful::OrphanedPartition,
};
use crate::{
    api::Uid,
    domain::observe::{DeploymentSeen, PodSeen},
};

/// Next action on the way back.
#[derive(Clone, Debug, PartialEq)]
pub enum UndoAction {
    /// Send this merge patch, which restores the old version.
    Patch(Value),
    /// Delete this pod, which blocks the way back; the text says why.
    Delete(Box<PodSeen>, String),
    /// Wait for the old version to come up; look again after that time at the latest.
    Wait(String, Option<SignedDuration>),
    /// Nothing of the release is left on the workload.
    Done,
}

/// Ways out for a workload that was left half-way, each one patch.
#[derive(Clone, Debug, PartialEq)]
pub struct RescuePatches {
    /// Whose rollout it is, as far as known.
    pub of: RolloutMark,
    /// Patch that finishes it with the new version.
    pub finish: Value,
    /// Patch that goes back to the old version.
    pub abort: Value,
    /// What a person should know first.
    pub note: Option<&'static str>,
}

/// The ways out for a workload that was left half-way cannot be determined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RescueError {
    /// Its annotation cannot be parsed.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// Nothing says what the partition of a StatefulSet was before.
    #[error(transparent)]
    Orphaned(#[from] OrphanedPartition),
}

/// Next action on the way back of a release.
pub fn undo_rollout(seen: &DeploymentSeen, release_uid: &Uid, records: &Records) -> UndoAction {
    let live = &seen.live;
    let shows = |latch: &Latch, state| orphaned::shows_rollout(live, latch, state);
    let before = PreviousVersion::find_for_release::<LatchStep>(
        &live.metadata,
        release_uid,
        records,
        shows,
        |_| is_latch_on(live),
    );
    // No annotation and no record: the latch is recognised by its settings.
    let nobodys = || {
        (is_latch_on(live) && RolloutMark::from_meta(&live.metadata) == Ok(None))
            .then(|| orphaned::recover_previous(seen, None))
    };
    let of_another = before.is_none() && records.is_recreated(&live.metadata);
    let before = before.or_else(nobodys);
    if let Some(patch) = before.and_then(|b| patch::revert(live, &b)) {
        return UndoAction::Patch(patch);
    }
    match seen.check_settled(DeploymentSettings::from_deployment(live).min_ready()) {
        // A Deployment that somebody else recreated is left to them.
        _ if of_another => UndoAction::Done,
        Ok(()) => UndoAction::Done,
        Err((why, again)) => UndoAction::Wait(why, again),
    }
}

/// For a Deployment left half-way: the one patch that finishes the rollout, and the one that aborts
/// it.
pub fn plan_rescue(
    seen: &DeploymentSeen,
    records: &Records,
) -> Result<Option<RescuePatches>, RescueError> {
    let live = &seen.live;
    let known: Option<Latch> = records
        .parse_latch()
        .filter(|l| !has_ended(&live.metadata, l));
    let (latch, kept) = match (Latch::from_meta(&live.metadata), known) {
        (Ok(Some(latch)), known) => {
            let over = !records.is_under_way(&latch.release_uid);
            if over && latch.mode == RolloutMode::Latched && orphaned::is_latch_off(live, &latch) {
                // Following this annotation would lead back to a version from long ago.
                return Ok(patch::remove_mark(live).map(|patch| RescuePatches {
                    of: latch.to_mark(),
                    finish: patch.clone(),
                    abort: patch,
                    note: Some(
                        "it has no latch: an undo has brought its annotation back, which is removed either way",
                    ),
                }));
            }
            // An annotation that an undo restored does not describe the latch that is on.
            match known.filter(|k| over && k.release_uid != latch.release_uid && is_latch_on(live))
            {
                Some(known) => (known, true),
                None => (latch, false),
            }
        }
        (_, Some(known)) if !orphaned::is_latch_off(live, &known) => (known, true),
        (Err(unreadable), _) => return Err(unreadable.into()),
        (Ok(None), _) if is_latch_on(live) => return Ok(rescue_orphaned(seen)),
        (Ok(None), _) => return Ok(None),
    };
    let note = kept.then_some(
        "somebody else removed its annotation: what it kept comes from the release's own record",
    );
    let patches = patch::finish_rollout(live, &latch).zip(patch::revert(live, &latch.before));
    Ok(patches.map(|(finish, abort)| RescuePatches {
        of: latch.to_mark(),
        finish,
        abort,
        note,
    }))
}

/// No annotation and no record: the latch is recognised by its settings.
fn rescue_orphaned(seen: &DeploymentSeen) -> Option<RescuePatches> {
    let note = Some(match orphaned::last_rollout_settings(&seen.live) {
        Some(_) => {
            "neither an annotation nor a release is left: its own settings are those that the rollout before left"
        }
        None => {
            "neither an annotation nor a release says what its own settings were: Kubernetes' defaults are set; check \
             minReadySeconds, progressDeadlineSeconds and strategy afterwards"
        }
    });
    let finish = orphaned::remove_latch(&seen.live, None)?;
    let abort = patch::revert(&seen.live, &orphaned::recover_previous(seen, None))?;
    Some(RescuePatches {
        of: RolloutMark::default(),
        finish,
        abort,
        note,
    })
}
