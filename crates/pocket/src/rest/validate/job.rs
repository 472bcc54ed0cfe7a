//! Jobs.

use serde_json::{Value, json};

use super::super::error::FieldError;
use super::rules::{
    IMMUTABLE, Problems, as_text, check_field_not_negative, check_one_of, push_messages,
    qualified_name_errors,
};
use super::{as_list, pod, workload};

/// Limit of an Indexed Job.
const MOST_PARALLEL: i64 = 100_000;

pub(super) fn check_job(object: &Value, old: Option<&Value>, problems: &mut Problems) {
    let spec = &object["spec"];
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        check_field_not_negative(object, &format!("spec.{field}"), problems);
    }
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        let words = "when maxFailedIndexes is specified";
        problems.push(FieldError::required("spec.backoffLimitPerIndex", words));
    }
    check_completion(spec, problems);
    check_failure_policy(spec, problems);
    if spec["successPolicy"].is_object() {
        if spec["completionMode"] != "Indexed" {
            let words = "requires indexed completion mode";
            problems.push(FieldError::invalid(
                "spec.successPolicy",
                &spec["successPolicy"],
                words,
            ));
        } else if as_list(&spec["successPolicy"]["rules"]).is_empty() {
            let words = "at least one rules must be specified when the successPolicy is specified";
            problems.push(FieldError::required("spec.successPolicy.rules", words));
        }
    }
    let known: &[&str] = if spec["podFailurePolicy"].is_object() {
        &["Failed"]
    } else {
        &["Failed", "TerminatingOrFailed"]
    };
    check_one_of(
        &spec["podReplacementPolicy"],
        known,
        "spec.podReplacementPolicy",
        problems,
    );
    check_job_template(object, old, problems);
}

fn check_completion(spec: &Value, problems: &mut Problems) {
    let mode = &spec["completionMode"];
    check_one_of(
        mode,
        &["NonIndexed", "Indexed"],
        "spec.completionMode",
        problems,
    );
    if mode == "Indexed" {
        if spec["completions"].is_null() {
            problems.push(FieldError::required(
                "spec.completions",
                "when completion mode is Indexed",
            ));
        }
        if spec["parallelism"]
            .as_i64()
            .is_some_and(|n| n > MOST_PARALLEL)
        {
            let words = format!(
                "must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed"
            );
            problems.push(FieldError::invalid(
                "spec.parallelism",
                &spec["parallelism"],
                words,
            ));
        }
        if let (Some(most), Some(all)) = (
            spec["maxFailedIndexes"].as_i64(),
            spec["completions"].as_i64(),
        ) && most > all
        {
            let words = "must be less than or equal to completions";
            problems.push(FieldError::invalid(
                "spec.maxFailedIndexes",
                &spec["maxFailedIndexes"],
                words,
            ));
        }
    } else if mode.is_null() || mode == "NonIndexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if !spec[field].is_null() {
                let words = "requires indexed completion mode";
                problems.push(FieldError::invalid(
                    format!("spec.{field}"),
                    &spec[field],
                    words,
                ));
            }
        }
    }
}

