//! What Kubernetes refuses in built-in objects, in its words. Objects come here complete: read as their type and
//! with their defaults.

use serde_json::Value;

use super::error::FieldError;
use super::registry::Resource;

mod definition;
mod pod;
mod service;
mod stateful;
mod workload;

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const IMMUTABLE: &str = "field is immutable";

/// Everything wrong with an object, or with the change from `old` to it.
pub(super) fn check(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut problems = Vec::new();
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod::check(object, old, &mut problems),
        ("", "Service") => service::check(object, old, &mut problems),
        ("", "ConfigMap" | "Secret") => data(object, old, &mut problems),
        ("apps", "Deployment") => workload::deployment(object, old, &mut problems),
        ("apps", "ReplicaSet") => workload::replica_set(object, old, &mut problems),
        ("apps", "StatefulSet") => stateful::set(object, old, &mut problems),
        ("apps", "ControllerRevision") => stateful::revision(object, old, &mut problems),
        ("batch", "Job") => workload::job(object, old, &mut problems),
        ("", "Node") => node(object, &mut problems),
        ("apiextensions.k8s.io", _) => definition::check(object, &mut problems),
        _ => {}
    }
    problems
}

/// A wish that nobody would heed is refused.
fn node(object: &Value, problems: &mut Vec<FieldError>) {
    for field in ["unschedulable", "taints"] {
        let value = &object["spec"][field];
        if *value == true || !array(value).is_empty() {
            problems.push(FieldError::forbidden(format!("spec.{field}"), "pocket has one node, which takes every pod"));
        }
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn not_negative(object: &Value, path: &str, problems: &mut Vec<FieldError>) {
    let value = path.split('.').fold(object, |at, step| &at[step]);
    if value.as_i64().is_some_and(|n| n < 0) {
        problems.push(FieldError::invalid(path, value, NOT_NEGATIVE));
    }
}

fn data(object: &Value, old: Option<&Value>, problems: &mut Vec<FieldError>) {
    let fits = |key: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !key.is_empty() && key.len() <= 253 && key != "." && key != ".." && key.chars().all(known)
    };
    for field in ["data", "binaryData"] {
        for (key, _) in object[field].as_object().into_iter().flatten() {
            if !fits(key) {
                let words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                problems.push(FieldError::invalid(format!("{field}[{key}]"), &Value::from(key.as_str()), words));
            }
        }
    }
    let Some(old) = old else { return };
    if old["immutable"] == true {
        for field in ["data", "binaryData"] {
            if old.get(field) != object.get(field) {
                problems.push(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
            }
        }
    }
    if old["type"] != object["type"] {
        problems.push(FieldError::invalid("type", &object["type"], IMMUTABLE));
    }
}

#[cfg(test)]
mod tests;
