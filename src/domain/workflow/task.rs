//! One task in one pass: what people want of it, then what its kind does.

use super::{
    approval, build, clean_up, deploy,
    outcome::{TaskOutcome, phase_of_unheld},
    plan::find_task_spec,
    proceed, verify,
    view::TaskView,
};
use crate::api::{MAX_RETRIES, Task, TaskKind, TaskPhase, TaskSpec};

/// Decides about the next task of a release.
pub(super) fn decide_task(view: &TaskView) -> TaskOutcome {
    let paused = view.spec().control.paused;
    let outcome = resume_task(view, retry_task(view));
    // A held deploy still has steps: an open latch is closed.
    let held = paused || outcome.status.phase == TaskPhase::Failed;
    let outcome = skip_task(view, outcome);
    if outcome.is_passed() {
        return outcome;
    }
    let outcome = if paused && outcome.status.phase != TaskPhase::Failed {
        outcome.in_phase(TaskPhase::Paused, None)
    } else {
        outcome
    };
    let status = outcome.status.clone();
    let view = TaskView {
        held,
        ..view.with_task(&status)
    };
    match find_task_spec(&view) {
        Ok(task) => outcome.then(decide_kind(&view, &task)),
        Err(why) => outcome.failed(why),
    }
}

/// What a task of each kind does.
fn decide_kind(view: &TaskView, task: &Task) -> TaskOutcome {
    match task.spec() {
        Some(TaskSpec::Deploy(_)) => deploy::decide_deploy(view),
        _ if view.held => TaskOutcome::unchanged(view),
        Some(TaskSpec::Build(task)) => build::decide_build(view, task),
        Some(TaskSpec::Approval(task)) => approval::decide_approval(view, task),
        Some(TaskSpec::Verify(task)) => verify::decide_verify(view, task),
        Some(TaskSpec::Proceed(task)) => proceed::decide_proceed(view, task),
        Some(TaskSpec::CleanUp(task)) => clean_up::decide_clean_up(view, task),
        None => TaskOutcome::unchanged(view),
    }
}

/// Begins a new attempt of a failed task when somebody has asked for it.
fn retry_task(view: &TaskView) -> TaskOutcome {
    let mut outcome = TaskOutcome::unchanged(view);
    let retries = view.spec().control.retry.get(&view.task.name);
    let retries = retries.copied().unwrap_or(0);
    // Each attempt has a higher number than the one before, so no retry count starts attempts
    // without end.
    let attempt = retries.min(MAX_RETRIES) + 1;
    let task = &mut outcome.status;
    if task.phase != TaskPhase::Failed || retries == 0 || attempt <= task.attempt {
        return outcome;
    }
    task.attempt = attempt;
    task.phase = TaskPhase::Running;
    task.finished_at = None;
    task.message = None;
    task.probes.clear();
    task.drain_since = None;
    // Progress is read from the workloads again.
    task.batches.clear();
    if task.started_at.take().is_some() {
        outcome = outcome.started();
    }
    outcome.with_engine_history(format!("attempt {attempt}"), None)
}

/// Goes on with a paused task when nobody holds the release any more. Time on hold does not count
/// against a batch.
fn resume_task(view: &TaskView, mut outcome: TaskOutcome) -> TaskOutcome {
    if view.spec().control.paused || outcome.status.phase != TaskPhase::Paused {
        return outcome;
    }
    outcome.status.phase = phase_of_unheld(&outcome.status);
    outcome.with_restarted_batch()
}

/// Skips the task when somebody has asked for it, or says why it is not skipped.
fn skip_task(view: &TaskView, outcome: TaskOutcome) -> TaskOutcome {
    let (control, name) = (&view.spec().control, &view.task.name);
    if control.paused || !control.skip.contains(name) {
        return outcome;
    }
    let refused = match view.task.kind {
        TaskKind::Approval => Some("an approval cannot be skipped: approve it, or abort"),
        TaskKind::Deploy => deploy::is_half_way(&view.with_task(&outcome.status))
            .then_some("a deploy that is half-way cannot be skipped: retry it, or abort"),
        TaskKind::Build
        | TaskKind::Verify
        | TaskKind::Proceed
        | TaskKind::CleanUp
        | TaskKind::Unknown => None,
    };
    let Some(why) = refused else {
        return outcome.in_phase(TaskPhase::Skipped, None);
    };
    let mut history = view.release.history.iter();
    if history.any(|h| h.task.as_ref() == Some(name) && h.message.as_deref() == Some(why)) {
        return outcome;
    }
    outcome.with_engine_history("not skipped", Some(why.into()))
}
