//! The table of the design as a state machine: one observation in, one action out.
//!
//! [`next_action`] is where a batch of a Deployment is decided. What may not be touched ends it by
//! `?`; a rollout in progress goes on in [`latched`], anything else begins or ends here. How far a
//! rollout is, is measured in [`progress`].

mod latched;
mod progress;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;

use super::{
    compute_targets, foreign,
    goal::{Goal, RolloutAction, describe_readiness, find_other_driver, patch_or_wait},
    latch::{DeploymentSettings, Latch, LatchStep, RolloutMode},
    orphaned, patch,
    records::ActiveRollout,
};
use crate::domain::observe::{DeploymentSeen, is_observed, last_writer, replicas_or_default};
use latched::LatchedRollout;

pub use progress::measure_progress;

impl DeploymentSeen {
    /// `spec.replicas` of the Deployment.
    pub fn replicas(&self) -> u32 {
        replicas_or_default(self.live.spec.as_ref().and_then(|s| s.replicas))
    }

    /// Sum of `spec.replicas` of all its ReplicaSets.
    fn wanted_pods(&self) -> u32 {
        self.new.wanted.saturating_add(self.old.wanted)
    }

    /// Whether the controller has observed the current spec.
    fn is_observed(&self) -> bool {
        is_observed(
            &self.live.metadata,
            self.live
                .status
                .as_ref()
                .and_then(|s| s.observed_generation),
        )
    }

    /// Whether only pods of the current template run, all of them Ready; `Err` says what is
    /// missing, and when it may change.
    pub(super) fn check_settled(
        &self,
        min_ready: u32,
    ) -> Result<(), (String, Option<SignedDuration>)> {
        let replicas = self.replicas();
        let done = self.is_observed()
            && self.new.ready_pods(min_ready) >= replicas
            && self.new.wanted == replicas
            && self.old.wanted == 0
            && self.old.active_pods() == 0;
        if done {
            return Ok(());
        }
        let old = self.old.active_pods();
        let rest = if old > 0 {
            format!(", {old} old to go")
        } else {
            String::new()
        };
        Err((
            describe_readiness(&self.new, replicas, min_ready) + &rest,
            self.new.next_ready(min_ready),
        ))
    }
}

/// Next action for a Deployment.
pub fn next_action(seen: Option<&DeploymentSeen>, goal: &Goal) -> RolloutAction {
    let decided = match seen {
        Some(seen) => decide_action(seen, goal),
        None if goal.hold => Ok(RolloutAction::Held),
        None => Ok(RolloutAction::Create),
    };
    decided.unwrap_or_else(|stop| stop)
}

/// Next action for a Deployment that exists; `Err` says why it is not touched.
fn decide_action(seen: &DeploymentSeen, goal: &Goal) -> Result<RolloutAction, RolloutAction> {
    check_own(&seen.live, goal.manifest)?;
    match find_active_rollout(seen, goal)? {
        Some(rollout) => LatchedRollout {
            seen,
            rollout: &rollout,
            goal,
        }
        .next_action(),
        None => next_unlatched(seen, goal),
    }
}

/// Stops when another controller rolls the Deployment out, or the manifest is not of this one.
fn check_own(live: &Deployment, manifest: &Deployment) -> Result<(), RolloutAction> {
    let selector = |d: &Deployment| {
        d.spec
            .as_ref()
            .and_then(|s| s.selector.match_labels.clone())
            .unwrap_or_default()
    };
    let other = "its selector differs from the manifest's, and a selector cannot be changed: rename one of them";
    let is_other = selector(live) != selector(manifest);
    match find_other_driver(&live.metadata).or_else(|| is_other.then(|| other.into())) {
        Some(why) => Err(RolloutAction::Stop(why)),
        None => Ok(()),
    }
}

fn find_active_rollout(
    seen: &DeploymentSeen,
    goal: &Goal,
) -> Result<Option<ActiveRollout<LatchStep, DeploymentSettings>>, RolloutAction> {
    let is_stale = |latch: &Latch| {
        latch.mode == RolloutMode::Native || orphaned::is_latch_off(&seen.live, latch)
    };
    goal.find_active_rollout(&seen.live.metadata, is_stale, |latch, state| {
        orphaned::shows_rollout(&seen.live, latch, state)
    })
}

