//! Services, except for the allocation of addresses and node ports.

use serde_json::{Value, json};

use super::super::error::FieldError;
use super::rules::{
    Problems, as_text, check_dns_label, check_one_of, check_port_number, check_port_number_or_name,
    check_protocol, check_required, check_subdomain, push_messages, qualified_name_errors,
};
use super::{as_list, network, pod};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub(super) fn check_service(object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    let kind = as_text(&spec["type"]);
    let ports = as_list(&spec["ports"]);
    let headless = spec["clusterIP"] == "None";
    if ports.is_empty() && kind != "ExternalName" && !headless {
        problems.push(FieldError::required("spec.ports", ""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let words = format!("may not be set to 'None' for {kind} services");
            problems.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                &spec["clusterIP"],
                words,
            ));
        }
        "ExternalName" => {
            if !as_text(&spec["clusterIP"]).is_empty() {
                problems.push(FieldError::forbidden(
                    "spec.clusterIPs",
                    "may not be set for ExternalName services",
                ));
            }
            let name = as_text(&spec["externalName"]);
            match name.strip_suffix('.').unwrap_or(name) {
                "" => problems.push(FieldError::required("spec.externalName", "")),
                name => check_subdomain(&name.into(), "spec.externalName", problems),
            }
        }
        _ => {}
    }
    let address = as_text(&spec["clusterIP"]);
    if !matches!(address, "" | "None")
        && kind != "ExternalName"
        && address.parse::<std::net::IpAddr>().is_err()
    {
        let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        problems.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            &spec["clusterIP"],
            words,
        ));
    }
    self::check_ports(ports, problems);
    pod::check_labels(&spec["selector"], "spec.selector", problems);
    check_session_affinity(spec, problems);
    match kind {
        "" => problems.push(FieldError::required("spec.type", "")),
        _ => check_one_of(&spec["type"], &TYPES, "spec.type", problems),
    }
    check_unique_ports(kind, ports, problems);
    check_external_ips(spec, problems);
    check_traffic(spec, kind, problems);
    check_ip_families(spec, problems);
}

/// Checks external IPs.
fn check_external_ips(spec: &Value, problems: &mut Problems) {
    for (at, address) in as_list(&spec["externalIPs"]).iter().enumerate() {
        let path = format!("spec.externalIPs[{at}]");
        if let Some(found) = network::check_ip(address, &path, problems) {
            network::check_reachable(found, address, &path, false, problems);
        }
    }
}

