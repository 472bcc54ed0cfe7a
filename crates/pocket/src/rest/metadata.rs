//! Validation of metadata, for objects of every kind.

use serde_json::Value;

use super::error::FieldError;
use super::validate::{label_value_errors, qualified_name_errors};

const MAX_ANNOTATION_BYTES: usize = 256 << 10;
const OWNERS: &str = "metadata.ownerReferences";

pub(super) fn check_metadata(object: &Value, problems: &mut Vec<FieldError>) {
    let metadata = &object["metadata"];
    check_owner_references(&metadata["ownerReferences"], problems);
    let mut each = |path: &str, value: &Value, messages: Vec<String>| {
        problems.extend(
            messages
                .into_iter()
                .map(|words| FieldError::invalid(path, value, words)),
        );
    };
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        each(
            "metadata.labels",
            &key.as_str().into(),
            qualified_name_errors(key),
        );
        each(
            "metadata.labels",
            value,
            label_value_errors(value.as_str().unwrap_or_default()),
        );
    }
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        each(
            "metadata.annotations",
            &key.as_str().into(),
            qualified_name_errors(&key.to_lowercase()),
        );
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > MAX_ANNOTATION_BYTES {
        problems.push(FieldError::too_long(
            "metadata.annotations",
            MAX_ANNOTATION_BYTES as u64,
        ));
    }
}

fn check_owner_references(owners: &Value, problems: &mut Vec<FieldError>) {
    let mut controller = None;
    for owner in owners.as_array().into_iter().flatten() {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let version = text("apiVersion").rsplit('/').next().unwrap_or_default();
        if version.is_empty() {
            let path = format!("{OWNERS}.apiVersion");
            problems.push(FieldError::invalid(
                path,
                &text("apiVersion").into(),
                "version must not be empty",
            ));
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                problems.push(FieldError::invalid(
                    format!("{OWNERS}.{field}"),
                    &"".into(),
                    "must not be empty",
                ));
            }
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            let words = "/v1, Kind=Event is disallowed from being an owner";
            problems.push(FieldError::invalid(OWNERS, owner, words));
        }
        if owner["controller"] == true {
            let this = format!("{}/{}", text("kind"), text("name"));
            if let Some(first) = &controller {
                let words = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                problems.push(FieldError::invalid(OWNERS, owners, words));
            } else {
                controller = Some(this);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_annotations_and_owners() {
        let wrong = |metadata: Value| {
            let mut problems = Vec::new();
            check_metadata(&json!({"metadata": metadata}), &mut problems);
            problems.into_iter().map(|p| p.field).collect::<Vec<_>>()
        };
        let owner = |n: i32| json!({"apiVersion": "apps/v1", "kind": "D", "name": n.to_string(), "uid": "u", "controller": true});
        assert!(
            wrong(json!({"labels": {"a/b": "x", "app": "", "A.b_c": "1.0"}, "ownerReferences": [owner(1)]})).is_empty()
        );
        assert_eq!(
            wrong(json!({"labels": {"a/b/c": "x", "k": "-x", "l": "a b"}})),
            ["metadata.labels"; 3]
        );
        assert_eq!(
            wrong(json!({"annotations": {"A/B": "x", "a b": ""}})),
            ["metadata.annotations"]
        );
        assert_eq!(
            wrong(json!({"annotations": {"a": "x".repeat(256 << 10)}})),
            ["metadata.annotations"]
        );
        assert_eq!(
            wrong(json!({"ownerReferences": [owner(1), owner(2)]})),
            ["metadata.ownerReferences"]
        );
        assert_eq!(
            wrong(json!({"ownerReferences": [{}]})),
            ["apiVersion", "kind", "name", "uid"].map(|f| format!("metadata.ownerReferences.{f}"))
        );
    }
}
