//! What the controller reads from a StatefulSet and its pods, and how it builds pods.

use super::super::ownership;
use super::super::pods::{is_ready, phase, time_until_available};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use std::collections::BTreeMap;

pub(super) const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub(super) const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
pub(super) const REVISION_LABEL: &str = "controller-revision-hash";

pub(super) fn replicas(set: &StatefulSet) -> i32 {
    // Bounded, because a slot is allocated for every replica.
    set.spec
        .as_ref()
        .and_then(|s| s.replicas)
        .unwrap_or(1)
        .clamp(0, 1 << 20)
}

/// Returns the first ordinal.
pub(super) fn first_ordinal(set: &StatefulSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|s| s.ordinals.as_ref())
        .and_then(|o| o.start)
        .unwrap_or(0)
}

pub(super) fn min_ready_seconds(set: &StatefulSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|s| s.min_ready_seconds)
        .unwrap_or(0)
}

/// Whether pods are handled one after the other, each available before the next.
pub(super) fn is_ordered(set: &StatefulSet) -> bool {
    set.spec
        .as_ref()
        .and_then(|s| s.pod_management_policy.as_deref())
        != Some("Parallel")
}

fn strategy(set: &StatefulSet) -> Option<&StatefulSetUpdateStrategy> {
    set.spec.as_ref()?.update_strategy.as_ref()
}

pub(super) fn is_on_delete(set: &StatefulSet) -> bool {
    strategy(set).and_then(|s| s.type_.as_deref()) == Some("OnDelete")
}

fn rolling_update(set: &StatefulSet) -> Option<&RollingUpdateStatefulSetStrategy> {
    strategy(set)?.rolling_update.as_ref()
}

/// Number of pods, counted from the first ordinal, that an update leaves alone.
pub(super) fn partition(set: &StatefulSet) -> i32 {
    rolling_update(set).and_then(|r| r.partition).unwrap_or(0)
}

/// Whether a missing pod is created from the current revision instead of the update revision.
pub(super) fn uses_current_revision(set: &StatefulSet, ordinal: i32) -> bool {
    let below = match rolling_update(set) {
        Some(rolling) => rolling.partition.unwrap_or(0),
        None if is_on_delete(set) => 0,
        // Without a partition: as many as the status counts as not yet updated.
        None => set
            .status
            .as_ref()
            .and_then(|s| s.current_replicas)
            .unwrap_or(0),
    };
    ordinal < first_ordinal(set).saturating_add(below)
}

/// Ordinal of a pod, from its name; `None` if the name does not belong to this set.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let name = pod.metadata.name.as_deref()?;
    let (parent, digits) = name.rsplit_once('-')?;
    let number = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten();
    number.filter(|_| Some(parent) == set.metadata.name.as_deref())
}

pub(super) fn revision(pod: &Pod) -> &str {
    pod.metadata
        .labels
        .as_ref()
        .and_then(|l| l.get(REVISION_LABEL))
        .map_or("", String::as_str)
}

pub(super) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

pub(super) fn is_running_and_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod)
}

/// Whether the pod is running and has been Ready for the required time.
pub(super) fn is_running_and_available(set: &StatefulSet, pod: &Pod, now: Timestamp) -> bool {
    let wait = min_ready_seconds(set);
    is_running_and_ready(pod)
        && (wait == 0 || time_until_available(pod, wait, now).is_some_and(|left| left.is_zero()))
}

pub(super) fn is_unavailable(set: &StatefulSet, pod: &Pod, now: Timestamp) -> bool {
    is_terminating(pod) || !is_running_and_available(set, pod, now)
}

/// Labels that identify a pod's ordinal.
pub(super) fn identity_labels(set: &StatefulSet, ordinal: i32) -> BTreeMap<String, String> {
    let name = format!("{}-{ordinal}", set.name_any());
    [
        (POD_NAME.into(), name),
        (POD_INDEX.into(), ordinal.to_string()),
    ]
    .into()
}

pub(super) fn new_pod(
    set: &StatefulSet,
    template: &PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let name = format!("{}-{ordinal}", set.name_any());
    let mut labels = meta.labels.unwrap_or_default();
    labels.extend(identity_labels(set, ordinal));
    labels.insert(REVISION_LABEL.into(), revision.into());
    let service = set.spec.as_ref().and_then(|s| s.service_name.clone());
    let mut spec = template.spec.clone().unwrap_or_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = service.filter(|name| !name.is_empty());
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            generate_name: Some(format!("{}-", set.name_any())),
            namespace: set.namespace(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![ownership::controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}
