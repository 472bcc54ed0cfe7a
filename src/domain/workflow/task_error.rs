//! Why a task of a release fails.

use super::{object_error::RenderError, plan_error::PlanError, proposal::ProposalError};
use crate::domain::{
    account::OwnObjectError,
    batches::ManifestError,
    command_line::CommandLine,
    revision::FrozenAppError,
    template::TemplateError,
    text::{Clean, join_lines},
};

/// Why a task fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TaskError {
    #[error(transparent)]
    App(#[from] FrozenAppError),
    /// The release's tasks are not known any more.
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("the App's workflow changed: task {0:?} is not what it was when the release began")]
    WorkflowChanged(String),
    /// A step failed, and trying it again without a change will not help.
    #[error("{reason}; once that is fixed, `{retry}` tries again, `{abort}` ends the release")]
    Step {
        /// The server's message, with what was tried.
        reason: String,
        retry: CommandLine,
        abort: CommandLine,
    },
    #[error("{}", join_lines(.0))]
    Objects(Vec<RenderError>),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Objects that belong to others, one line for each.
    #[error("{}", join_lines(.0))]
    Owned(Vec<String>),
    /// A workload cannot go on, in the words of its rollout.
    #[error("{0}")]
    Workload(String),
    #[error("batch {batch} of {of} was not done within {seconds} s: {waits}")]
    BatchTimeout {
        batch: usize,
        of: usize,
        seconds: i64,
        waits: String,
    },
    #[error("not taken down within {seconds} s: {waits}")]
    CleanUpTimeout { seconds: i64, waits: String },
    #[error("the App has no image {0:?}")]
    NoImage(String),
    #[error("Job {job}: {reason}")]
    JobFailed {
        job: String,
        /// The Job's own message.
        reason: Clean,
    },
    #[error("Job {job} has not ended within {seconds} s")]
    JobTimeout { job: String, seconds: u32 },
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("refused by {by}{}", .comment.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
    DecidedAgainst { by: Clean, comment: Option<Clean> },
    #[error("nobody decided within {seconds} s ({given} of {needed} approved)")]
    ApprovalTimeout {
        seconds: u32,
        given: usize,
        needed: usize,
    },
    /// What cannot be applied cannot be approved.
    #[error("{}", join_lines(.0))]
    Proposal(Vec<ProposalError>),
    #[error(
        "{needed} approvals are needed, but only {able} of the approvers may decide (whoever started the release may \
         not): change the workflow, or abort"
    )]
    TooFewApprovers { needed: usize, able: usize },
}

/// A build task's Job cannot be rendered. `task` names the task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JobError {
    #[error("{}", join_lines(.0))]
    Template(Vec<TemplateError>),
    #[error("{task}/job: it must be exactly one Job, but is {count} objects")]
    Count { task: String, count: usize },
    #[error("{task}/job: it must be a batch/v1 Job, but is {api_version} {kind}")]
    Kind {
        task: String,
        /// As JSON.
        api_version: String,
        /// As JSON.
        kind: String,
    },
    #[error("{task}/job: {source}")]
    Own {
        task: String,
        source: OwnObjectError,
    },
}
