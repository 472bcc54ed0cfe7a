//! A latch that is on although no annotation says whose it is: an undo removes the annotations and
//! leaves the settings.
//!
//! Its `minReadySeconds` gives it away: nobody else requires a pod to be Ready for 68 years. The
//! field managers tell which of the other fields are the latch's. The user's own settings come from
//! the records; without a record only Kubernetes' defaults can be restored.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

use super::{
    goal::{Goal, RolloutAction, patch_or_wait},
    latch::{
        DeploymentSettings, Latch, NEVER_AVAILABLE_SECONDS, NO_DEADLINE_SECONDS, PreviousVersion,
    },
    patch, template,
};
use crate::{
    api::{FIELD_MANAGER, RolloutState},
    domain::observe::{DeploymentSeen, last_writer},
};

/// Whether the latch's own value of `minReadySeconds` is set.
pub fn is_latch_on(live: &Deployment) -> bool {
    live.spec.as_ref().and_then(|s| s.min_ready_seconds) == Some(NEVER_AVAILABLE_SECONDS)
}

/// Whether a Deployment shows a rollout that is only recorded.
pub(super) fn shows_rollout(live: &Deployment, latch: &Latch, state: RolloutState) -> bool {
    // A restored Deployment has nothing of the latch any more. One that is about to begin may have
    // been paused by anybody.
    let left = state == RolloutState::Restores && !is_latch_off(live, latch);
    left || is_latch_on(live)
        || !template::is_same_template(&latch.before.template, &template::of_deployment(live))
}

/// Whether nothing of the latch is on: its annotation alone proves nothing.
pub(super) fn is_latch_off(live: &Deployment, latch: &Latch) -> bool {
    let own = DeploymentSettings::from_deployment(live);
    let paused = live.spec.as_ref().and_then(|s| s.paused) == Some(true);
    let deadline = own.progress_deadline_seconds == Some(NO_DEADLINE_SECONDS)
        && latch.before.own.progress_deadline_seconds != Some(NO_DEADLINE_SECONDS);
    !(is_latch_on(live) || paused || deadline)
}

fn is_written_by_other(live: &Deployment, path: &[&str]) -> bool {
    last_writer(&live.metadata, path).is_some_and(|(by, _)| by != FIELD_MANAGER)
}

/// The user's own settings: known values for the fields that the latch took, live values for the
/// others.
fn recover_settings(live: &Deployment, known: Option<&DeploymentSettings>) -> DeploymentSettings {
    let (mut own, known) = (
        DeploymentSettings::from_deployment(live),
        known.cloned().unwrap_or_default(),
    );
    if own.min_ready_seconds == Some(NEVER_AVAILABLE_SECONDS) {
        own.min_ready_seconds = known
            .min_ready_seconds
            .filter(|n| *n != NEVER_AVAILABLE_SECONDS);
    }
    let deadline = ["spec", "progressDeadlineSeconds"];
    if own.progress_deadline_seconds == Some(NO_DEADLINE_SECONDS)
        && !is_written_by_other(live, &deadline)
    {
        own.progress_deadline_seconds = known.progress_deadline_seconds;
    }
    if !is_written_by_other(live, &["spec", "strategy", "rollingUpdate", "maxSurge"]) {
        own.strategy = known.strategy;
    }
    own
}

/// Settings that the last finished rollout left, if its annotation is still there: then nobody has
/// changed them since.
pub(super) fn last_rollout_settings(live: &Deployment) -> Option<DeploymentSettings> {
    PreviousVersion::from_meta(&live.metadata)?.left
}

/// What was there before the rollout, as far as it is known: from a record, or else from the live
/// object.
pub(super) fn recover_previous(seen: &DeploymentSeen, known: Option<&Latch>) -> PreviousVersion {
    let live = &seen.live;
    let last = last_rollout_settings(live);
    let own = recover_settings(live, known.map(|k| &k.before.own).or(last.as_ref()));
    let as_it_is = || template::of_deployment(live);
    let template = match known {
        Some(known) => known.before.template.clone(),
        // Somebody else has set the wanted template; otherwise it is the one that graylane rolled
        // out.
        None if is_written_by_other(live, &["spec", "template"]) => as_it_is(),
        None => seen.older.clone().unwrap_or_else(as_it_is),
    };
    let applied = known.and_then(|k| k.before.applied.clone());
    PreviousVersion {
        by: None,
        own,
        template,
        applied,
        left: None,
    }
}

/// Patch that removes the latch and leaves the template.
pub(super) fn remove_latch(live: &Deployment, known: Option<&Latch>) -> Option<Value> {
    let last = last_rollout_settings(live);
    patch::remove_latch(
        live,
        &recover_settings(live, known.map(|k| &k.before.own).or(last.as_ref())),
    )
}

/// What a new release does first about such a latch; `None` when no latch is on.
pub(super) fn release_orphaned_latch(seen: &DeploymentSeen, goal: &Goal) -> Option<RolloutAction> {
    let live = &seen.live;
    if !is_latch_on(live) {
        return None;
    }
    if goal.hold || goal.upto == 0 {
        return Some(RolloutAction::Held);
    }
    let known: Option<Latch> = goal.records.parse_latch();
    let one_version = seen.old.wanted == 0 && seen.old.active_pods() == 0;
    let back = known.as_ref().is_some_and(|k| {
        template::is_same_template(&k.before.template, &template::of_deployment(live))
    });
    if !(one_version || back || is_written_by_other(live, &["spec", "template"])) {
        return Some(RolloutAction::Stop(format!(
            "it has the latch of a rollout but no annotation of it, and pods of two versions: `{}` shows both ways \
            out; then retry",
            goal.rescue_command()
        )));
    }
    Some(patch_or_wait(
        remove_latch(live, known.as_ref()),
        "the latch of a rollout that has ended is removed, and your own settings are restored",
    ))
}
