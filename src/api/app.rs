//! App and AppTemplate: images, manifests, environments of one application. Its workflow is in `workflow`.

use std::collections::BTreeMap;

use kube::{
    CustomResource,
    core::{ApiResource, GroupVersionKind},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Amount, Stage, Workflow};

/// What is to be known of one application: one App, one set of manifests (Yunxiao AppStack's 应用 and 编排).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "graylane.dev",
    version = "v1alpha1",
    kind = "App",
    plural = "apps",
    shortname = "gapp",
    namespaced
)]
#[kube(
    status = "AppStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "graylane"
)]
#[kube(printcolumn(name = "Environments", type_ = "string", json_path = ".status.summary"))]
#[kube(printcolumn(
    name = "Age",
    type_ = "date",
    json_path = ".metadata.creationTimestamp"
))]
#[serde(rename_all = "camelCase")]
pub struct AppSpec {
    /// Where the source lives; shown, not fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Named images, e.g. `backend`, as manifests ask for them: `{{ .AppStack.image.backend }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, ImageSource>,
    /// Go templates of Kubernetes objects; `priority` low to high is the order of applying.
    pub manifests: Vec<Manifest>,
    /// The environments, in the order of promotion.
    pub environments: Vec<Environment>,
    /// Stages and their tasks.
    #[serde(default)]
    pub workflow: Workflow,
    /// How many of its finished Releases are kept, and for how long.
    #[serde(default)]
    pub history: ReleaseHistory,
}

/// Which finished Releases of an App the engine keeps; the others it deletes, with their Approvals and build Jobs. Kept
/// whatever stands here: those that still run, what an environment was last deployed or cleaned by, the newest one of
/// the App, the last one of each stage and of each environment that succeeded, and what is still needed to bring a
/// workload back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseHistory {
    /// So many finished Releases of each stage, and of the teardowns of each environment, the newest ones (as a
    /// Deployment's `revisionHistoryLimit`).
    #[serde(default = "history_limit")]
    pub limit: u32,
    /// Finished so many seconds ago they go too (as a Job's field of this name); none: only by their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<u32>,
}

impl Default for ReleaseHistory {
    fn default() -> Self {
        Self {
            limit: history_limit(),
            ttl_seconds_after_finished: None,
        }
    }
}

const fn history_limit() -> u32 {
    20
}

/// An App's spec to start from. It initialises only: a later change touches no App.
///
/// `${APP}` in any text of it, except in the Go templates (which have `.AppStack.appName`), becomes the new App's name;
/// `$${APP}` stays `${APP}`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "graylane.dev",
    version = "v1alpha1",
    kind = "AppTemplate",
    plural = "apptemplates",
    shortname = "gat",
    namespaced
)]
#[kube(derive = "Default", derive = "PartialEq", category = "graylane")]
#[serde(rename_all = "camelCase")]
pub struct AppTemplateSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What a new App gets.
    pub app: AppSpec,
}

/// How a named image comes to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageSource {
    /// Repository part of the reference, without a tag: `registry/spring-cloud-a`.
    pub repository: String,
    /// The reference that a release takes when it neither builds nor names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The build file, relative to the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The folder that is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// One template file; it may hold several YAML documents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Shown in errors: `deployment.yaml`.
    pub name: String,
    /// Low is applied first.
    #[serde(default)]
    pub priority: i32,
    /// Go `text/template`.
    pub template: String,
}

/// Where and how an App runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// `gray`, `prod`, …
    pub name: String,
    /// Lane tag of what runs here; none is baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Kube context; none is the App's own cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace of manifests that name none; `{{ .Values.namespace }}` unless a value overrides it.
    pub namespace: String,
    /// `{{ .Values.x }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "any_map")]
    pub values: BTreeMap<String, Value>,
    /// VariableGroups whose values stand under its own. An App's group wins over one of the namespace; among equals the
    /// later one wins, as in Kubernetes' `envFrom`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variable_groups: Vec<String>,
    /// The service account that reads and writes what is deployed here, in the namespace of each object; none is
    /// `graylane-deployer`. The engine must be permitted to impersonate it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// How a Deployment here gets its new version.
    #[serde(default)]
    pub rollout: RolloutPlan,
    /// While set, no release deploys here or cleans it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<EnvironmentLock>,
}

/// Who holds an environment, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentLock {
    /// The person.
    pub by: String,
    /// Shown to whoever is refused.
    #[serde(default)]
    pub reason: String,
}

