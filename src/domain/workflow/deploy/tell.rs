//! Status of a deploy: its batches, its message, and what the environment holds.

use jiff::SignedDuration;

use super::{Deploy, workloads::Batches};
use crate::{
    api::{BatchPhase, BatchStatus, EnvironmentState, EnvironmentStatus, InventoryItem, TaskPhase},
    domain::{
        batches,
        workflow::{
            environment::{seen, set, told, unseen},
            objects::key,
            run::{Flow, Run},
            timers::Lasting,
        },
    },
};

/// Records what each batch is to reach and how far it is.
pub(super) fn note_batches(run: &mut Run, index: usize, told: &Batches, hold: bool) {
    let at = run.at();
    let name = run.status.tasks[index].name.clone();
    let Batches {
        all,
        amounts,
        progress,
        done,
        upto,
    } = told;
    let (done, upto) = (*done, *upto);
    let target = |r: &super::workloads::Rolled| {
        batches::targets(amounts, r.manifest.size(run.workload(&r.item)))
    };
    let targets: Vec<Vec<u32>> = all.iter().map(target).collect();
    let sum = |i: usize| {
        targets
            .iter()
            .fold(0, |sum: u32, t| sum.saturating_add(t[i]))
    };
    let list = &mut run.status.tasks[index].batches;
    let begun = list.iter().any(|b| b.started_at.is_some());
    // Their number differs before any was done: the latch of an earlier rollout was removed first.
    let other = list.len() != amounts.len() && list.iter().all(|b| b.phase != BatchPhase::Done);
    if !begun || other {
        *list = (0..amounts.len()).map(|_| BatchStatus::default()).collect();
    }
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
        run.history(
            "engine",
            format!("batch {number} of {n} done"),
            Some(&name),
            Some(format!("{target} new {pods}")),
        );
    }
}

/// Sets the task's phase and message; `Err` when the batch took too long.
pub(super) fn tell(
    deploy: &Deploy,
    run: &mut Run,
    waits: Vec<String>,
    acting: bool,
) -> Result<Flow, String> {
    let task = &run.status.tasks[deploy.index];
    let n = task.batches.len();
    let current = task
        .batches
        .iter()
        .position(|b| b.phase != BatchPhase::Done);
    let trouble = run.o.trouble.map(|t| t.message.clone());
    if let (Some(i), true, true) = (current, waits.is_empty(), !acting) {
        let done = i.checked_sub(1).map_or(0, |i| task.batches[i].target);
        let total = task.batches.last().map_or(0, |b| b.target);
        let words = format!(
            "batch {i} of {n} done, {done} of {total} pods new; batch {} waits to be let through",
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
            let spent = run.spent(deploy.index, Lasting::Batch(i));
            if spent >= most {
                return Err(format!(
                    "batch {} of {n} is not done within {most} s: {words}",
                    i + 1
                ));
            }
            run.look_in(SignedDuration::from_secs(most - spent));
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
pub(super) fn note_inventory(deploy: &Deploy, run: &mut Run, state: EnvironmentState) -> bool {
    let name = &deploy.environment.name;
    let before = told(deploy.app, name);
    let task = &run.status.tasks[deploy.index];
    let mut inventory = vec![];
    for object in &deploy.objects {
        let item = key(object);
        let uid = run
            .o
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
        let there = seen(run, name, item).is_some() || unseen(run, [item]).is_some();
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
    set(run, deploy.app, name, status)
}
