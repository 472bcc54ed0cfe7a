//! StatefulSets and their ControllerRevisions.

use serde_json::{Value, json};

use super::super::error::FieldError;
use super::super::meta::{NameRule, check_name};
use super::rules::{IMMUTABLE, check_field_not_negative};
use super::workload;

/// The mutable fields of a spec, in the order in which the refusal names them.
const MUTABLE_FIELDS: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const RETENTION: &str = "spec.persistentVolumeClaimRetentionPolicy";

pub(super) fn check_stateful_set(
    object: &Value,
    old: Option<&Value>,
    problems: &mut Vec<FieldError>,
) {
    let spec = &object["spec"];
    let policy = &spec["podManagementPolicy"];
    if *policy != "OrderedReady" && *policy != "Parallel" {
        let words = "must be 'OrderedReady' or 'Parallel'";
        problems.push(FieldError::invalid(
            "spec.podManagementPolicy",
            policy,
            words,
        ));
    }
    check_update_strategy(object, problems);
    for field in ["whenDeleted", "whenScaled"] {
        let policy = &spec["persistentVolumeClaimRetentionPolicy"][field];
        if *policy != "Retain" && *policy != "Delete" {
            problems.push(FieldError::not_supported(
                format!("{RETENTION}.{field}"),
                policy,
                &["Retain", "Delete"],
            ));
        }
    }
    for field in [
        "spec.replicas",
        "spec.minReadySeconds",
        "spec.ordinals.start",
    ] {
        check_field_not_negative(object, field, problems);
    }
    let service = spec["serviceName"].as_str().unwrap_or_default();
    if !service.is_empty() && old.is_none() {
        problems.extend(check_name("spec.serviceName", service, NameRule::Label));
    }
    workload::check_workload_template(object, "statefulset", problems);
    match old {
        None if !super::as_list(&spec["volumeClaimTemplates"]).is_empty() => {
            let words = "pocket serves no PersistentVolumeClaims: use a volume of the pod template";
            problems.push(FieldError::forbidden("spec.volumeClaimTemplates", words));
        }
        Some(old) if immutable_fields(&old["spec"]) != immutable_fields(spec) => {
            let (last, rest) = MUTABLE_FIELDS.split_last().expect("there are some");
            let words = format!(
                "updates to statefulset spec for fields other than '{}' and '{last}' are forbidden",
                rest.join("', '")
            );
            problems.push(FieldError::forbidden("spec", words));
        }
        _ => {}
    }
}

fn check_update_strategy(object: &Value, problems: &mut Vec<FieldError>) {
    const PATH: &str = "spec.updateStrategy";
    let strategy = &object["spec"]["updateStrategy"];
    // Kubernetes shows its internal form.
    let rolling = match &strategy["rollingUpdate"] {
        Value::Null => Value::Null,
        rolling => {
            json!({"Partition": rolling["partition"].as_i64().unwrap_or(0), "MaxUnavailable": null})
        }
    };
    match strategy["type"].as_str() {
        Some("RollingUpdate") => check_field_not_negative(
            object,
            "spec.updateStrategy.rollingUpdate.partition",
            problems,
        ),
        Some("OnDelete") if rolling.is_null() => {}
        Some("OnDelete") => {
            let words = "only allowed for updateStrategy 'RollingUpdate'";
            problems.push(FieldError::invalid(
                format!("{PATH}.rollingUpdate"),
                &rolling,
                words,
            ));
        }
        _ => {
            let shown = json!({"Type": strategy["type"], "RollingUpdate": rolling});
            problems.push(FieldError::invalid(
                PATH,
                &shown,
                "must be 'RollingUpdate' or 'OnDelete'",
            ));
        }
    }
}

/// The immutable part of a spec.
fn immutable_fields(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(map) = spec.as_object_mut() {
        map.retain(|field, _| !MUTABLE_FIELDS.contains(&field.as_str()));
    }
    spec
}

pub(super) fn check_revision(object: &Value, old: Option<&Value>, problems: &mut Vec<FieldError>) {
    check_field_not_negative(object, "revision", problems);
    if object["data"].is_null() {
        problems.push(FieldError::required("data", "data is mandatory"));
    }
    if old.is_some_and(|old| old["data"] != object["data"]) {
        let mut shown = object["data"].clone();
        shown.sort_all_objects();
        problems.push(FieldError::invalid("data", &shown, IMMUTABLE));
    }
}