fn check_ip_families(spec: &Value, problems: &mut Problems) {
    let known = ["IPv4", "IPv6"];
    let families = as_list(&spec["ipFamilies"]);
    for (at, family) in families.iter().enumerate() {
        let path = format!("spec.ipFamilies[{at}]");
        if !known.contains(&as_text(family)) {
            problems.push(FieldError::not_supported(path, family, &known));
        } else if families[..at].contains(family) {
            problems.push(FieldError::duplicate(path, family));
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    check_one_of(
        &spec["ipFamilyPolicy"],
        &policies,
        "spec.ipFamilyPolicy",
        problems,
    );
    let all = &spec["clusterIPs"];
    if let (Some(first), false) = (as_list(all).first(), as_text(&spec["clusterIP"]).is_empty())
        && *first != spec["clusterIP"]
    {
        problems.push(FieldError::invalid(
            "spec.clusterIPs",
            all,
            "first value must match `clusterIP`",
        ));
    }
}

fn check_ports(ports: &[Value], problems: &mut Problems) {
    let mut names: Vec<&str> = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        let name = as_text(&port["name"]);
        if !name.is_empty() {
            check_dns_label(&port["name"], &format!("{path}.name"), problems);
            if names.contains(&name) {
                problems.push(FieldError::duplicate(format!("{path}.name"), &port["name"]));
            }
            names.push(name);
        } else if ports.len() > 1 {
            check_required(&port["name"], format!("{path}.name"), problems);
        }
        check_port_number(&port["port"], &format!("{path}.port"), problems);
        check_protocol(&port["protocol"], format!("{path}.protocol"), problems);
        check_port_number_or_name(&port["targetPort"], &format!("{path}.targetPort"), problems);
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

fn check_session_affinity(spec: &Value, problems: &mut Problems) {
    check_one_of(
        &spec["sessionAffinity"],
        &["ClientIP", "None"],
        "spec.sessionAffinity",
        problems,
    );
    let config = &spec["sessionAffinityConfig"];
    match as_text(&spec["sessionAffinity"]) {
        "None" if config.is_object() => {
            let words = "must not be set when session affinity is None";
            problems.push(FieldError::forbidden("spec.sessionAffinityConfig", words));
        }
        "ClientIP" => {
            let path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            let seconds = &config["clientIP"]["timeoutSeconds"];
            if seconds.as_i64().is_some_and(|n| !(1..=86400).contains(&n)) {
                problems.push(FieldError::invalid(
                    path,
                    seconds,
                    "must be greater than 0 and less than 86400",
                ));
            }
        }
        _ => {}
    }
}

fn check_unique_ports(kind: &str, ports: &[Value], problems: &mut Problems) {
    let node_port = |port: &Value| port["nodePort"].as_i64().unwrap_or(0);
    for (at, port) in ports.iter().enumerate() {
        if kind == "ClusterIP" && node_port(port) != 0 {
            let words = "may not be used when `type` is 'ClusterIP'";
            problems.push(FieldError::forbidden(
                format!("spec.ports[{at}].nodePort"),
                words,
            ));
        }
    }
    for (at, port) in ports.iter().enumerate() {
        let same =
            |other: &Value| other["protocol"] == port["protocol"] && other["port"] == port["port"];
        if ports[..at].iter().any(same) {
            // Kubernetes shows its internal form of the key.
            let key = json!({
                "Name": "", "Protocol": port["protocol"], "AppProtocol": null, "Port": port["port"],
                "TargetPort": 0, "NodePort": 0,
            });
            problems.push(FieldError::duplicate(format!("spec.ports[{at}]"), &key));
        }
    }
}

fn check_traffic(spec: &Value, kind: &str, problems: &mut Problems) {
    let outside = &spec["externalTrafficPolicy"];
    let accessible = matches!(kind, "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !as_list(&spec["externalIPs"]).is_empty());
    if accessible {
        check_one_of(
            outside,
            &["Cluster", "Local"],
            "spec.externalTrafficPolicy",
            problems,
        );
    } else if !as_text(outside).is_empty() {
        let words = "may only be set for externally-accessible services";
        problems.push(FieldError::invalid(
            "spec.externalTrafficPolicy",
            outside,
            words,
        ));
    }
    let inside = &spec["internalTrafficPolicy"];
    if inside
        .as_str()
        .is_some_and(|p| !matches!(p, "Cluster" | "Local"))
    {
        problems.push(FieldError::not_supported(
            "spec.internalTrafficPolicy",
            inside,
            &["Cluster", "Local"],
        ));
    }
    check_source_ranges(spec, kind, problems);
    check_health_port(spec, kind, problems);
    check_load_balancer_class(&spec["loadBalancerClass"], kind, problems);
    let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    let distribution = &spec["trafficDistribution"];
    if distribution.as_str().is_some_and(|d| !known.contains(&d)) {
        problems.push(FieldError::not_supported(
            "spec.trafficDistribution",
            distribution,
            &known,
        ));
    }
}

fn check_source_ranges(spec: &Value, kind: &str, problems: &mut Problems) {
    let ranges = !as_list(&spec["loadBalancerSourceRanges"]).is_empty();
    if ranges && kind != "LoadBalancer" {
        let words = "may only be used when `type` is 'LoadBalancer'";
        problems.push(FieldError::forbidden(
            "spec.LoadBalancerSourceRanges",
            words,
        ));
    } else {
        for (at, range) in as_list(&spec["loadBalancerSourceRanges"])
            .iter()
            .enumerate()
        {
            network::check_cidr(
                &as_text(range).trim().into(),
                &format!("spec.LoadBalancerSourceRanges[{at}]"),
                problems,
            );
        }
    }
}

fn check_health_port(spec: &Value, kind: &str, problems: &mut Problems) {
    let health = &spec["healthCheckNodePort"];
    if health.as_i64().is_some_and(|n| n != 0)
        && (kind != "LoadBalancer" || spec["externalTrafficPolicy"] != "Local")
    {
        let words =
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        problems.push(FieldError::invalid(
            "spec.healthCheckNodePort",
            health,
            words,
        ));
    }
}

fn check_load_balancer_class(class: &Value, kind: &str, problems: &mut Problems) {
    if !class.is_null() {
        if kind == "LoadBalancer" {
            push_messages(
                "spec.loadBalancerClass",
                class,
                qualified_name_errors(as_text(class)),
                problems,
            );
        } else {
            let words = "may only be used when `type` is 'LoadBalancer'";
            problems.push(FieldError::forbidden("spec.loadBalancerClass", words));
        }
    }
}
