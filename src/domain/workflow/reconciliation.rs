//! One reconcile pass: the new status, the steps so far, and what all kinds of tasks share.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

use super::{
    Decision, ObjectSeen, Observed, ReleaseStep, StepFailure, approval, build, clean_up, deploy,
    task_error::TaskError, timers::TimerKind, verify,
};
use crate::{
    api::{
        HistoryEntry, InventoryItem, MAX_RETRIES, ReleasePhase, ReleaseSpec, ReleaseStatus,
        TaskKind, TaskPhase, TaskSpec, TaskStatus,
    },
    domain::{
        account::Account,
        batches::WorkloadSeen,
        command_line::CommandLine,
        owner::{self, Owner, Ownership},
        revision::{FrozenApp, FrozenAppError},
        text::Clean,
    },
};

/// Number of history entries that are kept.
const MAX_HISTORY: usize = 200;
/// Largest accepted difference between the clocks of people and engines.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

pub(super) struct Reconciliation<'a> {
    pub observed: &'a Observed<'a>,
    pub status: ReleaseStatus,
    pub steps: Vec<ReleaseStep>,
    pub again: Option<SignedDuration>,
}

/// Whether to go on with the next task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Stay,
}

impl<'a> Reconciliation<'a> {
    pub fn new(observed: &'a Observed<'a>) -> Self {
        Self {
            observed,
            status: observed.release.status.clone().unwrap_or_default(),
            steps: vec![],
            again: None,
        }
    }

