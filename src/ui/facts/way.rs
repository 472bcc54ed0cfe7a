//! The replacement strategy of an environment's workloads: Deployments surge, StatefulSets are
//! replaced in place.

use crate::domain::world::{Workload, WorkloadKind};

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// New pods start before old ones stop: Deployments, or no workload yet.
    Beside,
    /// One pod after the other, with one fewer serving meanwhile: StatefulSets.
    InPlace,
    /// The environment has workloads of both kinds.
    Both,
}

/// Strategy of these workloads.
pub fn way(workloads: &[&Workload]) -> Way {
    let sets = workloads
        .iter()
        .filter(|w| w.kind == WorkloadKind::StatefulSet)
        .count();
    match (sets, workloads.len() - sets) {
        (0, _) => Way::Beside,
        (_, 0) => Way::InPlace,
        _ => Way::Both,
    }
}
