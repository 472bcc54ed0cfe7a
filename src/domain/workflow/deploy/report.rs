//! Status of a deploy: its batches, its message, and what the environment holds.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    Deploy, Stage, fails_after,
    workloads::{BatchProgress, WorkloadView},
};
use crate::{
    api::{
        BatchPhase, BatchStatus, EnvironmentState, EnvironmentStatus, InventoryItem, ObjectRef,
        TaskPhase,
    },
    domain::{
        batches,
        text::format_count,
        workflow::{
            ReleaseStep,
            environment::{describe_unreadable, environment_status, find_owned_object, set_status},
            outcome::TaskOutcome,
            task_error::TaskError,
            timers::TimerKind,
            view::TaskView,
        },
    },
};

/// What a pass notes of the batches.
pub(super) struct NotedBatches {
    batches: Vec<BatchStatus>,
    /// Entries of the history: what is done, and how many pods are new.
    finished: Vec<(String, String)>,
}

impl NotedBatches {
    /// These batches; none when they start over.
    pub(super) fn unless_begun_anew(mut self, begins_anew: bool) -> Self {
        if begins_anew {
            self.batches.clear();
        }
        self
    }

    pub(super) fn note_in(&self, mut outcome: TaskOutcome) -> TaskOutcome {
        outcome.status.batches.clone_from(&self.batches);
        let finished = self.finished.iter().cloned();
        finished.fold(outcome, |outcome, (action, message)| {
            outcome.with_engine_history(action, Some(message))
        })
    }
}

/// What each batch is to reach and how far it is.
pub(super) fn note_batches(view: &TaskView, workloads: &BatchProgress, hold: bool) -> NotedBatches {
    let at = view.observed.recorded_now();
    let BatchProgress {
        amounts,
        progress,
        done,
        upto,
        ..
    } = workloads;
    let (done, upto) = (*done, *upto);
    let targets = sum_targets(workloads);
    let mut batches = view.task.batches.clone();
    reset_batches(&mut batches, amounts.len());
    // All latches are off and the batches are no longer known: keep what was recorded.
    let whole = batches.len() == amounts.len();
    let done = if whole {
        done
    } else if done == amounts.len() {
        batches.len()
    } else {
        0
    };
    let mut phases = progress.iter().map(|p| p.phase);
    let phase = phases.find(|p| matches!(p, BatchPhase::Surging | BatchPhase::Retiring));
    let (mut finished, n) = (vec![], batches.len());
    for (i, batch) in batches.iter_mut().enumerate() {
        if whole {
            batch.number = u32::try_from(i + 1).unwrap_or(u32::MAX);
            batch.target = targets[i];
        }
        if batch.phase == BatchPhase::Done {
            continue;
        }
        if i < done {
            batch.phase = BatchPhase::Done;
            batch.started_at.get_or_insert_with(|| at.clone());
            batch.finished_at = Some(at.clone());
            let BatchStatus { number, target, .. } = batch;
            let action = format!("batch {number} of {n} done");
            finished.push((action, format_count(*target, "new pod")));
        } else if i == done && upto > done && !hold {
            batch.started_at.get_or_insert_with(|| at.clone());
            batch.phase = phase.unwrap_or(BatchPhase::Surging);
        }
    }
    NotedBatches { batches, finished }
}

/// New pods of all workloads after each batch.
fn sum_targets(batches: &BatchProgress) -> Vec<u32> {
    let sizes = batches.workloads.iter().map(WorkloadView::size);
    batches::sum_targets(batches.amounts, sizes)
}

/// Begins a new list of batches, unless the batches of this rollout have begun.
fn reset_batches(list: &mut Vec<BatchStatus>, count: usize) {
    let begun = list.iter().any(|b| b.started_at.is_some());
    // Their number differs before any was done: the latch of an earlier rollout was removed first.
    let other = list.len() != count && list.iter().all(|b| b.phase != BatchPhase::Done);
    if !begun || other {
        *list = (0..count).map(|_| BatchStatus::default()).collect();
    }
}

/// What a pass over the objects of a deploy does and waits for.
pub(super) struct DeployProgress {
    pub(super) steps: Vec<ReleaseStep>,
    pub(super) waits: Vec<String>,
    /// A batch is in progress.
    pub(super) acting: bool,
}

