use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::{CleanUpTask, ProceedTask};

fn deployment(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": "4", "team": "checkout {{ pay }}",
                            "argocd.argoproj.io/tracking-id": "x"},
            "managedFields": []
        },
        "spec": {
            "replicas": 4, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"creationTimestamp": null, "labels": labels},
                "spec": {
                    "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
                    "terminationGracePeriodSeconds": 20, "securityContext": {},
                    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}]}},
                    "containers": [{
                        "name": "main", "image": "registry:5000/shop/checkout:1.4", "imagePullPolicy": "IfNotPresent",
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                        "resources": {}, "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                        "env": [{"name": "GREETING", "value": "{{ .Name }}: yes"}, {"name": "N", "value": "012"},
                                {"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                        "args": ["-c", "a: b\n  c\n"],
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10,
                                           "timeoutSeconds": 2, "successThreshold": 1, "failureThreshold": 3}
                    }]
                }
            }
        },
        "status": {"replicas": 4}
    })
}

fn service(name: &str, selector: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "uid": "s", "resourceVersion": "3"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
                 "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
                 "externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true,
                 "selector": selector,
                 "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP", "nodePort": 30080}]},
        "status": {"loadBalancer": {}}
    })
}

fn checkout() -> FoundWorkload {
    let labels = json!({"app": "checkout", "tier": "web"});
    FoundWorkload {
        deployment: deployment("checkout", labels.clone()),
        service: Some(service("checkout", labels)),
        ..FoundWorkload::default()
    }
}

const GRAY: GrayVersion = GrayVersion {
    beside: "prod",
    environment: "gray",
    tag: "gray",
};

fn with_gray(adoption: &Adoption) -> (AppSpec, Vec<Value>) {
    let spec = add_gray(&adoption.spec, &GRAY).unwrap();
    let objects = render_objects(&spec, "checkout", "gray", &adoption.images).unwrap();
    (spec, objects)
}

#[test]
fn the_templates_give_back_what_runs_without_what_the_server_keeps() {
    let adoption = adopt_workload(&checkout(), "checkout", "prod").unwrap();
    let [deployment, service] = &adoption.objects[..] else {
        panic!("{:?}", adoption.objects)
    };
    assert_eq!(
        deployment["metadata"],
        json!({"name": "checkout", "namespace": "shop",
        "labels": {"app": "checkout", "tier": "web"}, "annotations": {"team": "checkout {{ pay }}"}})
    );
    assert_eq!(
        deployment["spec"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["replicas", "selector", "template"]
    );
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["readinessProbe"],
        json!({"httpGet": {"path": "/", "port": 8080}, "timeoutSeconds": 2})
    );
    assert_eq!(container["env"][0]["value"], "{{ .Name }}: yes");
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "http", "port": 80, "targetPort": 8080}])
    );
    assert_eq!(service["spec"].get("clusterIP"), None);
    assert_eq!(
        adoption.images,
        BTreeMap::from([("backend".into(), "registry:5000/shop/checkout:1.4".into())])
    );
    assert_eq!(
        adoption.spec.images["backend"].repository,
        "registry:5000/shop/checkout"
    );
    let template = &adoption.spec.manifests[0].template;
    for part in [
        "image: {{ .AppStack.image.backend }}",
        "namespace: {{ .Values.namespace }}",
        "replicas: {{ .Values.replicas }}",
        "name: checkout{{ .Values.suffix }}",
        "app: checkout{{ .Values.suffix }}",
        "tier: web",
    ] {
        assert!(template.contains(part), "{part} in\n{template}");
    }
    assert!(
        adoption.notes[0].starts_with("argocd.argoproj.io/tracking-id"),
        "{:?}",
        adoption.notes
    );
}

#[test]
fn gray_stands_apart_and_carries_its_tag() {
    let adoption = adopt_workload(&checkout(), "checkout", "prod").unwrap();
    let (spec, gray) = with_gray(&adoption);
    assert_eq!(find_overlaps(&adoption.objects, &gray, &GRAY), [""; 0]);
    assert_eq!(gray[0]["metadata"]["name"], "checkout-gray");
    assert_eq!(
        gray[0]["spec"]["selector"]["matchLabels"],
        json!({"app": "checkout-gray", "tier": "web"})
    );
    assert_eq!(
        gray[0]["spec"]["template"]["metadata"]["labels"]["alicloud.service.tag"],
        "gray"
    );
    assert_eq!(gray[0]["spec"]["replicas"], 1);
    assert_eq!(
        (&gray[1]["metadata"]["name"], &gray[1]["spec"]["type"]),
        (&json!("checkout-gray"), &json!("ClusterIP"))
    );
    assert_eq!(gray[1]["spec"]["selector"]["app"], "checkout-gray");
    assert_eq!(
        spec.environments
            .iter()
            .map(|e| e.name.as_str())
            .collect::<Vec<_>>(),
        ["gray", "prod"]
    );
    // The baseline is unchanged.
    assert_eq!(
        render_objects(&spec, "checkout", "prod", &adoption.images).unwrap(),
        adoption.objects
    );
}

