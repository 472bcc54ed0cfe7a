use serde_json::json;

use super::super::defaults;
use super::super::error::ApiError;
use super::super::registry::builtin;
use super::*;

/// The fields that are refused, after defaults are filled in.
fn refused(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    let row = builtin::ALL
        .iter()
        .find(|b| b.kind == kind)
        .unwrap()
        .to_resource();
    let complete = |object: &Value| {
        let mut object = object.clone();
        defaults::apply_defaults(&row, &mut object);
        object
    };
    let old = old.map(complete);
    check_object(&row, &complete(object), old.as_ref())
        .into_iter()
        .map(|p| p.field)
        .collect()
}

fn set(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

fn deployment() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }})
}

#[test]
fn deployments() {
    let good = deployment();
    assert_eq!(
        refused("Deployment", &good, Some(&good)),
        Vec::<String>::new()
    );
    let cases = [
        ("/spec/replicas", json!(-1), "spec.replicas"),
        ("/spec/selector", json!({}), "spec.selector"),
        (
            "/spec/template/metadata",
            json!({"labels": {"app": "x"}}),
            "spec.template.metadata.labels",
        ),
        (
            "/spec/progressDeadlineSeconds",
            json!(0),
            "spec.progressDeadlineSeconds",
        ),
        ("/spec/strategy", json!({"type": "Odd"}), "spec.strategy"),
        (
            "/spec/strategy",
            json!({"type": "Recreate", "rollingUpdate": {}}),
            "spec.strategy.rollingUpdate",
        ),
        (
            "/spec/strategy",
            json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            "spec.strategy.rollingUpdate.maxUnavailable",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("Never"),
            "spec.template.spec.restartPolicy",
        ),
        (
            "/spec/template/spec/containers",
            json!([]),
            "spec.template.spec.containers",
        ),
        (
            "/spec/template/spec/containers/0/image",
            json!(""),
            "spec.template.spec.containers[0].image",
        ),
        (
            "/spec/template/spec/containers/0/ports",
            json!([{"containerPort": 70000}]),
            "spec.template.spec.containers[0].ports[0].containerPort",
        ),
        (
            "/spec/template/spec/containers/0/volumeMounts",
            json!([{"name": "v", "mountPath": "/v"}]),
            "spec.template.spec.containers[0].volumeMounts[0].name",
        ),
    ];
    for (pointer, value, field) in cases {
        assert_eq!(
            refused("Deployment", &set(good.clone(), pointer, value), None),
            [field]
        );
    }
    let mut moved = set(
        good.clone(),
        "/spec/selector/matchLabels",
        json!({"app": "x"}),
    );
    moved = set(moved, "/spec/template/metadata/labels", json!({"app": "x"}));
    assert_eq!(
        refused("Deployment", &moved, Some(&good)),
        ["spec.selector"]
    );
}

#[test]
fn the_latch_of_a_rollout_is_taken() {
    let mut latched = set(deployment(), "/spec/minReadySeconds", json!(2_147_483_646));
    latched = set(
        latched,
        "/spec/progressDeadlineSeconds",
        json!(2_147_483_647),
    );
    latched = set(
        latched,
        "/spec/strategy",
        json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 3}}),
    );
    assert_eq!(refused("Deployment", &latched, None), Vec::<String>::new());
}

#[test]
fn pods_services_jobs_and_maps() {
    let pod = json!({"spec": {"containers": [{"name": "c", "image": "a"}]}});
    let image = set(pod.clone(), "/spec/containers/0/image", json!("b"));
    let node = set(pod.clone(), "/spec/nodeName", json!("n"));
    assert_eq!(refused("Pod", &image, Some(&pod)), Vec::<String>::new());
    assert_eq!(
        refused("Pod", &node, Some(&pod)),
        ["spec"],
        "only a binding puts it there"
    );
    let command = set(pod.clone(), "/spec/containers/0/command", json!(["x"]));
    assert_eq!(refused("Pod", &command, Some(&pod)), ["spec"]);
    assert_eq!(
        refused(
            "Pod",
            &set(node.clone(), "/spec/nodeName", json!("m")),
            Some(&node)
        ),
        ["spec"]
    );

    let service = json!({"spec": {"ports": [{"port": 80}]}});
    assert_eq!(refused("Service", &service, None), Vec::<String>::new());
    assert_eq!(
        refused(
            "Service",
            &set(service.clone(), "/spec/ports", json!([])),
            None
        ),
        ["spec.ports"]
    );
    assert_eq!(
        refused("Service", &set(service, "/spec/type", json!("Odd")), None),
        ["spec.type"]
    );

    let job =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "a"}]}}}});
    assert_eq!(
        refused("Job", &job, None),
        ["spec.template.spec.restartPolicy"]
    );

    let node =
        json!({"spec": {"unschedulable": true, "taints": [{"key": "a", "effect": "NoSchedule"}]}});
    assert_eq!(
        refused("Node", &node, None),
        ["spec.unschedulable", "spec.taints"]
    );
    assert_eq!(
        refused(
            "Node",
            &json!({"spec": {"unschedulable": false, "taints": []}}),
            None
        ),
        Vec::<String>::new()
    );

    let map = json!({"immutable": true, "data": {"a": "b"}});
    assert_eq!(
        refused(
            "ConfigMap",
            &set(map.clone(), "/data/a", json!("c")),
            Some(&map)
        ),
        ["data"]
    );
    assert_eq!(
        refused("ConfigMap", &json!({"data": {"a b": ""}}), None),
        ["data[a b]"]
    );
}

