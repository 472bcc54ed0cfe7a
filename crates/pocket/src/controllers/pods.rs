//! Properties of pods that controllers need.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::ObjectMeta;
use kube::core::{Selector, SelectorExt};
use std::time::Duration;

/// Returns the owner reference of the object's controller.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|o| o.controller == Some(true))
}

pub fn is_controlled_by(meta: &ObjectMeta, uid: Option<&str>) -> bool {
    controller_of(meta).is_some_and(|o| Some(o.uid.as_str()) == uid)
}

pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .unwrap_or("Pending")
}

pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod is neither finished nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|c| c.type_ == kind)
}

/// Since when the pod is Ready; `None` if it is not.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|c| c.status == "True")?;
    Some(
        ready
            .last_transition_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |t| t.0),
    )
}

pub fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// Time until the pod is available: zero if it is, `None` if it is not Ready.
pub fn time_until_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    // Without a minimum, Ready is enough and its time is irrelevant. A timestamp in the future
    // comes from another clock and counts from now.
    let since = ready_since(pod)?;
    if min_ready_seconds <= 0 {
        return Some(Duration::ZERO);
    }
    let at = since
        .checked_add(SignedDuration::from_secs(i64::from(min_ready_seconds)))
        .ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// Whether a selector matches the labels. An invalid or empty selector matches nothing.
pub fn selector_matches(selector: &LabelSelector, meta: &ObjectMeta) -> bool {
    let labels = meta.labels.clone().unwrap_or_default();
    Selector::try_from(selector.clone()).is_ok_and(|s| !s.selects_all() && s.matches(&labels))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ready_is_a_condition_where_it_need_not_last() {
        let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T01:00:00Z"});
        let pod: Pod =
            serde_json::from_value(json!({"status": {"conditions": [condition]}})).unwrap();
        // Timestamps of a clock that is one hour ahead or behind.
        for now in ["2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z"] {
            assert_eq!(
                time_until_available(&pod, 0, now.parse().unwrap()),
                Some(Duration::ZERO),
                "{now}"
            );
        }
        let left = time_until_available(&pod, 5, "2026-01-01T01:00:02Z".parse().unwrap());
        assert_eq!(left, Some(Duration::from_secs(3)));
        assert_eq!(
            time_until_available(&Pod::default(), 0, Timestamp::UNIX_EPOCH),
            None
        );
    }
}
