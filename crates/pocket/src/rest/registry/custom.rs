//! Resources from CustomResourceDefinitions: one for each served version.

use std::sync::Arc;

use serde_json::Value;

use crate::patch::ListKeys;
use crate::rest::schema::ValidationRules;

use super::{ALL_VERBS, Definition, Resource, ScalePaths, versions::compare_versions};

/// One version of a definition.
#[derive(Debug)]
pub struct CustomVersion {
    /// The structural schema.
    pub schema: Value,
    pub(in crate::rest) rules: ValidationRules,
    /// The version that objects are stored in.
    pub stored: Arc<StoredVersion>,
    /// The definition was changed after its creation: stored objects may be older than its schema.
    pub changed: bool,
    /// `additionalPrinterColumns`.
    pub columns: Vec<Value>,
}

/// The one version with `storage: true`.
#[derive(Debug, Default)]
pub struct StoredVersion {
    /// `GROUP/VERSION`
    pub api_version: String,
    /// Its structural schema.
    pub schema: Value,
}

/// The resources that a definition adds: none until its names are accepted.
pub fn build_resources(definition: &Value) -> Vec<Resource> {
    let spec = &definition["spec"];
    let names = &definition["status"]["acceptedNames"];
    let (group, plural, kind) = (
        to_text(&spec["group"]),
        to_text(&names["plural"]),
        to_text(&names["kind"]),
    );
    if group.is_empty() || plural.is_empty() || kind.is_empty() {
        return Vec::new();
    }
    let versions = as_list(&spec["versions"]);
    let stored = versions
        .iter()
        .find(|v| v["storage"] == true)
        .map(|version| StoredVersion {
            api_version: format!("{group}/{}", to_text(&version["name"])),
            schema: version["schema"]["openAPIV3Schema"].clone(),
        });
    let stored = Arc::new(stored.unwrap_or_default());
    let served = versions.iter().filter(|v| v["served"] == true);
    served
        .map(|version| build_resource(definition, version, &stored))
        .collect()
}

/// The resource of one version of a definition.
fn build_resource(definition: &Value, version: &Value, stored: &Arc<StoredVersion>) -> Resource {
    let spec = &definition["spec"];
    let names = &definition["status"]["acceptedNames"];
    let (group, plural, kind) = (
        to_text(&spec["group"]),
        to_text(&names["plural"]),
        to_text(&names["kind"]),
    );
    let subresources = &version["subresources"];
    let scale = &subresources["scale"];
    let path = |v: &Value| to_text(v).trim_start_matches('.').to_owned();
    Resource {
        deprecation: deprecation_warning(&group, &kind, version, as_list(&spec["versions"])),
        storage: format!("{plural}.{group}").into(),
        group,
        version: to_text(&version["name"]),
        plural,
        singular: match to_text(&names["singular"]) {
            s if s.is_empty() => kind.to_lowercase(),
            s => s,
        },
        list_kind: match to_text(&names["listKind"]) {
            s if s.is_empty() => format!("{kind}List"),
            s => s,
        },
        namespaced: spec["scope"] == "Namespaced",
        short_names: to_texts(&names["shortNames"]),
        categories: to_texts(&names["categories"]),
        verbs: ALL_VERBS,
        status: subresources["status"].is_object(),
        scale: scale.is_object().then(|| ScalePaths {
            spec: path(&scale["specReplicasPath"]),
            status: path(&scale["statusReplicasPath"]),
            selector: Some(path(&scale["labelSelectorPath"])).filter(|s| !s.is_empty()),
        }),
        selectable_fields: as_list(&version["selectableFields"])
            .iter()
            .map(|f| path(&f["jsonPath"]))
            .collect(),
        lists: ListKeys::from_schema(&version["schema"]["openAPIV3Schema"])
            .with_status_subresource(subresources["status"].is_object()),
        kind,
        definition: Definition::Custom(Box::new(CustomVersion {
            stored: Arc::clone(stored),
            changed: definition["metadata"]["generation"].as_i64() != Some(1),
            rules: ValidationRules::default(),
            schema: version["schema"]["openAPIV3Schema"].clone(),
            columns: version["additionalPrinterColumns"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        })),
    }
}

fn to_text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn as_list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn to_texts(value: &Value) -> Vec<String> {
    as_list(value).iter().map(to_text).collect()
}

/// Kubernetes' warning for a deprecated version: the definition's own text, or which newer version
/// to use.
fn deprecation_warning(group: &str, kind: &str, version: &Value, all: &[Value]) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(own) = version["deprecationWarning"].as_str() {
        return Some(own.to_owned());
    }
    let name = |v: &Value| v["name"].as_str().unwrap_or_default().to_owned();
    let old = name(version);
    let newer = all
        .iter()
        .filter(|v| v["served"] == true && v["deprecated"] != true)
        .map(name);
    let newer = newer
        .filter(|n| compare_versions(n, &old).is_lt())
        .min_by(|a, b| compare_versions(a, b));
    let instead = newer
        .map(|n| format!("; use {group}/{n} {kind}"))
        .unwrap_or_default();
    Some(format!("{group}/{old} {kind} is deprecated{instead}"))
}
