//! The workflow of an App: stages, each a list of tasks, each of exactly one kind.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stages, each of which is run as one Release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    /// Stages: `test`, `pre`, `production`, or any other names.
    #[serde(default)]
    pub stages: Vec<Stage>,
}

impl Workflow {
    /// Names of its stages, in their order.
    pub fn stage_names(&self) -> Vec<&str> {
        self.stages.iter().map(|s| s.name.as_str()).collect()
    }
}

/// One stage of the workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Name: `production`.
    pub name: String,
    /// Tasks, run in this order.
    pub tasks: Vec<Task>,
}

/// One task: a name and exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Name, unique in its stage; used by `--task`.
    pub name: String,
    /// Builds an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildTask>,
    /// Waits for approvals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalTask>,
    /// Deploys the images to an environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<DeployTask>,
    /// Sends probes and compares their chains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyTask>,
    /// Waits until a person lets the release proceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proceed: Option<ProceedTask>,
    /// Deletes the resources of an environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_up: Option<CleanUpTask>,
}

/// What a [`Task`] is to do: the one kind that is set, with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TaskSpec<'a> {
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

impl TaskSpec<'_> {
    /// Its kind.
    pub const fn kind(&self) -> TaskKind {
        match self {
            Self::Build(_) => TaskKind::Build,
            Self::Approval(_) => TaskKind::Approval,
            Self::Deploy(_) => TaskKind::Deploy,
            Self::Verify(_) => TaskKind::Verify,
            Self::Proceed(_) => TaskKind::Proceed,
            Self::CleanUp(_) => TaskKind::CleanUp,
        }
    }
}

/// Kind of a task, as the status of a release names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskKind {
    /// Builds an image.
    Build,
    /// Waits for approvals.
    Approval,
    /// Deploys the images to an environment.
    Deploy,
    /// Sends probes and compares their chains.
    Verify,
    /// Waits until a person lets the release proceed.
    Proceed,
    /// Deletes the resources of an environment.
    CleanUp,
    /// A kind that this program does not know, written by a newer one.
    #[default]
    #[serde(other)]
    Unknown,
}

impl TaskKind {
    /// Name of the field in manifests, on the screen and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Approval => "approval",
            Self::Deploy => "deploy",
            Self::Verify => "verify",
            Self::Proceed => "proceed",
            Self::CleanUp => "cleanUp",
            Self::Unknown => "?",
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Task {
    /// What is set. None if the task names no kind or several.
    pub fn spec(&self) -> Option<TaskSpec<'_>> {
        let mut specs = [
            self.build.as_ref().map(TaskSpec::Build),
            self.approval.as_ref().map(TaskSpec::Approval),
            self.deploy.as_ref().map(TaskSpec::Deploy),
            self.verify.as_ref().map(TaskSpec::Verify),
            self.proceed.as_ref().map(TaskSpec::Proceed),
            self.clean_up.as_ref().map(TaskSpec::CleanUp),
        ]
        .into_iter()
        .flatten();
        let first = specs.next();
        if specs.next().is_some() { None } else { first }
    }
}

/// Builds an image with a Job, unless the release names an existing image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildTask {
    /// Name of the App's image to build.
    pub image: String,
    /// Go template of a `batch/v1` Job. Also available: `{{ .Build.image }}` (the full reference to
    /// build), `{{ .Build.context }}`, `{{ .Build.dockerfile }}` and `{{ .Build.tag }}`.
    pub job: String,
    /// New tag; `${DATETIME}` becomes `yyyyMMddHHmmss` of the task's start.
    #[serde(default = "build_tag")]
    pub tag: String,
    /// Maximum duration in seconds.
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
    /// People who may approve. If empty, everybody with the right to create Approvals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// How many approvals are needed.
    #[serde(default)]
    pub mode: ApprovalMode,
    /// Number of approvals for `mode: count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Whether the person who started the release may approve it.
    #[serde(default)]
    pub requester_may_approve: bool,
    /// Seconds after which the task fails.
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

/// How many approvals are needed (或签, 会签, 部分会签).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ApprovalMode {
    /// One approval.
    #[default]
    Any,
    /// An approval of every named approver.
    All,
    /// `count` approvals.
    Count,
}

/// Deploys the release's images to an environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeployTask {
    /// Name of the environment.
    pub environment: String,
}

/// Sends requests and compares their chains with what is expected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyTask {
    /// Lane group whose entry receives the probes.
    pub lane_group: String,
    /// Probes and their expected results.
    pub probes: Vec<ProbeSpec>,
    /// Seconds within which every probe must pass.
    #[serde(default = "verify_timeout")]
    pub timeout_seconds: u32,
}

const fn verify_timeout() -> u32 {
    60
}

/// One request and its expected chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeSpec {
    /// Path and query at the entry: `/A/a?group=gray`.
    pub path: String,
    /// Request headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// App to `gray` or `base`. If empty, what the lanes promise is expected.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expect: BTreeMap<String, Served>,
    /// Number of requests.
    #[serde(default = "once")]
    pub count: u32,
}

const fn once() -> u32 {
    1
}

/// Side of an app that answers a request.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Served {
    /// The gray version of a lane.
    Gray,
    /// The baseline.
    Base,
}

impl Served {
    /// `gray` or `base`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gray => "gray",
            Self::Base => "base",
        }
    }
}

/// Waits until a person lets the release proceed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProceedTask {
    /// What to check before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// Deletes exactly what graylane deployed to an environment (AppStack's 清理环境).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CleanUpTask {
    /// Name of the environment.
    pub environment: String,
    /// Also remove the environment from the App. By default it is kept, so that the next release
    /// deploys it again (仅清理资源保留环境元数据).
    #[serde(default)]
    pub remove_environment: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name_everywhere_and_one_of_a_newer_program_is_borne() {
        for name in [
            "build", "approval", "deploy", "verify", "proceed", "cleanUp",
        ] {
            let kind: TaskKind = serde_json::from_value(name.into()).unwrap();
            assert_eq!(kind.as_str(), name);
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
        let newer: TaskKind = serde_json::from_value("holdUntil".into()).unwrap();
        assert_eq!(newer, TaskKind::Unknown);
    }
}
