//! The way back. First the status records that the release is being aborted: from then on its lanes
//! are closed. Then every deploy that it began is undone, the last one first. A baseline workload
//! goes back by one patch. In a gray environment, once its routes are closed and drained, the
//! objects that this release created are deleted, and what was there before is restored.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    ReleaseStep,
    environment::{
        LEFT_ALONE_PREFIX, check_drained, delete_items, describe_left_alone, describe_unreachable,
        describe_unreadable, environment_status, find_owned_object, set_status,
    },
    gate,
    objects::{object_key, render_placed_objects, set_annotation},
    reconciliation::Reconciliation,
    timers::TimerKind,
};
use crate::{
    api::{
        Environment, EnvironmentState, EnvironmentStatus, InventoryItem, ReleasePhase,
        RolloutRecord, RolloutState, TaskKind, TaskPhase, label,
    },
    domain::{
        account::Account,
        batches::{UndoAction, restore_object},
        owner::is_same,
        revision::FrozenApp,
        text::{Clean, join_errors},
    },
};

/// Seconds to wait for objects that the server refuses to show; after that, the rest is enough.
const HIDDEN_WAIT_SECONDS: i64 = 20;

pub(super) fn decide_abort(run: &mut Reconciliation) {
    if run.status.phase != ReleasePhase::Aborting {
        enter_abort(run);
        return;
    }
    let mut left = None;
    for index in (0..run.status.tasks.len()).rev() {
        let task = &run.status.tasks[index];
        if task.phase == TaskPhase::Aborted || task.phase.is_passed() {
            continue;
        }
        let undone = match task.kind {
            _ if !gate::has_begun(task) => UndoOutcome::Done(None),
            TaskKind::Deploy => undo_deploy(run, index),
            TaskKind::CleanUp => stop_clean_up(run, index),
            TaskKind::Build
            | TaskKind::Approval
            | TaskKind::Verify
            | TaskKind::Proceed
            | TaskKind::Unknown => UndoOutcome::Done(None),
        };
        match undone {
            UndoOutcome::Done(message) => run.set_phase(index, TaskPhase::Aborted, message),
            UndoOutcome::Waits(why) => {
                run.status.tasks[index].message = Some(why.clone());
                run.status.task = Some(run.status.tasks[index].name.clone());
                left = Some(why);
            }
        }
    }
    match left {
        Some(why) => {
            let words = run.observed.trouble.map_or(why, |t| t.message.clone());
            run.status.message = Some(words);
            run.requeue_after(SignedDuration::from_secs(5));
        }
        None => {
            let why = abort_reason(run);
            run.finish(ReleasePhase::Aborted, Some(why));
        }
    }
}

/// Why it was rolled back: who asked for it, what had failed, and what was left behind.
fn abort_reason(run: &Reconciliation) -> String {
    let clean = |text: &str| Clean::from_untrusted(text).to_string();
    let wish = run
        .spec()
        .control
        .last
        .as_ref()
        .filter(|wish| wish.action == "abort");
    let comment = wish
        .and_then(|w| w.comment.as_deref())
        .map(|c| format!(": {}", clean(c)));
    let by = wish.map(|w| format!("aborted by {}{}", clean(&w.by), comment.unwrap_or_default()));
    let mut told = vec![by.unwrap_or_else(|| "aborted".into())];
    // The last phase change of a task before the abort.
    let history = &run.status.history;
    let begun = history
        .iter()
        .rposition(|h| h.by == "engine" && h.action == "abort")
        .unwrap_or(history.len());
    let turns = [
        "failed",
        "running",
        "waiting",
        "paused",
        "succeeded",
        "skipped",
    ];
    let mut before = history[..begun]
        .iter()
        .rev()
        .filter(|h| h.by == "engine" && h.task.is_some());
    let last = before
        .find(|h| turns.contains(&h.action.as_str()))
        .filter(|h| h.action == "failed");
    told.extend(last.map(|h| {
        let (task, why) = (
            h.task.clone().unwrap_or_default(),
            h.message.as_deref().unwrap_or("no reason is known"),
        );
        format!("{task} had failed: {why}")
    }));
    let left = run
        .status
        .tasks
        .iter()
        .filter(|t| t.phase == TaskPhase::Aborted);
    told.extend(left.filter_map(|t| t.message.clone()));
    told.join("; ")
}