#[test]
fn names_that_end_with_the_environment_take_the_other_ones() {
    let labels = json!({"app": "checkout-prod"});
    let found = FoundWorkload {
        deployment: deployment("checkout-prod", labels),
        ..FoundWorkload::default()
    };
    let adoption = adopt_workload(&found, "checkout", "prod").unwrap();
    let (_, gray) = with_gray(&adoption);
    assert_eq!(gray[0]["metadata"]["name"], "checkout-gray");
    assert_eq!(
        gray[0]["spec"]["selector"]["matchLabels"]["app"],
        "checkout-gray"
    );
}

#[test]
fn values_that_look_like_numbers_stay_texts() {
    let labels = json!({"app": "007", "version": "1.0", "on": "yes"});
    let mut found = FoundWorkload {
        deployment: deployment("12", labels.clone()),
        ..FoundWorkload::default()
    };
    found.deployment["metadata"]["namespace"] = json!("2024");
    let adoption = adopt_workload(&found, "checkout", "prod").unwrap();
    assert_eq!(
        adoption.objects[0]["spec"]["selector"]["matchLabels"],
        labels
    );
    let (_, gray) = with_gray(&adoption);
    assert_eq!(
        gray[0]["spec"]["selector"]["matchLabels"]["app"],
        "007-gray"
    );
}

#[test]
fn no_service_of_the_baseline_selects_gray_pods() {
    let mut found = checkout();
    found.others = vec![service("by-tier", json!({"tier": "web"}))];
    let adoption = adopt_workload(&found, "checkout", "prod").unwrap();
    let (_, gray) = with_gray(&adoption);
    let pods = &gray[0]["spec"]["template"]["metadata"]["labels"];
    assert_eq!(
        (&pods["app"], &pods["tier"]),
        (&json!("checkout-gray"), &json!("web-gray"))
    );
    let mut all = adoption.objects;
    all.extend(found.others);
    assert_eq!(find_overlaps(&all, &gray, &GRAY), [""; 0]);
}

#[test]
fn what_another_tool_makes_or_rolls_is_not_adopted() {
    let mut found = checkout();
    found.deployment["metadata"]["ownerReferences"] = json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "r", "uid": "u", "controller": true}]);
    let refused = adopt_workload(&found, "checkout", "prod")
        .unwrap_err()
        .to_string();
    assert!(refused.contains("made by Rollout r"), "{refused}");
    let mut found = checkout();
    found.deployment["metadata"]["annotations"]["rollouts.kruise.io/x"] = json!("1");
    assert!(
        adopt_workload(&found, "checkout", "prod")
            .unwrap_err()
            .to_string()
            .contains("another tool")
    );
}

