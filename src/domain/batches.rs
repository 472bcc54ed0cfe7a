//! Exact batches on a plain Deployment, by the latch (the design's "Exact batches"), and on a plain
//! StatefulSet, by its partition ([`stateful`]).
//!
//! [`next_action`] looks at a workload as it is and answers with the next patch, with what it waits for,
//! or with the foreign change that makes it stop. It keeps no state of its own: everything it needs
//! is in the workload's own annotation, written in the same patch as the fields it describes. So it
//! resumes after a crash at any point, and anybody can finish or abort a rollout without graylane.
//!
//! It never removes an old pod before a new one is Ready in its place, goes past the batch that is
//! allowed, shrinks a batch, or overwrites what somebody else changed. Every patch carries the
//! `resourceVersion` it was made from.

mod foreign;
mod goal;
mod latch;
mod machine;
mod orphaned;
mod patch;
mod records;
mod restore;
pub mod stateful;
pub mod template;
mod undo;
mod workload;

pub use foreign::has_wanted_template;
pub use goal::{Goal, Progress, RolloutAction};
pub use latch::{
    AnnotationError, DeploymentSettings, Latch, LatchPhase, LatchStep, PreviousVersion, RolloutId,
    RolloutMark, RolloutMode,
};
pub use machine::{measure_progress, next_action};
pub use orphaned::is_latch_on;
pub use records::Records;
pub use restore::restore_object;
pub use undo::{RescueError, RescuePatches, UndoAction, plan_rescue, undo_rollout};
pub use workload::{Manifest, ManifestError, WorkloadSeen, is_batched};

use crate::api::{Amount, PausePolicy};

/// Number of new pods after each batch: never decreasing, and all replicas after the last batch.
pub fn compute_targets(amounts: &[Amount], replicas: u32) -> Vec<u32> {
    let mut most = 0;
    let mut targets: Vec<u32> = amounts
        .iter()
        .map(|a| {
            most = a.scaled_count(replicas).min(replicas).max(most);
            most
        })
        .collect();
    match targets.last_mut() {
        Some(last) => *last = replicas,
        None => targets.push(replicas),
    }
    targets
}

/// Number of new pods of several workloads after each batch, together.
pub fn sum_targets(amounts: &[Amount], replicas: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut sums = vec![0_u32; amounts.len()];
    for replicas in replicas {
        let targets = compute_targets(amounts, replicas);
        for (sum, target) in sums.iter_mut().zip(targets) {
            *sum = sum.saturating_add(target);
        }
    }
    sums
}

/// Last batch that a rollout may reach, given its pause policy and what people have allowed so far
/// (`level`); 0 only when there are no batches.
pub fn last_allowed_batch(pause: PausePolicy, level: u32, batches: usize) -> usize {
    let level = level as usize;
    match pause {
        PausePolicy::Never => batches,
        // Once it may continue after the first batch, it does not stop again.
        PausePolicy::First if level >= 2 => batches,
        PausePolicy::First => 1,
        PausePolicy::Every => level.max(1),
    }
    .min(batches)
}

/// Batches of a plan that move a pod in at least one of the workloads with these replicas, without
/// duplicates. The last one is 100 %. They are fixed for the whole rollout, so that a batch number
/// keeps its meaning when an autoscaler changes the replicas.
pub fn plan_batches(plan: &[Amount], replicas: &[u32]) -> Vec<Amount> {
    let at = |a: &[Amount], i: usize| -> Vec<u32> {
        replicas.iter().map(|r| compute_targets(a, *r)[i]).collect()
    };
    let mut kept: Vec<Amount> = vec![];
    let mut before = vec![0; replicas.len()];
    for (i, amount) in plan.iter().enumerate() {
        // All pods are new before the last batch: the remaining batches would do nothing.
        let now: Vec<u32> = at(&[&plan[..=i], &[Amount::Percent(100)]].concat(), i);
        if now.iter().zip(replicas).all(|(n, r)| n >= r) {
            break;
        }
        if now != before {
            kept.push(*amount);
            before = now;
        }
    }
    kept.push(Amount::Percent(100));
    kept
}

#[cfg(test)]
pub(crate) mod simulator;
#[cfg(test)]
mod tests;
