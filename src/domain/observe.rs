//! Deployments as a rollout sees them: which pods are new, which are old, and how long each has
//! been Ready.
//!
//! Counts come from the pods themselves. While the latch is on, nothing of the new version is ever
//! *available*, so the Deployment's own status says too little.

pub mod cause;
mod first_seen;
mod parts;
mod ready;
mod stateful;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::Value;

use super::{batches::template, text::Clean};
use crate::api::{Uid, label};

use cause::Cause;

pub use first_seen::FirstSeen;
pub use parts::{ObservedPod, ObservedSet};
pub use ready::ReadyWatch;
pub use stateful::{
    MAX_STATEFUL_REPLICAS, PodSlot, REVISION_LABEL, StatefulSeen, observe_stateful_set,
};

/// One Deployment with its ReplicaSets and pods.
#[derive(Clone, Debug, Default)]
pub struct DeploymentSeen {
    /// The Deployment as read from the API server.
    pub live: Deployment,
    /// Pods of the current template.
    pub new: VersionPods,
    /// Pods of all other templates.
    pub old: VersionPods,
    /// Template of the old ReplicaSet with the most pods.
    pub older: Option<Value>,
    /// Number of its own ReplicaSets, with pods or without. A paused Deployment that has none never
    /// gets any.
    pub sets: usize,
}

/// Pods of one or several ReplicaSets.
#[derive(Clone, Debug, Default)]
pub struct VersionPods {
    /// `pod-template-hash` (a StatefulSet's revision); only for the new pods.
    pub hash: Option<String>,
    /// Sum of `spec.replicas`: what the Deployment controller asked for.
    pub wanted: u32,
    /// Pods that are neither finished nor terminating.
    pub pods: Vec<PodSeen>,
    /// Why no more of them can be created.
    pub trouble: Option<Clean>,
}

