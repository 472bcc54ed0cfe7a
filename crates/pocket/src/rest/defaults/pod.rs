//! Defaults of pods and pod templates.

use serde_json::{Value, json};

use super::{list_field_mut, set_if_absent};

pub(super) fn default_pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set_if_absent(spec, "restartPolicy", "Always");
    set_if_absent(spec, "terminationGracePeriodSeconds", 30);
    set_if_absent(spec, "dnsPolicy", "ClusterFirst");
    set_if_absent(spec, "securityContext", json!({}));
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
    set_if_absent(spec, "schedulerName", "default-scheduler");
    for field in ["containers", "initContainers"] {
        for container in list_field_mut(spec, field) {
            self::default_container(container);
        }
    }
    for volume in list_field_mut(spec, "volumes") {
        self::default_volume(volume);
    }
}

fn default_container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    let image = container["image"].as_str().unwrap_or_default();
    let policy = if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    set_if_absent(container, "imagePullPolicy", policy);
    set_if_absent(container, "terminationMessagePath", "/dev/termination-log");
    set_if_absent(container, "terminationMessagePolicy", "File");
    set_if_absent(container, "resources", json!({}));
    for port in list_field_mut(container, "ports") {
        set_if_absent(port, "protocol", "TCP");
    }
    for variable in list_field_mut(container, "env") {
        if let Some(reference) = variable
            .get_mut("valueFrom")
            .and_then(|v| v.get_mut("fieldRef"))
        {
            set_if_absent(reference, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            self::default_probe(probe);
        }
    }
    if let Some(lifecycle) = container.get_mut("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.get_mut(hook) {
                default_handler(hook);
            }
        }
    }
}

/// For pods, not for templates: a limit without a request sets the request too.
pub(super) fn copy_limits_to_requests(spec: &mut Value) {
    for field in ["containers", "initContainers"] {
        for container in list_field_mut(spec, field) {
            let limits = container["resources"]
                .get("limits")
                .cloned()
                .unwrap_or_default();
            for (name, limit) in limits.as_object().into_iter().flatten() {
                set_if_absent(&mut container["resources"], "requests", json!({}));
                set_if_absent(&mut container["resources"]["requests"], name, limit.clone());
            }
        }
    }
}

fn default_probe(probe: &mut Value) {
    if !probe.is_object() {
        return;
    }
    default_handler(probe);
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
        set_if_absent(probe, field, value);
    }
}

fn default_handler(probe: &mut Value) {
    if let Some(http) = probe.get_mut("httpGet") {
        set_if_absent(http, "path", "/");
        set_if_absent(http, "scheme", "HTTP");
    }
    if let Some(grpc) = probe.get_mut("grpc") {
        set_if_absent(grpc, "service", "");
    }
}

fn default_volume(volume: &mut Value) {
    let Some(fields) = volume.as_object() else {
        return;
    };
    if fields.len() == 1 && fields.contains_key("name") {
        volume["emptyDir"] = json!({});
    }
    for source in downward_api_items(volume) {
        if let Some(reference) = source.get_mut("fieldRef") {
            set_if_absent(reference, "apiVersion", "v1");
        }
    }
    for source in volume
        .get_mut("projected")
        .map(|p| list_field_mut(p, "sources"))
        .unwrap_or_default()
    {
        if let Some(token) = source.get_mut("serviceAccountToken") {
            set_if_absent(token, "expirationSeconds", 3600);
        }
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source) {
            set_if_absent(source, "defaultMode", 0o644);
        }
    }
    if let Some(path) = volume.get_mut("hostPath") {
        set_if_absent(path, "type", "");
    }
}

/// Files of a downward API volume, and of downward API sources in a projected volume.
fn downward_api_items(volume: &mut Value) -> Vec<&mut Value> {
    let Some(fields) = volume.as_object_mut() else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for (kind, source) in fields {
        match kind.as_str() {
            "downwardAPI" => files.extend(list_field_mut(source, "items")),
            "projected" => {
                let projections = list_field_mut(source, "sources")
                    .iter_mut()
                    .filter_map(|s| s.get_mut("downwardAPI"));
                files.extend(projections.flat_map(|d| list_field_mut(d, "items")));
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
