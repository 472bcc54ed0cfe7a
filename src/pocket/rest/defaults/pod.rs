//! Defaults of pods and pod templates.

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
    // The deprecated name of the field has the same value as the current one.
    for (from, to) in [
        ("serviceAccountName", "serviceAccount"),
        ("serviceAccount", "serviceAccountName"),
    ] {
        if let Some(name) = spec
            .get(from)
            .filter(|n| n.as_str().is_some_and(|n| !n.is_empty()))
            .cloned()
        {
            spec[to] = name;
        }
    }
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
    let policy = if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    absent(container, "imagePullPolicy", policy);
    absent(container, "terminationMessagePath", "/dev/termination-log");
    absent(container, "terminationMessagePolicy", "File");
    absent(container, "resources", json!({}));
    for port in items(container, "ports") {
        absent(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        if let Some(reference) = variable
            .get_mut("valueFrom")
            .and_then(|v| v.get_mut("fieldRef"))
        {
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
}

/// For pods, not for templates: a limit without a request sets the request too.
pub(super) fn request_limits(spec: &mut Value) {
    for field in ["containers", "initContainers"] {
        for container in items(spec, field) {
            let limits = container["resources"]
                .get("limits")
                .cloned()
                .unwrap_or_default();
            for (name, limit) in limits.as_object().into_iter().flatten() {
                absent(&mut container["resources"], "requests", json!({}));
                absent(&mut container["resources"]["requests"], name, limit.clone());
            }
        }
    }
}

fn probe(probe: &mut Value) {
    if !probe.is_object() {
        return;
    }
    handler(probe);
    for (field, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        // Kubernetes treats zero as not set.
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
    for source in items_of(volume) {
        if let Some(reference) = source.get_mut("fieldRef") {
            absent(reference, "apiVersion", "v1");
        }
    }
    for source in volume
        .get_mut("projected")
        .map(|p| items(p, "sources"))
        .unwrap_or_default()
    {
        if let Some(token) = source.get_mut("serviceAccountToken") {
            absent(token, "expirationSeconds", 3600);
        }
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

/// Files of a downward API volume, and of downward API sources in a projected volume.
fn items_of(volume: &mut Value) -> Vec<&mut Value> {
    let Some(fields) = volume.as_object_mut() else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for (kind, source) in fields {
        match kind.as_str() {
            "downwardAPI" => files.extend(items(source, "items")),
            "projected" => {
                let projections = items(source, "sources")
                    .iter_mut()
                    .filter_map(|s| s.get_mut("downwardAPI"));
                files.extend(projections.flat_map(|d| items(d, "items")));
            }
            _ => {}
        }
    }
    files
}

/// Whether the image has no digest, and no tag or the tag `latest`.
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