/// Batches of one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutPlan {
    /// New pods after each batch, e.g. `[1, "50%", "100%"]`; empty is one batch. The last is always taken as all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<Amount>,
    /// Which batches wait for a person before the next one.
    #[serde(default)]
    pub pause: PausePolicy,
    /// Most seconds a batch may take; then the task fails and holds (AppStack: timeOutMS, 600 s).
    #[serde(default = "batch_timeout")]
    pub timeout_seconds: u32,
    /// Seconds between the last route to a backend and its deletion.
    #[serde(default = "drain")]
    pub drain_seconds: u32,
    /// Most pods above the replicas at any time; none takes the Deployment's own maxSurge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<Amount>,
}

impl Default for RolloutPlan {
    fn default() -> Self {
        Self {
            batches: vec![],
            pause: PausePolicy::First,
            timeout_seconds: batch_timeout(),
            drain_seconds: drain(),
            max_surge: None,
        }
    }
}

const fn batch_timeout() -> u32 {
    600
}

const fn drain() -> u32 {
    3
}

/// After which batches a rollout waits (AppStack: ConfirmFirstBatch, Manual, Auto).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PausePolicy {
    /// After the first batch.
    #[default]
    First,
    /// After each batch but the last.
    Every,
    /// Never.
    Never,
}

/// What the engine saw of an App.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// By environment name.
    #[serde(default)]
    pub environments: BTreeMap<String, EnvironmentStatus>,
    /// The environments in their order with their states, for kubectl: its columns show one value each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
}

impl App {
    /// `test:New,gray:Cleaned,prod:Running`.
    pub fn summary(&self) -> String {
        let known = self.status.as_ref().map(|s| &s.environments);
        let told = self.spec.environments.iter().map(|e| {
            let state = known
                .and_then(|s| s.get(&e.name))
                .map(|s| s.state)
                .unwrap_or_default();
            format!("{}:{state:?}", e.name)
        });
        told.collect::<Vec<_>>().join(",")
    }

    /// Writes what is seen of an environment into the status.
    pub fn note(&mut self, environment: &str, status: EnvironmentStatus) {
        self.status
            .get_or_insert_default()
            .environments
            .insert(environment.into(), status);
        let summary = self.summary();
        self.status.get_or_insert_default().summary = summary;
    }
}

/// One environment of one App.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// Where it stands.
    #[serde(default)]
    pub state: EnvironmentState,
    /// In words, when `Error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Image name to reference, as last deployed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// `yyyyMMddHHmmss-NNN`, a new one with each deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The Release that last deployed or cleaned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Exactly what was applied; clean-up deletes this and nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<InventoryItem>,
    /// The service account that it was deployed by, when that was not `graylane-deployer`: who takes it down, also
    /// when the App no longer has the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// When the state last changed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<String>,
}

/// AppStack's NEW, DEPLOYING, RUNNING, ERROR, and what it lacks: cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EnvironmentState {
    /// Nothing was ever deployed.
    #[default]
    New,
    /// A release is at work here.
    Deploying,
    /// The last deploy succeeded.
    Running,
    /// The last deploy failed; the message says how.
    Error,
    /// Resources gone, metadata kept.
    Cleaned,
}

/// One applied object.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct InventoryItem {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Empty for cluster-scoped kinds; of another context `CONTEXT/NAMESPACE`.
    #[serde(default)]
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`: a namesake made by somebody else is not ours.
    #[serde(default)]
    pub uid: String,
}

impl InventoryItem {
    /// Its kind, as the API server's paths name it.
    pub fn resource(&self) -> ApiResource {
        let (group, version) = self
            .api_version
            .split_once('/')
            .unwrap_or(("", &self.api_version));
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &self.kind))
    }
}

pub(super) fn any_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

impl AppSpec {
    /// The environment of that name.
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|e| e.name == name)
    }

    /// The stage of that name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.workflow.stages.iter().find(|s| s.name == name)
    }

    /// The environment whose pods carry this lane tag.
    pub fn environment_of_lane(&self, tag: &str) -> Option<&Environment> {
        self.environments
            .iter()
            .find(|e| e.lane.as_deref() == Some(tag))
    }
}

impl App {
    /// What stands of an environment that the App no longer has, by its status.
    pub fn left_behind(&self, environment: &str) -> Option<&EnvironmentStatus> {
        let status = self.status.as_ref()?.environments.get(environment)?;
        (self.spec.environment(environment).is_none() && !status.inventory.is_empty())
            .then_some(status)
    }
}
