//! Leases, EndpointSlices, Endpoints, Events: kinds with few rules.

use serde_json::Value;

use super::super::error::FieldError;
use super::rules::{
    Problems, as_text, check_dns_label, check_not_negative, check_one_of, check_port_number,
    check_protocol, check_subdomain, label_value_errors, push_messages, qualified_name_errors,
};
use super::{as_list, network};

pub(super) fn check_lease(object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    let duration = &spec["leaseDurationSeconds"];
    if duration.as_i64().is_some_and(|n| n <= 0) {
        problems.push(FieldError::invalid(
            "spec.leaseDurationSeconds",
            duration,
            "must be greater than 0",
        ));
    }
    check_not_negative(&spec["leaseTransitions"], "spec.leaseTransitions", problems);
}

pub(super) fn check_endpoint_slice(object: &Value, old: Option<&Value>, problems: &mut Problems) {
    let kind = &object["addressType"];
    match as_text(kind) {
        "" => problems.push(FieldError::required("addressType", "")),
        _ => check_one_of(kind, &["FQDN", "IPv4", "IPv6"], "addressType", problems),
    }
    check_slice_ports(as_list(&object["ports"]), problems);
    for (at, endpoint) in as_list(&object["endpoints"]).iter().enumerate() {
        check_endpoint(
            endpoint,
            as_text(kind),
            &format!("endpoints[{at}]"),
            problems,
        );
    }
    if let Some(old) = old
        && old["addressType"] != *kind
    {
        problems.push(FieldError::invalid("addressType", kind, super::IMMUTABLE));
    }
}

fn check_slice_ports(ports: &[Value], problems: &mut Problems) {
    let mut names: Vec<&str> = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let path = format!("ports[{at}]");
        let name = as_text(&port["name"]);
        if !name.is_empty() {
            check_dns_label(&port["name"], &format!("{path}.name"), problems);
        }
        if names.contains(&name) {
            problems.push(FieldError::duplicate(format!("{path}.name"), &name.into()));
        }
        names.push(name);
        check_protocol(&port["protocol"], format!("{path}.protocol"), problems);
        if let Some(name) = port["appProtocol"].as_str() {
            push_messages(
                &format!("{path}.appProtocol"),
                &port["appProtocol"],
                qualified_name_errors(name),
                problems,
            );
        }
    }
}

fn check_endpoint(endpoint: &Value, kind: &str, path: &str, problems: &mut Problems) {
    let place = format!("{path}.addresses");
    let addresses = as_list(&endpoint["addresses"]);
    if addresses.is_empty() {
        problems.push(FieldError::required(
            place.clone(),
            "must contain at least 1 address",
        ));
    }
    for (at, address) in addresses.iter().enumerate() {
        check_slice_address(address, kind, &place, &format!("{place}[{at}]"), problems);
    }
    if !endpoint["nodeName"].is_null() {
        check_subdomain(&endpoint["nodeName"], &format!("{path}.nodeName"), problems);
    }
    if !endpoint["hostname"].is_null() {
        check_dns_label(&endpoint["hostname"], &format!("{path}.hostname"), problems);
    }
    for (field, most) in [("forZones", 8), ("forNodes", 8)] {
        check_hints(
            as_list(&endpoint["hints"][field]),
            most,
            &format!("{path}.hints.{field}"),
            problems,
        );
    }
}

fn check_slice_address(
    address: &Value,
    kind: &str,
    all: &str,
    path: &str,
    problems: &mut Problems,
) {
    if kind == "FQDN" {
        let given = as_text(address);
        let name = given.strip_suffix('.').unwrap_or(given);
        if given.is_empty() {
            return problems.push(FieldError::required(path, ""));
        }
        let before = problems.len();
        check_subdomain(&name.into(), path, problems);
        if problems.len() == before && !name.contains('.') {
            let words = "should be a domain with at least two segments separated by dots";
            problems.push(FieldError::invalid(path, address, words));
        }
        return;
    }
    let Some(found) = network::check_ip(address, path, problems) else {
        return;
    };
    if found.is_ipv6() && found.to_string() != as_text(address) {
        let words = format!("must be in canonical form (\"{found}\")");
        return problems.push(FieldError::invalid(path, address, words));
    }
    for (wanted, fits) in [("IPv4", found.is_ipv4()), ("IPv6", found.is_ipv6())] {
        if kind == wanted && !fits {
            problems.push(FieldError::invalid(
                all,
                address,
                format!("must be an {wanted} address"),
            ));
        }
    }
    network::check_reachable(found, address, path, true, problems);
}

