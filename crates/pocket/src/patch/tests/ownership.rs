//! managedFields after create, update and patch, and how they are maintained.

use super::super::{ListKeys, apply_server_side, track_update};
use super::{LATER, NOW, deployment, deployments, owned};
use serde_json::{Value, json};

#[test]
fn a_create_owns_all_but_what_the_server_wrote() {
    let mut after = deployment(
        json!({"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "image": "a:1"}]}}}),
    );
    after["metadata"]["labels"] = json!({"app": "a"});
    after["metadata"]["uid"] = json!("u");
    after["metadata"]["creationTimestamp"] = json!(NOW);
    after["metadata"]["generation"] = json!(1);
    after["status"] = json!({"replicas": 0});
    let out = track_update(None, &after, "kubectl-create", None, NOW, &deployments());
    assert_eq!(out["metadata"]["uid"], "u");
    assert_eq!(
        owned(&out, "kubectl-create"),
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:replicas": {}, "f:template": {".": {}, "f:spec": {".": {}, "f:containers": {".": {},
                "k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}}}}}},
        })
    );
}

#[test]
fn an_update_takes_what_it_changes_and_frees_what_it_removes() {
    let before = track_update(
        None,
        &deployment(json!({"replicas": 1, "paused": true})),
        "one",
        None,
        NOW,
        &deployments(),
    );
    let mut after = before.clone();
    after["spec"] = json!({"replicas": 2});
    let out = track_update(Some(&before), &after, "two", None, LATER, &deployments());
    assert_eq!(owned(&out, "two"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(owned(&out, "one"), Value::Null);
    assert_eq!(out["metadata"]["managedFields"][0]["time"], LATER);
}

#[test]
fn an_update_that_changes_nothing_leaves_no_trace() {
    let before = track_update(
        None,
        &deployment(json!({"replicas": 1})),
        "one",
        None,
        NOW,
        &deployments(),
    );
    let mut after = before.clone();
    after["metadata"]["resourceVersion"] = json!("8");
    let out = track_update(Some(&before), &after, "two", None, LATER, &deployments());
    assert_eq!(
        out["metadata"]["managedFields"],
        before["metadata"]["managedFields"]
    );
}

#[test]
fn a_client_that_drops_managed_fields_does_not_wipe_them_but_a_reset_does() {
    let before = track_update(
        None,
        &deployment(json!({"replicas": 1})),
        "one",
        None,
        NOW,
        &deployments(),
    );
    let mut after = before.clone();
    after["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    after["spec"]["paused"] = json!(true);
    let out = track_update(Some(&before), &after, "two", None, LATER, &deployments());
    assert_eq!(owned(&out, "one"), json!({"f:spec": {"f:replicas": {}}}));
    after["metadata"]["managedFields"] = json!([{}]);
    let out = track_update(Some(&before), &after, "two", None, LATER, &deployments());
    assert_eq!(owned(&out, "one"), Value::Null);
}

#[test]
fn a_status_update_is_another_owner_with_its_subresource() {
    let before = track_update(
        None,
        &deployment(json!({"replicas": 1})),
        "controller",
        None,
        NOW,
        &deployments(),
    );
    let mut after = before.clone();
    after["status"] = json!({"conditions": [{"type": "Available", "status": "True"}]});
    let out = track_update(
        Some(&before),
        &after,
        "controller",
        Some("status"),
        LATER,
        &deployments(),
    );
    let entries = out["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(
        entries[1]["fieldsV1"]["f:status"]["f:conditions"]["k:{\"type\":\"Available\"}"]["f:status"],
        json!({})
    );
}

#[test]
fn an_updater_who_took_a_field_is_a_conflict_for_its_applier() {
    let applied = deployment(
        json!({"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "image": "a:1"}]}}}),
    );
    let live = apply_server_side(None, &applied, "graylane", false, NOW, &deployments()).unwrap();
    let mut after = live.clone();
    after["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:evil");
    let live = track_update(
        Some(&live),
        &after,
        "kubectl-set",
        None,
        LATER,
        &deployments(),
    );
    assert_eq!(
        owned(&live, "graylane")["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"a\"}"],
        json!({".": {}, "f:name": {}})
    );
    let error = apply_server_side(
        Some(&live),
        &applied,
        "graylane",
        false,
        LATER,
        &deployments(),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"Apply failed with 1 conflict: conflict with "kubectl-set" using apps/v1: .spec.template.spec.containers[name="a"].image"#
    );
}

#[test]
fn what_was_there_before_the_bookkeeping_has_an_owner_too() {
    let live = deployment(json!({"replicas": 1}));
    let error = apply_server_side(
        Some(&live),
        &deployment(json!({"replicas": 2})),
        "graylane",
        false,
        NOW,
        &deployments(),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(r#"conflict with "before-first-apply" using apps/v1: .spec.replicas"#),
        "{error}"
    );
}

#[test]
fn the_eleventh_updater_makes_the_oldest_ancient() {
    let mut object = deployment(json!({"replicas": 0}));
    let keys = ListKeys::for_unknown_kind();
    for i in 0..14 {
        let mut after = object.clone();
        after["spec"][format!("f{i}")] = json!(i);
        object = track_update(
            Some(&object),
            &after,
            &format!("m{i:02}"),
            None,
            &format!("2026-11-23T10:{i:02}:00Z"),
            &keys,
        );
    }
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(
        owned(&object, "ancient-changes")["f:spec"],
        json!({"f:f0": {}, "f:f1": {}, "f:f2": {}, "f:f3": {}, "f:f4": {}})
    );
    assert_eq!(owned(&object, "m13")["f:spec"], json!({"f:f13": {}}));
}
