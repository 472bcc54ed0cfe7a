//! VariableGroup: values that several environments share (Yunxiao AppStack's 变量组).

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::app::any_map;

/// Values for the manifests of every environment that names the group. A change reaches an environment with its next
/// release, never before. Not for secrets: whoever sees the group, a release of it or its manifests sees the values.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "graylane.dev",
    version = "v1alpha1",
    kind = "VariableGroup",
    plural = "variablegroups",
    shortname = "gvg",
    namespaced
)]
#[kube(derive = "Default", derive = "PartialEq", category = "graylane")]
#[kube(printcolumn(name = "App", type_ = "string", json_path = ".spec.app"))]
#[kube(printcolumn(
    name = "Description",
    type_ = "string",
    json_path = ".spec.description"
))]
#[kube(printcolumn(
    name = "Age",
    type_ = "date",
    json_path = ".metadata.creationTimestamp"
))]
#[serde(rename_all = "camelCase")]
pub struct VariableGroupSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The only App whose environments may name it; its values win over those of the namespace's groups. None: a group
    /// of the namespace, for every App.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// `{{ .Values.x }}`; values of the environment itself win.
    #[schemars(schema_with = "any_map")]
    pub values: BTreeMap<String, Value>,
}
