//! Pod templates and other JSON: comparison, merge patches, and short digests.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use serde_json::{Map, Value};

use crate::domain::digest::hash_json;

/// Label that the Deployment controller adds to each version.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Pod template of a Deployment.
pub fn of_deployment(d: &Deployment) -> Value {
    d.spec
        .as_ref()
        .and_then(|s| serde_json::to_value(&s.template).ok())
        .unwrap_or_default()
}

/// Pod template of a StatefulSet.
pub fn of_stateful(s: &StatefulSet) -> Value {
    s.spec
        .as_ref()
        .and_then(|s| serde_json::to_value(&s.template).ok())
        .unwrap_or_default()
}

/// Pod template of a ReplicaSet.
pub fn of_set(rs: &ReplicaSet) -> Value {
    rs.spec
        .as_ref()
        .and_then(|s| serde_json::to_value(s.template.as_ref()?).ok())
        .unwrap_or_default()
}

/// A ReplicaSet's template as the Deployment has it: without the label that the controller adds.
pub fn without_hash(mut template: Value) -> Value {
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.shift_remove(HASH_LABEL);
    }
    template
}

/// Template in canonical form: sorted, without the controller's label, and without what an API
/// server drops (nulls, empty values) or fills in (defaults of core/v1).
pub fn normalize_template(template: &Value) -> Value {
    let mut value = template.clone();
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
    drop_defaults(&mut value, "");
    value
}

/// Whether both templates describe the same pods.
pub fn is_same_template(a: &Value, b: &Value) -> bool {
    normalize_template(a) == normalize_template(b)
}

/// Whether `live` contains all that `wanted` says, and perhaps more (defaults that [`normalize_template`] does
/// not know).
pub fn covers(live: &Value, wanted: &Value) -> bool {
    is_subset(&normalize_template(live), &normalize_template(wanted))
}

fn is_subset(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(l), Value::Object(w)) => w
            .iter()
            .all(|(k, v)| l.get(k).is_some_and(|l| is_subset(l, v))),
        (Value::Array(l), Value::Array(w)) => {
            l.len() == w.len() && l.iter().zip(w).all(|(l, w)| is_subset(l, w))
        }
        _ => live == wanted,
    }
}

fn drop_defaults(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            // A label or resource with the name of a field is no default.
            let free = matches!(
                key,
                "labels" | "annotations" | "nodeSelector" | "limits" | "requests"
            );
            for (k, v) in map.iter_mut() {
                drop_defaults(v, if free { "" } else { k });
            }
            map.retain(|k, v| free || k == "emptyDir" || !(is_empty(v) || is_default(k, v)));
            map.sort_keys();
        }
        Value::Array(items) => items.iter_mut().for_each(|v| drop_defaults(v, "")),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "restartPolicy" => value == "Always",
        "dnsPolicy" => value == "ClusterFirst",
        "schedulerName" => value == "default-scheduler",
        "terminationGracePeriodSeconds" => value == 30,
        "terminationMessagePath" => value == "/dev/termination-log",
        "terminationMessagePolicy" => value == "File",
        "protocol" => value == "TCP",
        "scheme" => value == "HTTP",
        "periodSeconds" => value == 10,
        "timeoutSeconds" | "successThreshold" => value == 1,
        "failureThreshold" => value == 3,
        "defaultMode" => value == 420,
        "initialDelaySeconds" => value == 0,
        "enableServiceLinks" => value == true,
        "hostNetwork" | "hostPID" | "hostIPC" => value == false,
        // Defaults that depend on the image tag, or on the API version.
        "imagePullPolicy" => true,
        "apiVersion" => value == "v1",
        _ => false,
    }
}

/// JSON merge patch (RFC 7386) that turns `from` into `to`; `None` when they are equal.
pub fn make_merge_patch(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return Some(to.clone());
    };
    let mut patch = Map::new();
    for key in old.keys().filter(|k| !new.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            Some(before) => patch.extend(make_merge_patch(before, value).map(|d| (key.clone(), d))),
            // Inside a new object a null would be stored as a value.
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Some(Value::Object(patch))
}

/// Short digest that does not depend on the order of keys: 16 hex digits.
pub fn short_digest(value: &Value) -> String {
    let mut whole = hash_json(value);
    whole.truncate(16);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_defaulted_template_is_the_same_and_a_changed_one_is_not() {
        let plain = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i",
            "ports": [{"containerPort": 80}]}]}});
        let live = json!({"metadata": {"creationTimestamp": null, "labels": {"app": "a", HASH_LABEL: "x"}},
            "spec": {"restartPolicy": "Always", "securityContext": {}, "containers": [{"image": "i", "name": "c",
            "resources": {}, "imagePullPolicy": "Always", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}});
        assert!(is_same_template(&plain, &live));
        let mut other = plain.clone();
        other["spec"]["containers"][0]["image"] = json!("j");
        assert!(!is_same_template(&plain, &other) && !covers(&live, &other));
        let mut label = plain.clone();
        label["metadata"]["labels"] = json!({"app": "a", "protocol": "TCP"});
        assert!(
            !is_same_template(&plain, &label),
            "a label named like a default is still a label"
        );
        assert!(covers(&label, &plain) && !covers(&plain, &label));
    }

    #[test]
    fn a_diff_merges_to_the_other() {
        let from = json!({"a": 1, "b": {"c": 1, "d": [1]}, "e": {"f": 1}});
        let to = json!({"b": {"c": 1, "d": [2, 3], "x": {"y": 1}}, "e": {"f": 1}, "g": {}});
        let patch = make_merge_patch(&from, &to).unwrap();
        assert_eq!(
            patch,
            json!({"a": null, "b": {"d": [2, 3], "x": {"y": 1}}, "g": {}})
        );
        let mut merged = from.clone();
        json_patch::merge(&mut merged, &patch);
        assert_eq!(merged, to);
        assert_eq!(make_merge_patch(&to, &merged), None);
    }

    #[test]
    fn a_digest_does_not_look_at_the_order_of_keys() {
        let (a, b) = (
            json!({"a": {"x": 1, "y": 2}, "b": 1}),
            json!({"b": 1, "a": {"y": 2, "x": 1}}),
        );
        assert_eq!(short_digest(&a), short_digest(&b));
        assert_ne!(short_digest(&a), short_digest(&json!({"a": 1})));
    }
}