/// Only records that the release is being aborted; this closes the lanes.
fn enter_abort(run: &mut Reconciliation) {
    run.status.phase = ReleasePhase::Aborting;
    run.status.message = Some("rolls back".into());
    run.add_history("engine", "abort", None, None);
    let at = run.format_now();
    for task in &mut run.status.tasks {
        if task.kind == TaskKind::Deploy && gate::has_begun(task) {
            task.phase = TaskPhase::Running;
            task.started_at = Some(at.clone());
            task.finished_at = None;
            task.drain_since = None;
            task.message = Some("rolls back".into());
        }
        // A finished clean-up has nothing to undo; one in progress stops.
    }
    for index in 0..run.status.tasks.len() {
        if let Some(job) = running_job(run, index) {
            let by = Account::deployer(&job.namespace);
            run.steps.push(ReleaseStep::Delete { item: job, by });
        }
    }
    run.requeue_after(SignedDuration::ZERO);
}

fn running_job(run: &Reconciliation, index: usize) -> Option<InventoryItem> {
    let task = &run.status.tasks[index];
    let seen = run.observed.jobs.get(task.job.as_ref()?)?;
    (task.phase == TaskPhase::Running && !seen.succeeded && seen.failed.is_none())
        .then(|| seen.item.clone())
}

/// What came of undoing a task in one pass.
enum UndoOutcome {
    /// Nothing is left to do. Holds what people should know.
    Done(Option<String>),
    /// Holds what is still to do.
    Waits(String),
}

fn undo_deploy(run: &mut Reconciliation, index: usize) -> UndoOutcome {
    let task = run.status.tasks[index].clone();
    let name = task.environment.clone().unwrap_or_default();
    let Ok(app) = run.app() else {
        return UndoOutcome::Done(Some("the App is gone: nothing was rolled back".into()));
    };
    let Some(environment) = app.spec.environment(&name) else {
        return UndoOutcome::Done(None);
    };
    if let Some(why) = describe_unreachable(run, app, &name) {
        // Time in which the context could not be reached does not count.
        run.status.tasks[index].started_at = Some(run.format_now());
        return UndoOutcome::Waits(why);
    }
    let before = with_restored_uids(run, index, environment_status(app, &name));
    let gray = environment.lane.is_some();
    let most = i64::from(environment.rollout.timeout_seconds)
        + i64::from(environment.rollout.drain_seconds);
    let late = run.seconds_spent(index, TimerKind::Task) > most;
    let (made, kept) = split_by_creator(run, &name, &before.inventory);
    let hidden = describe_unreadable(run, &before.inventory);
    let patient = run.seconds_spent(index, TimerKind::Task) <= HIDDEN_WAIT_SECONDS;
    let mut waits = Vec::from_iter(hidden.clone().filter(|_| patient));
    match check_drained(run, index, environment, &before.inventory) {
        Err(drains) => waits.push(drains.to_string()),
        Ok(()) => waits.extend(undo_objects(run, index, app, environment, (&made, &kept))),
    }
    if !waits.is_empty() && !late {
        return UndoOutcome::Waits(waits.join("; "));
    }
    let late = late && !waits.is_empty();
    let left = if gray && !late {
        kept.clone()
    } else {
        [kept.clone(), made.clone()].concat()
    };
    let stays = |i: &&InventoryItem| left.contains(i) || describe_unreadable(run, [*i]).is_some();
    let inventory: Vec<_> = before.inventory.iter().filter(stays).cloned().collect();
    let timeout = late.then(|| {
        format!(
            "rolled back, but not ready within {most} s: {}",
            waits.join("; ")
        )
    });
    let hidden = hidden.map(|why| format!("rolled back, but {why}"));
    let before_inventory = before.inventory.clone();
    let status = undone_status(run, index, before, &kept, inventory, timeout.or(hidden));
    // After the status is written, the old inventory is no longer known.
    let noted = task.message.filter(|m| m.starts_with(LEFT_ALONE_PREFIX));
    let left = describe_left_alone(run, &name, &before_inventory).or(noted);
    let message = status
        .message
        .clone()
        .into_iter()
        .chain(left.clone())
        .collect::<Vec<_>>()
        .join("; ");
    if !set_status(run, app, &name, status) {
        return UndoOutcome::Waits(left.unwrap_or_else(|| "rolled back".into()));
    }
    UndoOutcome::Done(Some(message).filter(|m| !m.is_empty()))
}

