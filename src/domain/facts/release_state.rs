//! What a release is waiting for.

use crate::{
    api::{BatchPhase, Release, ReleasePhase, TaskKind, TaskPhase, TaskStatus},
    domain::release_intents::expected_phases,
};

/// What a release is waiting for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReleaseState<'a> {
    /// The engine has not looked at it yet.
    Pending,
    /// The engine, or pods, are at work.
    Busy(Option<&'a TaskStatus>),
    /// The engine is rolling back.
    Aborting,
    /// A person has to approve or refuse.
    Approve(&'a TaskStatus),
    /// A person has to let this batch (counted from 1) through.
    Batch(&'a TaskStatus, u32),
    /// A person has to let this task through.
    Proceed(&'a TaskStatus),
    /// A person has paused it.
    Held,
    /// A person has to retry, skip or abort.
    Failed(Option<&'a TaskStatus>),
    /// Done.
    Succeeded,
    /// Rolled back.
    Aborted,
}

/// Derives what a release is waiting for.
pub fn release_state(release: &Release) -> ReleaseState<'_> {
    let Some(status) = &release.status else {
        return ReleaseState::Pending;
    };
    let named = status
        .task
        .as_ref()
        .and_then(|name| status.tasks.iter().find(|t| t.name == *name));
    // The engine acts on an intent a moment later; this already takes the intent into account.
    let (wished, tasks) = expected_phases(release);
    let in_phase = |phase| {
        status
            .tasks
            .iter()
            .zip(&tasks)
            .find(|(_, wished)| **wished == phase)
            .map(|(t, _)| t)
    };
    match wished {
        ReleasePhase::Pending => ReleaseState::Pending,
        ReleasePhase::Succeeded => ReleaseState::Succeeded,
        ReleasePhase::Aborted => ReleaseState::Aborted,
        ReleasePhase::Aborting => ReleaseState::Aborting,
        ReleasePhase::Paused => ReleaseState::Held,
        ReleasePhase::Failed => ReleaseState::Failed(in_phase(TaskPhase::Failed).or(named)),
        _ if release.spec.control.paused => ReleaseState::Held,
        ReleasePhase::Running => ReleaseState::Busy(named.or_else(|| in_phase(TaskPhase::Running))),
        ReleasePhase::Waiting => match in_phase(TaskPhase::Waiting).or(named) {
            Some(task) if task.kind == TaskKind::Approval => ReleaseState::Approve(task),
            Some(task) if task.kind == TaskKind::Deploy => {
                ReleaseState::Batch(task, next_batch(task))
            }
            Some(task) => ReleaseState::Proceed(task),
            None => ReleaseState::Busy(None),
        },
    }
}

/// Number of the first batch that is not done.
pub fn next_batch(task: &TaskStatus) -> u32 {
    task.batches
        .iter()
        .find(|b| b.phase != BatchPhase::Done)
        .map_or(1, |b| b.number)
}

impl ReleaseState<'_> {
    /// Nothing more will happen.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Aborted)
    }

    /// A person has to act.
    pub const fn waits_for_person(self) -> bool {
        matches!(
            self,
            Self::Approve(_) | Self::Batch(..) | Self::Proceed(_) | Self::Held | Self::Failed(_)
        )
    }

    /// Work is in progress, so a spinner is shown.
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Pending | Self::Busy(_) | Self::Aborting)
    }

    /// Sort key; the lowest is the most urgent.
    pub const fn urgency(self) -> u8 {
        match self {
            Self::Failed(_) => 0,
            Self::Approve(_) | Self::Batch(..) | Self::Proceed(_) => 1,
            Self::Aborting => 2,
            Self::Held => 3,
            Self::Busy(_) | Self::Pending => 4,
            Self::Succeeded | Self::Aborted => 9,
        }
    }

    /// Short label for a column: what the release waits for or does, else its phase as kubectl
    /// shows it.
    pub fn state_label(self) -> String {
        match self {
            Self::Pending => "pending".into(),
            Self::Busy(Some(task)) => match task.kind {
                TaskKind::Build => "building".into(),
                TaskKind::Verify => "verifying".into(),
                TaskKind::CleanUp => "cleaning".into(),
                TaskKind::Deploy if task.batches.len() > 1 => {
                    format!("batch {}/{}", next_batch(task), task.batches.len())
                }
                TaskKind::Deploy => "deploying".into(),
                TaskKind::Approval | TaskKind::Proceed => "waiting".into(),
                TaskKind::Unknown => "running".into(),
            },
            Self::Busy(None) => "running".into(),
            Self::Aborting => "aborting".into(),
            Self::Approve(_) => "approve?".into(),
            Self::Batch(task, n) => format!("batch {n}/{}?", task.batches.len().max(1)),
            Self::Proceed(_) => "proceed?".into(),
            Self::Held => "paused".into(),
            Self::Failed(_) => "FAILED".into(),
            Self::Succeeded => "succeeded".into(),
            Self::Aborted => "aborted".into(),
        }
    }
}
