//! CustomResourceDefinitions.

use serde_json::Value;

use super::super::{error::FieldError, schema};
use super::as_list;

pub(super) fn check_definition(object: &Value, problems: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    check_definition_names(object, problems);
    if !matches!(spec["scope"].as_str(), Some("Namespaced" | "Cluster")) {
        problems.push(FieldError::not_supported(
            "spec.scope",
            &spec["scope"],
            &["Cluster", "Namespaced"],
        ));
    }
    if spec["conversion"]["strategy"] == "Webhook" {
        let words = "pocket does not serve conversion webhooks";
        problems.push(FieldError::forbidden("spec.conversion.strategy", words));
    }
    let versions = as_list(&spec["versions"]);
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        let words = "must have exactly one version marked as storage version";
        problems.push(FieldError::invalid(
            "spec.versions",
            &spec["versions"],
            words,
        ));
    }
    check_schemas(versions, problems);
}

fn check_definition_names(object: &Value, problems: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    for (field, value) in [("spec.group", &group), ("spec.names.plural", &plural)] {
        if value.is_empty() {
            problems.push(FieldError::required(field, ""));
        }
    }
    if text(&spec["names"]["kind"]).is_empty() {
        problems.push(FieldError::required("spec.names.kind", ""));
    }
    let name = &object["metadata"]["name"];
    if text(name) != format!("{plural}.{group}") {
        problems.push(FieldError::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
}

fn check_schemas(versions: &[Value], problems: &mut Vec<FieldError>) {
    let schemas: Vec<&Value> = versions
        .iter()
        .map(|v| &v["schema"]["openAPIV3Schema"])
        .collect();
    // The path in Kubernetes' internal type, where versions with equal schemas share one.
    let agree = schemas.windows(2).all(|two| two[0] == two[1]);
    for (at, schema) in schemas
        .into_iter()
        .enumerate()
        .take(if agree { 1 } else { usize::MAX })
    {
        let path = if agree {
            "spec.validation.openAPIV3Schema".to_owned()
        } else {
            format!("spec.versions[{at}].schema.openAPIV3Schema")
        };
        if !schema.is_object() {
            problems.push(FieldError::required(path, "schemas are required"));
        } else if schema["type"] != "object" {
            let words = "must be object at the root";
            problems.push(FieldError::invalid(
                format!("{path}.type"),
                &schema["type"],
                words,
            ));
        } else {
            schema::check_rules(schema, &path, problems);
        }
    }
}