#[test]
fn several_containers_have_images_of_their_own() {
    let mut found = checkout();
    let pod = found.deployment.pointer_mut("/spec/template/spec").unwrap();
    pod["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "side-car", "image": "proxy@sha256:aa"}));
    pod["initContainers"] = json!([{"name": "migrate", "image": "registry:5000/shop/checkout:1.4"}, {"name": "i", "image": "busybox"}]);
    let adoption = adopt_workload(&found, "checkout", "prod").unwrap();
    assert_eq!(
        adoption.images.keys().collect::<Vec<_>>(),
        ["main", "side_car"]
    );
    assert_eq!(adoption.spec.images["side_car"].repository, "proxy");
    let template = &adoption.spec.manifests[0].template;
    assert_eq!(
        template.matches("{{ .AppStack.image.main }}").count(),
        2,
        "{template}"
    );
    assert!(template.contains("image: busybox"), "{template}");
}

#[test]
fn templates_that_cannot_be_told_apart_are_named() {
    let mut adoption = adopt_workload(&checkout(), "checkout", "prod").unwrap();
    for manifest in &mut adoption.spec.manifests {
        manifest.template = manifest.template.replace("{{ .Values.suffix }}", "");
    }
    let (_, gray) = with_gray(&adoption);
    let problems = find_overlaps(&adoption.objects, &gray, &GRAY).join("\n");
    for part in [
        "Deployment checkout would be one and the same",
        "Service checkout would be one and the same",
        "Service checkout of prod would select the pods of gray",
    ] {
        assert!(problems.contains(part), "{part} in\n{problems}");
    }
    assert!(
        add_gray(&add_gray(&adoption.spec, &GRAY).unwrap(), &GRAY)
            .unwrap_err()
            .to_string()
            .contains("already")
    );
}

fn tasks() -> impl Strategy<Value = Vec<Task>> {
    let kind = prop_oneof![
        Just(Task {
            approval: Some(ApprovalTask::default()),
            ..Task::default()
        }),
        Just(Task {
            proceed: Some(ProceedTask::default()),
            ..Task::default()
        }),
        Just(Task {
            deploy: Some(DeployTask {
                environment: "test".into()
            }),
            ..Task::default()
        }),
        Just(Task {
            deploy: Some(DeployTask {
                environment: "prod".into()
            }),
            ..Task::default()
        }),
        Just(Task {
            clean_up: Some(CleanUpTask::default()),
            ..Task::default()
        }),
    ];
    let name = prop_oneof![4 => "[a-c]{1,3}", 1 => Just("deploy-gray".to_owned()), 1 => Just("clean-gray".to_owned())];
    prop::collection::vec(
        (name, kind).prop_map(|(name, task)| Task { name, ..task }),
        0..7,
    )
}

proptest! {
    /// Without the new tasks the workflow is unchanged. Gray is deployed before, checked, and
    /// cleaned up after.
    #[test]
    fn gray_tasks_stand_around_and_change_nothing(tasks in tasks()) {
        let environments = vec![Environment { name: "prod".into(), ..Environment::default() }];
        let workflow = Workflow { stages: vec![Stage { name: "production".into(), tasks: tasks.clone() }] };
        let spec = AppSpec { environments, workflow, ..AppSpec::default() };
        let deploys = |t: &Task| t.deploy.as_ref().is_some_and(|d| d.environment == "prod");
        let Ok(new) = add_gray(&spec, &GRAY) else {
            prop_assert!(!tasks.iter().any(deploys));
            return Ok(());
        };
        let after = &new.workflow.stages[0].tasks;
        let gray = |t: &Task| t.deploy.as_ref().is_some_and(|d| d.environment == "gray");
        let cleans = |t: &Task| t.clean_up.as_ref().is_some_and(|c| c.environment == "gray");
        let (up, prod) = (after.iter().position(gray).unwrap(), after.iter().position(deploys).unwrap());
        let down = after.iter().position(cleans).unwrap();
        prop_assert!(up < prod && down == prod + 1);
        prop_assert!(after[up..prod].iter().any(|t| t.proceed.is_some()), "somebody looks at gray");
        // Remove the added tasks: two, or three with the proceed task.
        let mut left = after.clone();
        left.remove(down);
        if left.len() > tasks.len() + 1 {
            left.remove(prod - 1);
        }
        left.remove(up);
        prop_assert_eq!(left, tasks);
    }

    /// For any labels: the baseline is reproduced, and gray is separate.
    #[test]
    fn adopted_apps_come_back_the_same(
        labels in prop::collection::btree_map("(app|tier|k8s-app|[a-z]{1,4})", "[a-z0-9]([a-z0-9.-]{0,6}[a-z0-9])?(-prod)?|prod|1[.]0|true", 1..4),
        name in "[a-z]([a-z0-9-]{0,8}[a-z0-9])?(-prod)?",
        narrow in any::<bool>(),
    ) {
        let one: BTreeMap<_, _> = labels.iter().take(1).collect();
        let selector = if narrow { json!(one) } else { json!(labels) };
        let found = FoundWorkload { deployment: deployment(&name, json!(labels)), service: Some(service("front", selector)), ..FoundWorkload::default() };
        let adoption = adopt_workload(&found, "x", "prod").map_err(|e| TestCaseError::fail(e.to_string()))?;
        let (_, gray) = with_gray(&adoption);
        prop_assert_eq!(find_overlaps(&adoption.objects, &gray, &GRAY), Vec::<String>::new());
    }
}
