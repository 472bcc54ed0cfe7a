//! What is specific to a kind when an object is created or changed.

use serde_json::{Value, json};

use super::addresses;
use super::error::{ApiError, FieldError, Result};
use super::meta::{self, NameRule};
use super::registry::{CRDS, Resource};
use super::{metadata, schema, validate};

impl Resource {
    pub(super) fn name_rule(&self) -> NameRule {
        match (self.group.as_str(), self.kind.as_str()) {
            ("", "Namespace" | "Service") | ("apps", "StatefulSet") => NameRule::Label,
            _ => NameRule::Subdomain,
        }
    }

    /// Whether an update may omit the resource version.
    pub(super) fn takes_unconditional_updates(&self) -> bool {
        self.as_builtin()
            .is_some_and(|b| !matches!(b.kind, "Lease" | "CustomResourceDefinition"))
    }

    /// Whether changes increase `metadata.generation`.
    pub(super) fn counts_generations(&self) -> bool {
        self.as_builtin().is_none_or(|b| b.generation)
    }
}

/// Prepares a new object for storage and validates it.
pub(super) fn prepare_create(resource: &Resource, object: &mut Value) -> Result<()> {
    if resource.status {
        meta::remove_field(object, "status");
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
            let name = meta::field_text(object, "name").to_owned();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
        }
        ("", "Pod") => {
            let quality = validate::quality_of_service(&object["spec"]);
            object["status"] = json!({"phase": "Pending", "qosClass": quality});
        }
        ("", "Service") => object["status"] = json!({"loadBalancer": {}}),
        ("apps", "ReplicaSet") => object["status"] = json!({"replicas": 0}),
        ("apps", "StatefulSet") => {
            object["status"] = json!({"replicas": 0, "availableReplicas": 0});
        }
        ("apps", "Deployment") | ("batch", _) => object["status"] = json!({}),
        _ => {}
    }
    validate_change(resource, object, None)
}

/// Adds what the server generates after field ownership is recorded.
pub(super) fn add_generated_fields(resource: &Resource, object: &mut Value) {
    if resource.is_kind("batch", "Job") {
        add_job_selector(object);
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        if labels.is_object()
            && object["metadata"]["labels"]
                .as_object()
                .is_none_or(|own| own.is_empty())
        {
            object["metadata"]["labels"] = labels;
        }
    }
}

/// Silently drops fields whose feature gate is off by default in Kubernetes; the client that sent
/// them still owns them.
pub(super) fn drop_disabled_fields(resource: &Resource, object: &mut Value) {
    if resource.is_kind("coordination.k8s.io", "Lease") {
        for field in ["strategy", "preferredHolder"] {
            object
                .get_mut("spec")
                .and_then(|spec| meta::remove_field(spec, field));
        }
    }
    if resource.is_kind("apps", "StatefulSet")
        && let Some(rolling) = object["spec"]["updateStrategy"].get_mut("rollingUpdate")
    {
        meta::remove_field(rolling, "maxUnavailable");
    }
}

/// Ties a Job to its pods by its uid.
fn add_job_selector(object: &mut Value) {
    let (name, uid) = (
        meta::field_text(object, "name").to_owned(),
        meta::field_text(object, "uid").to_owned(),
    );
    let spec = &mut object["spec"];
    if spec["manualSelector"] == true
        || !spec["selector"].is_null()
        || !spec["template"].is_object()
    {
        return;
    }
    spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    for (key, value) in [("job-name", name), ("controller-uid", uid)] {
        let labels = &mut spec["template"]["metadata"]["labels"];
        labels[key] = value.as_str().into();
        labels[format!("batch.kubernetes.io/{key}")] = value.into();
    }
}

