//! VariableGroup: values shared by several environments (Yunxiao AppStack's 变量组).

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::app::any_map;

/// Values for the manifests of every environment that names the group. A change takes effect with
/// the next release of an environment, never before. Not for secrets: the values are visible to
/// everybody who can read the group, a release of it or its manifests.
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
    /// Description for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The only App whose environments may name the group. Its values win over those of the
    /// namespace's groups. If unset, the group belongs to the namespace and is for every App.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Template values: `{{ .Values.x }}`. Values of the environment itself win.
    #[schemars(schema_with = "any_map")]
    pub values: BTreeMap<String, Value>,
}