/// The environment's objects that exist: those that this release created, and the others.
fn split_by_creator(
    run: &Reconciliation,
    environment: &str,
    inventory: &[InventoryItem],
) -> (Vec<InventoryItem>, Vec<InventoryItem>) {
    let (mut made, mut kept) = (vec![], vec![]);
    for item in inventory {
        match find_owned_object(run, environment, item) {
            Some(seen) if seen.created_by.as_deref() == Some(run.uid()) => made.push(item.clone()),
            Some(_) => kept.push(item.clone()),
            None => {}
        }
    }
    (made, kept)
}

/// Brings back what was there before (`kept`) and takes away what this release created (`made`).
/// Returns what is waited for.
fn undo_objects(
    run: &mut Reconciliation,
    index: usize,
    app: &FrozenApp,
    environment: &Environment,
    (made, kept): (&[InventoryItem], &[InventoryItem]),
) -> Vec<String> {
    let gray = environment.lane.is_some();
    let mut waits = restore_missing(run, index, app, environment);
    for item in &affected_workloads(run, index, kept, if gray { made } else { &[] }) {
        waits.extend(undo_workload(run, index, environment, item));
    }
    let name = &environment.name;
    if gray && !(made.is_empty() && kept.is_empty()) {
        // Pods that were there before stay.
        let left = delete_items(run, name, made);
        waits.extend(left.filter(|_| kept.is_empty() || !made.is_empty()));
    } else if gray {
        waits.extend(delete_items(run, name, &[]));
    }
    waits
}

/// Brings one workload back to its old version. Returns what is waited for.
fn undo_workload(
    run: &mut Reconciliation,
    index: usize,
    environment: &Environment,
    item: &InventoryItem,
) -> Option<String> {
    let seen = run.workload(item)?;
    let workload = InventoryItem {
        uid: String::new(),
        ..item.clone()
    };
    let by = Account::for_object(environment, item);
    let object = run.observed.objects.get(&workload);
    if object.is_some_and(|o| o.terminating) {
        let InventoryItem { kind, name, .. } = item;
        return Some(format!("waits until the old {kind} {name} is gone"));
    }
    match seen.undo(run.uid(), &run.known_records(index, item).as_records()) {
        UndoAction::Patch(patch) => {
            let why = "back, with the user's own settings";
            run.steps.push(ReleaseStep::Patch {
                workload,
                patch,
                why,
                by,
            });
            Some(format!("{} goes back to its old version", item.name))
        }
        UndoAction::Delete(pod, why) => {
            let step = ReleaseStep::delete_pod(&workload, *pod, why.clone(), by);
            run.steps.push(step);
            Some(why)
        }
        UndoAction::Wait(why, again) => {
            again.into_iter().for_each(|a| run.requeue_after(a));
            Some(format!("{}: {why}", item.name))
        }
        UndoAction::Done => None,
    }
}

