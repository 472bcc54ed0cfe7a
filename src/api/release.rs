//! Release: one run of one stage of one App.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CleanUpTask, InventoryItem, ProbeSpec, Served, app::any_map};

/// One run of one stage of one App, or one teardown of an environment.
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
    /// The App's name, in the same namespace.
    pub app: String,
    /// The stage of its workflow; empty for a teardown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// Instead of a stage: only this clean-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teardown: Option<CleanUpTask>,
    /// Existing images to deploy; a name that is here is not built.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who started it.
    #[serde(default)]
    pub requester: String,
    /// Releases of one window open their lane together, when all of them have their gray pods ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// What people wish, level by level; the engine never writes here.
    #[serde(default)]
    pub control: Control,
}

/// Most retries of one task: what is asked for beyond it is as much as this.
pub const MOST_RETRIES: u32 = 10_000;

/// People's wishes. Each is a level, not an event: to say it twice is to say it once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// Hold where it is: no new step, running batches keep their pods.
    #[serde(default)]
    pub paused: bool,
    /// Roll back and end.
    #[serde(default)]
    pub abort: bool,
    /// Task name to what is let through: for a deploy the batch number up to which it may go on,
    /// for a proceed task 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allow: BTreeMap<String, u32>,
    /// Task name to the number of retries asked for; the task's attempt follows it (attempt = retries + 1), upwards only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retry: BTreeMap<String, u32>,
    /// Task name to the attempt that may take fields from another manager, where an apply conflicts. Nothing else is
    /// ever forced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub take_over: BTreeMap<String, u32>,
    /// Failed or waiting tasks to go past.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// Who wished last, and what; goes into the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Wish>,
}

/// One wish of a person, for the history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    /// Who.
    pub by: String,
    /// `pause`, `let batch 2 of deploy-prod through`, …
    pub action: String,
    /// RFC 3339.
    pub at: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What the engine saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// Where the whole stands.
    #[serde(default)]
    pub phase: ReleasePhase,
    /// The task under way or waited at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Image name to reference: chosen, or built by this release.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Image name to digest, what an approval is bound to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, String>,
    /// The revision of the App that it is of from its beginning on: the name of a ControllerRevision. Whatever becomes of
    /// the App meanwhile, it does what stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Environment to the values of its variable groups as they were when the release began: it deploys these, whatever
    /// becomes of the groups meanwhile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "map_of_maps")]
    pub variables: BTreeMap<String, BTreeMap<String, Value>>,
    /// The tasks as they were when the release began, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskStatus>,
    /// The wish that went into the history last: it may have been pushed out of it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Wish>,
    /// What happened, oldest first; bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
}

fn map_of_maps(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": any_map(generator) })
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReleasePhase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// Under way.
    Running,
    /// A person must act.
    Waiting,
    /// Held by a person.
    Paused,
    /// Rolling back.
    Aborting,
    /// All tasks done.
    Succeeded,
    /// A task failed; retry, skip or abort.
    Failed,
    /// Rolled back and ended.
    Aborted,
}

impl ReleasePhase {
    /// Nothing will happen any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Aborted)
    }
}

/// One task of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// As in the workflow.
    pub name: String,
    /// `build`, `approval`, `deploy`, `verify`, `proceed`, `cleanUp`.
    pub kind: String,
    /// The environment it deploys to or cleans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Where it stands.
    #[serde(default)]
    pub phase: TaskPhase,
    /// From 1; follows `control.retry`.
    #[serde(default)]
    pub attempt: u32,
    /// In words: what it waits for, what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// RFC 3339, of this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// For a deploy: the plan, batch by batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<BatchStatus>,
    /// For a deploy: the workloads that it has in hand, with what it takes to let go of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<RolloutRecord>,
    /// For a deploy: what ran before, image name to reference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub old_images: BTreeMap<String, String>,
    /// For a deploy: what is to run, image name to reference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub new_images: BTreeMap<String, String>,
    /// For a deploy: version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_version: Option<String>,
    /// For a deploy: version after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_version: Option<String>,
    /// For a build: the Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// For an approval: `sha256:…` of the objects that it lets through, as they would be applied. An Approval names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// For a verify: what the last probes saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeResult>,
    /// For a clean-up: when the routes were seen gone, RFC 3339; draining counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_since: Option<String>,
}

/// One workload that a deploy has in hand: what its annotation says too, where no other hand's undo can take it away.
/// Written before the workload is touched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecord {
    /// Which, with the uid it had.
    pub workload: InventoryItem,
    /// The task's attempt that has it in hand.
    pub attempt: u32,
    /// How far that is known to have come.
    #[serde(default)]
    pub state: RolloutState,
    /// As the annotation `graylane.dev/latch` has it: the user's own settings and template too. Empty where nothing was
    /// known of the workload any more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub latch: String,
}

/// What is known of a workload in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// Its first patch is decided; nobody has seen it on the workload yet.
    #[default]
    Begins,
    /// The rollout was seen on it.
    Begun,
    /// A new attempt takes it in hand again, after another hand.
    Takes,
    /// It was gone, and is made again with its old version.
    Restores,
    /// It was gone before the rollout began: nothing is known of its old version.
    Gone,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaskPhase {
    /// Its turn has not come.
    #[default]
    Pending,
    /// At work.
    Running,
    /// A person must act.
    Waiting,
    /// Held by a person.
    Paused,
    /// Done.
    Succeeded,
    /// The message says how.
    Failed,
    /// Gone past on request.
    Skipped,
    /// Rolled back, or never begun because the release was aborted.
    Aborted,
}

impl TaskPhase {
    /// The next task may begin.
    pub const fn is_passed(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped)
    }
}

/// One batch of a deploy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchStatus {
    /// From 1.
    pub number: u32,
    /// New pods when it is done.
    pub target: u32,
    /// Where it stands.
    #[serde(default)]
    pub phase: BatchPhase,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BatchPhase {
    /// Its turn has not come, or it waits to be let through.
    #[default]
    Pending,
    /// New pods come up.
    Surging,
    /// Old pods go.
    Retiring,
    /// Exact, and held.
    Done,
}

/// What one probe saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeResult {
    /// What was sent.
    pub probe: ProbeSpec,
    /// HTTP status; 0 when nothing answered.
    pub status: u16,
    /// App by app, the side that answered.
    #[serde(default)]
    pub chain: Vec<ProbeHop>,
    /// Whether it was as expected.
    pub passed: bool,
    /// What was wrong, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One app of a probe's chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeHop {
    /// The App.
    pub app: String,
    /// Which side answered.
    pub served: Served,
}

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// RFC 3339.
    pub at: String,
    /// A person, or `engine`.
    pub by: String,
    /// What.
    pub action: String,
    /// Which task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// More words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
