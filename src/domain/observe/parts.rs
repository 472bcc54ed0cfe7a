//! What is kept of the parts of workloads. A cluster has thousands of pods and about ten
//! ReplicaSets a Deployment; of each only its identity is kept, and what is decided from it. That
//! takes a third of the memory of the whole objects.

use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    cause::{self, Cause},
    replicas_or_default,
    stateful::REVISION_LABEL,
};
use crate::{
    api::{delegate_resource, label},
    domain::batches::template,
};

/// A pod, as far as rollouts and lanes read it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Pod")]
pub struct ObservedPod {
    /// Identity, owners, when it was created and deleted, and the labels that graylane reads.
    pub metadata: ObjectMeta,
    /// Whether its containers have ended for good.
    pub is_finished: bool,
    /// The condition Ready, if it is true.
    pub ready: Option<ReadyCondition>,
    /// Why it is not Ready.
    pub cause: Option<Box<Cause>>,
    /// Whether the kubelet reports a failure that it retries again and again.
    pub is_crashing: bool,
}

/// That a pod is Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyCondition {
    /// Since when, by the clock of its node.
    pub since: Option<Timestamp>,
}

/// A ReplicaSet, as far as rollouts read it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "ReplicaSet")]
pub struct ObservedSet {
    /// As [`ObservedPod::metadata`].
    pub metadata: ObjectMeta,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Why its pods cannot be created or deleted.
    pub failure: Option<Box<Cause>>,
    /// The pod template as JSON.
    template: Box<str>,
}

impl ObservedSet {
    /// The pod template.
    pub fn template(&self) -> Value {
        serde_json::from_str(&self.template).unwrap_or_default()
    }
}

impl From<Pod> for ObservedPod {
    fn from(pod: Pod) -> Self {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        Self {
            is_finished: matches!(phase, Some("Succeeded" | "Failed")),
            ready: find_ready_condition(&pod),
            cause: cause::of_pod(&pod).map(Box::new),
            is_crashing: cause::is_crashing(&pod),
            metadata: keep_meta(pod.metadata),
        }
    }
}

impl From<ReplicaSet> for ObservedSet {
    fn from(set: ReplicaSet) -> Self {
        Self {
            replicas: replicas_or_default(set.spec.as_ref().and_then(|s| s.replicas)),
            failure: cause::of_set(&set).map(Box::new),
            template: template::of_set(&set).to_string().into(),
            metadata: keep_meta(set.metadata),
        }
    }
}

fn find_ready_condition(pod: &Pod) -> Option<ReadyCondition> {
    let all = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = all
        .iter()
        .find(|c| c.type_ == "Ready" && c.status == "True")?;
    let since = ready.last_transition_time.as_ref().map(|t| t.0);
    Some(ReadyCondition { since })
}

fn keep_meta(meta: ObjectMeta) -> ObjectMeta {
    let mut labels = meta.labels;
    if let Some(labels) = &mut labels {
        labels.retain(|name, _| is_read_label(name));
    }
    ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        labels,
        owner_references: meta.owner_references,
        creation_timestamp: meta.creation_timestamp,
        deletion_timestamp: meta.deletion_timestamp,
        ..ObjectMeta::default()
    }
}

fn is_read_label(name: &str) -> bool {
    [
        label::APP,
        label::ENVIRONMENT,
        label::SERVICE_TAG,
        template::HASH_LABEL,
        REVISION_LABEL,
    ]
    .contains(&name)
}

delegate_resource!(ObservedPod, Pod, metadata);
delegate_resource!(ObservedSet, ReplicaSet, metadata);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_keeps_its_template_whole() {
        let template = json!({"metadata": {"labels": {"run": "a"}}, "spec": {"containers": [
            {"name": "c", "image": "i:1", "env": [{"name": "A", "value": "\u{e9}\n"}]}]}});
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "a-7f", "annotations": {"k": "v"}, "labels": {template::HASH_LABEL: "7f", "run": "a"}},
            "spec": {"replicas": 3, "selector": {}, "template": template},
            "status": {"replicas": 0, "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]},
        }))
        .unwrap();
        let kept = ObservedSet::from(set.clone());
        assert_eq!(kept.template(), template::of_set(&set));
        assert_eq!(kept.replicas, 3);
        assert_eq!(
            kept.failure.map(|c| c.reason.to_string()).as_deref(),
            Some("FailedCreate")
        );
        assert_eq!(
            kept.metadata.labels,
            Some([(template::HASH_LABEL.to_owned(), "7f".to_owned())].into())
        );
        assert_eq!(kept.metadata.annotations, None);
    }

    #[test]
    fn a_pod_is_ready_finished_or_crashing_as_its_status_says() {
        let of = |status: Value| -> ObservedPod {
            serde_json::from_value(json!({"status": status})).unwrap()
        };
        let since = "2026-01-01T00:00:00Z";
        let condition = |status: &str| json!([{"type": "Ready", "status": status, "lastTransitionTime": since}]);
        let ready = of(json!({"phase": "Running", "conditions": condition("True")}));
        assert_eq!(
            ready.ready.and_then(|r| r.since),
            Some(since.parse().unwrap())
        );
        assert!(!ready.is_finished && ready.cause.is_none());
        assert_eq!(of(json!({"conditions": condition("False")})).ready, None);
        for (phase, is_finished) in [("Succeeded", true), ("Failed", true), ("Pending", false)] {
            assert_eq!(
                of(json!({"phase": phase})).is_finished,
                is_finished,
                "{phase}"
            );
        }
        let waiting = |reason: &str| {
            json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}}}]})
        };
        for (reason, is_crashing) in [
            ("CrashLoopBackOff", true),
            ("ErrImagePull", true),
            ("ContainerCreating", false),
        ] {
            let pod = of(waiting(reason));
            assert_eq!(pod.is_crashing, is_crashing, "{reason}");
            assert_eq!(pod.cause.is_some(), is_crashing, "{reason}");
        }
    }
}
