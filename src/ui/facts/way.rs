//! How an environment's workloads take a new version: Deployments beside the old one, StatefulSets in its place.

use crate::domain::world::{Workload, WorkloadKind};

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// New pods come up, then old ones go: Deployments, or nothing yet.
    Beside,
    /// One after the other, with one fewer serving: StatefulSets.
    InPlace,
    /// Of each kind there is one.
    Both,
}

/// Of these workloads.
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
