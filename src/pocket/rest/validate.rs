//! Validation of built-in objects, with the rules and texts of Kubernetes. Objects are complete
//! when they come here: decoded as their type and with their defaults.

use serde_json::Value;

use super::error::FieldError;
use super::registry::Resource;

mod affinity;
mod container;
mod data;
mod definition;
mod job;
mod network;
mod others;
mod pod;
mod resources;
mod rules;
mod security;
mod service;
mod stateful;
mod volume;
mod workload;

pub(super) use resources::quality_of_service;
use rules::IMMUTABLE;
pub(super) use rules::{label_value, qualified_name};

/// Collects all problems with an object, or with the change from `old` to it.
pub(super) fn check(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut problems = Vec::new();
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod::check(object, old, &mut problems),
        ("", "Service") => service::check(object, &mut problems),
        ("", "ConfigMap") => data::config_map(object, old, &mut problems),
        ("", "Secret") => data::secret(object, old, &mut problems),
        ("", "Endpoints") => others::endpoints(object, &mut problems),
        ("", "Event") if old.is_none() => others::event(object, &mut problems),
        ("coordination.k8s.io", "Lease") => others::lease(object, &mut problems),
        ("discovery.k8s.io", "EndpointSlice") => others::endpoint_slice(object, old, &mut problems),
        ("apps", "Deployment") => workload::deployment(object, old, &mut problems),
        ("apps", "ReplicaSet") => workload::replica_set(object, old, &mut problems),
        ("apps", "StatefulSet") => stateful::set(object, old, &mut problems),
        ("apps", "ControllerRevision") => stateful::revision(object, old, &mut problems),
        ("batch", "Job") => job::check(object, old, &mut problems),
        ("", "Node") => node(object, &mut problems),
        ("apiextensions.k8s.io", _) => definition::check(object, &mut problems),
        _ => {}
    }
    problems
}

/// Refuses settings that would have no effect.
fn node(object: &Value, problems: &mut Vec<FieldError>) {
    for field in ["unschedulable", "taints"] {
        let value = &object["spec"][field];
        if *value == true || !array(value).is_empty() {
            problems.push(FieldError::forbidden(
                format!("spec.{field}"),
                "pocket has one node, which takes every pod",
            ));
        }
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests;