/// Status of an environment whose deploy was undone. `problem` is what did not go well; `kept` are
/// the objects that were there before this release.
fn undone_status(
    run: &Reconciliation,
    index: usize,
    before: EnvironmentStatus,
    kept: &[InventoryItem],
    inventory: Vec<InventoryItem>,
    problem: Option<String>,
) -> EnvironmentStatus {
    let task = &run.status.tasks[index];
    let release = Some(run.name().to_owned());
    let is_empty = inventory.is_empty();
    let before = EnvironmentStatus {
        release: release.clone(),
        inventory,
        ..before
    };
    let failed = |message: String| EnvironmentStatus {
        state: EnvironmentState::Error,
        message: Some(message),
        ..before.clone()
    };
    if let Some(why) = problem {
        failed(why)
    } else if is_empty {
        EnvironmentStatus {
            state: EnvironmentState::Cleaned,
            release,
            ..EnvironmentStatus::default()
        }
    } else if task.old_version.is_none() && kept.is_empty() {
        failed("the first deploy was aborted: there is no older version to go back to".into())
    } else if let Some(why) = kept
        .iter()
        .find_map(|item| describe_other_rollout(run, item))
        .or_else(|| describe_recreated(run, index))
    {
        failed(why)
    } else {
        EnvironmentStatus {
            state: EnvironmentState::Running,
            message: None,
            images: task.old_images.clone(),
            version: task.old_version.clone(),
            ..before
        }
    }
}

/// Updates the uids of restored workloads.
fn with_restored_uids(
    run: &Reconciliation,
    index: usize,
    mut told: EnvironmentStatus,
) -> EnvironmentStatus {
    let task = &run.status.tasks[index];
    // A record that still has the uid was patched back, not recreated.
    let made = |r: &&RolloutRecord| r.state == RolloutState::Restores && r.workload.uid.is_empty();
    for record in task.rollouts.iter().filter(made) {
        let named = |i: &&mut InventoryItem| is_same(i, &record.workload);
        let uid = run
            .workload(&record.workload)
            .and_then(|seen| seen.meta().uid.clone());
        if let (Some(item), Some(uid)) = (told.inventory.iter_mut().find(named), uid) {
            item.uid = uid;
        }
    }
    told
}

/// Workloads that this task may have in progress: what was there before and what it has records of,
/// except what is being deleted.
fn affected_workloads(
    run: &Reconciliation,
    index: usize,
    kept: &[InventoryItem],
    going: &[InventoryItem],
) -> Vec<InventoryItem> {
    let known = |item: &InventoryItem| kept.iter().chain(going).any(|i| is_same(i, item));
    let records = run.status.tasks[index].rollouts.iter().map(|r| &r.workload);
    kept.iter()
        .chain(records.filter(|item| !known(item)))
        .cloned()
        .collect()
}

/// Recreates missing workloads with their old version; returns what is being done about it.
fn restore_missing(
    run: &mut Reconciliation,
    index: usize,
    app: &FrozenApp,
    environment: &Environment,
) -> Vec<String> {
    let gone = |r: &&RolloutRecord| {
        run.workload(&r.workload).is_none() && describe_unreadable(run, [&r.workload]).is_none()
    };
    let known = |r: &&RolloutRecord| r.state != RolloutState::Gone;
    let gone: Vec<RolloutRecord> = run.status.tasks[index]
        .rollouts
        .iter()
        .filter(known)
        .filter(gone)
        .cloned()
        .collect();
    if gone.is_empty() {
        return vec![];
    }
    let shared = run
        .status
        .variables
        .get(&environment.name)
        .cloned()
        .unwrap_or_default();
    let objects = match render_placed_objects(app, environment, &shared, &run.status.images) {
        Ok(objects) => objects,
        Err(all) => {
            return vec![format!(
                "{} is gone, and cannot be made again: {}",
                gone[0].workload.name,
                join_errors(&all, "; ")
            )];
        }
    };
    gone.into_iter()
        .map(|record| recreate_workload(run, index, environment, &objects, record))
        .collect()
}