/// Prepares a change and validates it; `subresource` says which part of the object the client may
/// change.
pub(super) fn prepare_update(
    resource: &Resource,
    old: &Value,
    object: &mut Value,
    subresource: Option<&str>,
) -> Result<()> {
    match subresource {
        Some("status") => {
            let status = meta::remove_field(object, "status");
            let fields = object["metadata"]["managedFields"].take();
            *object = old.clone();
            meta::remove_field(object, "status");
            if let Some(status) = status {
                object["status"] = status;
            }
            if !fields.is_null() {
                object["metadata"]["managedFields"] = fields;
            }
        }
        Some("finalize") => {
            let finalizers = object["spec"]["finalizers"].take();
            *object = old.clone();
            object["spec"]["finalizers"] = finalizers;
        }
        _ => {
            if resource.status {
                meta::remove_field(object, "status");
                if let Some(status) = old.get("status") {
                    object["status"] = status.clone();
                }
            }
            if resource.is_kind("", "Namespace") {
                object["spec"] = old["spec"].clone();
            }
            if resource.is_kind("", "Service") {
                addresses::keep_allocated_fields(resource, old, object)?;
            }
        }
    }
    validate_change(resource, object, Some(old))
}

fn validate_change(resource: &Resource, object: &mut Value, old: Option<&Value>) -> Result<()> {
    let mut problems: Vec<FieldError> = Vec::new();
    metadata::check_metadata(object, &mut problems);
    if old.is_none() {
        problems.extend(check_finalizers(object));
    }
    if &*resource.storage == CRDS {
        accept_definition(object);
    }
    // The status, which only controllers and the kubelet write, is not validated again.
    if resource.as_builtin().is_some()
        && old.is_none_or(|old| old["spec"] != object["spec"] || old["spec"].is_null())
    {
        problems.extend(validate::check_object(resource, object, old));
    }
    if let Some(custom) = resource.as_custom() {
        problems.extend(schema::validate_object(&custom.schema, object));
        // Rules may rely on the types being right.
        if !problems.iter().any(FieldError::blocks_rules) {
            problems.extend(custom.rules.check_object(&custom.schema, object, old));
        } else if schema::has_rules(&custom.schema) {
            let words = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            problems.push(FieldError::invalid("<nil>", &Value::Null, words));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let name = meta::field_text(object, "name");
    Err(ApiError::invalid(
        &resource.group,
        &resource.kind,
        name,
        &problems,
    ))
}

fn check_finalizers(object: &Value) -> Vec<FieldError> {
    let mut problems = Vec::new();
    for (at, name) in meta::list_finalizers(object).into_iter().enumerate() {
        let value = Value::from(name.as_str());
        let wrong = validate::qualified_name_errors(&name);
        problems.extend(
            wrong
                .into_iter()
                .map(|words| FieldError::invalid("metadata.finalizers", &value, words)),
        );
        let standard = matches!(
            name.as_str(),
            "kubernetes" | "orphan" | "foregroundDeletion"
        );
        if !name.contains('/') && !standard {
            let words = "name is neither a standard finalizer name nor is it fully qualified";
            problems.push(FieldError::invalid(
                format!("metadata.finalizers[{at}]"),
                &value,
                words,
            ));
        }
    }
    problems
}

/// Accepts the names of a definition and establishes it in the same write.
pub(super) fn accept_definition(object: &mut Value) {
    let now = meta::timestamp_now();
    let names = object["spec"]["names"].clone();
    let stored = object["spec"]["versions"]
        .as_array()
        .and_then(|vs| vs.iter().find(|v| v["storage"] == true))
        .map(|v| v["name"].clone());
    let since = object["status"]["conditions"][0]["lastTransitionTime"]
        .as_str()
        .unwrap_or(&now)
        .to_owned();
    object["status"]["conditions"] = json!([
        {"type": "NamesAccepted", "status": "True", "lastTransitionTime": since,
         "reason": "NoConflicts", "message": "no conflicts found"},
        {"type": "Established", "status": "True", "lastTransitionTime": since,
         "reason": "InitialNamesAccepted", "message": "the initial names have been accepted"},
    ]);
    object["status"]["acceptedNames"] = names;
    let mut versions = meta::to_string_list(&object["status"]["storedVersions"]);
    if let Some(stored) = stored.as_ref().and_then(Value::as_str)
        && !versions.iter().any(|v| v == stored)
    {
        versions.push(stored.to_owned());
    }
    object["status"]["storedVersions"] = json!(versions);
}