fn check_failure_policy(spec: &Value, problems: &mut Problems) {
    const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
    for (at, rule) in as_list(&spec["podFailurePolicy"]["rules"])
        .iter()
        .enumerate()
    {
        let path = format!("spec.podFailurePolicy.rules[{at}]");
        match as_text(&rule["action"]) {
            "" => {
                let words = "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]";
                problems.push(FieldError::required(format!("{path}.action"), words));
            }
            "FailIndex" if spec["backoffLimitPerIndex"].is_null() => {
                let words = "requires the backoffLimitPerIndex to be set";
                problems.push(FieldError::invalid(
                    format!("{path}.action"),
                    &rule["action"],
                    words,
                ));
            }
            _ => check_one_of(
                &rule["action"],
                &ACTIONS,
                format!("{path}.action"),
                problems,
            ),
        }
        let template = &spec["template"]["spec"];
        check_exit_codes(
            &rule["onExitCodes"],
            template,
            &format!("{path}.onExitCodes"),
            problems,
        );
        check_pod_conditions(
            as_list(&rule["onPodConditions"]),
            &format!("{path}.onPodConditions"),
            problems,
        );
        let (codes, conditions) = (
            rule["onExitCodes"].is_object(),
            !as_list(&rule["onPodConditions"]).is_empty(),
        );
        let words = match (codes, conditions) {
            (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        problems.push(FieldError::invalid_whole(path, words));
    }
}

/// Checks which exit codes of a container a rule applies to.
fn check_exit_codes(codes: &Value, template: &Value, path: &str, problems: &mut Problems) {
    if !codes.is_object() {
        return;
    }
    let operator = as_text(&codes["operator"]);
    match operator {
        "" => problems.push(FieldError::required(
            format!("{path}.operator"),
            "valid values: [\"In\" \"NotIn\"]",
        )),
        _ => check_one_of(
            &codes["operator"],
            &["In", "NotIn"],
            format!("{path}.operator"),
            problems,
        ),
    }
    let mut containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|field| as_list(&template[field]));
    let name = &codes["containerName"];
    if !name.is_null() && !containers.any(|c| c["name"] == *name) {
        let words = "must be one of the container or initContainer names in the pod template";
        problems.push(FieldError::invalid(
            format!("{path}.containerName"),
            name,
            words,
        ));
    }
    let (values, path) = (as_list(&codes["values"]), format!("{path}.values"));
    let shown = json!(values);
    if values.is_empty() {
        problems.push(FieldError::invalid(
            path.clone(),
            &shown,
            "at least one value is required",
        ));
    } else if values.len() > 255 {
        problems.push(FieldError::too_many(path.clone(), values.len(), 255));
    }
    for (at, value) in values.iter().enumerate() {
        if operator == "In" && *value == 0 {
            problems.push(FieldError::invalid(
                format!("{path}[{at}]"),
                value,
                "must not be 0 for the In operator",
            ));
        }
        if values[..at].contains(value) {
            problems.push(FieldError::duplicate(format!("{path}[{at}]"), value));
        }
    }
    if !values.is_sorted_by_key(Value::as_i64) {
        problems.push(FieldError::invalid(path, &shown, "must be ordered"));
    }
}

/// Checks which pod conditions a rule applies to.
fn check_pod_conditions(conditions: &[Value], path: &str, problems: &mut Problems) {
    const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
    if conditions.len() > 20 {
        problems.push(FieldError::too_many(path, conditions.len(), 20));
    }
    for (at, condition) in conditions.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let kind = as_text(&condition["type"]);
        push_messages(
            &format!("{path}.type"),
            &kind.into(),
            qualified_name_errors(kind),
            problems,
        );
        match as_text(&condition["status"]) {
            "" => {
                let words = "valid values: [\"False\" \"True\" \"Unknown\"]";
                problems.push(FieldError::required(format!("{path}.status"), words));
            }
            _ => check_one_of(
                &condition["status"],
                &STATUSES,
                format!("{path}.status"),
                problems,
            ),
        }
    }
}

fn check_job_template(object: &Value, old: Option<&Value>, problems: &mut Problems) {
    let spec = &object["spec"];
    let template = &spec["template"];
    pod::check_pod_template(template, "spec.template", problems);
    check_restart_policy(spec, problems);
    // The selector of most Jobs is generated after validation.
    if spec["manualSelector"] == true {
        if !spec["selector"].is_object() {
            problems.push(FieldError::required("spec.selector", ""));
            workload::push_selector_mismatch(template, problems);
        } else if !workload::matches_labels(&spec["selector"], &template["metadata"]["labels"]) {
            workload::push_selector_mismatch(template, problems);
        }
    }
    let Some(old) = old else { return };
    for field in [
        "completions",
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
    ] {
        // The number of indices may change together with the parallelism.
        let elastic = field == "completions"
            && spec["completionMode"] == "Indexed"
            && spec["completions"] == spec["parallelism"];
        if old["spec"][field] != spec[field] && !elastic {
            let shown = if spec[field].is_null() {
                json!(null)
            } else {
                spec[field].clone()
            };
            problems.push(FieldError::invalid(
                format!("spec.{field}"),
                &shown,
                IMMUTABLE,
            ));
        }
    }
    // Only the template's spec is compared, because controllers may add labels to a template.
    if old["spec"]["template"]["spec"] != template["spec"] {
        problems.push(FieldError::invalid("spec.template", template, IMMUTABLE));
    }
}

fn check_restart_policy(spec: &Value, problems: &mut Problems) {
    const POLICY: &str = "spec.template.spec.restartPolicy";
    let policy = &spec["template"]["spec"]["restartPolicy"];
    match as_text(policy) {
        "" | "Always" => {
            problems.push(FieldError::required(
                POLICY,
                "valid values: \"OnFailure\", \"Never\"",
            ));
        }
        "OnFailure" if spec["podFailurePolicy"].is_object() => {
            let words = "only \"Never\" is supported when podFailurePolicy is specified";
            problems.push(FieldError::invalid(POLICY, policy, words));
        }
        "OnFailure" | "Never" => {}
        _ => problems.push(FieldError::not_supported(
            POLICY,
            policy,
            &["OnFailure", "Never"],
        )),
    }
}
