//! What Kubernetes fills in when a client leaves it out (its `SetDefaults_*` functions).

use serde_json::{Value, json};

use super::registry::Resource;

mod pod;

/// Fills in the defaults of a built-in object.
pub(super) fn apply_defaults(resource: &Resource, object: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => {
            set_if_absent(&mut object["spec"], "enableServiceLinks", true);
            pod::default_pod_spec(&mut object["spec"]);
            pod::copy_limits_to_requests(&mut object["spec"]);
        }
        ("", "Service") => default_service(&mut object["spec"]),
        ("", "Secret") => default_secret(object),
        ("", "Endpoints") => {
            for subset in as_list_mut(&mut object["subsets"]) {
                for port in as_list_mut(&mut subset["ports"]) {
                    set_if_absent(port, "protocol", "TCP");
                }
            }
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            for port in as_list_mut(&mut object["ports"]) {
                set_if_absent(port, "name", "");
                set_if_absent(port, "protocol", "TCP");
            }
        }
        ("apps", "Deployment") => default_deployment(&mut object["spec"]),
        ("apps", "ReplicaSet") => {
            set_if_absent(&mut object["spec"], "replicas", 1);
            pod::default_pod_spec(&mut object["spec"]["template"]["spec"]);
        }
        ("apps", "StatefulSet") => default_stateful_set(&mut object["spec"]),
        ("batch", "Job") => default_job(&mut object["spec"]),
        ("apiextensions.k8s.io", _) => default_definition(&mut object["spec"]),
        _ => {}
    }
}

/// Sets a field that is missing or null.
fn set_if_absent(object: &mut Value, field: &str, value: impl Into<Value>) {
    if object.is_object() && object[field].is_null() {
        object[field] = value.into();
    }
}

/// Sets a string that is missing or empty.
fn set_if_empty(object: &mut Value, field: &str, value: &str) {
    if object.is_object() && object[field].as_str().unwrap_or_default().is_empty() {
        object[field] = value.into();
    }
}

fn as_list_mut(value: &mut Value) -> &mut [Value] {
    value
        .as_array_mut()
        .map(Vec::as_mut_slice)
        .unwrap_or_default()
}

/// A list in an object; unlike `object[field]`, this adds nothing when there is none.
fn list_field_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut [Value] {
    object.get_mut(field).map(as_list_mut).unwrap_or_default()
}

