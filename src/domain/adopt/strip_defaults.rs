//! Turns a live object back into a manifest: removes what the server maintains and the defaults it
//! fills in. A value is only removed where it is known to be the default of that field.

use serde_json::{Map, Value, json};

/// Annotations that differ between versions or belong to other tools.
const FOREIGN_ANNOTATIONS: [&str; 4] = [
    "deployment.kubernetes.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "graylane.dev/",
    "autoscaling.alpha.kubernetes.io/",
];

/// Labels and annotations by which GitOps tools and Helm claim an object. On gray objects they
/// would claim these too.
pub(super) fn is_gitops(key: &str) -> bool {
    [
        "argocd.argoproj.io/",
        "kustomize.toolkit.fluxcd.io/",
        "helm.toolkit.fluxcd.io/",
        "meta.helm.sh/",
    ]
    .iter()
    .any(|mark| key.starts_with(mark))
}

pub(super) fn strip_deployment(live: &Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": strip_metadata(live), "spec": live["spec"]});
    let Some(spec) = object["spec"].as_object_mut() else {
        return object;
    };
    drop_default(spec, "revisionHistoryLimit", &json!(10));
    drop_default(spec, "progressDeadlineSeconds", &json!(600));
    drop_default(spec, "minReadySeconds", &json!(0));
    drop_default(spec, "paused", &json!(false));
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    drop_default(spec, "strategy", &rolling);
    if let Some(template) = spec.get_mut("template") {
        strip_pod_template(template);
    }
    object
}

pub(super) fn strip_service(live: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Service", "metadata": strip_metadata(live), "spec": live["spec"]});
    let Some(spec) = object["spec"].as_object_mut() else {
        return object;
    };
    if spec.get("clusterIP").is_some_and(|ip| ip != "None") {
        spec.shift_remove("clusterIP");
    }
    // Allocated by the cluster, or about external addresses, which stay with the baseline's
    // Service.
    let kept = [
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "healthCheckNodePort",
        "externalTrafficPolicy",
        "allocateLoadBalancerNodePorts",
        "loadBalancerIP",
        "loadBalancerClass",
        "loadBalancerSourceRanges",
        "externalIPs",
    ];
    kept.iter().for_each(|key| drop(spec.shift_remove(*key)));
    drop_default(spec, "internalTrafficPolicy", &json!("Cluster"));
    drop_default(spec, "sessionAffinity", &json!("None"));
    drop_default(spec, "type", &json!("ClusterIP"));
    for port in object_items(spec.get_mut("ports")) {
        port.shift_remove("nodePort");
        drop_default(port, "protocol", &json!("TCP"));
        if port
            .get("targetPort")
            .is_some_and(|target| port.get("port") == Some(target))
        {
            port.shift_remove("targetPort");
        }
    }
    object
}

/// Name, namespace, and the labels and annotations that users set.
fn strip_metadata(live: &Value) -> Value {
    let mut meta = Map::new();
    for key in ["name", "namespace"] {
        meta.insert(key.into(), live["metadata"][key].clone());
    }
    for part in ["labels", "annotations"] {
        let own: Map<String, Value> = live["metadata"][part]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| {
                !is_gitops(key) && !FOREIGN_ANNOTATIONS.iter().any(|o| key.starts_with(o))
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if !own.is_empty() {
            meta.insert(part.into(), own.into());
        }
    }
    Value::Object(meta)
}

fn strip_pod_template(template: &mut Value) {
    if let Some(meta) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        drop_default(meta, "creationTimestamp", &Value::Null);
    }
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for (key, default) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("securityContext", json!({})),
    ] {
        drop_default(spec, key, &default);
    }
    // Both fields mean the same.
    if spec.contains_key("serviceAccountName") {
        spec.shift_remove("serviceAccount");
    }
    for kind in ["containers", "initContainers"] {
        object_items(spec.get_mut(kind)).for_each(strip_container);
    }
    for volume in object_items(spec.get_mut("volumes")) {
        for source in ["configMap", "secret", "projected", "downwardAPI"] {
            if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                drop_default(source, "defaultMode", &json!(420));
            }
        }
    }
}

fn strip_container(container: &mut Map<String, Value>) {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    let pull = if latest { "Always" } else { "IfNotPresent" };
    for (key, default) in [
        ("imagePullPolicy", json!(pull)),
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
        ("resources", json!({})),
    ] {
        drop_default(container, key, &default);
    }
    for port in object_items(container.get_mut("ports")) {
        drop_default(port, "protocol", &json!("TCP"));
    }
    for variable in object_items(container.get_mut("env")) {
        let field = variable
            .get_mut("valueFrom")
            .and_then(|v| v.get_mut("fieldRef"));
        if let Some(field) = field.and_then(Value::as_object_mut) {
            drop_default(field, "apiVersion", &json!("v1"));
        }
    }
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) else {
            continue;
        };
        for (key, default) in [
            ("periodSeconds", 10),
            ("timeoutSeconds", 1),
            ("successThreshold", 1),
            ("failureThreshold", 3),
        ] {
            drop_default(probe, key, &json!(default));
        }
        if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
            drop_default(get, "scheme", &json!("HTTP"));
        }
    }
}

fn drop_default(map: &mut Map<String, Value>, key: &str, default: &Value) {
    if map.get(key) == Some(default) {
        map.shift_remove(key);
    }
}

/// Items of a list that are objects.
pub(super) fn object_items(
    list: Option<&mut Value>,
) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}
