//! Services. Their addresses are another module's.

use serde_json::Value;

use super::super::error::FieldError;
use super::{array, pod};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub(super) fn check(object: &Value, _old: Option<&Value>, problems: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    let kind = spec["type"].as_str().unwrap_or_default();
    if !TYPES.contains(&kind) {
        problems.push(FieldError::not_supported("spec.type", &spec["type"], &TYPES));
    }
    let ports = array(&spec["ports"]);
    if ports.is_empty() && kind != "ExternalName" && spec["clusterIP"] != "None" {
        problems.push(FieldError::required("spec.ports", ""));
    }
    if kind == "ExternalName" && spec["externalName"].as_str().unwrap_or_default().is_empty() {
        problems.push(FieldError::required("spec.externalName", ""));
    }
    for (at, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        pod::port(&port["port"], &format!("{path}.port"), problems);
        if port["targetPort"].is_number() {
            pod::port(&port["targetPort"], &format!("{path}.targetPort"), problems);
        }
        let name = &port["name"];
        if ports.len() > 1 && name.as_str().unwrap_or_default().is_empty() {
            problems.push(FieldError::required(format!("{path}.name"), ""));
        } else if name.is_string() && ports[..at].iter().any(|other| other["name"] == *name) {
            problems.push(FieldError::duplicate(format!("{path}.name"), name));
        }
    }
}