fn default_deployment(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set_if_absent(spec, "replicas", 1);
    set_if_absent(spec, "revisionHistoryLimit", 10);
    set_if_absent(spec, "progressDeadlineSeconds", 600);
    set_if_absent(spec, "strategy", json!({}));
    let strategy = &mut spec["strategy"];
    set_if_absent(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        set_if_absent(strategy, "rollingUpdate", json!({}));
        set_if_absent(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
        set_if_absent(&mut strategy["rollingUpdate"], "maxSurge", "25%");
    }
    pod::default_pod_spec(&mut spec["template"]["spec"]);
}

fn default_stateful_set(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set_if_absent(spec, "replicas", 1);
    set_if_absent(spec, "revisionHistoryLimit", 10);
    set_if_absent(spec, "serviceName", "");
    set_if_empty(spec, "podManagementPolicy", "OrderedReady");
    set_if_absent(spec, "updateStrategy", json!({}));
    set_if_absent(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    let retention = &mut spec["persistentVolumeClaimRetentionPolicy"];
    set_if_empty(retention, "whenDeleted", "Retain");
    set_if_empty(retention, "whenScaled", "Retain");
    let strategy = &mut spec["updateStrategy"];
    // Only a strategy without a type gets a default `rollingUpdate`.
    if strategy["type"].as_str().unwrap_or_default().is_empty() {
        strategy["type"] = "RollingUpdate".into();
        set_if_absent(strategy, "rollingUpdate", json!({}));
    }
    if strategy["type"] == "RollingUpdate" && strategy.get("rollingUpdate").is_some() {
        set_if_absent(&mut strategy["rollingUpdate"], "partition", 0);
    }
    if spec.get("ordinals").is_some() {
        set_if_absent(&mut spec["ordinals"], "start", 0);
    }
    if spec.get("minReadySeconds").is_some_and(|n| *n == 0) {
        spec.as_object_mut()
            .map(|spec| spec.shift_remove("minReadySeconds"));
    }
    pod::default_pod_spec(&mut spec["template"]["spec"]);
}

fn default_job(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        set_if_absent(spec, "completions", 1);
    }
    set_if_absent(spec, "parallelism", 1);
    // With a limit for each index, the total limit is practically unlimited.
    let indexed = spec
        .get("backoffLimitPerIndex")
        .is_some_and(|n| !n.is_null());
    set_if_absent(spec, "backoffLimit", if indexed { i32::MAX } else { 6 });
    set_if_absent(spec, "completionMode", "NonIndexed");
    set_if_absent(spec, "suspend", false);
    set_if_absent(spec, "manualSelector", false);
    let failure = spec.get("podFailurePolicy").is_some_and(Value::is_object);
    set_if_absent(
        spec,
        "podReplacementPolicy",
        if failure {
            "Failed"
        } else {
            "TerminatingOrFailed"
        },
    );
    for rule in spec
        .get_mut("podFailurePolicy")
        .map(|p| list_field_mut(p, "rules"))
        .unwrap_or_default()
    {
        for condition in list_field_mut(rule, "onPodConditions") {
            set_if_empty(condition, "status", "True");
        }
    }
    // The default restart policy is not valid in a Job's template, so it is not filled in.
    let policy = spec["template"]["spec"]["restartPolicy"].clone();
    pod::default_pod_spec(&mut spec["template"]["spec"]);
    if policy.is_null()
        && let Some(pod) = spec["template"]["spec"].as_object_mut()
    {
        pod.shift_remove("restartPolicy");
    }
}

fn default_service(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set_if_absent(spec, "type", "ClusterIP");
    set_if_absent(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "None" {
        super::meta::remove_field(spec, "sessionAffinityConfig");
    } else if spec["sessionAffinity"] == "ClientIP" {
        set_if_absent(spec, "sessionAffinityConfig", json!({}));
        set_if_absent(&mut spec["sessionAffinityConfig"], "clientIP", json!({}));
        set_if_absent(
            &mut spec["sessionAffinityConfig"]["clientIP"],
            "timeoutSeconds",
            10800,
        );
    }
    for port in list_field_mut(spec, "ports") {
        set_if_absent(port, "protocol", "TCP");
        let same = port["port"].clone();
        let unset = matches!(&port["targetPort"], Value::Null)
            || port["targetPort"] == 0
            || port["targetPort"] == "";
        if unset && !same.is_null() {
            port["targetPort"] = same;
        }
    }
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        set_if_absent(spec, "internalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        set_if_absent(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_if_absent(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn default_secret(object: &mut Value) {
    use base64::Engine as _;
    set_if_absent(object, "type", "Opaque");
    let Some(strings) = super::meta::remove_field(object, "stringData") else {
        return;
    };
    for (key, value) in strings.as_object().into_iter().flatten() {
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
        object["data"][key] = encoded.into();
    }
}

fn default_definition(spec: &mut Value) {
    set_if_absent(spec, "conversion", json!({"strategy": "None"}));
    let kind = spec["names"]["kind"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if !kind.is_empty() {
        set_if_absent(&mut spec["names"], "singular", kind.to_lowercase());
        set_if_absent(&mut spec["names"], "listKind", format!("{kind}List"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::builtin;
    use super::*;

    fn defaulted(kind: &str, mut object: Value) -> Value {
        let row = builtin::ALL.iter().find(|b| b.kind == kind).unwrap();
        apply_defaults(&row.to_resource(), &mut object);
        object
    }

    #[test]
    fn a_deployment_gets_what_kubernetes_gives_it() {
        let object = defaulted(
            "Deployment",
            json!({"spec": {"selector": {}, "template": {"spec": {"containers": [
                {"name": "c", "image": "web", "ports": [{"containerPort": 80}],
                 "readinessProbe": {"httpGet": {"port": 80}},
                 "resources": {"limits": {"cpu": "1"}, "requests": {"memory": "1Gi"}}},
                {"name": "d", "image": "web:1"},
                {"name": "e", "image": "host:5000/web@sha256:00"},
            ]}}}}),
        );
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["revisionHistoryLimit"], 10);
        assert_eq!(spec["progressDeadlineSeconds"], 600);
        assert_eq!(
            spec["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
        );
        let pod = &spec["template"]["spec"];
        assert_eq!(pod["restartPolicy"], "Always");
        assert_eq!(pod["terminationGracePeriodSeconds"], 30);
        assert_eq!(pod.get("enableServiceLinks"), None);
        let policies: Vec<_> = (0..3)
            .map(|n| pod["containers"][n]["imagePullPolicy"].clone())
            .collect();
        assert_eq!(policies, ["Always", "IfNotPresent", "IfNotPresent"]);
        let c = &pod["containers"][0];
        assert_eq!(c["ports"][0]["protocol"], "TCP");
        assert_eq!(
            c["readinessProbe"],
            json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                   "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
        );
        assert_eq!(
            c["resources"]["requests"],
            json!({"memory": "1Gi"}),
            "only a pod asks for what it is limited to"
        );
        assert_eq!(c.get("livenessProbe"), None);
        assert_eq!(pod.get("volumes"), None);
        assert_eq!(defaulted("Deployment", object.clone()), object);
    }

    #[test]
    fn services_jobs_and_secrets() {
        let service = defaulted(
            "Service",
            json!({"spec": {"ports": [{"port": 80}], "clusterIP": "None"}}),
        );
        assert_eq!(
            service["spec"]["ports"][0],
            json!({"port": 80, "protocol": "TCP", "targetPort": 80})
        );
        let job = defaulted(
            "Job",
            json!({"spec": {"template": {"spec": {"containers": []}}}}),
        );
        assert_eq!(job["spec"]["completions"], 1);
        assert_eq!(job["spec"]["template"]["spec"].get("restartPolicy"), None);
        let queue = defaulted("Job", json!({"spec": {"parallelism": 2}}));
        assert_eq!(queue["spec"].get("completions"), None);
        let secret = defaulted(
            "Secret",
            json!({"data": {"a": "eA=="}, "stringData": {"b": "y"}}),
        );
        assert_eq!(
            secret,
            json!({"data": {"a": "eA==", "b": "eQ=="}, "type": "Opaque"})
        );
    }
}
