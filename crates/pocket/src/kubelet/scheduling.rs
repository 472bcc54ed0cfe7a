//! Checks whether a pod can run here: rejects features that plain processes cannot provide, before
//! the pod is bound, with the scheduler's wording.

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use std::collections::BTreeMap;

/// Returns the machine's architecture as Go and Kubernetes name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Returns the labels of the only node.
pub fn node_labels(node: &str) -> BTreeMap<String, String> {
    [
        ("kubernetes.io/hostname", node),
        ("kubernetes.io/os", std::env::consts::OS),
        ("kubernetes.io/arch", architecture()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect()
}

/// Returns why the pod cannot run here, or `None` if it can.
pub fn unschedulable_reason(pod: &Pod, node: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let labels = node_labels(node);
    for (key, value) in spec.node_selector.iter().flatten() {
        if labels.get(key) != Some(value) {
            return Some(format!(
                "node {node} has no label {key}={value} (nodeSelector)"
            ));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        let served = volume.empty_dir.is_some()
            || volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.downward_api.is_some();
        if !served {
            let what = serde_json::to_value(volume).ok().and_then(|v| {
                v.as_object()
                    .and_then(|o| o.keys().find(|k| *k != "name").cloned())
            });
            let what = what.unwrap_or_else(|| "unknown".into());
            return Some(format!(
                "volume {:?} is a {what}: pocket has emptyDir, configMap, secret and downwardAPI volumes only",
                volume.name
            ));
        }
    }
    let init = spec.init_containers.iter().flatten();
    if let Some(c) = init
        .clone()
        .find(|c| c.restart_policy.as_deref() == Some("Always"))
    {
        return Some(format!(
            "init container {:?} is a sidecar (restartPolicy: Always): not served by pocket",
            c.name
        ));
    }
    spec.containers.iter().chain(init).find_map(check_container)
}

fn check_container(c: &Container) -> Option<String> {
    let name = &c.name;
    if c.security_context.as_ref().and_then(|s| s.privileged) == Some(true) {
        return Some(format!(
            "container {name:?} is privileged: pocket runs processes as you, with your rights"
        ));
    }
    if let Some(port) = c
        .ports
        .iter()
        .flatten()
        .find_map(|p| p.host_port.filter(|p| *p != 0))
    {
        return Some(format!(
            "container {name:?} wants hostPort {port}: a pod listens on its own address only"
        ));
    }
    if c.volume_devices.as_ref().is_some_and(|d| !d.is_empty()) {
        return Some(format!("container {name:?} wants block devices"));
    }
    let grpc = |p: &Option<Probe>| p.as_ref().is_some_and(|p| p.grpc.is_some());
    if [&c.readiness_probe, &c.liveness_probe, &c.startup_probe]
        .into_iter()
        .any(grpc)
    {
        return Some(format!(
            "container {name:?} has a gRPC probe: pocket has http, tcp and exec probes"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn each_impossible_wish_is_named() {
        let with = |volumes: Value, container: Value| -> Pod {
            let mut c = json!({"name": "c"});
            json_patch::merge(&mut c, &container);
            serde_json::from_value(json!({"spec": {"containers": [c], "volumes": volumes}}))
                .unwrap()
        };
        for (pod, want) in [
            (
                with(json!([{"name": "v", "hostPath": {"path": "/"}}]), json!({})),
                "hostPath",
            ),
            (
                with(
                    json!([{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]),
                    json!({}),
                ),
                "persistentVolumeClaim",
            ),
            (
                with(json!([]), json!({"securityContext": {"privileged": true}})),
                "privileged",
            ),
            (
                with(
                    json!([]),
                    json!({"ports": [{"containerPort": 1, "hostPort": 80}]}),
                ),
                "hostPort 80",
            ),
            (
                with(json!([]), json!({"livenessProbe": {"grpc": {"port": 1}}})),
                "gRPC",
            ),
        ] {
            let told = unschedulable_reason(&pod, "pocket").unwrap();
            assert!(told.contains(want), "{told}");
        }
        let fine = with(
            json!([{"name": "v", "emptyDir": {}}]),
            json!({"ports": [{"containerPort": 80}]}),
        );
        assert_eq!(unschedulable_reason(&fine, "pocket"), None);
        let elsewhere: Pod = serde_json::from_value(
            json!({"spec": {"containers": [], "nodeSelector": {"gpu": "yes"}}}),
        )
        .unwrap();
        assert!(
            unschedulable_reason(&elsewhere, "pocket")
                .unwrap()
                .contains("gpu=yes")
        );
    }
}
