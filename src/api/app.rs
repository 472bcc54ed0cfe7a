//! App and AppTemplate: images, manifests and environments of one application. The workflow is in
//! `workflow`.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Amount, ClusterName, ObjectRef, RecordedTime, Stage, Uid, Workflow};

/// One application with one set of manifests (Yunxiao AppStack's 应用 and 编排).
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
    /// Location of the source code. Displayed only, never fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Named images, for example `backend`. Manifests use them as `{{ .AppStack.image.backend }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, ImageSource>,
    /// Go templates of Kubernetes objects, applied in ascending order of `priority`.
    pub manifests: Vec<Manifest>,
    /// Environments, in the order of promotion.
    pub environments: Vec<Environment>,
    /// Stages and their tasks.
    #[serde(default)]
    pub workflow: Workflow,
    /// How many finished Releases are kept, and for how long.
    #[serde(default)]
    pub history: ReleaseHistory,
}

/// Which finished Releases of an App are kept. The engine deletes the others, with their Approvals
/// and build Jobs. Always kept: running Releases, the Release that last deployed or cleaned an
/// environment, the newest Release of the App, the last successful Release of each stage and of
/// each environment, and Releases that are needed to restore a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseHistory {
    /// Number of finished Releases to keep for each stage, and of teardowns for each environment.
    /// The newest are kept (like `revisionHistoryLimit` of a Deployment).
    #[serde(default = "history_limit")]
    pub limit: u32,
    /// Seconds after which a finished Release is deleted (like the field of the same name of a
    /// Job). If unset, only `limit` applies.
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

/// Initial spec for new Apps. Later changes of the template do not affect existing Apps.
///
/// `${APP}` in any text becomes the new App's name, except in Go templates (which have
/// `.AppStack.appName`). `$${APP}` becomes a literal `${APP}`.
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
    /// Description for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Spec of a new App.
    pub app: AppSpec,
}

/// Where a named image comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageSource {
    /// Repository part of the reference, without a tag: `registry/spring-cloud-a`.
    pub repository: String,
    /// Image reference for releases that neither build nor name an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Build file, relative to the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// Build context folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// One template file, which may contain several YAML documents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// File name shown in errors: `deployment.yaml`.
    pub name: String,
    /// Manifests are applied in ascending order.
    #[serde(default)]
    pub priority: i32,
    /// Go `text/template` source.
    pub template: String,
}

/// Where and how an App runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// Name: `gray`, `prod`, …
    pub name: String,
    /// Lane tag of the pods in this environment. If unset, this is a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Kubeconfig context. If unset, the App's own cluster.
    #[serde(default, skip_serializing_if = "ClusterName::is_home")]
    pub context: ClusterName,
    /// Namespace for manifests that name none. Available as `{{ .Values.namespace }}` unless a
    /// value overrides it.
    pub namespace: String,
    /// Template values: `{{ .Values.x }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "any_map")]
    pub values: BTreeMap<String, Value>,
    /// VariableGroups with lower precedence than `values`. A group of the App wins over a group of
    /// the namespace. Among equals the later one wins, as in Kubernetes' `envFrom`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variable_groups: Vec<String>,
    /// Service account that reads and writes the deployed objects, in the namespace of each object.
    /// Default: `graylane-deployer`. The engine must be permitted to impersonate it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// How workloads are rolled out here.
    #[serde(default)]
    pub rollout: RolloutPlan,
    /// While set, no release deploys to this environment or cleans it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<EnvironmentLock>,
}

/// Who locked an environment, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentLock {
    /// Person who holds the lock.
    pub by: String,
    /// Reason shown with every refusal.
    #[serde(default)]
    pub reason: String,
}

/// Rollout in batches of one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutPlan {
    /// Number of new pods after each batch, for example `[1, "50%", "100%"]`. Empty means one
    /// batch. The last batch always covers all pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<Amount>,
    /// After which batches the rollout waits for a person.
    #[serde(default)]
    pub pause: PausePolicy,
    /// Maximum duration of a batch in seconds. Then the task fails and holds the rollout (AppStack:
    /// timeOutMS, 600 s).
    #[serde(default = "batch_timeout")]
    pub timeout_seconds: u32,
    /// Seconds between the removal of the last route to a backend and its deletion.
    #[serde(default = "drain")]
    pub drain_seconds: u32,
    /// Maximum number of pods above the replicas at any time. Default: maxSurge of the Deployment.
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

/// What the engine observed of an App.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// Status by environment name.
    #[serde(default)]
    pub environments: BTreeMap<String, EnvironmentStatus>,
    /// Environments with their states, in order. For kubectl, whose columns show one value each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
}

impl App {
    /// Environments with their states: `test:New,gray:Cleaned,prod:Running`.
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

    /// Sets the status of an environment and updates the summary.
    pub fn set_environment_status(&mut self, environment: &str, status: EnvironmentStatus) {
        self.status
            .get_or_insert_default()
            .environments
            .insert(environment.into(), status);
        let summary = self.summary();
        self.status.get_or_insert_default().summary = summary;
    }
}

/// Observed state of one environment of an App.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// Current state.
    #[serde(default)]
    pub state: EnvironmentState,
    /// Explanation when the state is `Error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Image name to reference, as last deployed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// `yyyyMMddHHmmss-NNN`, new with each deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Release that last deployed or cleaned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Objects that were applied. Clean-up deletes these and nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<InventoryItem>,
    /// Service account that deployed it, if not `graylane-deployer`. It also tears the environment
    /// down, even after the App has dropped the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Time of the last state change, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<RecordedTime>,
}

/// AppStack's NEW, DEPLOYING, RUNNING and ERROR, extended by Cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EnvironmentState {
    /// Nothing was ever deployed.
    #[default]
    New,
    /// A release is deploying or cleaning it.
    Deploying,
    /// The last deploy succeeded.
    Running,
    /// The last deploy failed; see the message.
    Error,
    /// Resources deleted, metadata kept.
    Cleaned,
}

/// One applied object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryItem {
    /// Which object.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// `metadata.uid`. An object of the same name with another UID is not ours.
    #[serde(default)]
    pub uid: Uid,
}

impl InventoryItem {
    /// An object with this uid.
    pub fn new(object: ObjectRef, uid: Uid) -> Self {
        Self { object, uid }
    }
}

pub(super) fn any_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

impl AppSpec {
    /// Environment with this name.
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|e| e.name == name)
    }

    /// Stage with this name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.workflow.stages.iter().find(|s| s.name == name)
    }

    /// Environment whose pods carry this lane tag.
    pub fn environment_of_lane(&self, tag: &str) -> Option<&Environment> {
        self.environments
            .iter()
            .find(|e| e.lane.as_deref() == Some(tag))
    }
}

impl App {
    /// Status of an environment that the App no longer has, if objects of it are left.
    pub fn left_behind(&self, environment: &str) -> Option<&EnvironmentStatus> {
        let status = self.status.as_ref()?.environments.get(environment)?;
        (self.spec.environment(environment).is_none() && !status.inventory.is_empty())
            .then_some(status)
    }
}