#[test]
fn the_words_are_kubernetes_words() {
    let row = builtin::ALL
        .iter()
        .find(|b| b.kind == "Deployment")
        .unwrap()
        .to_resource();
    let mut object = set(deployment(), "/spec/replicas", json!(-1));
    defaults::apply_defaults(&row, &mut object);
    let error = ApiError::invalid(
        "apps",
        "Deployment",
        "web",
        &check_object(&row, &object, None),
    );
    assert_eq!(
        error.message,
        "Deployment.apps \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
}

#[test]
fn stateful_sets_and_revisions() {
    let good = set(deployment(), "/spec/serviceName", json!("web"));
    assert_eq!(
        refused("StatefulSet", &good, Some(&good)),
        Vec::<String>::new()
    );
    let cases = [
        (
            "/spec/podManagementPolicy",
            json!("Odd"),
            "spec.podManagementPolicy",
        ),
        (
            "/spec/updateStrategy",
            json!({"type": "Odd"}),
            "spec.updateStrategy",
        ),
        (
            "/spec/updateStrategy",
            json!({"type": "OnDelete", "rollingUpdate": {}}),
            "spec.updateStrategy.rollingUpdate",
        ),
        (
            "/spec/updateStrategy",
            json!({"rollingUpdate": {"partition": -1}}),
            "spec.updateStrategy.rollingUpdate.partition",
        ),
        (
            "/spec/ordinals",
            json!({"start": -1}),
            "spec.ordinals.start",
        ),
        ("/spec/serviceName", json!("a.b"), "spec.serviceName"),
        (
            "/spec/selector/matchLabels",
            json!({"app": "x"}),
            "spec.template.metadata.labels",
        ),
        (
            "/spec/volumeClaimTemplates",
            json!([{"metadata": {"name": "d"}, "spec": {}}]),
            "spec.volumeClaimTemplates",
        ),
    ];
    for (pointer, value, field) in cases {
        assert_eq!(
            refused("StatefulSet", &set(good.clone(), pointer, value), None),
            [field]
        );
    }
    for (pointer, value) in [
        ("/spec/serviceName", json!("x")),
        ("/spec/podManagementPolicy", json!("Parallel")),
        (
            "/spec/volumeClaimTemplates",
            json!([{"metadata": {"name": "d"}}]),
        ),
    ] {
        assert_eq!(
            refused(
                "StatefulSet",
                &set(good.clone(), pointer, value),
                Some(&good)
            ),
            ["spec"]
        );
    }
    for (pointer, value) in [
        ("/spec/replicas", json!(7)),
        ("/spec/ordinals", json!({"start": 3})),
        ("/spec/updateStrategy", json!({"type": "OnDelete"})),
    ] {
        let changed = refused(
            "StatefulSet",
            &set(good.clone(), pointer, value),
            Some(&good),
        );
        assert_eq!(changed, Vec::<String>::new());
    }
    let revision = json!({"metadata": {"name": "web-1"}, "data": {"a": 1}, "revision": 1});
    assert_eq!(
        refused(
            "ControllerRevision",
            &json!({"metadata": {}, "revision": -1}),
            None
        ),
        ["revision", "data"]
    );
    let renumbered = set(revision.clone(), "/revision", json!(2));
    assert_eq!(
        refused("ControllerRevision", &renumbered, Some(&revision)),
        Vec::<String>::new()
    );
    assert_eq!(
        refused(
            "ControllerRevision",
            &set(revision.clone(), "/data", json!({"a": 2})),
            Some(&revision)
        ),
        ["data"]
    );
}
