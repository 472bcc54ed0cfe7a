//! Pauses the demo's load while the demo is stopped: requests to services that are still starting
//! would be reported as failures of the last minute.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::seed::NAMESPACE;
use crate::api::FIELD_MANAGER;

const NAME: &str = "traffic";
/// Annotation with the replicas of the load while it is paused.
const SAVED_REPLICAS: &str = "graylane.dev/sleeps";
/// It ends at once; a shutdown waits no longer than this.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Scales the load to zero. Nothing to do if the workspace has no load.
pub(super) async fn pause_load(client: &Client) {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let Ok(Some(found)) = api.get_opt(NAME).await else {
        return;
    };
    let replicas = found.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    if replicas > 0 {
        let annotations = json!({SAVED_REPLICAS: replicas.to_string()});
        patch_load(
            &api,
            &json!({"metadata": {"annotations": annotations}, "spec": {"replicas": 0}}),
        )
        .await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let gone = async {
            let own = ListParams::default().labels("app=traffic");
            while pods
                .list(&own)
                .await
                .is_ok_and(|left| !left.items.is_empty())
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = tokio::time::timeout(PAUSE_TIMEOUT, gone).await;
    }
}

/// Scales the load back to its earlier replicas.
pub(super) async fn resume_load(client: &Client) {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let Ok(Some(found)) = api.get_opt(NAME).await else {
        return;
    };
    let before = found
        .annotations()
        .get(SAVED_REPLICAS)
        .and_then(|n| n.parse::<i32>().ok());
    if let Some(replicas) = before {
        patch_load(
            &api,
            &json!({"metadata": {"annotations": {SAVED_REPLICAS: null}}, "spec": {"replicas": replicas}}),
        )
        .await;
    }
}

async fn patch_load(api: &Api<Deployment>, patch: &serde_json::Value) {
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    if let Err(why) = api.patch(NAME, &params, &Patch::Merge(patch)).await {
        tracing::warn!(%why, "the demo's load");
    }
}
