//! What the function of a task kind answers with.
//!
//! A failure is an outcome like any other: it is decided before steps are made, so no step is ever
//! taken back.

use jiff::SignedDuration;

use super::{
    Observed, ReleaseStep,
    environment::{DrainCheck, Obstacle},
    view::TaskView,
};
use crate::api::{HistoryEntry, RecordedTime, TaskPhase, TaskStatus};

/// Shortest time until a release is reconciled again.
const MIN_REQUEUE: SignedDuration = SignedDuration::from_millis(100);

/// Name of the engine in the history.
pub(super) const ENGINE: &str = "engine";

/// Outcome of one task in one pass.
#[derive(Clone, Debug)]
#[must_use]
pub(super) struct TaskOutcome {
    /// New status of the task.
    pub status: TaskStatus,
    /// What it adds to the history, oldest first.
    pub history: Vec<HistoryEntry>,
    /// Image that the task has built.
    pub built: Option<BuiltImage>,
    /// Steps to take once the status is written.
    pub steps: Vec<ReleaseStep>,
    /// When to reconcile again at the latest.
    pub requeue: Option<SignedDuration>,
    /// Current time, as the status has it.
    now: RecordedTime,
}

/// An image that a build task has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BuiltImage {
    /// Name of the App's image.
    pub name: String,
    /// Reference with its tag.
    pub reference: String,
    /// Digest (`sha256:…`), if the Job reported one.
    pub digest: Option<String>,
}

impl TaskOutcome {
    /// Nothing changes.
    pub fn unchanged(view: &TaskView) -> Self {
        Self {
            status: view.task.clone(),
            history: vec![],
            built: None,
            steps: vec![],
            requeue: None,
            now: view.observed.recorded_now(),
        }
    }

    /// Whether the next task may begin.
    pub fn is_passed(&self) -> bool {
        self.status.phase.is_passed()
    }

    /// Starts the task's own timer, unless it runs already.
    pub fn started(mut self) -> Self {
        let now = &self.now;
        self.status.started_at.get_or_insert_with(|| now.clone());
        self
    }

    /// Sets the phase and its message; a change of phase goes into the history.
    pub fn in_phase(mut self, phase: TaskPhase, message: Option<String>) -> Self {
        let changed = self.status.phase != phase;
        // A paused task keeps the message of what it was doing.
        if phase != TaskPhase::Paused || message.is_some() {
            self.status.message.clone_from(&message);
        }
        self.status.phase = phase;
        if !changed {
            return self;
        }
        if phase.is_over() {
            self.status.finished_at = Some(self.now.clone());
        }
        match history_word(phase) {
            Some(word) => self.with_engine_history(word, message),
            None => self,
        }
    }

    /// The task runs, or waits to begin when it has not begun.
    pub fn going_on(self, message: String) -> Self {
        let phase = phase_of_unheld(&self.status);
        self.in_phase(phase, Some(message))
    }

    /// The task waits for a person.
    pub fn waiting(self, message: String) -> Self {
        self.in_phase(TaskPhase::Waiting, Some(message))
    }

    /// Something keeps the task from changing its environment.
    pub fn held_up_by(self, obstacle: &Obstacle) -> Self {
        self.in_phase(obstacle.phase(), Some(obstacle.to_string()))
    }

    /// The task has succeeded.
    pub fn succeeded(self, message: Option<String>) -> Self {
        self.in_phase(TaskPhase::Succeeded, message)
    }

    /// The task has failed.
    pub fn failed(self, why: impl ToString) -> Self {
        self.in_phase(TaskPhase::Failed, Some(why.to_string()))
    }

    /// Adds an entry about the task to the history.
    pub fn with_history(
        mut self,
        by: &str,
        action: impl Into<String>,
        message: Option<String>,
    ) -> Self {
        self.history.push(HistoryEntry {
            at: self.now.clone(),
            by: by.into(),
            action: action.into(),
            task: Some(self.status.name.clone()),
            message,
        });
        self
    }

    /// Adds an entry about what the engine has done to the task.
    pub fn with_engine_history(self, action: impl Into<String>, message: Option<String>) -> Self {
        self.with_history(ENGINE, action, message)
    }

    /// Adds steps after those that are there.
    pub fn with_steps(mut self, steps: impl IntoIterator<Item = ReleaseStep>) -> Self {
        self.steps.extend(steps);
        self
    }

    /// Reconciles again after this time at the latest.
    pub fn requeued_after(mut self, wait: SignedDuration) -> Self {
        self.requeue = earliest(self.requeue, Some(wait));
        self
    }

    /// Notes how far the drain is.
    pub fn with_drain(mut self, drain: &DrainCheck) -> Self {
        self.status.drain_since.clone_from(&drain.since);
        self.requeue = earliest(self.requeue, drain.requeue);
        self
    }

    /// Restarts the timer of the batch in progress: what has passed does not count against it.
    pub fn with_restarted_batch(mut self) -> Self {
        let mut batches = self.status.batches.iter_mut();
        if let Some(batch) = batches.find(|b| b.finished_at.is_none() && b.started_at.is_some()) {
            batch.started_at = Some(self.now.clone());
        }
        self
    }

    /// This outcome and then `next`, which was decided from this one's status.
    pub fn then(mut self, next: Self) -> Self {
        self.history.extend(next.history);
        self.steps.extend(next.steps);
        Self {
            status: next.status,
            built: next.built.or(self.built),
            requeue: earliest(self.requeue, next.requeue),
            ..self
        }
    }
}

/// The earlier of two times to reconcile again.
pub(super) fn earliest(
    one: Option<SignedDuration>,
    other: Option<SignedDuration>,
) -> Option<SignedDuration> {
    one.into_iter()
        .chain(other)
        .map(|wait| wait.max(MIN_REQUEUE))
        .min()
}

/// Phase of a task that nobody holds: it runs, or waits to begin.
pub(super) fn phase_of_unheld(task: &TaskStatus) -> TaskPhase {
    if task.started_at.is_some() {
        TaskPhase::Running
    } else {
        TaskPhase::Pending
    }
}

fn history_word(phase: TaskPhase) -> Option<&'static str> {
    Some(match phase {
        TaskPhase::Pending => return None,
        TaskPhase::Running => "running",
        TaskPhase::Waiting => "waiting",
        TaskPhase::Paused => "paused",
        TaskPhase::Succeeded => "succeeded",
        TaskPhase::Failed => "failed",
        TaskPhase::Skipped => "skipped",
        TaskPhase::Aborted => "aborted",
    })
}

/// Entry of the history that is about no task.
pub(super) fn release_entry(
    observed: &Observed,
    action: &str,
    message: Option<String>,
) -> HistoryEntry {
    HistoryEntry {
        at: observed.recorded_now(),
        by: ENGINE.into(),
        action: action.into(),
        task: None,
        message,
    }
}
