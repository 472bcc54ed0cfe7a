//! How far the rollout of a Deployment is.

use super::{
    super::{
        compute_targets, foreign,
        goal::{Goal, Progress},
        latch::{DeploymentSettings, Latch, LatchPhase, LatchStep, RolloutMode},
    },
    find_active_rollout,
};
use crate::{api::BatchPhase, domain::observe::DeploymentSeen};

/// Progress of a Deployment in the rollout of this manifest.
pub fn measure_progress(seen: Option<&DeploymentSeen>, goal: &Goal) -> Progress {
    let Some(seen) = seen else {
        return Progress::default();
    };
    let latch = find_active_rollout(seen, goal)
        .ok()
        .flatten()
        .map(|rollout| rollout.latch);
    let latched = latch.is_some()
        || !matches!(
            Latch::<LatchStep, DeploymentSettings>::from_meta(&seen.live.metadata),
            Ok(None)
        );
    let replicas = seen.replicas();
    let is_new = foreign::has_wanted_template(&seen.live, goal.manifest);
    let min_ready = latch.as_ref().map_or_else(
        || DeploymentSettings::from_deployment(&seen.live).min_ready(),
        Latch::min_ready,
    );
    let (new, old) = if is_new {
        (seen.new.active_pods(), seen.old.active_pods())
    } else {
        (0, seen.new.active_pods() + seen.old.active_pods())
    };
    let ready = if is_new {
        seen.new.ready_pods(min_ready)
    } else {
        0
    };
    let mut reached = Progress {
        replicas,
        new,
        ready,
        old,
        done: 0,
        phase: BatchPhase::Pending,
    };
    let all = compute_targets(goal.batches, replicas);
    let count = |exact: u32| all.iter().take_while(|t| **t <= exact).count();
    match latch {
        None if is_new && seen.check_settled(min_ready).is_ok() => {
            reached.done = all.len();
            reached.phase = BatchPhase::Done;
        }
        // No latch: the native controller is rolling it out.
        None if is_new => reached.phase = BatchPhase::Surging,
        None => {}
        Some(l) if l.mode == RolloutMode::Native => reached.phase = BatchPhase::Surging,
        Some(latch) => {
            let exact = is_new && seen.wanted_pods() == replicas && ready >= seen.new.wanted;
            let (phase, at) = reached_by_latch(&latch.written, seen.new.wanted, exact);
            (reached.phase, reached.done) = (phase, count(at));
        }
    }
    // The last batch is done only when the user's own settings are restored.
    if reached.phase != BatchPhase::Done || latched {
        reached.done = reached.done.min(all.len().saturating_sub(1));
    }
    reached
}

/// Phase of the current batch behind the latch, and how many new pods are reached for certain.
/// `exact` means that a hold shows exactly `wanted` new pods, all of them ready.
fn reached_by_latch(written: &LatchStep, wanted: u32, exact: bool) -> (BatchPhase, u32) {
    match written.phase {
        LatchPhase::Surge => (BatchPhase::Surging, written.from),
        LatchPhase::Retire => (BatchPhase::Retiring, written.from),
        LatchPhase::Hold if exact => (BatchPhase::Done, wanted),
        LatchPhase::Hold => (BatchPhase::Done, written.to.min(wanted.saturating_sub(1))),
    }
}
