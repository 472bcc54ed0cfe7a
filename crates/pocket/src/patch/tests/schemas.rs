//! Custom resources: the schema says how lists merge.

use super::super::{ListKeys, apply_server_side};
use super::{NOW, owned};
use serde_json::{Value, json};

fn keys() -> ListKeys {
    ListKeys::from_schema(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "plain": {"type": "array", "items": {"type": "object"}},
            "match": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
            "images": {"type": "object", "additionalProperties": {"type": "object", "properties": {"repository": {"type": "string"}}}},
            "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "kind"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "kind": {"type": "string", "default": "All"},
                    "n": {"type": "integer"}}}},
            "object": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        }},
    }}))
}

fn lane(spec: Value) -> Value {
    json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Lane", "metadata": {"name": "gray"}, "spec": spec})
}

fn both(one: Value, two: Value) -> Value {
    let live = apply_server_side(None, &lane(one), "one", false, NOW, &keys()).unwrap();
    apply_server_side(Some(&live), &lane(two), "two", false, NOW, &keys()).unwrap()
}

#[test]
fn sets_maps_and_keyed_lists_merge() {
    let out = both(
        json!({"tags": ["a", "b"], "images": {"x": {"repository": "r"}}, "rules": [{"name": "r", "n": 1}]}),
        json!({"tags": ["b", "c"], "images": {"y": {"repository": "s"}}, "rules": [{"name": "r", "kind": "One", "n": 2}]}),
    );
    assert_eq!(out["spec"]["tags"], json!(["a", "b", "c"]));
    assert_eq!(
        out["spec"]["images"],
        json!({"x": {"repository": "r"}, "y": {"repository": "s"}})
    );
    assert_eq!(
        out["spec"]["rules"],
        json!([{"name": "r", "n": 1}, {"name": "r", "kind": "One", "n": 2}])
    );
    assert_eq!(
        owned(&out, "one")["f:spec"]["f:rules"],
        json!({"k:{\"kind\":\"All\",\"name\":\"r\"}": {".": {}, "f:n": {}, "f:name": {}}})
    );
}

#[test]
fn atomic_lists_and_maps_conflict_as_a_whole() {
    for (one, two, field) in [
        (
            json!({"plain": [{"a": 1}]}),
            json!({"plain": [{"b": 1}]}),
            ".spec.plain",
        ),
        (
            json!({"match": {"a": "1"}}),
            json!({"match": {"b": "1"}}),
            ".spec.match",
        ),
    ] {
        let live = apply_server_side(None, &lane(one), "one", false, NOW, &keys()).unwrap();
        let error =
            apply_server_side(Some(&live), &lane(two), "two", false, NOW, &keys()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(r#"Apply failed with 1 conflict: conflict with "one": {field}"#)
        );
    }
}

#[test]
fn an_embedded_resource_has_metadata_of_its_own() {
    let object = |finalizer: &str| json!({"object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"finalizers": [finalizer]}}});
    let out = both(object("x/1"), object("x/2"));
    assert_eq!(
        out["spec"]["object"]["metadata"]["finalizers"],
        json!(["x/1", "x/2"])
    );
}

#[test]
fn without_a_schema_lists_are_atomic_and_finalizers_a_set() {
    let with =
        |f: &str| json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"finalizers": [f]}});
    let live = apply_server_side(
        None,
        &with("x/1"),
        "one",
        false,
        NOW,
        &ListKeys::for_unknown_kind(),
    )
    .unwrap();
    let out = apply_server_side(
        Some(&live),
        &with("x/2"),
        "two",
        false,
        NOW,
        &ListKeys::for_unknown_kind(),
    )
    .unwrap();
    assert_eq!(out["metadata"]["finalizers"], json!(["x/1", "x/2"]));
}
