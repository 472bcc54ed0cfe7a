//! What the Deployment controller reads from its objects: surge and unavailability limits, template
//! identity, revisions.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED_ANNOTATION: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX_ANNOTATION: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that are not copied to its ReplicaSets.
pub const NOT_COPIED: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_ANNOTATION,
    MAX_ANNOTATION,
];

/// Upper limit for replica counts, so that sums of many counts do not overflow.
const REPLICA_LIMIT: i32 = 1 << 20;

fn clamp_replicas(n: i32) -> i32 {
    n.clamp(0, REPLICA_LIMIT)
}

pub fn replicas(d: &Deployment) -> i32 {
    clamp_replicas(d.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))
}

pub fn min_ready_seconds(d: &Deployment) -> i32 {
    d.spec
        .as_ref()
        .and_then(|s| s.min_ready_seconds)
        .unwrap_or(0)
}

pub fn is_paused(d: &Deployment) -> bool {
    d.spec.as_ref().and_then(|s| s.paused).unwrap_or(false)
}

pub fn is_recreate(d: &Deployment) -> bool {
    d.spec
        .as_ref()
        .and_then(|s| s.strategy.as_ref())
        .and_then(|s| s.type_.as_deref())
        == Some("Recreate")
}

/// Seconds without progress until the rollout counts as failed; `None` (spec: `i32::MAX`) means no
/// deadline.
pub fn progress_deadline(d: &Deployment) -> Option<i32> {
    let seconds = d
        .spec
        .as_ref()
        .and_then(|s| s.progress_deadline_seconds)
        .unwrap_or(600);
    (seconds != i32::MAX).then_some(seconds)
}

fn resolve_int_or_percent(value: &IntOrString, total: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(n) => clamp_replicas(*n),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').trim().parse().unwrap_or(0);
            let product = percent.clamp(0, i64::from(REPLICA_LIMIT)) * i64::from(total);
            let result = if up {
                (product + 99).div_euclid(100)
            } else {
                product.div_euclid(100)
            };
            clamp_replicas(i32::try_from(result).unwrap_or(REPLICA_LIMIT))
        }
    }
}

/// Returns `(max surge, max unavailable)` in pods. Surge rounds up, unavailable rounds down, and if
/// both are 0, unavailable becomes 1.
pub fn resolve_fenceposts(d: &Deployment) -> (i32, i32) {
    if is_recreate(d) {
        return (0, 0);
    }
    let total = replicas(d);
    let rolling = d
        .spec
        .as_ref()
        .and_then(|s| s.strategy.as_ref())
        .and_then(|s| s.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".into());
    let surge = rolling
        .and_then(|r| r.max_surge.as_ref())
        .unwrap_or(&quarter);
    let unavailable = rolling
        .and_then(|r| r.max_unavailable.as_ref())
        .unwrap_or(&quarter);
    let surge = resolve_int_or_percent(surge, total, true).max(0);
    let mut down = resolve_int_or_percent(unavailable, total, false).max(0);
    if surge == 0 && down == 0 {
        down = 1;
    }
    (surge, down)
}

/// Number of pods that may be unavailable, at most the replica count.
pub fn max_unavailable(d: &Deployment) -> i32 {
    resolve_fenceposts(d).1.min(replicas(d))
}

/// Normalizes a template: removes defaults, nulls, empty parts and the hash label, so that a
/// template with the API server's defaults equals the one it was made from.
pub fn canonical_template(template: &PodTemplateSpec) -> Value {
    let mut value = serde_json::to_value(template).unwrap_or(Value::Null);
    if let Some(labels) = value
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.shift_remove(HASH_LABEL);
    }
    if let Some(meta) = value
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
    {
        meta.shift_remove("creationTimestamp");
    }
    prune_defaults(&mut value, "");
    value
}

/// Whether a value is the API server's default for this field (core/v1 defaults of a pod template).
fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "restartPolicy" => value == "Always",
        "dnsPolicy" => value == "ClusterFirst",
        "schedulerName" => value == "default-scheduler",
        "terminationGracePeriodSeconds" => value == 30,
        "terminationMessagePath" => value == "/dev/termination-log",
        "terminationMessagePolicy" => value == "File",
        "protocol" => value == "TCP",
        "imagePullPolicy" => true,
        "scheme" => value == "HTTP",
        "periodSeconds" => value == 10,
        "timeoutSeconds" => value == 1,
        "successThreshold" => value == 1,
        "failureThreshold" => value == 3,
        "defaultMode" => value == 420,
        "initialDelaySeconds" => value == 0,
        "enableServiceLinks" => value == true,
        "hostNetwork" | "hostPID" | "hostIPC" => value == false,
        _ => false,
    }
}