/// Outcome of a pass that goes on or waits; a batch that takes too long fails.
pub(super) fn report_progress(
    deploy: &Deploy,
    view: &TaskView,
    outcome: TaskOutcome,
    progress: DeployProgress,
) -> Stage<TaskOutcome> {
    let DeployProgress {
        steps,
        waits,
        acting,
    } = progress;
    let batches = &outcome.status.batches;
    let current = batches.iter().position(|b| b.phase != BatchPhase::Done);
    let trouble = view.observed.trouble.map(|t| t.message.clone());
    let words = trouble.unwrap_or_else(|| waits.join("; "));
    let outcome = match current {
        None => outcome.in_phase(TaskPhase::Running, Some(words)),
        Some(next) if waits.is_empty() && !acting => {
            let words = describe_pause(batches, next);
            outcome.waiting(words)
        }
        Some(current) => {
            let (number, of) = (current + 1, batches.len());
            let outcome = check_batch_time(deploy, view, outcome, current, &words)?;
            let words = match of {
                1 => words,
                _ => format!("batch {number} of {of}: {words}"),
            };
            outcome.in_phase(TaskPhase::Running, Some(words))
        }
    };
    Ok(outcome.with_steps(steps))
}

/// What is said when the batch at this index waits for a person.
fn describe_pause(batches: &[BatchStatus], next: usize) -> String {
    let done = next.checked_sub(1).map_or(0, |last| batches[last].target);
    let total = batches.last().map_or(0, |b| b.target);
    format!(
        "batch {next} of {} done, {done} of {total} pods new; batch {} waits to proceed",
        batches.len(),
        next + 1
    )
}

/// Fails when the batch at this index takes too long; else looks again when it would.
fn check_batch_time(
    deploy: &Deploy,
    view: &TaskView,
    outcome: TaskOutcome,
    current: usize,
    waits: &str,
) -> Stage<TaskOutcome> {
    let batches = &outcome.status.batches;
    if batches[current].started_at.is_none() {
        return Ok(outcome);
    }
    let seconds = i64::from(deploy.environment.rollout.timeout_seconds);
    let view = view.with_task(&outcome.status);
    let left = seconds - view.seconds_spent(TimerKind::Batch(current));
    if left <= 0 {
        let late = TaskError::BatchTimeout {
            batch: current + 1,
            of: batches.len(),
            seconds,
            waits: waits.to_owned(),
        };
        return Err(fails_after(&outcome)(late));
    }
    Ok(outcome.requeued_after(SignedDuration::from_secs(left)))
}

/// Step that sets the environment's state and inventory; `None` when the App's status has them
/// already. An object is in the inventory before it is created, so that no crash leaves an unknown
/// object behind.
pub(super) fn note_inventory(
    deploy: &Deploy,
    view: &TaskView,
    state: EnvironmentState,
) -> Option<ReleaseStep> {
    let name = &deploy.environment.name;
    let before = environment_status(deploy.app, name);
    let with_live_uid = |object: &Value| {
        let object = ObjectRef::from_object(object);
        let uid = view.object(&object).map(|s| s.uid.clone());
        InventoryItem::new(object, uid.unwrap_or_default())
    };
    let mut inventory: Vec<InventoryItem> = deploy.objects.iter().map(with_live_uid).collect();
    // Objects of an earlier deploy that the manifests no longer name stay until the clean-up.
    for item in &before.inventory {
        let there = find_owned_object(view, name, item).is_some()
            || describe_unreadable(view, [&item.object]).is_some();
        let mut noted = inventory.iter();
        if !noted.any(|i| i.object == item.object) && there {
            inventory.push(item.clone());
        }
    }
    let mut status = EnvironmentStatus {
        state,
        message: None,
        release: Some(view.release_name().into()),
        inventory,
        service_account_name: deploy.environment.service_account_name.clone(),
        ..before
    };
    if state == EnvironmentState::Running {
        status.images.clone_from(&view.task.new_images);
        status.version.clone_from(&view.task.new_version);
    }
    set_status(view, deploy.app, name, status)
}