    pub fn spec(&self) -> &'a ReleaseSpec {
        &self.observed.release.spec
    }

    pub fn name(&self) -> &'a str {
        self.observed
            .release
            .metadata
            .name
            .as_deref()
            .unwrap_or_default()
    }

    /// Command line that a person can run for this release.
    pub fn command(&self, verb: &'static str) -> CommandLine {
        CommandLine::graylane(verb).arg(self.name())
    }

    pub fn uid(&self) -> &'a str {
        self.observed
            .release
            .metadata
            .uid
            .as_deref()
            .unwrap_or_default()
    }

    /// Who owns an object, from the point of view of an environment of this App.
    pub fn classify_owner(
        &self,
        environment: &str,
        item: &InventoryItem,
        seen: &ObjectSeen,
    ) -> Ownership {
        let me = self.acting_owner(environment);
        let noted =
            owner::find_in_inventories(self.observed.app.ok().map(|app| &**app), item, &seen.uid);
        let plain = InventoryItem {
            uid: String::new(),
            ..item.clone()
        };
        owner::determine_ownership(
            &seen.marks,
            &me,
            noted.as_ref().or_else(|| self.observed.claims.get(&plain)),
        )
    }

    /// Owner that this release acts for in an environment.
    pub fn acting_owner(&self, environment: &str) -> Owner {
        let home = self.observed.release.metadata.namespace.clone();
        Owner {
            home,
            app: self.spec().app.clone(),
            environment: environment.to_owned(),
        }
    }

    /// Account that this release uses for an object of an environment.
    pub fn account(&self, environment: &str, item: &InventoryItem) -> Account {
        Account::for_environment(self.observed.app.ok().map(|app| &**app), environment, item)
    }

    /// The workload behind this item, if it exists and is rolled out in batches.
    pub fn workload(&self, item: &InventoryItem) -> Option<&'a WorkloadSeen> {
        self.observed.workloads.get(&InventoryItem {
            uid: String::new(),
            ..item.clone()
        })
    }

    /// Current time to the second, as Kubernetes writes it.
    pub fn format_now(&self) -> String {
        self.observed
            .now
            .round(Unit::Second)
            .unwrap_or(self.observed.now)
            .to_string()
    }

    pub fn into_decision(mut self) -> Decision {
        let too_many = self.status.history.len().saturating_sub(MAX_HISTORY);
        self.status.history.drain(..too_many);
        Decision {
            status: self.status,
            steps: self.steps,
            look_again: self.again,
        }
    }

    /// Reconciles again after this time at the latest.
    pub fn requeue_after(&mut self, wait: SignedDuration) {
        let wait = wait.max(SignedDuration::from_millis(100));
        self.again = Some(self.again.map_or(wait, |a| a.min(wait)));
    }

    pub fn add_history(
        &mut self,
        by: &str,
        action: impl Into<String>,
        task: Option<&str>,
        message: Option<String>,
    ) {
        let at = self.format_now();
        let task = task.map(str::to_owned);
        self.status.history.push(HistoryEntry {
            at,
            by: by.into(),
            action: action.into(),
            task,
            message,
        });
    }

    /// Adds a person's last intent to the history once. Its time comes from the person's own clock,
    /// and does not tell whether it is new.
    pub fn record_wish(&mut self) {
        let Some(last) = &self.spec().control.last else {
            return;
        };
        if self.status.told.replace(last.clone()).as_ref() == Some(last) {
            return;
        }
        let clean = |text: &str| Clean::from_untrusted(text).to_string();
        // The person's client sets the time: one that cannot be right is replaced.
        let (begun, now) = (self.status.started_at.as_deref(), self.observed.now);
        let begun = begun
            .and_then(|at| at.parse().ok())
            .unwrap_or(now)
            .saturating_sub(MAX_CLOCK_SKEW)
            .unwrap_or(now);
        let at =
            last.at.parse::<Timestamp>().ok().filter(|at| {
                (begun..=now.saturating_add(MAX_CLOCK_SKEW).unwrap_or(now)).contains(at)
            });
        let entry = HistoryEntry {
            at: at.map_or_else(|| self.format_now(), |_| clean(&last.at)),
            by: clean(&last.by),
            action: clean(&last.action),
            task: None,
            message: last.comment.as_deref().map(clean),
        };
        // An engine that did not record the last intent may have added it already.
        if !self.status.history.contains(&entry) {
            self.status.history.push(entry);
        }
    }

    pub fn app(&self) -> Result<&'a FrozenApp, FrozenAppError> {
        self.observed.app.map_err(FrozenAppError::clone)
    }

    /// Runs tasks in order, in this same pass, until one has not passed.
    pub fn run_tasks(&mut self) {
        for index in 0..self.status.tasks.len() {
            if self.status.tasks[index].phase.is_passed() {
                continue;
            }
            if self.run_task(index) == Flow::Stay {
                return;
            }
        }
        self.status.task = None;
        // Every latch is off, removed by its own last patch.
        self.status
            .tasks
            .iter_mut()
            .for_each(|task| task.rollouts.clear());
        self.finish(ReleasePhase::Succeeded, None);
    }

    pub fn finish(&mut self, phase: ReleasePhase, message: Option<String>) {
        self.status.phase = phase;
        self.status.finished_at = Some(self.format_now());
        self.status.message.clone_from(&message);
        self.status.task = None;
        let word = if phase == ReleasePhase::Succeeded {
            "succeeded"
        } else {
            "aborted"
        };
        self.add_history("engine", word, None, message);
    }

    fn run_task(&mut self, index: usize) -> Flow {
        let control = &self.spec().control;
        let name = self.status.tasks[index].name.clone();
        self.status.task = Some(name.clone());
        self.retry_task(index, control.retry.get(&name).copied().unwrap_or(0));
        let before = self.status.tasks[index].phase;
        // A held deploy still has steps: an open latch is closed.
        let held = control.paused || before == TaskPhase::Failed;
        if before == TaskPhase::Paused && !control.paused {
            self.resume_task(index);
        }
        if !control.paused && control.skip.contains(&name) && self.skip_task(index) {
            return Flow::Next;
        }
        if control.paused && before != TaskPhase::Failed {
            self.set_phase(index, TaskPhase::Paused, None);
        }
        let flow = match self.task_spec(index) {
            Err(why) => {
                self.fail_task(index, why);
                Flow::Stay
            }
            Ok(task) => match task.spec() {
                Some(TaskSpec::Deploy(_)) => deploy::reconcile_deploy(self, index, held),
                _ if held => Flow::Stay,
                Some(TaskSpec::Build(t)) => build::reconcile_build(self, index, t),
                Some(TaskSpec::Approval(t)) => approval::reconcile_approval(self, index, t),
                Some(TaskSpec::Verify(t)) => verify::reconcile_verify(self, index, t),
                Some(TaskSpec::Proceed(t)) => self.reconcile_proceed(index, t.prompt.as_deref()),
                Some(TaskSpec::CleanUp(t)) => clean_up::reconcile_clean_up(self, index, t),
                None => Flow::Stay,
            },
        };
        if flow == Flow::Stay {
            let task = &self.status.tasks[index];
            self.status.phase = match task.phase {
                TaskPhase::Failed => ReleasePhase::Failed,
                TaskPhase::Waiting => ReleasePhase::Waiting,
                TaskPhase::Paused => ReleasePhase::Paused,
                _ => ReleasePhase::Running,
            };
            self.status.message.clone_from(&task.message);
        }
        flow
    }

    fn retry_task(&mut self, index: usize, retries: u32) {
        let at = self.format_now();
        let task = &mut self.status.tasks[index];
        // Each attempt has a higher number than the one before, so no retry count starts attempts
        // without end.
        let attempt = retries.min(MAX_RETRIES) + 1;
        if task.phase != TaskPhase::Failed || retries == 0 || attempt <= task.attempt {
            return;
        }
        task.attempt = attempt;
        task.phase = TaskPhase::Running;
        task.started_at = task.started_at.is_some().then(|| at.clone());
        task.finished_at = None;
        task.message = None;
        task.probes.clear();
        task.drain_since = None;
        // Progress is read from the workloads again.
        task.batches.clear();
        let (name, attempt) = (task.name.clone(), task.attempt);
        self.add_history("engine", format!("attempt {attempt}"), Some(&name), None);
    }

    /// Whether somebody has asked this attempt to take fields of other field managers.
    pub(super) fn may_take_over(&self, index: usize) -> bool {
        let task = &self.status.tasks[index];
        self.spec().control.take_over.get(&task.name) == Some(&task.attempt)
    }

    /// Time on hold does not count against a batch.
    fn resume_task(&mut self, index: usize) {
        let at = self.format_now();
        let task = &mut self.status.tasks[index];
        task.phase = if task.started_at.is_some() {
            TaskPhase::Running
        } else {
            TaskPhase::Pending
        };
        restart_batch(task, &at);
    }

    fn skip_task(&mut self, index: usize) -> bool {
        let task = &self.status.tasks[index];
        let refused = match task.kind {
            TaskKind::Approval => Some("an approval cannot be skipped: approve it, or abort"),
            TaskKind::Deploy => deploy::is_half_way(self, index)
                .then_some("a deploy that is half-way cannot be skipped: retry it, or abort"),
            TaskKind::Build
            | TaskKind::Verify
            | TaskKind::Proceed
            | TaskKind::CleanUp
            | TaskKind::Unknown => None,
        };
        if let Some(why) = refused {
            let name = task.name.clone();
            if !self
                .status
                .history
                .iter()
                .any(|h| h.task.as_ref() == Some(&name) && h.message.as_deref() == Some(why))
            {
                self.add_history("engine", "not skipped", Some(&name), Some(why.into()));
            }
            return false;
        }
        self.set_phase(index, TaskPhase::Skipped, None);
        true
    }

    fn reconcile_proceed(&mut self, index: usize, prompt: Option<&str>) -> Flow {
        self.start_task(index);
        let name = &self.status.tasks[index].name;
        if self.spec().control.allow.get(name).is_some_and(|n| *n >= 1) {
            self.set_phase(index, TaskPhase::Succeeded, None);
            return Flow::Next;
        }
        let words = prompt.map_or_else(|| "waits to proceed".to_owned(), |p| format!("waits: {p}"));
        self.set_phase(index, TaskPhase::Waiting, Some(words));
        Flow::Stay
    }

    /// Starts the task's own timer.
    pub fn start_task(&mut self, index: usize) {
        let at = self.format_now();
        let task = &mut self.status.tasks[index];
        if task.started_at.is_none() {
            task.started_at = Some(at);
        }
    }

    /// Seconds in which the engine was able to act; time limits use this.
    pub fn seconds_spent(&self, index: usize, of: TimerKind) -> i64 {
        whole_seconds(self.observed.timers.spent(
            &self.status.tasks[index],
            of,
            self.observed.clock,
        ))
    }

    /// Seconds since this engine first saw it.
    pub fn seconds_watched(&self, index: usize, of: TimerKind) -> i64 {
        whole_seconds(self.observed.timers.watched(
            &self.status.tasks[index],
            of,
            self.observed.clock,
        ))
    }

    /// Seconds since it began, whether an engine was running or not.
    pub fn seconds_lasted(&self, index: usize, of: TimerKind) -> i64 {
        whole_seconds(self.observed.timers.lasted(
            &self.status.tasks[index],
            of,
            self.observed.clock,
        ))
    }

    /// Message for a permanent failure, with what a person can do about it.
    pub(super) fn step_error(&self, trouble: &StepFailure) -> TaskError {
        TaskError::Step {
            reason: trouble.message.clone(),
            retry: self.command("retry"),
            abort: self.command("abort"),
        }
    }

    pub fn fail_task(&mut self, index: usize, why: impl ToString) {
        self.set_phase(index, TaskPhase::Failed, Some(why.to_string()));
    }

    /// Sets a task's phase and message; a change of phase goes into the history.
    pub fn set_phase(&mut self, index: usize, phase: TaskPhase, message: Option<String>) {
        let at = self.format_now();
        let task = &mut self.status.tasks[index];
        let changed = task.phase != phase;
        // A paused task keeps the message of what it was doing.
        if phase != TaskPhase::Paused || message.is_some() {
            task.message.clone_from(&message);
        }
        task.phase = phase;
        if !changed {
            return;
        }
        if matches!(
            phase,
            TaskPhase::Succeeded | TaskPhase::Failed | TaskPhase::Skipped | TaskPhase::Aborted
        ) {
            task.finished_at = Some(at);
        }
        let word = match phase {
            TaskPhase::Pending => return,
            TaskPhase::Running => "running",
            TaskPhase::Waiting => "waiting",
            TaskPhase::Paused => "paused",
            TaskPhase::Succeeded => "succeeded",
            TaskPhase::Failed => "failed",
            TaskPhase::Skipped => "skipped",
            TaskPhase::Aborted => "aborted",
        };
        let name = task.name.clone();
        self.add_history("engine", word, Some(&name), message);
    }
}

impl Reconciliation<'_> {
    /// Restarts the timer of the current batch.
    pub fn restart_batch(&mut self, index: usize) {
        let at = self.format_now();
        restart_batch(&mut self.status.tasks[index], &at);
    }
}

fn whole_seconds(lasted: Duration) -> i64 {
    i64::try_from(lasted.as_secs()).unwrap_or(i64::MAX)
}

fn restart_batch(task: &mut TaskStatus, at: &str) {
    if let Some(batch) = task
        .batches
        .iter_mut()
        .find(|b| b.finished_at.is_none() && b.started_at.is_some())
    {
        batch.started_at = Some(at.to_owned());
    }
}
