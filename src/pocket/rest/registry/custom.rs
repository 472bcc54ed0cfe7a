//! Resources from CustomResourceDefinitions: one for each served version.

use std::sync::Arc;

use serde_json::Value;

use crate::pocket::patch::ListKeys;
use crate::pocket::rest::schema::ValidationRules;

use super::{ALL_VERBS, Definition, Resource, ScalePaths, versions::compare_versions};

/// One version of a definition.
#[derive(Debug)]
pub struct CustomVersion {
    /// The structural schema.
    pub schema: Value,
    pub(in crate::pocket::rest) rules: ValidationRules,
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
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let texts = |v: &Value| -> Vec<String> {
        let list = v.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(text).collect()
    };
    let (group, plural, kind) = (
        text(&spec["group"]),
        text(&names["plural"]),
        text(&names["kind"]),
    );
    if group.is_empty() || plural.is_empty() || kind.is_empty() {
        return Vec::new();
    }
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let stored = versions
        .iter()
        .find(|v| v["storage"] == true)
        .map(|version| StoredVersion {
            api_version: format!("{group}/{}", text(&version["name"])),
            schema: version["schema"]["openAPIV3Schema"].clone(),
        });
    let stored = Arc::new(stored.unwrap_or_default());
    let changed = definition["metadata"]["generation"].as_i64() != Some(1);
    let served = versions.iter().filter(|v| v["served"] == true);
    served
        .map(|version| {
            let subresources = &version["subresources"];
            let scale = &subresources["scale"];
            let path = |v: &Value| text(v).trim_start_matches('.').to_owned();
            Resource {
                group: group.clone(),
                version: text(&version["name"]),
                plural: plural.clone(),
                singular: match text(&names["singular"]) {
                    s if s.is_empty() => kind.to_lowercase(),
                    s => s,
                },
                kind: kind.clone(),
                list_kind: match text(&names["listKind"]) {
                    s if s.is_empty() => format!("{kind}List"),
                    s => s,
                },
                namespaced: spec["scope"] == "Namespaced",
                short_names: texts(&names["shortNames"]),
                categories: texts(&names["categories"]),
                verbs: ALL_VERBS,
                status: subresources["status"].is_object(),
                scale: scale.is_object().then(|| ScalePaths {
                    spec: path(&scale["specReplicasPath"]),
                    status: path(&scale["statusReplicasPath"]),
                    selector: Some(path(&scale["labelSelectorPath"])).filter(|s| !s.is_empty()),
                }),
                selectable_fields: version["selectableFields"]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default()
                    .iter()
                    .map(|f| path(&f["jsonPath"]))
                    .collect(),
                storage: format!("{plural}.{group}").into(),
                lists: ListKeys::from_schema(&version["schema"]["openAPIV3Schema"])
                    .with_status_subresource(subresources["status"].is_object()),
                deprecation: deprecation_warning(&group, &kind, version, versions),
                definition: Definition::Custom(Box::new(CustomVersion {
                    stored: Arc::clone(&stored),
                    changed,
                    rules: ValidationRules::default(),
                    schema: version["schema"]["openAPIV3Schema"].clone(),
                    columns: version["additionalPrinterColumns"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default(),
                })),
            }
        })
        .collect()
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
