//! Checks and applies what a person asks of a release. Each request is checked against what people
//! have asked for already, not against a status that lags behind, so the result does not depend on
//! whether the engine has reconciled in between.
//!
//! Only the engine can open a gate: nobody can let a gate through before the engine has reported it
//! as waiting.

mod resolve;

use crate::{
    api::{
        Approval, BatchPhase, Control, MAX_RETRIES, Release, ReleasePhase, ReleaseStatus, TaskKind,
        TaskPhase, TaskStatus,
    },
    domain::{intent::ControlIntent, workflow::has_uncounted_decision},
};

pub use resolve::{Unresolved, Verb, resolve_verb};

/// Why an intent is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not apply to the current state, with an explanation.
    NotApplicable(String),
    /// Another person was faster: what it is about, and an explanation.
    TooLate(String, String),
}

/// Status expected once the engine has followed all requests, as far as that is known.
pub fn expected_status(release: &Release) -> ReleaseStatus {
    let mut status = release.status.clone().unwrap_or_default();
    let (phase, tasks) = expected_phases(release);
    status.phase = phase;
    status
        .tasks
        .iter_mut()
        .zip(tasks)
        .for_each(|(task, phase)| task.phase = phase);
    status
}

/// Whether the engine has followed all requests and counted every decision, so that the status is
/// current.
pub fn is_followed(release: &Release, approvals: &[Approval]) -> bool {
    let status = release.status.as_ref();
    status.is_some_and(|status| *status == expected_status(release))
        && !has_uncounted_decision(release, approvals)
}

/// Phases of [`expected_status`]: of the release and of its tasks.
pub fn expected_phases(release: &Release) -> (ReleasePhase, Vec<TaskPhase>) {
    let control = &release.spec.control;
    let Some(status) = &release.status else {
        return (ReleasePhase::Pending, vec![]);
    };
    if status.phase.is_final() {
        return (status.phase, status.tasks.iter().map(|t| t.phase).collect());
    }
    let current = status.tasks.iter().position(|t| !t.phase.is_passed());
    let wished = status
        .tasks
        .iter()
        .enumerate()
        .map(|(i, task)| expected_task_phase(task, control, Some(i) == current));
    let wished: Vec<TaskPhase> = wished.collect();
    let phase = match (status.phase, current.and_then(|i| wished.get(i))) {
        _ if control.abort => ReleasePhase::Aborting,
        (ReleasePhase::Aborting | ReleasePhase::Pending, _) => status.phase,
        (_, Some(TaskPhase::Failed)) => ReleasePhase::Failed,
        (_, Some(TaskPhase::Waiting)) => ReleasePhase::Waiting,
        (_, Some(TaskPhase::Paused)) => ReleasePhase::Paused,
        (_, Some(_)) => ReleasePhase::Running,
        (phase, None) => phase,
    };
    (phase, wished)
}

/// Expected phase of a task. Only the current task can be paused or continue.
fn expected_task_phase(task: &TaskStatus, control: &Control, is_current: bool) -> TaskPhase {
    use TaskPhase::{Failed, Paused, Pending, Running, Skipped, Succeeded, Waiting};
    let told = task.phase;
    if !is_current
        || control.abort
        || !matches!(told, Failed | Paused | Pending | Running | Waiting)
    {
        return told;
    }
    let is_retried = is_retried(task, control);
    let is_skipped = control.skip.contains(&task.name)
        && matches!(told, Failed | Paused | Waiting)
        && is_skippable(task);
    match told {
        _ if is_skipped && !control.paused && !is_retried => Skipped,
        Failed if !is_retried => Failed,
        _ if control.paused => Paused,
        Failed => Running,
        Waiting | Paused if is_let_through(task, control) => {
            if task.kind == TaskKind::Proceed {
                Succeeded
            } else {
                Running
            }
        }
        Paused if task.started_at.is_none() => Pending,
        Paused if waits_for_person(task) => Waiting,
        Paused => Running,
        as_told => as_told,
    }
}

/// Whether a retry of the failed attempt is requested.
pub(super) fn is_retried(task: &TaskStatus, control: &Control) -> bool {
    let attempt = task.attempt.max(1);
    attempt <= MAX_RETRIES
        && control
            .retry
            .get(&task.name)
            .is_some_and(|retries| *retries >= attempt)
}

/// Whether the engine would skip the task. For a deploy that has begun to replace pods only the
/// engine knows.
pub(super) fn is_skippable(task: &TaskStatus) -> bool {
    task.kind != TaskKind::Approval
        && !(task.kind == TaskKind::Deploy && task.batches.iter().any(|b| b.started_at.is_some()))
}

