//! Release: one run of one stage of an App.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CleanUpTask, InventoryItem, ProbeSpec, RecordedTime, Served, TaskKind, app::any_map};

/// One run of one stage of an App, or one teardown of an environment.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "graylane.dev",
    version = "v1alpha1",
    kind = "Release",
    plural = "releases",
    shortname = "grel",
    namespaced
)]
#[kube(
    status = "ReleaseStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "graylane"
)]
#[kube(printcolumn(name = "App", type_ = "string", json_path = ".spec.app"))]
#[kube(printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage"))]
#[kube(printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"))]
#[kube(printcolumn(name = "Task", type_ = "string", json_path = ".status.task"))]
#[kube(printcolumn(
    name = "Age",
    type_ = "date",
    json_path = ".metadata.creationTimestamp"
))]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSpec {
    /// Name of the App, in the same namespace.
    pub app: String,
    /// Stage of the workflow to run. Empty for a teardown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// Clean-up to run instead of a stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teardown: Option<CleanUpTask>,
    /// Existing images to deploy. An image named here is not built.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Reason, for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Person who started the release.
    #[serde(default)]
    pub requester: String,
    /// Window. Releases of one window open their lane together, once all of them have ready gray
    /// pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// What people asked for. The engine never writes here.
    #[serde(default)]
    pub control: Control,
}

/// Maximum number of retries of one task. Larger values are treated as this one.
pub const MAX_RETRIES: u32 = 10_000;

/// What people asked for. Every field is a level, not an event, so repeating a request has no
/// effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// Hold the release: no new step; running batches keep their pods.
    #[serde(default)]
    pub paused: bool,
    /// Roll back and end the release.
    #[serde(default)]
    pub abort: bool,
    /// Task name to what may proceed: for a deploy the number of the last batch that may start, for
    /// a proceed task 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allow: BTreeMap<String, u32>,
    /// Task name to the number of requested retries. The task's attempt follows it (attempt =
    /// retries + 1) and never decreases.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retry: BTreeMap<String, u32>,
    /// Task name to the attempt that may take over fields from other field managers when an apply
    /// conflicts. Nothing else is ever forced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub take_over: BTreeMap<String, u32>,
    /// Failed or waiting tasks to skip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// Last request and who made it, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Wish>,
}

impl Control {
    /// How far people have let a task go: for a deploy the last batch, for a proceed task 1.
    pub fn allowed_level(&self, task: &str) -> u32 {
        self.allow.get(task).copied().unwrap_or(0)
    }
}

/// One request of a person, for the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    /// Person who made the request.
    pub by: String,
    /// `pause`, `let batch 2 of deploy-prod through`, …
    pub action: String,
    /// Time, RFC 3339.
    pub at: RecordedTime,
    /// Reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What the engine observed and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// State of the whole release.
    #[serde(default)]
    pub phase: ReleasePhase,
    /// Task that is running or waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Explanation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Start, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<RecordedTime>,
    /// End, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<RecordedTime>,
    /// Image name to reference: given, or built by this release.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Image name to digest. Approvals are bound to these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, String>,
    /// Frozen revision of the App: the name of a ControllerRevision. The release uses it from
    /// beginning to end, whatever happens to the App meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Environment to the values of its variable groups when the release began. The release deploys
    /// these, whatever happens to the groups meanwhile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "map_of_maps")]
    pub variables: BTreeMap<String, BTreeMap<String, Value>>,
    /// Tasks as they were when the release began, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskStatus>,
    /// Last request that was written to the history. The history may have dropped it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Wish>,
    /// What happened, oldest first. The length is bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
}

fn map_of_maps(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": any_map(generator) })
}

/// State of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReleasePhase {
    /// Not processed yet.
    #[default]
    Pending,
    /// In progress.
    Running,
    /// Waits for a person.
    Waiting,
    /// Paused by a person.
    Paused,
    /// Rolling back.
    Aborting,
    /// All tasks are done.
    Succeeded,
    /// A task failed: retry, skip or abort.
    Failed,
    /// Rolled back and ended.
    Aborted,
}

impl ReleasePhase {
    /// Whether the release is over.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Aborted)
    }
}

