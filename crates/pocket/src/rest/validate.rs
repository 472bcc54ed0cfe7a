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
pub(super) use rules::{label_value_errors, qualified_name_errors};

/// Collects all problems with an object, or with the change from `old` to it.
pub(super) fn check_object(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut problems = Vec::new();
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod::check_pod(object, old, &mut problems),
        ("", "Service") => service::check_service(object, &mut problems),
        ("", "ConfigMap") => data::check_config_map(object, old, &mut problems),
        ("", "Secret") => data::check_secret(object, old, &mut problems),
        ("", "Endpoints") => others::check_endpoints(object, &mut problems),
        ("", "Event") if old.is_none() => others::check_event(object, &mut problems),
        ("coordination.k8s.io", "Lease") => others::check_lease(object, &mut problems),
        ("discovery.k8s.io", "EndpointSlice") => {
            others::check_endpoint_slice(object, old, &mut problems);
        }
        ("apps", "Deployment") => workload::check_deployment(object, old, &mut problems),
        ("apps", "ReplicaSet") => workload::check_replica_set(object, old, &mut problems),
        ("apps", "StatefulSet") => stateful::check_stateful_set(object, old, &mut problems),
        ("apps", "ControllerRevision") => stateful::check_revision(object, old, &mut problems),
        ("batch", "Job") => job::check_job(object, old, &mut problems),
        ("", "Node") => check_node(object, &mut problems),
        ("apiextensions.k8s.io", _) => definition::check_definition(object, &mut problems),
        _ => {}
    }
    problems
}

/// Refuses settings that would have no effect.
fn check_node(object: &Value, problems: &mut Vec<FieldError>) {
    for field in ["unschedulable", "taints"] {
        let value = &object["spec"][field];
        if *value == true || !as_list(value).is_empty() {
            problems.push(FieldError::forbidden(
                format!("spec.{field}"),
                "pocket has one node, which takes every pod",
            ));
        }
    }
}

fn as_list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests;
