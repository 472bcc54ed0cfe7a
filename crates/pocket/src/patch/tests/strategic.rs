//! What kubectl sends as a strategic merge patch.

use super::super::{ListKeys, PatchError, apply_strategic_patch};
use super::{deployment, deployments};
use serde_json::{Value, json};

fn two_containers() -> Value {
    deployment(json!({"replicas": 3, "template": {"spec": {"containers": [
        {"name": "a", "image": "a:1", "ports": [{"containerPort": 80}], "env": [{"name": "X", "value": "1"}]},
        {"name": "side", "image": "s:1"},
    ], "tolerations": [{"key": "a"}, {"key": "b"}]}}}))
}

fn patched(patch: Value) -> Value {
    apply_strategic_patch(&two_containers(), &patch, &deployments()).unwrap()
}

fn pod(spec: Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

fn containers(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"]
}

#[test]
fn set_image_changes_one_container_and_keeps_the_rest() {
    let out = patched(pod(
        json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "side"}],
                                 "containers": [{"name": "a", "image": "a:2"}]}),
    ));
    let mut expected = two_containers();
    expected["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
    assert_eq!(out, expected);
}

#[test]
fn rollout_restart_adds_an_annotation() {
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
    let out = patched(patch);
    assert_eq!(
        out["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"],
        "now"
    );
    assert_eq!(containers(&out), containers(&two_containers()));
}

#[test]
fn nested_lists_merge_by_their_own_keys() {
    let out = patched(pod(
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}],
                                                 "env": [{"name": "Y", "value": "2"}]}]}),
    ));
    let a = &containers(&out)[0];
    assert_eq!(
        a["ports"],
        json!([{"containerPort": 80, "name": "http"}, {"containerPort": 81}])
    );
    // The patch's items come first, as in Kubernetes, because nothing gives the position of a new
    // one.
    assert_eq!(
        a["env"],
        json!([{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}])
    );
}

#[test]
fn an_item_is_deleted_by_directive() {
    let out = patched(pod(
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
    ));
    assert_eq!(containers(&out), &json!([{"name": "side", "image": "s:1"}]));
}

#[test]
fn a_list_or_map_is_replaced_by_directive() {
    let out = patched(pod(
        json!({"containers": [{"$patch": "replace"}, {"name": "only", "image": "o:1"}]}),
    ));
    assert_eq!(containers(&out), &json!([{"name": "only", "image": "o:1"}]));
    let out = patched(json!({"spec": {"$patch": "replace", "replicas": 1}}));
    assert_eq!(out["spec"], json!({"replicas": 1}));
}

#[test]
fn lists_without_key_are_replaced_and_null_deletes() {
    let out = patched(pod(json!({"tolerations": [{"key": "c"}]})));
    assert_eq!(
        out["spec"]["template"]["spec"]["tolerations"],
        json!([{"key": "c"}])
    );
    let out = patched(json!({"spec": {"replicas": null, "never": {"there": null}}}));
    assert_eq!(out["spec"]["replicas"], Value::Null);
    assert_eq!(out["spec"]["never"], json!({}));
}

#[test]
fn finalizers_are_a_set_with_deletions() {
    let mut target = two_containers();
    target["metadata"]["finalizers"] = json!(["x/1", "x/2", "x/3"]);
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/2"], "finalizers": ["x/4", "x/1"],
                                    "$setElementOrder/finalizers": ["x/4", "x/1", "x/3"]}});
    let out = apply_strategic_patch(&target, &patch, &deployments()).unwrap();
    assert_eq!(out["metadata"]["finalizers"], json!(["x/4", "x/1", "x/3"]));
}

#[test]
fn owner_references_merge_by_uid() {
    let mut target = two_containers();
    target["metadata"]["ownerReferences"] =
        json!([{"uid": "1", "name": "a"}, {"uid": "2", "name": "b"}]);
    let patch = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "1"}, {"uid": "2", "controller": true}]}});
    let out = apply_strategic_patch(&target, &patch, &deployments()).unwrap();
    assert_eq!(
        out["metadata"]["ownerReferences"],
        json!([{"uid": "2", "name": "b", "controller": true}])
    );
}

#[test]
fn retain_keys_keeps_one_side_of_a_union() {
    let mut target = two_containers();
    target["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let out = apply_strategic_patch(&target, &patch, &deployments()).unwrap();
    assert_eq!(out["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn element_order_keeps_what_only_the_server_knows() {
    let mut target = two_containers();
    target["spec"]["template"]["spec"]["containers"] = json!([{"name": "istio", "image": "i"}, {"name": "a", "image": "a"}, {"name": "b", "image": "b"}]);
    let patch = pod(
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                           "containers": [{"name": "b", "image": "b:2"}]}),
    );
    let out = apply_strategic_patch(&target, &patch, &deployments()).unwrap();
    let names: Vec<&str> = containers(&out)
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["istio", "b", "a"]);
}

#[test]
fn service_ports_and_conditions_have_their_keys() {
    let service =
        json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}], "selector": {"app": "a"}}});
    let patch =
        json!({"spec": {"ports": [{"port": 80, "name": "http"}], "selector": {"tag": "gray"}}});
    let out = apply_strategic_patch(&service, &patch, &ListKeys::for_builtin_kind("", "Service"))
        .unwrap();
    assert_eq!(
        out["spec"]["ports"],
        json!([{"port": 80, "targetPort": 8080, "name": "http"}])
    );
    assert_eq!(out["spec"]["selector"], json!({"app": "a", "tag": "gray"}));
    let node = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Disk", "status": "False"}]}});
    let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let out =
        apply_strategic_patch(&node, &patch, &ListKeys::for_builtin_kind("", "Node")).unwrap();
    assert_eq!(
        out["status"]["conditions"],
        json!([{"type": "Ready", "status": "False"}, {"type": "Disk", "status": "False"}])
    );
}

#[test]
fn a_new_value_carries_no_directive() {
    let out = patched(pod(
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}, {"$patch": "delete", "name": "w"}]}),
    ));
    assert_eq!(
        out["spec"]["template"]["spec"]["volumes"],
        json!([{"name": "v", "emptyDir": {}}])
    );
}

#[test]
fn bad_patches_say_what_is_wrong() {
    for (patch, says) in [
        (
            pod(json!({"containers": [{"image": "x"}]})),
            "merge key name",
        ),
        (pod(json!({"containers": ["x"]})), "must be a map"),
        (json!({"spec": {"$patch": "explode"}}), "explode"),
        (
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}}),
            "rollingUpdate",
        ),
        (
            pod(
                json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "z", "image": "z"}]}),
            ),
            "\"z\"",
        ),
        (json!([]), "object"),
    ] {
        let mut target = two_containers();
        target["spec"]["strategy"] = json!({"type": "Recreate"});
        match apply_strategic_patch(&target, &patch, &deployments()) {
            Err(PatchError::Malformed(why)) => assert!(why.contains(says), "{why}"),
            other => panic!("{patch}: {other:?}"),
        }
    }
}
