//! Whose turn it is: what a release waits for.

use crate::{
    api::{BatchPhase, Release, ReleasePhase, TaskPhase, TaskStatus},
    domain::wishes::phases,
};

/// What a release waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Turn<'a> {
    /// The engine's: nothing of it was seen yet.
    Pending,
    /// The engine's, or its pods'.
    Busy(Option<&'a TaskStatus>),
    /// Rolling back.
    Aborting,
    /// A person's yes or no.
    Approve(&'a TaskStatus),
    /// A person's word to let this batch (from 1) go.
    Batch(&'a TaskStatus, u32),
    /// A person's word to go on.
    Proceed(&'a TaskStatus),
    /// Held by a person.
    Held,
    /// A person must retry, skip or abort.
    Failed(Option<&'a TaskStatus>),
    /// Nobody's: done.
    Succeeded,
    /// Nobody's: rolled back.
    Aborted,
}

/// Whose turn it is in a release.
pub fn turn(release: &Release) -> Turn<'_> {
    let Some(status) = &release.status else {
        return Turn::Pending;
    };
    let named = status
        .task
        .as_ref()
        .and_then(|name| status.tasks.iter().find(|t| t.name == *name));
    // The engine follows a wish a moment later: what is asked next depends on the wish.
    let (wished, tasks) = phases(release);
    let in_phase = |phase| {
        status
            .tasks
            .iter()
            .zip(&tasks)
            .find(|(_, wished)| **wished == phase)
            .map(|(t, _)| t)
    };
    match wished {
        ReleasePhase::Pending => Turn::Pending,
        ReleasePhase::Succeeded => Turn::Succeeded,
        ReleasePhase::Aborted => Turn::Aborted,
        ReleasePhase::Aborting => Turn::Aborting,
        ReleasePhase::Paused => Turn::Held,
        ReleasePhase::Failed => Turn::Failed(in_phase(TaskPhase::Failed).or(named)),
        _ if release.spec.control.paused => Turn::Held,
        ReleasePhase::Running => Turn::Busy(named.or_else(|| in_phase(TaskPhase::Running))),
        ReleasePhase::Waiting => match in_phase(TaskPhase::Waiting).or(named) {
            Some(task) if task.kind == "approval" => Turn::Approve(task),
            Some(task) if task.kind == "deploy" => Turn::Batch(task, next_batch(task)),
            Some(task) => Turn::Proceed(task),
            None => Turn::Busy(None),
        },
    }
}

/// The first batch that is not done.
pub fn next_batch(task: &TaskStatus) -> u32 {
    task.batches
        .iter()
        .find(|b| b.phase != BatchPhase::Done)
        .map_or(1, |b| b.number)
}

impl Turn<'_> {
    /// Nothing will happen any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Aborted)
    }

    /// A person must act.
    pub const fn is_person(self) -> bool {
        matches!(
            self,
            Self::Approve(_) | Self::Batch(..) | Self::Proceed(_) | Self::Held | Self::Failed(_)
        )
    }

    /// Something moves: a spinner is true.
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Pending | Self::Busy(_) | Self::Aborting)
    }

    /// Low is looked at first.
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

    /// In a few letters, for a column: what it waits for or does, else its phase as kubectl has it.
    pub fn word(self) -> String {
        match self {
            Self::Pending => "pending".into(),
            Self::Busy(Some(task)) => match task.kind.as_str() {
                "build" => "building".into(),
                "verify" => "verifying".into(),
                "cleanUp" => "cleaning".into(),
                "deploy" if task.batches.len() > 1 => {
                    format!("batch {}/{}", next_batch(task), task.batches.len())
                }
                _ => "deploying".into(),
            },
            Self::Busy(None) => "running".into(),
            Self::Aborting => "aborting".into(),
            Self::Approve(_) => "approve?".into(),
            Self::Batch(task, n) => format!("batch {n}/{}?", task.batches.len().max(1)),
            Self::Proceed(_) => "go on?".into(),
            Self::Held => "paused".into(),
            Self::Failed(_) => "FAILED".into(),
            Self::Succeeded => "succeeded".into(),
            Self::Aborted => "aborted".into(),
        }
    }
}
