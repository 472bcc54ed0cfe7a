//! Server-side apply: merge, conflicts, removal.

use super::super::{ApplyError, ListKeys, apply_server_side, apply_subresource, track_update};
use super::{LATER, NOW, deployment, deployments, owned};
use serde_json::{Value, json};

fn by(live: Option<&Value>, spec: Value, manager: &str) -> Result<Value, ApplyError> {
    apply_server_side(live, &deployment(spec), manager, false, NOW, &deployments())
}

fn template(containers: Value) -> Value {
    json!({"template": {"spec": {"containers": containers}}})
}

#[test]
fn a_first_apply_creates_and_owns() {
    let out = by(
        None,
        json!({"replicas": 2, "template": {"spec": {"containers": [
        {"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}]}}}),
        "graylane",
    )
    .unwrap();
    assert_eq!(out["spec"]["replicas"], 2);
    let entry = &out["metadata"]["managedFields"][0];
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(entry["apiVersion"], "apps/v1");
    assert_eq!(entry["time"], NOW);
    assert_eq!(entry["fieldsType"], "FieldsV1");
    // As `kubectl get --show-managed-fields` prints it for this manifest on a real cluster.
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}, "f:ports": {
            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}})
    );
}

#[test]
fn another_managers_field_is_a_conflict_in_kubernetes_words() {
    let live = track_update(
        None,
        &deployment(json!({"replicas": 1})),
        "kubectl-client-side-apply",
        None,
        NOW,
        &deployments(),
    );
    let error = by(Some(&live), json!({"replicas": 3}), "graylane").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas"#
    );
    let ApplyError::Conflicts(conflicts) = error else {
        panic!()
    };
    assert_eq!(
        (
            conflicts[0].manager.as_str(),
            conflicts[0].operation.as_str()
        ),
        ("kubectl-client-side-apply", "Update")
    );
    assert_eq!(
        conflicts[0].to_string(),
        r#"conflict with "kubectl-client-side-apply" using apps/v1"#
    );
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let live = by(None, json!({"replicas": 1, "paused": true}), "one").unwrap();
    let live = by(
        Some(&live),
        template(json!([{"name": "a", "image": "a:1"}])),
        "two",
    )
    .unwrap();
    let error = by(
        Some(&live),
        json!({"replicas": 2, "paused": false, "template": {"spec": {"containers": [{"name": "a", "image": "a:2"}]}}}),
        "three",
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"one\":\n- .spec.paused\n- .spec.replicas\n\
        conflicts with \"two\":\n- .spec.template.spec.containers[name=\"a\"].image"
    );
}

#[test]
fn force_takes_the_field_over() {
    let live = by(None, json!({"replicas": 1, "paused": true}), "one").unwrap();
    let out = apply_server_side(
        Some(&live),
        &deployment(json!({"replicas": 3})),
        "two",
        true,
        LATER,
        &deployments(),
    )
    .unwrap();
    assert_eq!(out["spec"], json!({"replicas": 3, "paused": true}));
    assert_eq!(owned(&out, "one"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(owned(&out, "two"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn equal_values_are_owned_together_and_go_with_the_last_owner() {
    let live = by(None, json!({"replicas": 3, "paused": true}), "one").unwrap();
    let live = by(Some(&live), json!({"replicas": 3}), "two").unwrap();
    let live = by(Some(&live), json!({"paused": true}), "one").unwrap();
    assert_eq!(
        live["spec"],
        json!({"replicas": 3, "paused": true}),
        "two still wants it"
    );
    assert_eq!(owned(&live, "one"), json!({"f:spec": {"f:paused": {}}}));
    let live = by(Some(&live), json!({}), "two").unwrap();
    assert_eq!(live["spec"], json!({"paused": true}));
    // An empty map is a field too.
    assert_eq!(owned(&live, "two"), json!({"f:spec": {}}));
}

#[test]
fn what_nobody_owns_stays() {
    // Nobody owns the defaults that the server wrote.
    let mut live =
        by(None, json!({"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "image": "a:1"}]}}}), "one")
            .unwrap();
    live["spec"]["progressDeadlineSeconds"] = json!(600);
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let out = by(
        Some(&live),
        template(json!([{"name": "a", "image": "a:1"}])),
        "one",
    )
    .unwrap();
    assert_eq!(
        out["spec"],
        json!({"progressDeadlineSeconds": 600, "template": {"spec": {"containers": [
        {"name": "a", "image": "a:1", "imagePullPolicy": "Always"}]}}})
    );
}

#[test]
fn keyed_items_merge_and_go_alone() {
    let live = by(
        None,
        template(json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}])),
        "one",
    )
    .unwrap();
    let live = by(
        Some(&live),
        template(json!([{"name": "side", "image": "s:1"}, {"name": "a", "image": "a:1"}])),
        "two",
    )
    .unwrap();
    let names = |o: &Value| -> Vec<String> {
        let all = o["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap();
        all.iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&live), ["side", "a", "b"]);
    let live = by(
        Some(&live),
        template(json!([{"name": "b", "image": "b:2"}])),
        "one",
    )
    .unwrap();
    assert_eq!(names(&live), ["side", "a", "b"], "a is also two's");
    let live = by(
        Some(&live),
        template(json!([{"name": "side", "image": "s:1"}])),
        "two",
    )
    .unwrap();
    assert_eq!(names(&live), ["side", "b"]);
}

#[test]
fn atomic_lists_and_maps_are_one_field() {
    let live = by(
        None,
        json!({"selector": {"matchLabels": {"app": "a"}}, "template": {"spec": {"tolerations": [{"key": "a"}]}}}),
        "one",
    )
    .unwrap();
    assert_eq!(
        owned(&live, "one"),
        json!({"f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:tolerations": {}}}}})
    );
    let error = by(
        Some(&live),
        json!({"template": {"spec": {"tolerations": [{"key": "a"}, {"key": "b"}]}}}),
        "two",
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with(": .spec.template.spec.tolerations"),
        "{error}"
    );
}

#[test]
fn finalizers_are_a_set() {
    let with = |finalizers: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "finalizers": finalizers}});
    let keys = deployments();
    let live =
        apply_server_side(None, &with(json!(["x/1", "x/2"])), "one", false, NOW, &keys).unwrap();
    let live = apply_server_side(
        Some(&live),
        &with(json!(["x/2", "x/3"])),
        "two",
        false,
        NOW,
        &keys,
    )
    .unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["x/1", "x/2", "x/3"]));
    assert_eq!(
        owned(&live, "two"),
        json!({"f:metadata": {"f:finalizers": {"v:\"x/2\"": {}, "v:\"x/3\"": {}}}})
    );
    let live = apply_server_side(Some(&live), &with(json!([])), "one", false, NOW, &keys).unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["x/2", "x/3"]));
}

