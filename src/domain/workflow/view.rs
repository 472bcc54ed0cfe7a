//! What the function of a task kind decides from. Nothing of it changes while it decides.

use std::time::Duration;

use super::{ObjectSeen, Observed, StepFailure, task_error::TaskError, timers::TimerKind};
use crate::{
    api::{ObjectRef, RecordedTime, ReleaseSpec, ReleaseStatus, TaskStatus, Uid},
    domain::{
        account::Account,
        batches::WorkloadSeen,
        command_line::CommandLine,
        owner::{self, Owner, Ownership},
        revision::{FrozenApp, FrozenAppError},
    },
};

/// One task of a release, with everything that was observed.
#[derive(Clone, Copy)]
pub(super) struct TaskView<'a> {
    pub observed: &'a Observed<'a>,
    /// Status of the release, with the outcomes of what this pass has decided before.
    pub release: &'a ReleaseStatus,
    /// Status of the task, as decided so far.
    pub task: &'a TaskStatus,
    /// Somebody paused the release, or the task has failed: nothing goes on, but an open latch is
    /// closed.
    pub held: bool,
}

impl<'a> TaskView<'a> {
    /// Same view, with another status of the task.
    pub fn with_task<'b>(self, task: &'b TaskStatus) -> TaskView<'b>
    where
        'a: 'b,
    {
        TaskView { task, ..self }
    }

    /// What people want of the release.
    pub fn spec(&self) -> &'a ReleaseSpec {
        &self.observed.release.spec
    }

    /// Name of the release.
    pub fn release_name(&self) -> &'a str {
        self.observed.release_name()
    }

    /// Uid of the release.
    pub fn release_uid(&self) -> Uid {
        self.observed.release_uid()
    }

    /// Command line that a person can run for this release.
    pub fn command(&self, verb: &'static str) -> CommandLine {
        CommandLine::graylane(verb)
            .arg(self.release_name())
            .option_if("-n", self.home())
    }

    /// Namespace of the release.
    pub fn home(&self) -> Option<&'a str> {
        self.observed.release.metadata.namespace.as_deref()
    }

    /// App as the release has it.
    pub fn app(&self) -> Result<&'a FrozenApp, FrozenAppError> {
        self.observed
            .facts
            .app
            .as_ref()
            .map_err(FrozenAppError::clone)
    }

    /// Whether the task has begun.
    pub fn has_begun(&self) -> bool {
        self.task.started_at.is_some()
    }

    /// Environment that the task changes; empty for other kinds of tasks.
    pub fn environment(&self) -> &'a str {
        self.task.environment.as_deref().unwrap_or_default()
    }

    /// Who owns an object, from the point of view of an environment of this App.
    pub fn classify_owner(
        &self,
        environment: &str,
        object: &ObjectRef,
        seen: &ObjectSeen,
    ) -> Ownership {
        let me = self.acting_owner(environment);
        let noted =
            owner::find_in_inventories(self.observed.facts.app.as_deref().ok(), object, &seen.uid);
        owner::determine_ownership(
            &seen.marks,
            &me,
            noted
                .as_ref()
                .or_else(|| self.observed.facts.claims.get(object)),
        )
    }

    /// Owner that this release acts for in an environment.
    pub fn acting_owner(&self, environment: &str) -> Owner {
        Owner {
            home: self.observed.release.metadata.namespace.clone(),
            app: self.spec().app.clone(),
            environment: environment.to_owned(),
        }
    }

    /// Account that this release uses for an object of an environment.
    pub fn account(&self, environment: &str, object: &ObjectRef) -> Account {
        Account::for_environment(self.observed.facts.app.as_deref().ok(), environment, object)
    }

    /// The object, if it exists.
    pub fn object(&self, object: &ObjectRef) -> Option<&'a ObjectSeen> {
        self.observed.facts.objects.get(object)
    }

    /// The workload, if it exists and is rolled out in batches.
    pub fn workload(&self, object: &ObjectRef) -> Option<&'a WorkloadSeen> {
        self.observed.facts.workloads.get(object)
    }

    /// Whether somebody has asked this attempt to take fields of other field managers.
    pub fn may_take_over(&self) -> bool {
        self.spec().control.take_over.get(&self.task.name) == Some(&self.task.attempt)
    }

    /// Seconds in which the engine was able to act; time limits use this.
    pub fn seconds_spent(&self, of: TimerKind) -> i64 {
        let Observed { timers, clock, .. } = self.observed;
        whole_seconds(timers.spent(self.task, of, *clock))
    }

    /// Seconds since this engine first saw it.
    pub fn seconds_watched(&self, of: TimerKind) -> i64 {
        let Observed { timers, clock, .. } = self.observed;
        whole_seconds(timers.watched(self.task, of, *clock))
    }

    /// Seconds since it began, whether an engine was running or not.
    pub fn seconds_lasted(&self, of: TimerKind) -> i64 {
        let Observed { timers, clock, .. } = self.observed;
        whole_seconds(timers.lasted(self.task, of, *clock))
    }

    /// Message for a permanent failure, with what a person can do about it.
    pub fn step_error(&self, trouble: &StepFailure) -> TaskError {
        TaskError::Step {
            reason: trouble.message.clone(),
            retry: self.command("retry"),
            abort: self.command("abort"),
        }
    }
}

impl<'a> Observed<'a> {
    /// Name of the release; empty without one.
    pub(super) fn release_name(&self) -> &'a str {
        self.release.metadata.name.as_deref().unwrap_or_default()
    }

    /// Uid of the release; empty without one.
    pub(super) fn release_uid(&self) -> Uid {
        Uid::from_meta(&self.release.metadata)
    }

    /// Current time to the second, as Kubernetes writes it.
    pub(super) fn recorded_now(&self) -> RecordedTime {
        RecordedTime::to_second(self.now)
    }
}

fn whole_seconds(lasted: Duration) -> i64 {
    i64::try_from(lasted.as_secs()).unwrap_or(i64::MAX)
}
