//! The workflow of an App: stages, each a list of tasks, each of exactly one kind.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stages, each run as one Release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    /// `test`, `pre`, `production`, or any names.
    #[serde(default)]
    pub stages: Vec<Stage>,
}

/// One stage of the workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// `production`.
    pub name: String,
    /// Run in this order.
    pub tasks: Vec<Task>,
}

/// One task: a name and exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Unique in its stage; how `--task` names it.
    pub name: String,
    /// Makes an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildTask>,
    /// Waits for people's yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalTask>,
    /// Brings the images to an environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<DeployTask>,
    /// Probes and compares the chains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyTask>,
    /// Waits for a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proceed: Option<ProceedTask>,
    /// Takes an environment's resources down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_up: Option<CleanUpTask>,
}

/// What kind of task a [`Task`] is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TaskKind<'a> {
    /// [`BuildTask`]
    Build(&'a BuildTask),
    /// [`ApprovalTask`]
    Approval(&'a ApprovalTask),
    /// [`DeployTask`]
    Deploy(&'a DeployTask),
    /// [`VerifyTask`]
    Verify(&'a VerifyTask),
    /// [`ProceedTask`]
    Proceed(&'a ProceedTask),
    /// [`CleanUpTask`]
    CleanUp(&'a CleanUpTask),
}

impl TaskKind<'_> {
    /// The field's name, as manifests, the screen and the command line say it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Build(_) => "build",
            Self::Approval(_) => "approval",
            Self::Deploy(_) => "deploy",
            Self::Verify(_) => "verify",
            Self::Proceed(_) => "proceed",
            Self::CleanUp(_) => "cleanUp",
        }
    }
}

impl Task {
    /// The one kind that is set; none when the task names no kind or several.
    pub fn kind(&self) -> Option<TaskKind<'_>> {
        let mut kinds = [
            self.build.as_ref().map(TaskKind::Build),
            self.approval.as_ref().map(TaskKind::Approval),
            self.deploy.as_ref().map(TaskKind::Deploy),
            self.verify.as_ref().map(TaskKind::Verify),
            self.proceed.as_ref().map(TaskKind::Proceed),
            self.clean_up.as_ref().map(TaskKind::CleanUp),
        ]
        .into_iter()
        .flatten();
        let first = kinds.next();
        if kinds.next().is_some() { None } else { first }
    }
}

/// Makes an image by a Job, unless the release names an existing one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildTask {
    /// Which of the App's images.
    pub image: String,
    /// A Go template of a `batch/v1` Job. It also knows `{{ .Build.image }}` (the whole reference to make),
    /// `{{ .Build.context }}`, `{{ .Build.dockerfile }}` and `{{ .Build.tag }}`.
    pub job: String,
    /// The new tag; `${DATETIME}` becomes `yyyyMMddHHmmss` of the task's start.
    #[serde(default = "build_tag")]
    pub tag: String,
    /// Most seconds.
    #[serde(default = "build_timeout")]
    pub timeout_seconds: u32,
}

fn build_tag() -> String {
    "${DATETIME}".into()
}

const fn build_timeout() -> u32 {
    1800
}

/// Waits for approvals; the first refusal fails the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalTask {
    /// Who may; empty is anybody with the right to create Approvals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// How many of them.
    #[serde(default)]
    pub mode: ApprovalMode,
    /// For `mode: count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Whether whoever started the release may approve it.
    #[serde(default)]
    pub requester_may_approve: bool,
    /// Then the task fails.
    #[serde(default = "approval_timeout")]
    pub timeout_seconds: u32,
}

impl Default for ApprovalTask {
    fn default() -> Self {
        Self {
            approvers: vec![],
            mode: ApprovalMode::Any,
            count: None,
            requester_may_approve: false,
            timeout_seconds: approval_timeout(),
        }
    }
}

const fn approval_timeout() -> u32 {
    86_400
}

/// 或签, 会签, 部分会签.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ApprovalMode {
    /// One is enough.
    #[default]
    Any,
    /// Every named approver.
    All,
    /// `count` of them.
    Count,
}

/// Deploys the release's images to an environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeployTask {
    /// The environment's name.
    pub environment: String,
}

/// Sends requests and compares the chains they take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyTask {
    /// The lane group whose entry is asked.
    pub lane_group: String,
    /// What to send and what to see.
    pub probes: Vec<ProbeSpec>,
    /// Most seconds until every probe agrees.
    #[serde(default = "verify_timeout")]
    pub timeout_seconds: u32,
}

const fn verify_timeout() -> u32 {
    60
}

/// One request and what its chain must be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeSpec {
    /// Path and query at the entry: `/A/a?group=gray`.
    pub path: String,
    /// Request headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// App to `gray` or `base`; empty expects what the lanes promise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expect: BTreeMap<String, Served>,
    /// How many times.
    #[serde(default = "once")]
    pub count: u32,
}

const fn once() -> u32 {
    1
}

/// Which side of an app answers a request.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Served {
    /// A lane's own version.
    Gray,
    /// The baseline.
    Base,
}

impl Served {
    /// `gray` or `base`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gray => "gray",
            Self::Base => "base",
        }
    }
}

/// Waits until a person presses the key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProceedTask {
    /// What to look at before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// Deletes exactly what graylane put into an environment (AppStack's 清理环境).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CleanUpTask {
    /// The environment's name.
    pub environment: String,
    /// Also remove the environment from the App; by default it is kept, so that the next release brings it
    /// up again (仅清理资源保留环境元数据).
    #[serde(default)]
    pub remove_environment: bool,
}