/// One pod, as far as a rollout needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Name of the pod.
    pub name: String,
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.resourceVersion`
    pub version: String,
    /// How long it is known to have been Ready; `None` when it is not. Measured by the watcher's
    /// clock, never by timestamps of another machine.
    pub ready: Option<SignedDuration>,
    /// Why it is not Ready.
    pub trouble: Option<Clean>,
    /// The reason says no more than that it waits.
    pub is_vague: bool,
    /// A container restarts again and again, or its image cannot be pulled.
    pub crashing: bool,
}

impl VersionPods {
    /// Number of pods.
    pub fn active_pods(&self) -> u32 {
        to_u32(self.pods.len())
    }

    /// Number of pods that have been Ready for `min_ready` seconds.
    pub fn ready_pods(&self, min_ready: u32) -> u32 {
        to_u32(
            self.pods
                .iter()
                .filter(|p| p.is_ready_for(min_ready))
                .count(),
        )
    }

    /// Time until the next Ready pod will have been Ready for `min_ready` seconds.
    pub fn next_ready(&self, min_ready: u32) -> Option<SignedDuration> {
        let whole = SignedDuration::from_secs(i64::from(min_ready));
        let left = self.pods.iter().filter_map(|p| whole.checked_sub(p.ready?));
        left.filter(SignedDuration::is_positive).min()
    }

    /// First pod that is not Ready, preferably one with a known reason.
    pub fn first_unready(&self) -> Option<&PodSeen> {
        let lame = || self.pods.iter().filter(|p| p.ready.is_none());
        lame()
            .find(|p| p.trouble.is_some())
            .or_else(|| lame().next())
    }
}

impl PodSeen {
    /// Whether it has been Ready for `min_ready` seconds.
    pub fn is_ready_for(&self, min_ready: u32) -> bool {
        self.ready
            .is_some_and(|lasted| lasted >= SignedDuration::from_secs(i64::from(min_ready)))
    }
}

/// Whether a controller has observed the current spec.
pub(super) fn is_observed(live: &ObjectMeta, seen: Option<i64>) -> bool {
    live.generation.is_none() || seen >= live.generation
}

/// `spec.replicas`: 1 when it is missing, 0 when it is negative.
pub(super) fn replicas_or_default(told: Option<i32>) -> u32 {
    told.map_or(1, |n| u32::try_from(n).unwrap_or(0))
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Combines a Deployment with what its controller created. `sets` and `pods` may include objects of
/// other owners; `ready` says how long a Ready pod has been Ready.
pub fn observe_deployment<'a>(
    live: &Deployment,
    sets: impl IntoIterator<Item = &'a ObservedSet>,
    pods: impl IntoIterator<Item = &'a ObservedPod>,
    ready: &dyn Fn(&ObservedPod) -> SignedDuration,
) -> DeploymentSeen {
    let wanted = template::of_deployment(live);
    let mut seen = DeploymentSeen {
        live: live.clone(),
        ..DeploymentSeen::default()
    };
    let own: Vec<&ObservedSet> = sets
        .into_iter()
        .filter(|rs| is_owned_by(&rs.metadata, &live.metadata))
        .collect();
    seen.sets = own.len();
    let new = find_new_set(&own, &wanted);
    let new_uid = new.and_then(|rs| rs.metadata.uid.clone());
    seen.new.hash = new.and_then(|rs| {
        rs.metadata
            .labels
            .as_ref()?
            .get(template::HASH_LABEL)
            .cloned()
    });
    let failure = new
        .and_then(|rs| rs.failure.as_deref().cloned())
        .or_else(|| cause::of_deployment(live).filter(|c| !cause::is_noise(c)));
    seen.new.trouble = failure.map(|c| c.to_text());
    for rs in &own {
        let side = if rs.metadata.uid == new_uid {
            &mut seen.new
        } else {
            &mut seen.old
        };
        side.wanted = side.wanted.saturating_add(rs.replicas);
    }
    let older = find_largest_old_set(&own, new_uid.as_ref());
    seen.older = older.map(|rs| template::without_hash(rs.template()));
    for pod in pods {
        let Some(owner) = own
            .iter()
            .find(|rs| is_owned_by(&pod.metadata, &rs.metadata))
        else {
            continue;
        };
        if pod.metadata.deletion_timestamp.is_some() || pod.is_finished {
            continue;
        }
        let side = if owner.metadata.uid == new_uid {
            &mut seen.new
        } else {
            &mut seen.old
        };
        side.pods.push(observe_pod(pod, ready));
    }
    seen
}

/// The ReplicaSet of the wanted template. Of several equal ones Kubernetes uses the oldest.
fn find_new_set<'a>(own: &[&'a ObservedSet], wanted: &Value) -> Option<&'a ObservedSet> {
    let wanted = template::normalize_template(wanted);
    let same = |rs: &&&ObservedSet| template::normalize_template(&rs.template()) == wanted;
    let age = |rs: &&&ObservedSet| {
        let created = rs.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (created, rs.metadata.name.clone())
    };
    own.iter().filter(same).min_by_key(age).copied()
}

/// The ReplicaSet with most pods among those of older versions.
fn find_largest_old_set<'a>(
    own: &[&'a ObservedSet],
    new_uid: Option<&String>,
) -> Option<&'a ObservedSet> {
    own.iter()
        .filter(|rs| rs.replicas > 0 && rs.metadata.uid.as_ref() != new_uid)
        .max_by_key(|rs| rs.replicas)
        .copied()
}

/// Whether it belongs to an App but its template is older: its pods do not carry the App's labels.
pub fn predates_app(live: &Deployment) -> bool {
    let template = live
        .spec
        .as_ref()
        .and_then(|s| s.template.metadata.as_ref());
    has_app_label(&live.metadata) && !template.is_some_and(has_app_label)
}

/// Running pods of an adopted Deployment that lack the App's labels because their template is
/// older, as namespace and name.
pub fn unlabelled_pods<'a>(
    live: &Deployment,
    sets: impl IntoIterator<Item = &'a ObservedSet>,
    pods: impl IntoIterator<Item = &'a ObservedPod>,
) -> Vec<(String, String)> {
    if !predates_app(live) {
        return vec![];
    }
    let own: Vec<&ObservedSet> = sets
        .into_iter()
        .filter(|rs| is_owned_by(&rs.metadata, &live.metadata))
        .collect();
    let ours = |pod: &&ObservedPod| {
        let meta = &pod.metadata;
        meta.deletion_timestamp.is_none()
            && !has_app_label(meta)
            && own.iter().any(|rs| is_owned_by(meta, &rs.metadata))
    };
    let name = |pod: &ObservedPod| {
        let meta = &pod.metadata;
        (
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        )
    };
    pods.into_iter().filter(ours).map(name).collect()
}

fn has_app_label(meta: &ObjectMeta) -> bool {
    meta.labels
        .as_ref()
        .is_some_and(|l| l.contains_key(label::APP))
}

fn is_owned_by(child: &ObjectMeta, owner: &ObjectMeta) -> bool {
    let Some(uid) = owner.uid.as_deref() else {
        return false;
    };
    child
        .owner_references
        .iter()
        .flatten()
        .any(|r| r.controller == Some(true) && r.uid == uid)
}

fn observe_pod(pod: &ObservedPod, ready: &dyn Fn(&ObservedPod) -> SignedDuration) -> PodSeen {
    let lasted = pod.ready.map(|_| ready(pod).max(SignedDuration::ZERO));
    let cause = pod.cause.as_deref();
    let meta = pod.metadata.clone();
    let uid = Uid::from_meta(&meta);
    PodSeen {
        name: meta.name.unwrap_or_default(),
        uid,
        version: meta.resource_version.unwrap_or_default(),
        ready: lasted,
        is_vague: cause::is_vague(cause),
        trouble: cause.map(Cause::to_text),
        crashing: pod.is_crashing,
    }
}

/// Last manager that wrote a field, from `managedFields`, and when.
pub fn last_writer(meta: &ObjectMeta, path: &[&str]) -> Option<(String, Option<Timestamp>)> {
    let mut entries: Vec<_> = meta.managed_fields.iter().flatten().collect();
    // Times are whole seconds: of two writers in the same second, the other one matters, not
    // graylane.
    let ours = |manager: &Option<String>| manager.as_deref() == Some(crate::api::FIELD_MANAGER);
    entries.sort_by_key(|e| {
        (
            std::cmp::Reverse(e.time.as_ref().map(|t| t.0)),
            ours(&e.manager),
        )
    });
    let entry = entries.into_iter().find(|e| {
        let mut at: Option<&Value> = e.fields_v1.as_ref().map(|f| &f.0);
        for part in path {
            at = at.and_then(|v| v.get(format!("f:{part}")));
        }
        at.is_some()
    })?;
    Some((
        entry.manager.clone().unwrap_or_else(|| "somebody".into()),
        entry.time.as_ref().map(|t| t.0),
    ))
}

/// Whether something else scales this workload: `spec.replicas` was last set through the scale
/// subresource.
pub fn is_autoscaled(meta: &ObjectMeta) -> bool {
    meta.managed_fields.iter().flatten().any(|e| {
        let owns = e
            .fields_v1
            .as_ref()
            .is_some_and(|f| f.0.pointer("/f:spec/f:replicas").is_some());
        owns && e.subresource.as_deref() == Some("scale")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_from_before_the_app_are_found_by_their_owners() {
        let live = |template: Value| -> Deployment {
            let labels = json!({label::APP: "a"});
            let meta = json!({"name": "d", "uid": "d", "labels": labels});
            serde_json::from_value(
                json!({"metadata": meta, "spec": {"selector": {}, "template": template}}),
            )
            .unwrap()
        };
        let owned = |uid: &str, by: &str, labels: Value| {
            let owner = json!([{"apiVersion": "v1", "kind": "K", "name": by, "uid": by, "controller": true}]);
            json!({"metadata": {"name": uid, "namespace": "n", "uid": uid, "ownerReferences": owner, "labels": labels}})
        };
        let sets: Vec<ObservedSet> = [owned("s", "d", json!({})), owned("t", "other", json!({}))]
            .into_iter()
            .map(|v| serde_json::from_value(v).unwrap())
            .collect();
        let pods: Vec<ObservedPod> = [
            ("p", "s", json!({})),
            ("q", "s", json!({label::APP: "a"})),
            ("r", "t", json!({})),
        ]
        .into_iter()
        .map(|(name, by, labels)| serde_json::from_value(owned(name, by, labels)).unwrap())
        .collect();
        assert_eq!(
            unlabelled_pods(&live(json!({})), &sets, &pods),
            [("n".to_owned(), "p".to_owned())]
        );
        let released = live(json!({"metadata": {"labels": {label::APP: "a"}}}));
        assert_eq!(
            unlabelled_pods(&released, &sets, &pods),
            [],
            "new pods carry them from their template"
        );
    }
}
