//! Kubernetes' warnings about fields that it accepts although they are deprecated, have no effect,
//! or are probably mistakes: of pods in `pod`, of their containers in `containers`.

mod containers;
mod pod;

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

use self::pod::warn_pod;
use super::meta::{self, NameRule, check_name};
use super::quantity::Quantity;
use super::registry::Resource;

const DEPRECATED_LABELS: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

/// Collects warnings about an object that was created, or updated from `old`.
pub(super) fn collect_warnings(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
) -> Vec<String> {
    let mut told = Warnings::default();
    // Do not warn again about what did not change.
    let changed =
        old.is_none_or(|old| old["metadata"]["generation"] != object["metadata"]["generation"]);
    let spec = &object["spec"];
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") if old.is_none() => warn_pod(object, "", &mut told),
        ("", "Service") => warn_service(spec, object, &mut told),
        ("", "Endpoints") => warn_endpoints(object, &mut told),
        ("discovery.k8s.io", "EndpointSlice") => warn_endpoint_slice(object, &mut told),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet") | ("batch", "Job") if changed => {
            if old.is_none() && resource.kind != "StatefulSet" {
                warn_name(object, &mut told);
            }
            let many = |field: &str, most| spec[field].as_i64().is_some_and(|n| n > most);
            if spec["completionMode"] == "Indexed"
                && many("completions", 100_000)
                && many("parallelism", 10_000)
            {
                told.push_warning("spec", "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail");
            }
            warn_pod(&spec["template"], "spec.template.", &mut told);
            if resource.kind == "StatefulSet"
                && spec["revisionHistoryLimit"].as_i64().is_some_and(|n| n < 0)
            {
                let words = "a negative value retains all historical revisions; a value >= 0 is recommended";
                told.push_warning("spec.revisionHistoryLimit", words);
            }
        }
        _ => {}
    }
    told.0
}

#[derive(Default)]
struct Warnings(Vec<String>);

impl Warnings {
    fn push_warning(&mut self, path: impl AsRef<str>, words: impl AsRef<str>) {
        self.0
            .push(format!("{}: {}", path.as_ref(), words.as_ref()));
    }
}

fn as_list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn as_text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn as_entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn warn_name(object: &Value, told: &mut Warnings) {
    if let Some(problem) = check_name(
        "metadata.name",
        meta::field_text(object, "name"),
        NameRule::Label,
    ) {
        let words = "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
        told.push_warning("metadata.name", format!("{words}: [{}]", problem.detail()));
    }
}

fn deprecated_label(key: &str) -> Option<&'static str> {
    DEPRECATED_LABELS
        .iter()
        .find(|(label, _)| *label == key)
        .map(|(_, words)| *words)
}

fn warn_fraction(list: &Value, resource: &str, path: &str, told: &mut Warnings) {
    let given = as_text(&list[resource]);
    if Quantity::parse(given).is_ok_and(|q| !q.is_whole()) {
        told.push_warning(
            format!("{path}[{resource}]"),
            format!("fractional byte value {given:?} is invalid, must be an integer"),
        );
    }
}

/// Warns of an address that parsers read in different ways.
fn warn_address(value: &Value, path: &str, told: &mut Warnings) {
    let given = as_text(value);
    match given.parse() {
        Ok(IpAddr::V6(six)) if six.to_ipv4_mapped().is_some() => {
            let four = six.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED);
            told.push_warning(
                path,
                format!("non-standard IP address {given:?} is invalid: use \"{four}\""),
            );
        }
        Ok(IpAddr::V6(six)) if six.to_string() != given => {
            told.push_warning(
                path,
                format!(
                    "IPv6 address {given:?} should be in RFC 5952 canonical format (\"{six}\")"
                ),
            );
        }
        _ => {}
    }
}

fn warn_service(spec: &Value, object: &Value, told: &mut Warnings) {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    if !object["metadata"]["annotations"][HINTS].is_null() {
        told.0
            .push(format!("annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"));
    }
    let external = spec["type"] == "ExternalName";
    let headless = spec["type"] == "ClusterIP" && spec["clusterIP"] == "None";
    let outside = !as_list(&spec["externalIPs"]).is_empty();
    if !headless && !external {
        for (at, ip) in as_list(&spec["clusterIPs"]).iter().enumerate() {
            warn_address(ip, &format!("spec.clusterIPs[{at}]"), told);
        }
    }
    let mut say = |when: bool, words: &str| {
        if when {
            told.0.push(words.to_owned());
        }
    };
    say(
        headless && !as_text(&spec["loadBalancerIP"]).is_empty(),
        "spec.loadBalancerIP is ignored for headless services",
    );
    say(
        headless && outside,
        "spec.externalIPs is ignored for headless services",
    );
    say(
        headless && spec["sessionAffinity"] != "None",
        "spec.SessionAffinity is ignored for headless services",
    );
    for (at, ip) in as_list(&spec["externalIPs"]).iter().enumerate() {
        warn_address(ip, &format!("spec.externalIPs[{at}]"), told);
    }
    let mut say = |when: bool, words: &str| {
        if when {
            told.0.push(words.to_owned());
        }
    };
    let words = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
    say(outside && !headless && !external, words);
    say(
        external && outside,
        "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
    );
    let words = "spec.externalName is ignored when spec.type is not \"ExternalName\"";
    say(
        !external && !as_text(&spec["externalName"]).is_empty(),
        words,
    );
    if spec["trafficDistribution"] == "PreferClose" {
        told.push_warning(
            "spec.trafficDistribution",
            "\"PreferClose\" is deprecated; use \"PreferSameZone\"",
        );
    }
}

fn warn_endpoints(object: &Value, told: &mut Warnings) {
    for (n, subset) in as_list(&object["subsets"]).iter().enumerate() {
        for field in ["addresses", "notReadyAddresses"] {
            for (at, one) in as_list(&subset[field]).iter().enumerate() {
                warn_address(&one["ip"], &format!("subsets[{n}].{field}[{at}].ip"), told);
            }
        }
    }
}

fn warn_endpoint_slice(object: &Value, told: &mut Warnings) {
    if object["addressType"] == "FQDN" {
        told.push_warning("spec.addressType", "FQDN endpoints are deprecated");
        return;
    }
    for (n, endpoint) in as_list(&object["endpoints"]).iter().enumerate() {
        for (at, one) in as_list(&endpoint["addresses"]).iter().enumerate() {
            warn_address(one, &format!("endpoints[{n}].addresses[{at}]"), told);
        }
    }
}
