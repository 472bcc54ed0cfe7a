//! Deployments and ReplicaSets, and what all workloads have: a selector, and a template that it
//! must match.

use serde_json::Value;

use super::super::error::FieldError;
use super::pod;
use super::rules::{IMMUTABLE, NOT_NEGATIVE, check_field_not_negative, check_label_selector};

pub(super) fn check_deployment(
    object: &Value,
    old: Option<&Value>,
    problems: &mut Vec<FieldError>,
) {
    check_replicated(object, old, "deployment", problems);
    let spec = &object["spec"];
    for field in ["spec.revisionHistoryLimit", "spec.progressDeadlineSeconds"] {
        check_field_not_negative(object, field, problems);
    }
    let deadline = &spec["progressDeadlineSeconds"];
    if deadline
        .as_i64()
        .is_some_and(|d| d <= spec["minReadySeconds"].as_i64().unwrap_or(0))
    {
        let words = "must be greater than minReadySeconds";
        problems.push(FieldError::invalid(
            "spec.progressDeadlineSeconds",
            deadline,
            words,
        ));
    }
    let strategy = &spec["strategy"];
    match strategy["type"].as_str() {
        Some("Recreate") if !strategy["rollingUpdate"].is_null() => {
            let words = "may not be specified when strategy `type` is 'Recreate'";
            problems.push(FieldError::forbidden("spec.strategy.rollingUpdate", words));
        }
        Some("RollingUpdate") => check_rolling_update(&strategy["rollingUpdate"], problems),
        Some("Recreate") => {}
        _ => {
            let known = ["Recreate", "RollingUpdate"];
            // Kubernetes shows its internal form.
            let shown = serde_json::json!({"Type": strategy["type"], "RollingUpdate": strategy["rollingUpdate"]});
            problems.push(FieldError::not_supported("spec.strategy", &shown, &known));
        }
    }
}

fn check_rolling_update(rolling: &Value, problems: &mut Vec<FieldError>) {
    const PATH: &str = "spec.strategy.rollingUpdate";
    let mut amount = |field: &str| -> i64 {
        let value = &rolling[field];
        let path = format!("{PATH}.{field}");
        match (value.as_i64(), value.as_str()) {
            (Some(n), _) => {
                if n < 0 {
                    problems.push(FieldError::invalid(path, value, NOT_NEGATIVE));
                }
                n
            }
            (None, Some(text)) => {
                if let Some(percent) = text.strip_suffix('%').and_then(|n| n.parse::<u32>().ok()) {
                    if percent > 100 && field == "maxUnavailable" {
                        problems.push(FieldError::invalid(
                            path,
                            value,
                            "must not be greater than 100%",
                        ));
                    }
                    percent.into()
                } else {
                    let words = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                    problems.push(FieldError::invalid(path, value, words));
                    1
                }
            }
            _ => 1,
        }
    };
    let (unavailable, surge) = (amount("maxUnavailable"), amount("maxSurge"));
    if unavailable == 0 && surge == 0 {
        let words = "may not be 0 when `maxSurge` is 0";
        let path = format!("{PATH}.maxUnavailable");
        problems.push(FieldError::invalid(path, &rolling["maxUnavailable"], words));
    }
}

pub(super) fn check_replica_set(
    object: &Value,
    old: Option<&Value>,
    problems: &mut Vec<FieldError>,
) {
    check_replicated(object, old, "replicaset", problems);
}

fn check_replicated(
    object: &Value,
    old: Option<&Value>,
    kind: &str,
    problems: &mut Vec<FieldError>,
) {
    check_field_not_negative(object, "spec.replicas", problems);
    check_field_not_negative(object, "spec.minReadySeconds", problems);
    check_workload_template(object, kind, problems);
    let selector = &object["spec"]["selector"];
    if old.is_some_and(|old| old["spec"]["selector"] != *selector) {
        problems.push(FieldError::invalid("spec.selector", selector, IMMUTABLE));
    }
}

/// Checks the selector, and the template that it must match.
pub(super) fn check_workload_template(object: &Value, kind: &str, problems: &mut Vec<FieldError>) {
    let (selector, template) = (&object["spec"]["selector"], &object["spec"]["template"]);
    let is_empty = |field: &str| match &selector[field] {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    };
    if selector.is_null() {
        problems.push(FieldError::required("spec.selector", ""));
        push_selector_mismatch(template, problems);
    } else if is_empty("matchLabels") && is_empty("matchExpressions") {
        let words = format!("empty selector is invalid for {kind}");
        problems.push(FieldError::invalid("spec.selector", selector, words));
    } else {
        let before = problems.len();
        check_label_selector(selector, "spec.selector", problems);
        if problems.len() > before {
            problems.push(FieldError::invalid(
                "spec.selector",
                selector,
                "invalid label selector",
            ));
        } else if !matches_labels(selector, &template["metadata"]["labels"]) {
            push_selector_mismatch(template, problems);
        }
    }
    pod::check_pod_template(template, "spec.template", problems);
    let policy = &template["spec"]["restartPolicy"];
    if policy.as_str().is_some_and(|p| p != "Always") {
        problems.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        ));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        // Kubernetes says ReplicaSet for a Deployment too.
        let kind = if kind == "statefulset" {
            "StatefulSet"
        } else {
            "ReplicaSet"
        };
        let words = format!("activeDeadlineSeconds in {kind} is not Supported");
        problems.push(FieldError::forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            words,
        ));
    }
}

pub(super) fn push_selector_mismatch(template: &Value, problems: &mut Vec<FieldError>) {
    let words = "`selector` does not match template `labels`";
    problems.push(FieldError::invalid(
        "spec.template.metadata.labels",
        &template["metadata"]["labels"],
        words,
    ));
}

/// Whether a label selector matches labels.
pub(super) fn matches_labels(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .all(|(k, v)| labels.get(k) == Some(v));
    equal
        && super::as_list(&selector["matchExpressions"])
            .iter()
            .all(|e| {
                let value = e["key"].as_str().and_then(|key| labels.get(key));
                let listed = value.is_some_and(|v| super::as_list(&e["values"]).contains(v));
                match e["operator"].as_str() {
                    Some("In") => listed,
                    Some("NotIn") => !listed,
                    Some("Exists") => value.is_some(),
                    Some("DoesNotExist") => value.is_none(),
                    _ => false,
                }
            })
}
