//! Order in which pods are deleted, as ranked by Kubernetes (`ActivePodsWithRanks`).

use crate::controllers::pods::{phase, ready_since};
use k8s_openapi::api::core::v1::Pod;
use std::cmp::Reverse;
use std::sync::Arc;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Selects `n` of `pods` to delete: unassigned first, then pending, not ready, low deletion cost,
/// ready for the shortest time, most restarts, youngest.
pub(super) fn select_pods_to_delete(mut pods: Vec<Arc<Pod>>, n: usize) -> Vec<Arc<Pod>> {
    pods.sort_by_cached_key(|pod| {
        let assigned = pod
            .spec
            .as_ref()
            .is_some_and(|s| s.node_name.as_deref().is_some_and(|n| !n.is_empty()));
        let phase = match phase(pod) {
            "Pending" => 0,
            "Running" => 2,
            _ => 1,
        };
        let since = ready_since(pod);
        let cost: i32 = pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(DELETION_COST))
            .and_then(|c| c.parse().ok())
            .unwrap_or(0);
        let restarts = pod
            .status
            .iter()
            .flat_map(|s| s.container_statuses.iter().flatten())
            .map(|c| c.restart_count)
            .max()
            .unwrap_or(0);
        let born = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (
            assigned,
            phase,
            since.is_some(),
            cost,
            Reverse(since),
            Reverse(restarts),
            Reverse(born),
        )
    });
    pods.truncate(n);
    pods
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(
        name: &str,
        node: bool,
        phase: &str,
        ready: Option<&str>,
        cost: i32,
        restarts: i32,
        born: &str,
    ) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "creationTimestamp": born, "annotations": {DELETION_COST: cost.to_string()}},
                "spec": {"containers": [], "nodeName": if node { "pocket" } else { "" }},
                "status": {
                    "phase": phase,
                    "conditions": [{"type": "Ready", "status": if ready.is_some() { "True" } else { "False" },
                        "lastTransitionTime": ready}],
                    "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true,
                        "restartCount": restarts}],
                },
            }))
            .unwrap(),
        )
    }

    #[test]
    fn the_order_of_kubernetes() {
        let (old, young) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let wanted = [
            pod("unassigned", false, "Pending", None, 0, 0, old),
            pod("pending", true, "Pending", None, 0, 0, old),
            pod("not-ready", true, "Running", None, 0, 0, old),
            pod("cheap", true, "Running", Some(old), -5, 0, old),
            pod("ready-late", true, "Running", Some(young), 0, 0, old),
            pod("restarted", true, "Running", Some(old), 0, 7, old),
            pod("young", true, "Running", Some(old), 0, 0, young),
            pod("old", true, "Running", Some(old), 0, 0, old),
            pod("dear", true, "Running", Some(young), 9, 9, young),
        ];
        let shuffled: Vec<_> = (0..wanted.len())
            .map(|i| wanted[(i * 4 + 2) % wanted.len()].clone())
            .collect();
        let names = |pods: &[Arc<Pod>]| {
            pods.iter()
                .map(|p| p.metadata.name.clone().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(&select_pods_to_delete(shuffled.clone(), 99)),
            names(&wanted)
        );
        assert_eq!(
            names(&select_pods_to_delete(shuffled, 2)),
            ["unassigned", "pending"]
        );
    }
}
