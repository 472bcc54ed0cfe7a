//! Pods and templates.

use serde_json::Value;

use super::{
    Warnings, as_entries, as_list, as_text, containers::warn_containers, deprecated_label,
    warn_address, warn_fraction,
};
use crate::rest::validate::label_value_errors;

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

/// Checks a pod, or the template whose path starts with `at`.
pub(super) fn warn_pod(pod: &Value, at: &str, told: &mut Warnings) {
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
    warn_spread_constraints(spec, &path, told);
    let annotations = &pod["metadata"]["annotations"];
    for (key, words) in DEPRECATED_ANNOTATIONS {
        if !annotations[key].is_null() {
            told.push_warning(format!("{at}metadata.annotations[{key}]"), words);
        }
    }
    warn_volumes(spec, &path, told);
    warn_repeated(spec, "hostAliases", "ip", &path, told);
    warn_pull_secrets(spec, &path, told);
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
    warn_pod_affinity(spec, &path, told);
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

fn warn_spread_constraints(spec: &Value, path: &str, told: &mut Warnings) {
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
}

fn warn_volumes(spec: &Value, path: &str, told: &mut Warnings) {
    for (at, volume) in as_list(&spec["volumes"]).iter().enumerate() {
        for (field, shown, words) in DEPRECATED_VOLUMES {
            if volume[field].is_object() {
                told.push_warning(format!("{path}.volumes[{at}].{shown}"), words);
            }
        }
    }
}

fn warn_pull_secrets(spec: &Value, path: &str, told: &mut Warnings) {
    warn_repeated(spec, "imagePullSecrets", "name", path, told);
    for (at, secret) in as_list(&spec["imagePullSecrets"]).iter().enumerate() {
        if as_text(&secret["name"]).is_empty() {
            told.push_warning(
                format!("{path}.imagePullSecrets[{at}].name"),
                "invalid empty name \"\"",
            );
        }
    }
}

/// Warns of terms for and against other pods that match none.
fn warn_pod_affinity(spec: &Value, path: &str, told: &mut Warnings) {
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
