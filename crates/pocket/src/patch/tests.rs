//! The patch types applied to whole objects, as a cluster would answer.

mod apply;
mod ownership;
mod properties;
mod schemas;
mod strategic;

use super::ListKeys;
use serde_json::{Value, json};

pub(super) const NOW: &str = "2026-11-23T10:00:00Z";
pub(super) const LATER: &str = "2026-11-23T10:05:00Z";

pub(super) fn deployments() -> ListKeys {
    ListKeys::for_builtin_kind("apps", "Deployment")
}

pub(super) fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "demo"}, "spec": spec})
}

/// fieldsV1 of one manager.
pub(super) fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut found = entries.into_iter().filter(|e| e["manager"] == manager);
    let first = found
        .next()
        .map(|e| e["fieldsV1"].clone())
        .unwrap_or_default();
    assert!(found.next().is_none(), "{manager} twice: {object:#}");
    first
}

#[test]
fn merge_patch_is_rfc_7386() {
    let target = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
    let patch = json!({"a": {"b": null, "c": [3]}, "e": {"f": null}});
    assert_eq!(
        super::apply_merge_patch(&target, &patch),
        json!({"a": {"c": [3]}, "d": 1, "e": {}})
    );
    assert_eq!(super::apply_merge_patch(&target, &json!({})), target);
}