/// Checks which zones or nodes an endpoint is meant for.
fn check_hints(hints: &[Value], most: u64, path: &str, problems: &mut Problems) {
    if hints.len() as u64 > most {
        return problems.push(FieldError::too_many(path, hints.len(), most));
    }
    let mut names: Vec<&str> = Vec::new();
    for (at, hint) in hints.iter().enumerate() {
        let (name, path) = (as_text(&hint["name"]), format!("{path}[{at}].name"));
        if names.contains(&name) {
            problems.push(FieldError::duplicate(path, &name.into()));
        } else {
            names.push(name);
            push_messages(&path, &name.into(), label_value_errors(name), problems);
        }
    }
}

pub(super) fn check_endpoints(object: &Value, problems: &mut Problems) {
    for (at, subset) in as_list(&object["subsets"]).iter().enumerate() {
        let path = format!("subsets[{at}]");
        let ports = as_list(&subset["ports"]);
        let (ready, waiting) = (
            as_list(&subset["addresses"]),
            as_list(&subset["notReadyAddresses"]),
        );
        if ready.is_empty() && waiting.is_empty() {
            let words = "must specify `addresses` or `notReadyAddresses`";
            problems.push(FieldError::required(path.clone(), words));
        }
        for (field, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
            for (at, address) in addresses.iter().enumerate() {
                check_endpoint_address(address, &format!("{path}.{field}[{at}]"), problems);
            }
        }
        for (at, port) in ports.iter().enumerate() {
            let path = format!("{path}.ports[{at}]");
            let name = as_text(&port["name"]);
            if !name.is_empty() {
                check_dns_label(&port["name"], &format!("{path}.name"), problems);
            } else if ports.len() > 1 {
                problems.push(FieldError::required(format!("{path}.name"), ""));
            }
            check_port_number(&port["port"], &format!("{path}.port"), problems);
            check_protocol(&port["protocol"], format!("{path}.protocol"), problems);
            if let Some(name) = port["appProtocol"].as_str() {
                push_messages(
                    &format!("{path}.appProtocol"),
                    &port["appProtocol"],
                    qualified_name_errors(name),
                    problems,
                );
            }
        }
    }
}

fn check_endpoint_address(address: &Value, path: &str, problems: &mut Problems) {
    let ip = format!("{path}.ip");
    let found = network::check_ip(&address["ip"], &ip, problems);
    if !as_text(&address["hostname"]).is_empty() {
        check_dns_label(&address["hostname"], &format!("{path}.hostname"), problems);
    }
    if !address["nodeName"].is_null() {
        check_subdomain(&address["nodeName"], &format!("{path}.nodeName"), problems);
    }
    match found {
        Some(found) => network::check_reachable(found, &address["ip"], &ip, true, problems),
        // Kubernetes reports this twice.
        None => problems.push(FieldError::invalid(
            ip,
            &as_text(&address["ip"]).into(),
            "must be a valid IP address",
        )),
    }
}

/// An Event must be in the namespace of the object that it is about.
pub(super) fn check_event(object: &Value, problems: &mut Problems) {
    let about = as_text(&object["involvedObject"]["namespace"]);
    let own = as_text(&object["metadata"]["namespace"]);
    let timed = object["eventTime"].is_string();
    let fits = match about {
        "" if timed => matches!(own, "default" | "kube-system"),
        "" => matches!(own, "" | "default"),
        about => timed || about == own,
    };
    if !fits {
        let words = "does not match event.namespace";
        problems.push(FieldError::invalid(
            "involvedObject.namespace",
            &about.into(),
            words,
        ));
    }
    if !timed {
        return;
    }
    let by = as_text(&object["reportingComponent"]);
    if by.is_empty() {
        problems.push(FieldError::required("reportingComponent", ""));
    }
    push_messages(
        "reportingComponent",
        &by.into(),
        qualified_name_errors(by),
        problems,
    );
    for (field, most) in [
        ("reportingInstance", 128),
        ("action", 128),
        ("reason", 128),
        ("message", 1024),
    ] {
        let given = as_text(&object[field]);
        if given.is_empty() && field != "message" {
            problems.push(FieldError::required(field, ""));
        }
        if given.len() > most {
            problems.push(FieldError::invalid(
                field,
                &"".into(),
                format!("can have at most {most} characters"),
            ));
        }
    }
}