fn prune_defaults(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            // Free-form maps keep every key: a label that is named like a field is not a default.
            let free = matches!(
                key,
                "labels" | "annotations" | "nodeSelector" | "limits" | "requests"
            );
            for (k, v) in map.iter_mut() {
                prune_defaults(v, if free { "" } else { k });
            }
            // An empty object is a valid value for `emptyDir`, so it is kept.
            map.retain(|k, v| {
                free || k == "emptyDir"
                    || !(v.is_null()
                        || v.as_object().is_some_and(serde_json::Map::is_empty)
                        || v.as_array().is_some_and(Vec::is_empty)
                        || is_default(k, v))
            });
            map.sort_keys();
        }
        Value::Array(items) => items.iter_mut().for_each(|v| prune_defaults(v, "")),
        _ => {}
    }
}

/// Whether two templates produce the same pods, ignoring the hash label.
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    canonical_template(a) == canonical_template(b)
}

/// Hash of the template; a positive `collisions` salts it.
pub fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    let text = canonical_template(template).to_string();
    let salt = collisions.to_le_bytes();
    safe_hash(&[text.as_bytes(), if collisions > 0 { &salt } else { &[] }])
}

/// Hashes `parts` into the alphabet of Kubernetes' safe names.
pub fn safe_hash(parts: &[&[u8]]) -> String {
    const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash: u32 = 0x811c_9dc5;
    for byte in parts.iter().copied().flatten() {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    hash.to_string()
        .bytes()
        .map(|b| char::from(SAFE[usize::from(b) % SAFE.len()]))
        .collect()
}

pub fn annotation<'a>(rs: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    rs.metadata
        .annotations
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

pub fn parse_annotation(rs: &ReplicaSet, key: &str) -> Option<i32> {
    annotation(rs, key)?.parse().ok().map(clamp_replicas)
}

pub fn revision(rs: &ReplicaSet) -> i64 {
    annotation(rs, REVISION)
        .and_then(|r| r.parse().ok())
        .unwrap_or(0)
}

pub fn rs_replicas(rs: &ReplicaSet) -> i32 {
    clamp_replicas(rs.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))
}

pub fn rs_available(rs: &ReplicaSet) -> i32 {
    clamp_replicas(
        rs.status
            .as_ref()
            .and_then(|s| s.available_replicas)
            .unwrap_or(0),
    )
}

pub fn rs_ready(rs: &ReplicaSet) -> i32 {
    clamp_replicas(
        rs.status
            .as_ref()
            .and_then(|s| s.ready_replicas)
            .unwrap_or(0),
    )
}

/// Number of existing pods, as last counted by the ReplicaSet controller.
pub fn rs_actual(rs: &ReplicaSet) -> i32 {
    clamp_replicas(rs.status.as_ref().map_or(0, |s| s.replicas))
}

/// Sort key, oldest first; revision and name break ties between equal timestamps.
pub fn creation_order(rs: &ReplicaSet) -> (Timestamp, i64, String) {
    (
        rs.metadata
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::MAX, |t| t.0),
        revision(rs),
        rs.metadata.name.clone().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(spec: Value) -> Deployment {
        serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": spec})).unwrap()
    }

    #[test]
    fn fence_posts_round_surge_up_and_unavailable_down() {
        for (n, surge, unavailable, want) in [
            (4, json!("25%"), json!("25%"), (1, 1)),
            (10, json!("25%"), json!("25%"), (3, 2)),
            (3, json!(0), json!("10%"), (0, 1)),
            (0, json!("25%"), json!("25%"), (0, 1)),
            (6, json!(3), json!(0), (3, 0)),
            (2, json!("100%"), json!(5), (2, 5)),
        ] {
            let d = deployment(json!({
                "replicas": n, "selector": {}, "template": {},
                "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
            }));
            assert_eq!(resolve_fenceposts(&d), want, "{n} {surge} {unavailable}");
        }
    }

    #[test]
    fn a_defaulted_template_is_the_same_template() {
        let plain: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
        }))
        .unwrap();
        let defaulted: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"app": "a", HASH_LABEL: "x"}, "creationTimestamp": null},
            "spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "securityContext": {},
                "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "c", "image": "i", "resources": {}, "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}]}]},
        }))
        .unwrap();
        assert!(same_template(&plain, &defaulted));
        assert_eq!(template_hash(&plain, 0), template_hash(&defaulted, 0));
        assert_ne!(template_hash(&plain, 0), template_hash(&plain, 1));
        let mut other = plain.clone();
        other.spec.as_mut().unwrap().containers[0].image = Some("j".into());
        assert!(!same_template(&plain, &other));
        assert_ne!(template_hash(&plain, 0), template_hash(&other, 0));
    }
}
