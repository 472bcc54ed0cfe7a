//! Pods and pod templates.

use serde_json::{Value, json};

use super::{absent, items};

pub(super) fn spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    absent(spec, "restartPolicy", "Always");
    absent(spec, "terminationGracePeriodSeconds", 30);
    absent(spec, "dnsPolicy", "ClusterFirst");
    absent(spec, "securityContext", json!({}));
    absent(spec, "schedulerName", "default-scheduler");
    for field in ["containers", "initContainers"] {
        for container in items(spec, field) {
            self::container(container);
        }
    }
    for volume in items(spec, "volumes") {
        self::volume(volume);
    }
}

fn container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    let image = container["image"].as_str().unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    absent(container, "imagePullPolicy", policy);
    absent(container, "terminationMessagePath", "/dev/termination-log");
    absent(container, "terminationMessagePolicy", "File");
    absent(container, "resources", json!({}));
    for port in items(container, "ports") {
        absent(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        if let Some(reference) = variable.get_mut("valueFrom").and_then(|v| v.get_mut("fieldRef")) {
            absent(reference, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = container.get_mut("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.get_mut(hook) {
                handler(hook);
            }
        }
    }
    // A limit without a request is the request too.
    let limits = container["resources"].get("limits").cloned().unwrap_or_default();
    for (name, limit) in limits.as_object().into_iter().flatten() {
        absent(&mut container["resources"], "requests", json!({}));
        absent(&mut container["resources"]["requests"], name, limit.clone());
    }
}

fn probe(probe: &mut Value) {
    if !probe.is_object() {
        return;
    }
    handler(probe);
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        // Zero is Kubernetes' "not set".
        if probe[field] == 0 {
            probe[field] = value.into();
        }
        absent(probe, field, value);
    }
}

fn handler(probe: &mut Value) {
    if let Some(http) = probe.get_mut("httpGet") {
        absent(http, "path", "/");
        absent(http, "scheme", "HTTP");
    }
    if let Some(grpc) = probe.get_mut("grpc") {
        absent(grpc, "service", "");
    }
}

fn volume(volume: &mut Value) {
    let Some(fields) = volume.as_object() else {
        return;
    };
    if fields.len() == 1 && fields.contains_key("name") {
        volume["emptyDir"] = json!({});
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source) {
            absent(source, "defaultMode", 0o644);
        }
    }
    if let Some(path) = volume.get_mut("hostPath") {
        absent(path, "type", "");
    }
}

/// No tag, or `latest`, and no digest.
fn is_latest(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains('@') {
        return false;
    }
    match last.split_once(':') {
        None => true,
        Some((_, tag)) => tag == "latest",
    }
}
