//! The replacement strategy of an environment's workloads: Deployments surge, StatefulSets are
//! replaced in place.

use crate::domain::world::{Workload, WorkloadKind};

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplacementStrategy {
    /// New pods start before old ones stop: Deployments, or no workload yet.
    Surge,
    /// One pod after the other, with one fewer serving meanwhile: StatefulSets.
    InPlace,
    /// The environment has workloads of both kinds.
    Mixed,
}

/// Strategy of these workloads.
pub fn replacement_strategy(workloads: &[&Workload]) -> ReplacementStrategy {
    let sets = workloads
        .iter()
        .filter(|w| w.kind == WorkloadKind::StatefulSet)
        .count();
    match (sets, workloads.len() - sets) {
        (0, _) => ReplacementStrategy::Surge,
        (_, 0) => ReplacementStrategy::InPlace,
        _ => ReplacementStrategy::Mixed,
    }
}
