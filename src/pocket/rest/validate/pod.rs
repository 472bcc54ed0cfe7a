//! Pods and pod templates.

use serde_json::Value;

use super::super::error::FieldError;
use super::super::meta::{NameRule, check_name};
use super::array;

pub(super) fn check(pod: &Value, old: Option<&Value>, problems: &mut Vec<FieldError>) {
    match old {
        None => spec(&pod["spec"], "spec", problems),
        Some(old) if frozen(&old["spec"], &pod["spec"]) != old["spec"] => {
            problems.push(FieldError::forbidden("spec", "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"));
        }
        Some(_) => {}
    }
}

/// The new spec with the old one's value wherever a change is allowed: equal to the old when nothing else changed.
fn frozen(old: &Value, new: &Value) -> Value {
    let mut spec = new.clone();
    let restore = |spec: &mut Value, field: &str| match (old.get(field), spec.as_object_mut()) {
        (Some(value), Some(map)) => {
            map.insert(field.to_owned(), value.clone());
        }
        (None, Some(map)) => {
            map.shift_remove(field);
        }
        _ => {}
    };
    restore(&mut spec, "activeDeadlineSeconds");
    restore(&mut spec, "tolerations");
    for field in ["containers", "initContainers"] {
        let list = spec.get_mut(field).and_then(Value::as_array_mut);
        for (now, was) in list.into_iter().flatten().zip(array(&old[field])) {
            if now.get("image").is_some() && was.get("image").is_some() {
                now["image"] = was["image"].clone();
            }
        }
    }
    spec
}

pub(super) fn spec(spec: &Value, path: &str, problems: &mut Vec<FieldError>) {
    if array(&spec["containers"]).is_empty() {
        problems.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let policy = &spec["restartPolicy"];
    if policy.as_str().is_some_and(|p| !["Always", "OnFailure", "Never"].contains(&p)) {
        let known = ["Always", "OnFailure", "Never"];
        problems.push(FieldError::not_supported(format!("{path}.restartPolicy"), policy, &known));
    }
    let volumes: Vec<&str> = array(&spec["volumes"]).iter().filter_map(|v| v["name"].as_str()).collect();
    let mut names = Vec::new();
    for field in ["initContainers", "containers"] {
        for (at, container) in array(&spec[field]).iter().enumerate() {
            let path = format!("{path}.{field}[{at}]");
            self::container(container, &path, &volumes, problems);
            let name = &container["name"];
            if names.contains(&name) {
                problems.push(FieldError::duplicate(format!("{path}.name"), name));
            }
            names.push(name);
        }
    }
}

fn container(container: &Value, path: &str, volumes: &[&str], problems: &mut Vec<FieldError>) {
    match container["name"].as_str().unwrap_or_default() {
        "" => problems.push(FieldError::required(format!("{path}.name"), "")),
        name => problems.extend(check_name(&format!("{path}.name"), name, NameRule::Label)),
    }
    if container["image"].as_str().unwrap_or_default().is_empty() {
        problems.push(FieldError::required(format!("{path}.image"), ""));
    }
    let mut names = Vec::new();
    for (at, port) in array(&container["ports"]).iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        match port["containerPort"].as_i64() {
            None | Some(0) => problems.push(FieldError::required(format!("{path}.containerPort"), "")),
            Some(_) => self::port(&port["containerPort"], &format!("{path}.containerPort"), problems),
        }
        if port["name"].is_string() && names.contains(&&port["name"]) {
            problems.push(FieldError::duplicate(format!("{path}.name"), &port["name"]));
        }
        names.push(&port["name"]);
    }
    for (at, variable) in array(&container["env"]).iter().enumerate() {
        if variable["name"].as_str().unwrap_or_default().is_empty() {
            problems.push(FieldError::required(format!("{path}.env[{at}].name"), ""));
        }
    }
    for (at, mount) in array(&container["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        if mount["mountPath"].as_str().unwrap_or_default().is_empty() {
            problems.push(FieldError::required(format!("{path}.mountPath"), ""));
        }
        if !volumes.contains(&mount["name"].as_str().unwrap_or_default()) {
            problems.push(FieldError::not_found(format!("{path}.name"), &mount["name"]));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let handlers = ["httpGet", "tcpSocket", "exec", "grpc"];
        if container[probe].is_object() && !handlers.iter().any(|h| container[probe][h].is_object()) {
            problems.push(FieldError::required(format!("{path}.{probe}"), "must specify a handler type"));
        }
    }
}

pub(super) fn port(port: &Value, path: &str, problems: &mut Vec<FieldError>) {
    if !port.as_i64().is_some_and(|n| (1..=65535).contains(&n)) {
        problems.push(FieldError::invalid(path, port, "must be between 1 and 65535, inclusive"));
    }
}