/// One task of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// Name in the workflow.
    pub name: String,
    /// `build`, `approval`, `deploy`, `verify`, `proceed`, `cleanUp`.
    #[schemars(with = "String")]
    pub kind: TaskKind,
    /// Environment that it deploys to or cleans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Current state.
    #[serde(default)]
    pub phase: TaskPhase,
    /// Number of the attempt, from 1; follows `control.retry`.
    #[serde(default)]
    pub attempt: u32,
    /// What it waits for, or what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Start of this attempt, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<RecordedTime>,
    /// End of this attempt, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<RecordedTime>,
    /// For a deploy: the plan, one entry for each batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<BatchStatus>,
    /// For a deploy: the workloads being rolled out, with the data needed to release their latch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<RolloutRecord>,
    /// For a deploy: previous images, name to reference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub old_images: BTreeMap<String, String>,
    /// For a deploy: new images, name to reference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub new_images: BTreeMap<String, String>,
    /// For a deploy: previous version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_version: Option<String>,
    /// For a deploy: new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_version: Option<String>,
    /// For a build: name of the Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// For an approval: `sha256:…` of the objects that would be applied. An Approval names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// For a verify: results of the last probes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeResult>,
    /// For a clean-up: when the routes were gone, RFC 3339. The drain time counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_since: Option<RecordedTime>,
}

/// One workload that a deploy rolls out. It repeats the workload's annotation, which other field
/// managers might remove. Written before the workload is changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecord {
    /// Workload, with its UID.
    pub workload: InventoryItem,
    /// Attempt of the task that rolls it out.
    pub attempt: u32,
    /// Known progress of the rollout.
    #[serde(default)]
    pub state: RolloutState,
    /// Value of the annotation `graylane.dev/latch`, including the user's own settings and
    /// template. Empty if nothing was known of the workload any more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub latch: String,
}

/// Known progress of the rollout of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// The first patch is decided, but has not been observed on the workload yet.
    #[default]
    Begins,
    /// The rollout has been observed on the workload.
    Begun,
    /// A new attempt takes the workload over, after somebody else changed it.
    Takes,
    /// The workload was deleted and is created again with its old version.
    Restores,
    /// The workload was deleted before the rollout began. Its old version is not known.
    Gone,
}

/// State of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaskPhase {
    /// Not started yet.
    #[default]
    Pending,
    /// In progress.
    Running,
    /// Waits for a person.
    Waiting,
    /// Paused by a person.
    Paused,
    /// Finished.
    Succeeded,
    /// Failed; see the message.
    Failed,
    /// Skipped on request.
    Skipped,
    /// Rolled back, or never started because the release was aborted.
    Aborted,
}

impl TaskPhase {
    /// Whether the next task may begin.
    pub const fn is_passed(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped)
    }

    /// Whether the attempt is over, well or not.
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Skipped | Self::Aborted
        )
    }
}

/// One batch of a deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchStatus {
    /// Number of the batch, from 1.
    pub number: u32,
    /// Number of new pods when the batch is done.
    pub target: u32,
    /// Current state.
    #[serde(default)]
    pub phase: BatchPhase,
    /// Start, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<RecordedTime>,
    /// End, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<RecordedTime>,
}

/// State of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BatchPhase {
    /// Not started, or waiting for a person to let it proceed.
    #[default]
    Pending,
    /// New pods are starting.
    Surging,
    /// Old pods are being removed.
    Retiring,
    /// The exact number of pods is reached, and the latch holds it.
    Done,
}

/// Result of one probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeResult {
    /// Request that was sent.
    pub probe: ProbeSpec,
    /// HTTP status; 0 if there was no response.
    pub status: u16,
    /// Side that answered, for each app.
    #[serde(default)]
    pub chain: Vec<ProbeHop>,
    /// Whether the result was as expected.
    pub passed: bool,
    /// What was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One app of a probe's chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeHop {
    /// Name of the App.
    pub app: String,
    /// Side that answered.
    pub served: Served,
}

/// One event in the history of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Time, RFC 3339.
    pub at: RecordedTime,
    /// A person, or `engine`.
    pub by: String,
    /// What happened.
    pub action: String,
    /// Name of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