/// Creates a missing workload with its old version; says so.
fn recreate_workload(
    run: &mut Reconciliation,
    index: usize,
    environment: &Environment,
    objects: &[Value],
    record: RolloutRecord,
) -> String {
    let InventoryItem { kind, name, .. } = &record.workload;
    let object = objects
        .iter()
        .find(|o| is_same(&object_key(o), &record.workload));
    let Some(mut object) = object.and_then(|o| restore_object(o, &record.latch)) else {
        return format!("{kind} {name} is gone, and the manifests no longer make it");
    };
    set_annotation(&mut object, label::RELEASE, run.name());
    let words = format!("recreates {kind} {name} with its old version");
    let by = Account::for_object(environment, &record.workload);
    run.steps.push(ReleaseStep::Apply {
        object,
        seen: None,
        force: false,
        by,
    });
    let workload = InventoryItem {
        uid: String::new(),
        ..record.workload.clone()
    };
    run.keep_record(
        index,
        RolloutRecord {
            workload,
            state: RolloutState::Restores,
            ..record
        },
    );
    words
}

/// Describes a workload that somebody else recreated while it was in progress: it is left alone.
fn describe_recreated(run: &Reconciliation, index: usize) -> Option<String> {
    let another = |r: &&RolloutRecord| {
        let uid = run
            .workload(&r.workload)
            .and_then(|seen| seen.meta().uid.as_deref());
        !r.workload.uid.is_empty() && uid.is_some_and(|uid| uid != r.workload.uid)
    };
    let record = run.status.tasks[index].rollouts.iter().find(another)?;
    let InventoryItem { kind, name, .. } = &record.workload;
    Some(format!(
        "{kind} {name} was deleted and recreated by somebody else: check whether it is as it should be"
    ))
}

/// Describes a workload that is half-way in another release: it is left alone.
fn describe_other_rollout(run: &Reconciliation, item: &InventoryItem) -> Option<String> {
    let mark = run
        .workload(item)?
        .mark()
        .filter(|m| m.release_uid != run.uid())?;
    let (kind, name, other) = (&item.kind, &item.name, Clean::from_untrusted(&mark.release));
    Some(format!(
        "{kind} {name} is still half-way in release {other}: see `graylane rescue`"
    ))
}

/// A stopped clean-up leaves what it has not deleted yet.
fn stop_clean_up(run: &mut Reconciliation, index: usize) -> UndoOutcome {
    let task = run.status.tasks[index].clone();
    let name = task.environment.unwrap_or_default();
    let deployed = run.status.tasks.iter().any(|t| {
        t.kind == TaskKind::Deploy && t.environment.as_ref() == Some(&name) && gate::has_begun(t)
    });
    let Ok(app) = run.app() else {
        return UndoOutcome::Done(None);
    };
    // This release's own deploy there is undone as a whole.
    if deployed || app.spec.environment(&name).is_none() {
        return UndoOutcome::Done(None);
    }
    if let Some(why) = describe_unreachable(run, app, &name) {
        return UndoOutcome::Waits(why);
    }
    let before = environment_status(app, &name);
    let whole = before
        .inventory
        .iter()
        .all(|i| find_owned_object(run, &name, i).is_some_and(|s| !s.terminating));
    let release = Some(run.name().to_owned());
    let status = if before.inventory.is_empty() {
        return UndoOutcome::Done(None);
    } else if whole {
        EnvironmentStatus {
            state: EnvironmentState::Running,
            message: None,
            release,
            ..before
        }
    } else {
        let message = Some("its clean-up was stopped half-way: tear it down again".to_owned());
        EnvironmentStatus {
            state: EnvironmentState::Error,
            message,
            release,
            ..before
        }
    };
    if set_status(run, app, &name, status) {
        UndoOutcome::Done(None)
    } else {
        UndoOutcome::Waits("the clean-up is stopped".into())
    }
}
