//! Status of a deploy: its batches, its message, and what the environment holds.

use jiff::SignedDuration;

use super::{Deploy, workloads::BatchProgress};
use crate::{
    api::{BatchPhase, BatchStatus, EnvironmentState, EnvironmentStatus, InventoryItem, TaskPhase},
    domain::{
        batches,
        workflow::{
            environment::{describe_unreadable, environment_status, find_owned_object, set_status},
            objects::object_key,
            reconciliation::{Flow, Reconciliation},
            task_error::TaskError,
            timers::TimerKind,
        },
    },
};

/// Records what each batch is to reach and how far it is.
pub(super) fn note_batches(
    run: &mut Reconciliation,
    index: usize,
    told: &BatchProgress,
    hold: bool,
) {
    let at = run.format_now();
    let name = run.status.tasks[index].name.clone();
    let BatchProgress {
        all,
        amounts,
        progress,
        done,
        upto,
    } = told;
    let (done, upto) = (*done, *upto);
    let target = |r: &super::workloads::WorkloadRollout| {
        batches::compute_targets(amounts, r.manifest.rollout_size(run.workload(&r.item)))
    };
    let targets: Vec<Vec<u32>> = all.iter().map(target).collect();
    let sum = |i: usize| {
        targets
            .iter()
            .fold(0, |sum: u32, t| sum.saturating_add(t[i]))
    };
    let list = &mut run.status.tasks[index].batches;
    reset_batches(list, amounts.len());
    // All latches are off and the batches are no longer known: keep what was recorded.
    let whole = list.len() == amounts.len();
    let done = if whole {
        done
    } else if done == amounts.len() {
        list.len()
    } else {
        0
    };
    let phase = progress
        .iter()
        .map(|p| p.phase)
        .find(|p| matches!(p, BatchPhase::Surging | BatchPhase::Retiring));
    let mut finished = vec![];
    for (i, batch) in list.iter_mut().enumerate() {
        if whole {
            (batch.number, batch.target) = (u32::try_from(i + 1).unwrap_or(u32::MAX), sum(i));
        }
        if batch.phase == BatchPhase::Done {
            continue;
        }
        if i < done {
            batch.phase = BatchPhase::Done;
            batch.started_at.get_or_insert_with(|| at.clone());
            batch.finished_at = Some(at.clone());
            finished.push((batch.number, batch.target));
        } else if i == done && upto > done && !hold {
            batch.started_at.get_or_insert_with(|| at.clone());
            batch.phase = phase.unwrap_or(BatchPhase::Surging);
        }
    }
    let n = list.len();
    for (number, target) in finished {
        let pods = if target == 1 { "pod" } else { "pods" };
        run.add_history(
            "engine",
            format!("batch {number} of {n} done"),
            Some(&name),
            Some(format!("{target} new {pods}")),
        );
    }
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

/// Sets the task's phase and message; `Err` when the batch took too long.
pub(super) fn report_progress(
    deploy: &Deploy,
    run: &mut Reconciliation,
    waits: Vec<String>,
    acting: bool,
) -> Result<Flow, TaskError> {
    let task = &run.status.tasks[deploy.index];
    let n = task.batches.len();
    let current = task
        .batches
        .iter()
        .position(|b| b.phase != BatchPhase::Done);
    let trouble = run.observed.trouble.map(|t| t.message.clone());
    if let (Some(i), true, true) = (current, waits.is_empty(), !acting) {
        let done = i.checked_sub(1).map_or(0, |i| task.batches[i].target);
        let total = task.batches.last().map_or(0, |b| b.target);
        let words = format!(
            "batch {i} of {n} done, {done} of {total} pods new; batch {} waits to proceed",
            i + 1
        );
        run.set_phase(deploy.index, TaskPhase::Waiting, Some(words));
        return Ok(Flow::Stay);
    }
    let mut words = trouble.unwrap_or_else(|| waits.join("; "));
    if let Some(i) = current {
        let begun = task.batches[i].started_at.is_some();
        let most = i64::from(deploy.environment.rollout.timeout_seconds);
        if begun {
            let spent = run.seconds_spent(deploy.index, TimerKind::Batch(i));
            if spent >= most {
                return Err(TaskError::BatchTimeout {
                    batch: i + 1,
                    of: n,
                    seconds: most,
                    waits: words,
                });
            }
            run.requeue_after(SignedDuration::from_secs(most - spent));
        }
        if n > 1 {
            words = format!("batch {} of {n}: {words}", i + 1);
        }
    }
    run.set_phase(deploy.index, TaskPhase::Running, Some(words));
    Ok(Flow::Stay)
}

/// Sets the environment's state and inventory; true when the App's status has them already. An
/// object is in the inventory before it is created, so that no crash leaves an unknown object
/// behind.
pub(super) fn note_inventory(
    deploy: &Deploy,
    run: &mut Reconciliation,
    state: EnvironmentState,
) -> bool {
    let name = &deploy.environment.name;
    let before = environment_status(deploy.app, name);
    let task = &run.status.tasks[deploy.index];
    let mut inventory = vec![];
    for object in &deploy.objects {
        let item = object_key(object);
        let uid = run
            .observed
            .objects
            .get(&item)
            .map(|s| s.uid.clone())
            .unwrap_or_default();
        inventory.push(InventoryItem { uid, ..item });
    }
    // Objects of an earlier deploy that the manifests no longer name stay until the clean-up.
    for item in &before.inventory {
        let named = |i: &InventoryItem| InventoryItem {
            uid: String::new(),
            ..i.clone()
        };
        let there = find_owned_object(run, name, item).is_some()
            || describe_unreadable(run, [item]).is_some();
        if !inventory.iter().any(|i| named(i) == named(item)) && there {
            inventory.push(item.clone());
        }
    }
    let mut status = EnvironmentStatus {
        state,
        message: None,
        release: Some(run.name().into()),
        inventory,
        service_account_name: deploy.environment.service_account_name.clone(),
        ..before
    };
    if state == EnvironmentState::Running {
        status.images.clone_from(&task.new_images);
        status.version.clone_from(&task.new_version);
    }
    set_status(run, deploy.app, name, status)
}