#[test]
fn removing_the_last_label_keeps_name_and_uid() {
    let with = |labels: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": labels}});
    let mut live = apply_server_side(
        None,
        &with(json!({"x": "1"})),
        "one",
        false,
        NOW,
        &deployments(),
    )
    .unwrap();
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["resourceVersion"] = json!("7");
    let bare = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
    let out = apply_server_side(Some(&live), &bare, "one", false, NOW, &deployments()).unwrap();
    assert_eq!(
        out["metadata"],
        json!({"name": "a", "uid": "u", "resourceVersion": "7"})
    );
}

#[test]
fn null_takes_a_field_away() {
    let live = by(None, json!({"replicas": 1}), "one").unwrap();
    let out = by(
        Some(&live),
        json!({"replicas": null, "template": {"spec": {"containers": [{"name": "a", "resources": null}]}}}),
        "one",
    )
    .unwrap();
    assert_eq!(out["spec"], template(json!([{"name": "a"}])));
}

#[test]
fn applying_the_same_again_changes_nothing_not_even_the_time() {
    let live = by(None, json!({"replicas": 1}), "one").unwrap();
    let again = apply_server_side(
        Some(&live),
        &deployment(json!({"replicas": 1})),
        "one",
        false,
        LATER,
        &deployments(),
    )
    .unwrap();
    assert_eq!(again, live);
}

#[test]
fn status_belongs_to_the_status_subresource() {
    let mut applied = deployment(json!({"replicas": 1}));
    applied["status"] = json!({"replicas": 9});
    let live = apply_server_side(None, &applied, "one", false, NOW, &deployments()).unwrap();
    assert_eq!(live["status"], Value::Null);
    let out = apply_subresource(
        Some(&live),
        &applied,
        "controller",
        Some("status"),
        false,
        NOW,
        &deployments(),
    )
    .unwrap();
    assert_eq!(out["status"], json!({"replicas": 9}));
    let entry = out["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["manager"] == "controller")
        .unwrap();
    assert_eq!(entry["subresource"], "status");
    assert_eq!(entry["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

#[test]
fn kubectl_takes_over_from_its_client_side_apply() {
    let mut before = deployment(json!({"replicas": 1}));
    before["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": before.to_string()});
    let live = track_update(
        None,
        &before,
        "kubectl-client-side-apply",
        None,
        NOW,
        &deployments(),
    );
    let out = by(Some(&live), json!({"replicas": 2}), "kubectl").unwrap();
    assert_eq!(out["spec"]["replicas"], 2);
    let annotation =
        out["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
            .as_str()
            .unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(annotation).unwrap()["spec"]["replicas"],
        2
    );
    // Another manager has changed the field since then: a conflict after all.
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(5);
    let scaled = track_update(Some(&live), &scaled, "hpa", None, NOW, &deployments());
    assert!(by(Some(&scaled), json!({"replicas": 2}), "kubectl").is_err());
}

#[test]
fn bad_configurations_are_refused() {
    let twice = by(None, template(json!([{"name": "a"}, {"name": "a"}])), "one")
        .unwrap_err()
        .to_string();
    assert!(
        twice.contains(r#".spec.template.spec.containers: duplicate entries for key [name="a"]"#),
        "{twice}"
    );
    let nameless = by(None, template(json!([{"image": "x"}])), "one")
        .unwrap_err()
        .to_string();
    assert!(
        nameless.contains(r#"omits all key fields ["name"]"#),
        "{nameless}"
    );
    let mut own = deployment(json!({}));
    own["metadata"]["managedFields"] = json!([]);
    let refused = apply_server_side(None, &own, "one", false, NOW, &ListKeys::for_unknown_kind())
        .unwrap_err()
        .to_string();
    assert_eq!(refused, "metadata.managedFields must be nil");
}
