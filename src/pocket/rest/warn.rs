//! Kubernetes' warnings about fields that it accepts although they are deprecated, have no effect,
//! or are probably mistakes.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

use super::meta::{self, NameRule, check_name};
use super::quantity::Quantity;
use super::registry::Resource;
use super::validate::label_value_errors;

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
const DEPRECATED_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
const DEPRECATED_VOLUMES: [(&str, &str, &str); 9] = [
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    (
        "scaleIO",
        "scaleIO",
        "deprecated in v1.16, non-functional in v1.22+",
    ),
    (
        "flocker",
        "flocker",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "storageos",
        "storageOS",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "quobyte",
        "quobyte",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "glusterfs",
        "glusterfs",
        "deprecated in v1.25, non-functional in v1.26+",
    ),
    (
        "cephfs",
        "cephfs",
        "deprecated in v1.28, non-functional in v1.31+",
    ),
    (
        "rbd",
        "rbd",
        "deprecated in v1.28, non-functional in v1.31+",
    ),
];
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

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

/// Checks a pod, or the template whose path starts with `at`.
fn warn_pod(pod: &Value, at: &str, told: &mut Warnings) {
    let spec = &pod["spec"];
    let path = format!("{at}spec");
    for (key, _) in as_entries(&spec["nodeSelector"]) {
        if let Some(words) = deprecated_label(key) {
            told.push_warning(format!("{path}.nodeSelector[{key}]"), words);
        }
    }
    warn_node_affinity(
        &spec["affinity"]["nodeAffinity"],
        &format!("{path}.affinity.nodeAffinity"),
        told,
    );
    for (at, constraint) in as_list(&spec["topologySpreadConstraints"])
        .iter()
        .enumerate()
    {
        let path = format!("{path}.topologySpreadConstraints[{at}]");
        let key = as_text(&constraint["topologyKey"]);
        if let Some(words) = deprecated_label(key) {
            told.push_warning(format!("{path}.topologyKey"), format!("{key} is {words}"));
        }
        if constraint["labelSelector"].is_null() {
            told.push_warning(format!("{path}.labelSelector"), NO_SELECTOR);
        }
    }
    let annotations = &pod["metadata"]["annotations"];
    for (key, words) in DEPRECATED_ANNOTATIONS {
        if !annotations[key].is_null() {
            told.push_warning(format!("{at}metadata.annotations[{key}]"), words);
        }
    }
    for (at, volume) in as_list(&spec["volumes"]).iter().enumerate() {
        for (field, shown, words) in DEPRECATED_VOLUMES {
            if volume[field].is_object() {
                told.push_warning(format!("{path}.volumes[{at}].{shown}"), words);
            }
        }
    }
    warn_repeated(spec, "hostAliases", "ip", &path, told);
    warn_repeated(spec, "imagePullSecrets", "name", &path, told);
    for (at, secret) in as_list(&spec["imagePullSecrets"]).iter().enumerate() {
        if as_text(&secret["name"]).is_empty() {
            told.push_warning(
                format!("{path}.imagePullSecrets[{at}].name"),
                "invalid empty name \"\"",
            );
        }
    }
    for resource in ["memory", "ephemeral-storage"] {
        warn_fraction(
            &spec["overhead"],
            resource,
            &format!("{path}.overhead"),
            told,
        );
    }
    warn_containers(spec, &path, told);
    if spec["terminationGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|n| n < 0)
    {
        let words = "must be >= 0; negative values are invalid and will be treated as 1";
        told.push_warning(format!("{path}.terminationGracePeriodSeconds"), words);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (of, path) = (&spec["affinity"][kind], format!("{path}.affinity.{kind}"));
        for (field, inner) in [(REQUIRED, ""), (PREFERRED, "podAffinityTerm")] {
            for (at, term) in as_list(&of[field]).iter().enumerate() {
                let (term, dot) = if inner.is_empty() {
                    (term, "")
                } else {
                    (&term[inner], ".")
                };
                if term["labelSelector"].is_null() {
                    told.push_warning(
                        format!("{path}.{field}[{at}]{dot}{inner}.labelSelector"),
                        NO_SELECTOR,
                    );
                }
            }
        }
    }
    for (at, server) in as_list(&spec["dnsConfig"]["nameservers"])
        .iter()
        .enumerate()
    {
        warn_address(server, &format!("{path}.dnsConfig.nameservers[{at}]"), told);
    }
    for (at, alias) in as_list(&spec["hostAliases"]).iter().enumerate() {
        warn_address(&alias["ip"], &format!("{path}.hostAliases[{at}].ip"), told);
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn warn_node_affinity(affinity: &Value, path: &str, told: &mut Warnings) {
    for (at, term) in as_list(&affinity[REQUIRED]["nodeSelectorTerms"])
        .iter()
        .enumerate()
    {
        warn_node_term(
            term,
            false,
            &format!("{path}.{REQUIRED}.nodeSelectorTerms[{at}]"),
            told,
        );
    }
    for (at, term) in as_list(&affinity[PREFERRED]).iter().enumerate() {
        warn_node_term(
            &term["preference"],
            true,
            &format!("{path}.{PREFERRED}[{at}].preference"),
            told,
        );
    }
}

fn warn_node_term(term: &Value, values: bool, path: &str, told: &mut Warnings) {
    for (at, asked) in as_list(&term["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        let key = as_text(&asked["key"]);
        if let Some(words) = deprecated_label(key) {
            told.push_warning(format!("{path}.key"), format!("{key} is {words}"));
        }
        for (at, value) in as_list(&asked["values"])
            .iter()
            .enumerate()
            .filter(|_| values)
        {
            for words in label_value_errors(as_text(value)) {
                told.push_warning(
                    format!("{path}.values[{at}]"),
                    format!("{} is invalid, {words}", as_text(value)),
                );
            }
        }
    }
}

fn warn_repeated(spec: &Value, field: &str, key: &str, path: &str, told: &mut Warnings) {
    let all = as_list(&spec[field]);
    for (at, item) in all.iter().enumerate() {
        if all[..at]
            .iter()
            .any(|other| as_text(&other[key]) == as_text(&item[key]))
        {
            told.push_warning(
                format!("{path}.{field}[{at}].{key}"),
                format!("duplicate {key} {:?}", as_text(&item[key])),
            );
        }
    }
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

fn warn_containers(spec: &Value, path: &str, told: &mut Warnings) {
    // In the order in which Kubernetes checks them.
    let sorts = ["initContainers", "containers", "ephemeralContainers"];
    let all = || {
        let of = move |sort| {
            as_list(&spec[sort])
                .iter()
                .enumerate()
                .map(move |(at, one)| (format!("{path}.{sort}[{at}]"), one))
        };
        sorts.into_iter().flat_map(of)
    };
    for (path, one) in all() {
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
        let variables = as_list(&one["env"]);
        for (at, variable) in variables.iter().enumerate() {
            let name = as_text(&variable["name"]);
            let earlier = variables[..at]
                .iter()
                .any(|other| as_text(&other["name"]) == name);
            let (value, reference) = (as_text(&variable["value"]), format!("$({name})"));
            let hides = variable["valueFrom"].is_object()
                || value == reference
                || !value.contains(&reference);
            if earlier && hides {
                let words = format!(
                    "hides previous definition of {name:?}, which may be dropped when using apply"
                );
                told.push_warning(format!("{path}.env[{at}]"), words);
            }
        }
    }
    let ports: Vec<(String, &Value)> = all()
        .flat_map(|(path, one)| {
            as_list(&one["ports"])
                .iter()
                .enumerate()
                .map(move |(at, port)| (format!("{path}.ports[{at}]"), port))
        })
        .collect();
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