/// Whether the gate of the task was opened.
fn is_let_through(task: &TaskStatus, control: &Control) -> bool {
    let level = control.allow.get(&task.name).copied().unwrap_or(0);
    match task.kind {
        TaskKind::Proceed => level >= 1,
        TaskKind::Deploy => closed_batch(task).is_some_and(|batch| level >= batch),
        TaskKind::Build
        | TaskKind::Approval
        | TaskKind::Verify
        | TaskKind::CleanUp
        | TaskKind::Unknown => false,
    }
}

/// Whether the task waits at a gate, also while the release is paused.
fn waits_for_person(task: &TaskStatus) -> bool {
    match task.kind {
        TaskKind::Approval | TaskKind::Proceed => true,
        TaskKind::Deploy => closed_batch(task).is_some(),
        TaskKind::Build | TaskKind::Verify | TaskKind::CleanUp | TaskKind::Unknown => false,
    }
}

/// The next batch of a deploy that waits at a gate: not started, and not the first.
fn closed_batch(task: &TaskStatus) -> Option<u32> {
    let at = task
        .batches
        .iter()
        .position(|b| b.phase != BatchPhase::Done)?;
    let batch = &task.batches[at];
    (at > 0 && batch.started_at.is_none()).then_some(batch.number)
}

/// The last request and who made it, in brackets.
fn describe_last_intent(release: &Release) -> String {
    let last = release.spec.control.last.as_ref();
    last.map_or_else(String::new, |w| format!(" ({} by {})", w.action, w.by))
}

/// Applies an intent to the control levels. Returns its name for the history.
pub fn apply_to_control(
    release: &Release,
    wish: &ControlIntent,
    control: &mut Control,
) -> Result<String, Refusal> {
    let refused = |why: String| Err(Refusal::NotApplicable(why));
    let name = release.metadata.name.clone().unwrap_or_default();
    let status = expected_status(release);
    if status.phase.is_final() {
        return refused(format!("release {name} is over: {:?}", status.phase));
    }
    if status.phase == ReleasePhase::Aborting && *wish != ControlIntent::Abort {
        return refused(format!(
            "release {name} is being aborted{}",
            describe_last_intent(release)
        ));
    }
    let target = |task: &str| TargetTask::find(release, &status, &name, task);
    match wish {
        ControlIntent::Pause => {
            control.paused = true;
            Ok("pause".into())
        }
        ControlIntent::Resume => {
            control.paused = false;
            Ok("resume".into())
        }
        ControlIntent::Abort => {
            control.abort = true;
            Ok("abort".into())
        }
        ControlIntent::Allow { task, batch } => target(task)?.let_through(*batch, control),
        ControlIntent::Retry { task, force } => target(task)?.retry(*force, control),
        ControlIntent::Skip { task } => target(task)?.skip(control),
    }
}

/// The task that an intent is about.
struct TargetTask<'a> {
    release: &'a Release,
    /// Name of the release.
    name: &'a str,
    /// As it will be when the engine has seen all intents so far.
    task: &'a TaskStatus,
    /// Phase that the engine has reported.
    told: TaskPhase,
}

impl<'a> TargetTask<'a> {
    /// Task of this name in the expected status of a release.
    fn find(
        release: &'a Release,
        status: &'a ReleaseStatus,
        name: &'a str,
        of: &str,
    ) -> Result<Self, Refusal> {
        let Some(task) = status.tasks.iter().find(|t| t.name == of) else {
            let known: Vec<&str> = status.tasks.iter().map(|t| t.name.as_str()).collect();
            let known = if known.is_empty() {
                "none yet".into()
            } else {
                known.join(", ")
            };
            return Err(Refusal::NotApplicable(format!(
                "release {name} has no task {of:?}; it has {known}"
            )));
        };
        let mut reported = release.status.iter().flat_map(|s| &s.tasks);
        let told = reported
            .find(|t| t.name == of)
            .map_or(task.phase, |t| t.phase);
        Ok(Self {
            release,
            name,
            task,
            told,
        })
    }

    fn refuse_idle(&self, word: &str) -> Result<String, Refusal> {
        let Self { name, task, .. } = self;
        let news = if self.told == task.phase {
            String::new()
        } else {
            describe_last_intent(self.release)
        };
        Err(Refusal::NotApplicable(format!(
            "task {} of {name} is {:?}{news}: there is nothing to {word}",
            task.name, task.phase
        )))
    }

