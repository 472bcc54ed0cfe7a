//! Corrects the status that an earlier run of pocket left: its containers are dead, whatever their
//! pods' status says. Runs before controllers and gateway start, so that nothing relies on pods
//! that do not run.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};

use super::is_ours;
use super::shared_status::SharedStatus;
use super::status::compute_status;
use crate::controllers::pods::is_active;
use crate::controllers::{endpoints, write};

/// Marks pods that ran as not ready, and their addresses in EndpointSlices as well.
pub async fn reset_stale_status(client: &Client) -> kube::Result<()> {
    let all = ListParams::default();
    let pods = Api::<Pod>::all(client.clone()).list(&all).await?;
    try_join_all(
        pods.iter()
            .filter(|p| is_ours(p) && is_active(p))
            .map(|pod| reset_pod(client, pod)),
    )
    .await?;
    let slices = Api::<EndpointSlice>::all(client.clone()).list(&all).await?;
    try_join_all(
        slices
            .into_iter()
            .filter(endpoints::is_own)
            .map(|slice| withdraw_endpoints(client, slice)),
    )
    .await?;
    Ok(())
}

async fn reset_pod(client: &Client, pod: &Pod) -> kube::Result<()> {
    let mut status = SharedStatus::from_pod(pod).read_status();
    compute_status(pod, &mut status, crate::clock::now());
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    write::patch_status(&api, pod, pod.status.as_ref(), &status)
        .await
        .map(drop)
}

async fn withdraw_endpoints(client: &Client, mut slice: EndpointSlice) -> kube::Result<()> {
    let mut changed = false;
    for conditions in slice
        .endpoints
        .iter_mut()
        .filter_map(|e| e.conditions.as_mut())
    {
        changed |= conditions.ready == Some(true) || conditions.serving == Some(true);
        (conditions.ready, conditions.serving) = (Some(false), Some(false));
    }
    if changed {
        let api: Api<EndpointSlice> =
            Api::namespaced(client.clone(), &slice.namespace().unwrap_or_default());
        api.replace(&slice.name_any(), &PostParams::default(), &slice)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::pods::is_ready;
    use crate::rest::ApiServer;
    use kube::api::{Patch, PatchParams};
    use serde_json::{Value, json};

    #[tokio::test]
    async fn nothing_of_a_former_run_counts_as_ready() {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(dir.path()).unwrap();
        let client = server.client();
        let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
        let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
        let make = |value: Value| serde_json::from_value(value).unwrap();
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": super::super::NODE,
            "containers": [{"name": "c", "image": "i:v1"}]}});
        pods.create(&PostParams::default(), &make(pod))
            .await
            .unwrap();
        let container = json!({"name": "c", "image": "i:v1", "imageID": "", "ready": true, "started": true,
            "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        let status = json!({"status": {"phase": "Running", "containerStatuses": [container],
            "conditions": [{"type": "Ready", "status": "True"}]}});
        let old = pods
            .patch_status("p", &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
        assert!(is_ready(&old));
        for (name, by) in [("own", endpoints::MANAGER), ("other", "somebody")] {
            let slice = json!({"metadata": {"name": name, "labels": {endpoints::MANAGED_BY: by}},
                "addressType": "IPv4", "ports": [],
                "endpoints": [{"addresses": ["127.64.16.1"], "conditions": {"ready": true, "serving": true}}]});
            slices
                .create(
                    &PostParams::default(),
                    &serde_json::from_value(slice).unwrap(),
                )
                .await
                .unwrap();
        }

        reset_stale_status(&client).await.unwrap();
        let now = pods.get("p").await.unwrap();
        assert!(!is_ready(&now));
        let ended = now
            .status
            .unwrap()
            .container_statuses
            .unwrap()
            .remove(0)
            .state
            .unwrap()
            .terminated
            .unwrap();
        assert_eq!(ended.reason.as_deref(), Some("ContainerStatusUnknown"));
        let first = async |name: &str| {
            slices
                .get(name)
                .await
                .unwrap()
                .endpoints
                .remove(0)
                .conditions
                .unwrap()
                .ready
        };
        assert_eq!(
            (first("own").await, first("other").await),
            (Some(false), Some(true))
        );
        server.close().await;
    }
}
