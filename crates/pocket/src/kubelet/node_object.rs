//! The Node object: one node, always ready, with the capacity of this machine.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{NODE, scheduling};
use crate::FIELD_MANAGER;

/// Maximum number of pods on the node.
const MAX_PODS: &str = "1000";

pub(super) async fn publish_node(client: Client, ip: Ipv4Addr, stop: CancellationToken) {
    let api: Api<Node> = Api::all(client);
    while let Err(error) = apply_node(&api, ip).await {
        tracing::warn!(%error, "the node is not shown");
        if stop
            .run_until_cancelled(tokio::time::sleep(Duration::from_secs(1)))
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn apply_node(api: &Api<Node>, ip: Ipv4Addr) -> kube::Result<()> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let labels = scheduling::node_labels(NODE);
    let node =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}});
    api.patch(NODE, &params, &Patch::Apply(&node)).await?;
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let cpus = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .to_string();
    let capacity = json!({"cpu": cpus, "memory": total_memory(), "pods": MAX_PODS});
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": NODE}],
        "capacity": capacity, "allocatable": capacity,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "not measured by pocket"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "not measured by pocket"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "not measured by pocket"),
            condition("Ready", "True", "KubeletReady", "pocket runs containers as local processes"),
        ],
        "nodeInfo": {
            "architecture": scheduling::architecture(), "operatingSystem": std::env::consts::OS,
            "kubeletVersion": concat!("v1.36.2+pocket-", env!("CARGO_PKG_VERSION")), "kubeProxyVersion": "",
            "containerRuntimeVersion": concat!("pocket://", env!("CARGO_PKG_VERSION")),
            "kernelVersion": kernel_release(), "osImage": std::env::consts::OS,
            "machineID": "", "systemUUID": "", "bootID": "",
        },
    }});
    api.patch_status(NODE, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .map(drop)
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}

fn total_memory() -> Value {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|l| {
        l.strip_prefix("MemTotal:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    format!("{}Ki", kib.unwrap_or(0)).into()
}
