//! Containers of pods and templates.

use serde_json::Value;

use super::{Warnings, as_list, as_text, warn_fraction};

pub(super) fn warn_containers(spec: &Value, path: &str, told: &mut Warnings) {
    for (path, one) in list_containers(spec, path) {
        for resource in ["memory", "ephemeral-storage"] {
            for kind in ["limits", "requests"] {
                warn_fraction(
                    &one["resources"][kind],
                    resource,
                    &format!("{path}.resources.{kind}"),
                    told,
                );
            }
        }
        warn_hidden_variables(&one["env"], &path, told);
    }
    let ports: Vec<(String, &Value)> = list_containers(spec, path)
        .flat_map(|(path, one)| {
            as_list(&one["ports"])
                .iter()
                .enumerate()
                .map(move |(at, port)| (format!("{path}.ports[{at}]"), port))
        })
        .collect();
    warn_same_ports(&ports, told);
    warn_same_port_names(&ports, told);
}

/// All containers with their paths, in the order in which Kubernetes checks them.
fn list_containers<'a>(spec: &'a Value, path: &str) -> impl Iterator<Item = (String, &'a Value)> {
    let sorts = ["initContainers", "containers", "ephemeralContainers"];
    let of = move |sort| {
        as_list(&spec[sort])
            .iter()
            .enumerate()
            .map(move |(at, one)| (format!("{path}.{sort}[{at}]"), one))
    };
    sorts.into_iter().flat_map(of)
}

/// Warns of variables that hide an earlier one without making use of it.
fn warn_hidden_variables(env: &Value, path: &str, told: &mut Warnings) {
    let variables = as_list(env);
    for (at, variable) in variables.iter().enumerate() {
        let name = as_text(&variable["name"]);
        let earlier = variables[..at]
            .iter()
            .any(|other| as_text(&other["name"]) == name);
        let (value, reference) = (as_text(&variable["value"]), format!("$({name})"));
        let hides =
            variable["valueFrom"].is_object() || value == reference || !value.contains(&reference);
        if earlier && hides {
            let words = format!(
                "hides previous definition of {name:?}, which may be dropped when using apply"
            );
            told.push_warning(format!("{path}.env[{at}]"), words);
        }
    }
}

fn warn_same_ports(ports: &[(String, &Value)], told: &mut Warnings) {
    for (at, (path, port)) in ports.iter().enumerate() {
        let same = |other: &Value| {
            other["containerPort"] == port["containerPort"] && other["protocol"] == port["protocol"]
        };
        for (place, other) in ports[..at].iter().filter(|(_, other)| same(other)) {
            let host = |port: &Value| port["hostPort"].as_i64().unwrap_or(0);
            let what = if as_text(&port["hostIP"]) == as_text(&other["hostIP"])
                && host(port) == host(other)
            {
                "duplicate"
            } else if host(port) == 0 || host(other) == 0 {
                "overlapping"
            } else if host(port) == host(other)
                && as_text(&port["hostIP"]).is_empty() != as_text(&other["hostIP"]).is_empty()
            {
                "dangerously ambiguous"
            } else {
                continue;
            };
            told.push_warning(path, format!("{what} port definition with {place}"));
        }
    }
}

fn warn_same_port_names(ports: &[(String, &Value)], told: &mut Warnings) {
    for (at, (path, port)) in ports.iter().enumerate() {
        let name = as_text(&port["name"]);
        let first = ports[..at]
            .iter()
            .find(|(_, other)| !name.is_empty() && as_text(&other["name"]) == name);
        if let Some((place, _)) = first {
            let words = format!(
                "duplicate port name {name:?} with {place}, services and probes that select ports by name will use {place}"
            );
            told.push_warning(path, words);
        }
    }
}
