//! Pods, decoded only as far as graylane reads them.
//!
//! Of a pod of 8 kB most is its spec and its managed fields. Thousands of them are listed at each
//! start, and a hundred may change in a second: what nobody reads is skipped and never allocated.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use serde::{Deserialize, Deserializer};

use crate::api::delegate_resource;

/// A pod of which only these fields are known:
///
/// - metadata: identity, version, labels, owners, and when it was created and deleted;
/// - spec: names and images of the containers;
/// - status: phase, reason, message, address, conditions, and the state of containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeanPod(pub Pod);

delegate_resource!(LeanPod, Pod, 0.metadata);

impl<'de> Deserialize<'de> for LeanPod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = PodParts::deserialize(deserializer)?;
        Ok(Self(Pod {
            metadata: parts.metadata.into_meta(),
            spec: parts.spec.map(SpecParts::into_spec),
            status: parts.status.map(StatusParts::into_status),
        }))
    }
}

#[derive(Deserialize)]
struct PodParts {
    #[serde(default)]
    metadata: MetaParts,
    spec: Option<SpecParts>,
    status: Option<StatusParts>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaParts {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
}

impl MetaParts {
    fn into_meta(self) -> ObjectMeta {
        ObjectMeta {
            name: self.name,
            namespace: self.namespace,
            uid: self.uid,
            resource_version: self.resource_version,
            labels: self.labels,
            owner_references: self.owner_references,
            creation_timestamp: self.creation_timestamp,
            deletion_timestamp: self.deletion_timestamp,
            ..ObjectMeta::default()
        }
    }
}

#[derive(Deserialize)]
struct SpecParts {
    containers: Option<Vec<ContainerParts>>,
}

#[derive(Deserialize)]
struct ContainerParts {
    #[serde(default)]
    name: String,
    image: Option<String>,
}

impl SpecParts {
    fn into_spec(self) -> PodSpec {
        let container = |parts: ContainerParts| Container {
            name: parts.name,
            image: parts.image,
            ..Container::default()
        };
        let containers = self.containers.into_iter().flatten().map(container);
        PodSpec {
            containers: containers.collect(),
            ..PodSpec::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusParts {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Option<Vec<PodCondition>>,
    init_container_statuses: Option<Vec<ContainerStatusParts>>,
    container_statuses: Option<Vec<ContainerStatusParts>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatusParts {
    #[serde(default)]
    name: String,
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    restart_count: i32,
    started: Option<bool>,
    state: Option<ContainerState>,
    last_state: Option<ContainerState>,
}

impl StatusParts {
    fn into_status(self) -> PodStatus {
        let statuses = |all: Option<Vec<ContainerStatusParts>>| {
            all.map(|all| {
                all.into_iter()
                    .map(ContainerStatusParts::into_status)
                    .collect()
            })
        };
        PodStatus {
            phase: self.phase,
            reason: self.reason,
            message: self.message,
            pod_ip: self.pod_ip,
            conditions: self.conditions,
            init_container_statuses: statuses(self.init_container_statuses),
            container_statuses: statuses(self.container_statuses),
            ..PodStatus::default()
        }
    }
}

impl ContainerStatusParts {
    fn into_status(self) -> ContainerStatus {
        ContainerStatus {
            name: self.name,
            ready: self.ready,
            restart_count: self.restart_count,
            started: self.started,
            state: self.state,
            last_state: self.last_state,
            ..ContainerStatus::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{cluster::status::summarize_pod, domain::observe::cause};

    fn pod(state: &Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "a-1", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 3,
                "labels": {"graylane.dev/app": "a"}, "annotations": {"k": "v"}, "finalizers": ["f"],
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "r", "controller": true}],
                "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"nodeName": "node", "containers": [
                {"name": "main", "image": "i:1", "env": [{"name": "E", "value": "v"}]}, {"name": "side", "image": "j:1"}]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "hostIP": "10.1.0.1", "qosClass": "Burstable",
                "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "not yet",
                    "lastTransitionTime": "2026-01-01T00:00:05Z"}],
                "initContainerStatuses": [{"name": "init", "image": "k:1", "imageID": "id", "ready": true, "restartCount": 0,
                    "state": {"terminated": {"exitCode": 0}}}],
                "containerStatuses": [
                    {"name": "main", "image": "i:1", "imageID": "id", "ready": false, "restartCount": 4, "state": state,
                     "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
                    {"name": "side", "image": "j:1", "imageID": "id", "ready": true, "started": true, "restartCount": 1,
                     "state": {"running": {}}}],
            },
        })
    }

    #[test]
    fn what_is_read_of_a_pod_is_the_same_as_of_a_whole_one() {
        for state in [
            json!({"running": {"startedAt": "2026-01-01T00:00:01Z"}}),
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}),
            json!({"terminated": {"exitCode": 2, "message": "gone"}}),
        ] {
            let whole: Pod = serde_json::from_value(pod(&state)).unwrap();
            let LeanPod(lean) = serde_json::from_value(pod(&state)).unwrap();
            assert_eq!(summarize_pod(&lean), summarize_pod(&whole), "{state}");
            assert_eq!(cause::of_pod(&lean), cause::of_pod(&whole), "{state}");
            let known = ObjectMeta {
                generation: None,
                annotations: None,
                finalizers: None,
                managed_fields: None,
                ..whole.metadata.clone()
            };
            assert_eq!(lean.metadata, known);
            let images = |pod: &Pod| {
                let spec = pod.spec.clone().unwrap_or_default();
                let of = |c: Container| (c.name, c.image);
                spec.containers.into_iter().map(of).collect::<Vec<_>>()
            };
            assert_eq!(images(&lean), images(&whole));
            let status = |pod: &Pod| {
                let status = pod.status.clone().unwrap_or_default();
                (status.phase, status.pod_ip, status.conditions)
            };
            assert_eq!(status(&lean), status(&whole));
        }
    }

    #[test]
    fn what_a_server_may_leave_out_may_be_missing() {
        for text in [
            "{}",
            r#"{"metadata": {}, "spec": null, "status": {}}"#,
            r#"{"spec": {"containers": null}, "status": {"containerStatuses": null, "conditions": []}}"#,
            r#"{"spec": {"containers": [{}]}, "status": {"containerStatuses": [{}]}}"#,
        ] {
            assert!(serde_json::from_str::<LeanPod>(text).is_ok(), "{text}");
        }
    }
}
