//! Resources from CustomResourceDefinitions: one for each served version.

use serde_json::Value;

use crate::pocket::patch::ListKeys;
use crate::pocket::rest::schema::Rules;

use super::{ALL_VERBS, Definition, Resource, ScalePaths};

/// What a definition says of one version.
#[derive(Debug)]
pub struct CustomVersion {
    /// The structural schema.
    pub schema: Value,
    pub(in crate::pocket::rest) rules: Rules,
    /// `additionalPrinterColumns`.
    pub columns: Vec<Value>,
}

/// The resources a definition adds: none until its names are accepted.
pub fn resources(definition: &Value) -> Vec<Resource> {
    let spec = &definition["spec"];
    let names = &definition["status"]["acceptedNames"];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let texts = |v: &Value| -> Vec<String> {
        let list = v.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(text).collect()
    };
    let (group, plural, kind) = (text(&spec["group"]), text(&names["plural"]), text(&names["kind"]));
    if group.is_empty() || plural.is_empty() || kind.is_empty() {
        return Vec::new();
    }
    let versions = spec["versions"].as_array().map(Vec::as_slice);
    let served = versions.unwrap_or_default().iter().filter(|v| v["served"] == true);
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
                    .status_subresource(subresources["status"].is_object()),
                definition: Definition::Custom(Box::new(CustomVersion {
                    rules: Rules::default(),
                    schema: version["schema"]["openAPIV3Schema"].clone(),
                    columns: version["additionalPrinterColumns"].as_array().cloned().unwrap_or_default(),
                })),
            }
        })
        .collect()
}