/// Next action for a Deployment that no rollout of this release holds.
fn next_unlatched(seen: &DeploymentSeen, goal: &Goal) -> Result<RolloutAction, RolloutAction> {
    let live = &seen.live;
    if let Some(freed) = orphaned::release_orphaned_latch(seen, goal) {
        return Ok(freed);
    }
    if !foreign::has_wanted_template(live, goal.manifest) {
        goal.check_not_changed_after_end(&live.metadata)?;
        return begin_rollout(seen, goal);
    }
    if !goal.hold
        && foreign::applied_digest(&live.metadata)
            != foreign::applied_digest(&goal.manifest.metadata)
    {
        // Nothing to roll out, but other fields may differ.
        if let Some(patch) = patch::sync_other_fields(live, goal.manifest) {
            return Ok(RolloutAction::Patch(patch, "the rest of the manifest"));
        }
    }
    let settled = seen.check_settled(DeploymentSettings::from_deployment(live).min_ready());
    Ok(match settled {
        Ok(()) => RolloutAction::Done,
        Err((why, again)) => RolloutAction::Wait(why, again),
    })
}

fn begin_rollout(seen: &DeploymentSeen, goal: &Goal) -> Result<RolloutAction, RolloutAction> {
    let live = &seen.live;
    if goal.hold || goal.upto == 0 {
        return Ok(RolloutAction::Held);
    }
    check_not_paused(live)?;
    if let Some(patch) = patch::scale(live, goal.manifest) {
        return Ok(RolloutAction::Patch(patch, "the replicas of the manifest"));
    }
    let replicas = seen.replicas();
    let own = DeploymentSettings::from_deployment(live);
    let after = own.overlay_manifest(goal.manifest);
    if own.uses_recreate() || after.uses_recreate() || replicas == 0 {
        let written = LatchStep::surge(replicas, 0, replicas);
        return Ok(patch_or_wait(
            patch::begin_rollout(live, goal, RolloutMode::Native, written),
            "the new version, all at once",
        ));
    }
    if !seen.is_observed() || seen.wanted_pods() < replicas {
        let words = "waiting for the Deployment controller";
        return Ok(RolloutAction::Wait(words.into(), None));
    }
    let target = compute_targets(goal.batches, replicas)
        .get(goal.upto - 1)
        .copied()
        .unwrap_or(replicas);
    let written = plan_step(&after, goal, replicas, 0, target);
    Ok(patch_or_wait(
        patch::begin_rollout(live, goal, RolloutMode::Latched, written),
        "the first new pods, behind the latch",
    ))
}

/// Stops when somebody else has paused the Deployment: nothing would be rolled out.
fn check_not_paused(live: &Deployment) -> Result<(), RolloutAction> {
    if live.spec.as_ref().and_then(|s| s.paused) != Some(true) {
        return Ok(());
    }
    let who = last_writer(&live.metadata, &["spec", "paused"])
        .map_or(String::new(), |(by, _)| format!(" by {by}"));
    Err(RolloutAction::Stop(format!(
        "it was paused{who}: resume it (kubectl rollout resume) and retry"
    )))
}

/// Next step from exactly `at` new pods towards `target`, limited by the allowed surge. Where no
/// surge is allowed, old pods go first, at most the user's own maxUnavailable at once.
fn plan_step(
    own: &DeploymentSettings,
    goal: &Goal,
    replicas: u32,
    at: u32,
    target: u32,
) -> LatchStep {
    let (surge, unavailable) = own.surge_and_unavailable(replicas);
    let surge = goal.surge.map_or(surge, |s| s.scaled_count(replicas));
    if surge == 0 {
        let to = target.min(at.saturating_add(unavailable.max(1)));
        return LatchStep::retire(replicas, at, to);
    }
    LatchStep::surge(replicas, at, target.min(at.saturating_add(surge)))
}
