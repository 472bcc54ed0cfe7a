//! Exact batches on a plain Deployment, by the latch (the design's "Exact batches"), and on a plain StatefulSet, by its
//! partition ([`stateful`]).
//!
//! [`next`] looks at a workload as it is and answers with the next patch, with what it waits for, or with the
//! foreign hand that makes it stop. It remembers nothing: whatever it must know stands in the workload's own
//! annotation, written in the same patch as the fields it tells about, so it goes on after a crash
//! anywhere, and anybody can finish or abort without graylane.
//!
//! What it never does: take an old pod before a new one is Ready in its place, go past the batch that is
//! allowed, shrink a batch, or write over what somebody else changed. Every patch carries the
//! `resourceVersion` it was made from.

mod foreign;
mod goal;
mod latch;
mod left;
mod machine;
mod patch;
mod records;
mod restore;
pub mod stateful;
pub mod template;
mod undo;
mod workload;

pub use foreign::is_template;
pub use goal::{Goal, Move, Progress};
pub use latch::{By, Latch, Mark, Mode, Own, Phase, Previous, Written};
pub use left::is_on;
pub use machine::{next, progress};
pub use records::Records;
pub use restore::restored;
pub use undo::{Undo, Ways, rescue, undo};
pub use workload::{Manifest, WorkloadSeen, is_rolled};

use crate::api::{Amount, PausePolicy};

/// New pods after each batch: never fewer than after the one before, all after the last.
pub fn targets(amounts: &[Amount], replicas: u32) -> Vec<u32> {
    let mut most = 0;
    let mut targets: Vec<u32> = amounts
        .iter()
        .map(|a| {
            most = a.of(replicas).min(replicas).max(most);
            most
        })
        .collect();
    match targets.last_mut() {
        Some(last) => *last = replicas,
        None => targets.push(replicas),
    }
    targets
}

/// The batch up to which a rollout may go by its plan of pauses and by what people have let through (`level`); 0 where it
/// has none.
pub fn allowed(pause: PausePolicy, level: u32, batches: usize) -> usize {
    let level = level as usize;
    match pause {
        PausePolicy::Never => batches,
        // Once it is let go on after the first it stops no more.
        PausePolicy::First if level >= 2 => batches,
        PausePolicy::First => 1,
        PausePolicy::Every => level.max(1),
    }
    .min(batches)
}

/// The batches of a plan that move a pod in one of the Deployments with these replicas; duplicates collapse.
/// The last is all. Kept for the whole rollout, so that a batch's number goes on meaning the same when an
/// autoscaler changes the replicas.
pub fn batches(plan: &[Amount], replicas: &[u32]) -> Vec<Amount> {
    let at = |a: &[Amount], i: usize| -> Vec<u32> {
        replicas.iter().map(|r| targets(a, *r)[i]).collect()
    };
    let mut kept: Vec<Amount> = vec![];
    let mut before = vec![0; replicas.len()];
    for (i, amount) in plan.iter().enumerate() {
        // All, before the last one said so: what follows has nothing left to do.
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
