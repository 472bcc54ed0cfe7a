//! Affinity and topology spread of pods. Pocket has one node, but validates them like any cluster.

use serde_json::Value;

use super::super::error::FieldError;
use super::as_list;
use super::rules::{
    Problems, as_text, check_dns_label, check_label_selector, check_one_of, check_set_operator,
    check_subdomain, label_value_errors, push_messages, qualified_name_errors, refuse_operator,
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn check_affinity(affinity: &Value, path: &str, problems: &mut Problems) {
    let node = &affinity["nodeAffinity"];
    let own = format!("{path}.nodeAffinity");
    if node[REQUIRED].is_object() {
        let path = format!("{own}.{REQUIRED}.nodeSelectorTerms");
        let terms = as_list(&node[REQUIRED]["nodeSelectorTerms"]);
        if terms.is_empty() {
            problems.push(FieldError::required(
                path.clone(),
                "must have at least one node selector term",
            ));
        }
        for (at, term) in terms.iter().enumerate() {
            check_node_term(term, true, &format!("{path}[{at}]"), problems);
        }
    }
    for (at, term) in as_list(&node[PREFERRED]).iter().enumerate() {
        let path = format!("{own}.{PREFERRED}[{at}]");
        check_weight(&term["weight"], &path, problems);
        check_node_term(
            &term["preference"],
            false,
            &format!("{path}.preference"),
            problems,
        );
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let own = format!("{path}.{kind}");
        for (at, term) in as_list(&affinity[kind][REQUIRED]).iter().enumerate() {
            check_pod_term(term, &format!("{own}.{REQUIRED}[{at}]"), problems);
        }
        for (at, term) in as_list(&affinity[kind][PREFERRED]).iter().enumerate() {
            let path = format!("{own}.{PREFERRED}[{at}]");
            check_weight(&term["weight"], &path, problems);
            check_pod_term(
                &term["podAffinityTerm"],
                &format!("{path}.podAffinityTerm"),
                problems,
            );
        }
    }
}

fn check_weight(weight: &Value, path: &str, problems: &mut Problems) {
    let number = weight.as_i64().unwrap_or(0);
    if !(1..=100).contains(&number) {
        problems.push(FieldError::invalid(
            format!("{path}.weight"),
            &number.into(),
            "must be in the range 1-100",
        ));
    }
}

/// `strict` requires values that a label can have.
fn check_node_term(term: &Value, strict: bool, path: &str, problems: &mut Problems) {
    for (at, asked) in as_list(&term["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        let values = as_list(&asked["values"]);
        match as_text(&asked["operator"]) {
            "Gt" | "Lt" if values.len() != 1 => {
                let words = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                problems.push(FieldError::required(format!("{path}.values"), words));
            }
            "Gt" | "Lt" => {}
            other if check_set_operator(other, values, &path, problems) => {}
            other => refuse_operator(&other.into(), &path, problems),
        }
        let key = as_text(&asked["key"]);
        push_messages(
            &format!("{path}.key"),
            &key.into(),
            qualified_name_errors(key),
            problems,
        );
        for (at, value) in values.iter().enumerate().filter(|_| strict) {
            push_messages(
                &format!("{path}.values[{at}]"),
                value,
                label_value_errors(as_text(value)),
                problems,
            );
        }
    }
    for (at, asked) in as_list(&term["matchFields"]).iter().enumerate() {
        let path = format!("{path}.matchFields[{at}]");
        let values = as_list(&asked["values"]);
        match as_text(&asked["operator"]) {
            "In" | "NotIn" if values.len() != 1 => {
                let words = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                problems.push(FieldError::required(format!("{path}.values"), words));
            }
            "In" | "NotIn" => {}
            other => refuse_operator(&other.into(), &path, problems),
        }
        let key = as_text(&asked["key"]);
        if key != "metadata.name" {
            let words = "not a valid field selector key";
            problems.push(FieldError::invalid(
                format!("{path}.key"),
                &key.into(),
                words,
            ));
            continue;
        }
        for (at, value) in values.iter().enumerate() {
            check_subdomain(value, &format!("{path}.values[{at}]"), problems);
        }
    }
}

fn check_pod_term(term: &Value, path: &str, problems: &mut Problems) {
    check_label_selector(
        &term["labelSelector"],
        &format!("{path}.labelSelector"),
        problems,
    );
    check_label_selector(
        &term["namespaceSelector"],
        &format!("{path}.namespaceSelector"),
        problems,
    );
    for name in as_list(&term["namespaces"]) {
        check_dns_label(name, &format!("{path}.namespace"), problems);
    }
    check_label_keys(term, path, problems);
    let key = as_text(&term["topologyKey"]);
    let path = format!("{path}.topologyKey");
    if key.is_empty() {
        problems.push(FieldError::required(path.clone(), "can not be empty"));
    }
    push_messages(&path, &key.into(), qualified_name_errors(key), problems);
}

/// Checks the keys of labels whose values are taken from the pod itself.
fn check_label_keys(term: &Value, path: &str, problems: &mut Problems) {
    let of = |field: &str| as_list(&term[field]);
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let path = format!("{path}.{field}");
        if !of(field).is_empty() && !term["labelSelector"].is_object() {
            let words = "must not be specified when labelSelector is not set";
            problems.push(FieldError::forbidden(path, words));
            continue;
        }
        for (at, key) in of(field).iter().enumerate() {
            push_messages(
                &format!("{path}[{at}]"),
                key,
                qualified_name_errors(as_text(key)),
                problems,
            );
        }
    }
    let both = |key: &&Value| of("mismatchLabelKeys").contains(key);
    for (at, key) in of("matchLabelKeys")
        .iter()
        .enumerate()
        .filter(|(_, key)| both(key))
    {
        let words = "exists in both matchLabelKeys and mismatchLabelKeys";
        problems.push(FieldError::invalid(
            format!("{path}.matchLabelKeys[{at}]"),
            key,
            words,
        ));
    }
}

pub(super) fn check_spread_constraints(constraints: &[Value], path: &str, problems: &mut Problems) {
    for (at, constraint) in constraints.iter().enumerate() {
        let path = format!("{path}[{at}]");
        check_positive(&constraint["maxSkew"], &format!("{path}.maxSkew"), problems);
        let key = as_text(&constraint["topologyKey"]);
        if key.is_empty() {
            problems.push(FieldError::required(
                format!("{path}.topologyKey"),
                "can not be empty",
            ));
        }
        let action = as_text(&constraint["whenUnsatisfiable"]);
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if !actions.contains(&action) {
            problems.push(FieldError::not_supported(
                format!("{path}.whenUnsatisfiable"),
                &action.into(),
                &actions,
            ));
        }
        let same = |other: &Value| {
            ["topologyKey", "whenUnsatisfiable"]
                .iter()
                .all(|f| other[*f] == constraint[*f])
        };
        if constraints[at + 1..].iter().any(same) {
            let shown = format!("{{{key}, {action}}}");
            let path = format!("{path}.{{topologyKey, whenUnsatisfiable}}");
            problems.push(FieldError::duplicate(path, &shown.into()));
        }
        let least = &constraint["minDomains"];
        if !least.is_null() {
            let path = format!("{path}.minDomains");
            check_positive(least, &path, problems);
            if action != "DoNotSchedule" {
                let words = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                );
                problems.push(FieldError::invalid(path, least, words));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            check_one_of(
                &constraint[field],
                &["Honor", "Ignore"],
                format!("{path}.{field}"),
                problems,
            );
        }
        check_label_keys(constraint, &path, problems);
        check_label_selector(
            &constraint["labelSelector"],
            &format!("{path}.labelSelector"),
            problems,
        );
    }
}

fn check_positive(value: &Value, path: &str, problems: &mut Problems) {
    let number = value.as_i64().unwrap_or(0);
    if number <= 0 {
        problems.push(FieldError::invalid(
            path,
            &number.into(),
            "must be greater than zero",
        ));
    }
}