    fn let_through(&self, batch: u32, control: &mut Control) -> Result<String, Refusal> {
        let refused = |why: String| Err(Refusal::NotApplicable(why));
        let Self { name, task, .. } = self;
        let of = &task.name;
        if self.told.is_passed() || matches!(task.phase, TaskPhase::Aborted | TaskPhase::Skipped) {
            return self.refuse_idle("proceed with");
        }
        if !matches!(task.kind, TaskKind::Proceed | TaskKind::Deploy) {
            return refused(format!(
                "task {of} is of kind {}: it waits for nobody",
                task.kind
            ));
        }
        let last = task.batches.len();
        if task.kind == TaskKind::Deploy && last > 0 && batch as usize > last {
            return refused(format!("task {of} has {last} batches, not {batch}"));
        }
        let asked = describe_last_intent(self.release);
        if control.paused {
            return refused(format!("release {name} is paused{asked}: resume it first"));
        }
        let level = control.allow.entry(of.clone()).or_default();
        if *level >= batch {
            // Two people at one gate: tell the second that the first was faster.
            let what = if task.kind == TaskKind::Proceed {
                format!("{of} of {name}")
            } else {
                format!("batch {batch} of {of}")
            };
            return Err(Refusal::TooLate(
                what,
                format!("it has been told to proceed already{asked}"),
            ));
        }
        *level = batch;
        Ok(if task.kind == TaskKind::Proceed {
            format!("let it go on after {of}")
        } else {
            format!("let batch {batch} of {of} proceed")
        })
    }

    fn retry(&self, force: bool, control: &mut Control) -> Result<String, Refusal> {
        let Self { name, task, .. } = self;
        let of = &task.name;
        // A repeated retry counts once.
        if task.phase != TaskPhase::Failed
            && !(self.told == TaskPhase::Failed && is_retried_in(self.release, of))
        {
            return self.refuse_idle("retry");
        }
        // One retry for each attempt so far.
        let retries = task.attempt.max(1);
        if retries > MAX_RETRIES {
            return Err(Refusal::NotApplicable(format!(
                "task {of} of {name} was tried {retries} times, and is not tried again: abort"
            )));
        }
        control.retry.insert(of.clone(), retries);
        if force {
            control.take_over.insert(of.clone(), retries + 1);
        }
        let how = if force {
            ", taking over what conflicts"
        } else {
            ""
        };
        Ok(format!("retry {of}{how}"))
    }

    fn skip(&self, control: &mut Control) -> Result<String, Refusal> {
        let Self { name, task, .. } = self;
        let of = &task.name;
        if task.kind == TaskKind::Approval {
            return Err(Refusal::NotApplicable(format!(
                "task {of} of {name} is an approval, which cannot be skipped: approve it, or abort"
            )));
        }
        let again = task.phase == TaskPhase::Skipped && self.told != TaskPhase::Skipped;
        if !again
            && !matches!(
                task.phase,
                TaskPhase::Failed | TaskPhase::Waiting | TaskPhase::Paused
            )
        {
            return self.refuse_idle("skip");
        }
        if !control.skip.contains(of) {
            control.skip.push(of.clone());
        }
        Ok(format!("skip {of}"))
    }
}

/// Release after an intent has been applied.
pub fn preview_intent(release: &Release, wish: &ControlIntent) -> Result<Release, Refusal> {
    let mut wished = release.clone();
    apply_to_control(release, wish, &mut wished.spec.control)?;
    Ok(wished)
}

fn is_retried_in(release: &Release, task: &str) -> bool {
    let status = release.status.iter().flat_map(|s| &s.tasks);
    status
        .filter(|t| t.name == task)
        .any(|t| is_retried(t, &release.spec.control))
}

/// Whether a person may decide on this attempt of an approval task now.
pub fn may_decide(release: &Release, of: &str, attempt: u32) -> Result<(), Refusal> {
    let name = release.metadata.name.clone().unwrap_or_default();
    let status = expected_status(release);
    let what = format!("task {of} of release {name}");
    let task = status
        .tasks
        .iter()
        .find(|t| t.name == of && t.kind == TaskKind::Approval);
    let Some(task) = task else {
        return Err(Refusal::NotApplicable(format!(
            "release {name} has no approval task {of:?}"
        )));
    };
    if status.phase == ReleasePhase::Aborting {
        return Err(Refusal::NotApplicable(format!(
            "release {name} is being aborted{}",
            describe_last_intent(release)
        )));
    }
    if task.phase != TaskPhase::Waiting || status.phase.is_final() {
        let held = if task.phase == TaskPhase::Paused {
            "; resume the release first"
        } else {
            ""
        };
        let why = format!(
            "{what} does not wait for an approval: it is {:?}{held}",
            task.phase
        );
        return Err(Refusal::NotApplicable(why));
    }
    if task.attempt != attempt {
        return Err(Refusal::TooLate(
            what,
            format!("it is at attempt {}, not {attempt}", task.attempt),
        ));
    }
    Ok(())
}
