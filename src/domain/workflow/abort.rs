//! The way back. First it is written down that the release is being aborted: from then on its lanes are
//! closed. Then every deploy it began is undone, the last one first: a baseline workload goes back by one
//! patch; of a gray environment goes, once its routes are closed and drained, what this release made, and what
//! was there before comes back.

use jiff::SignedDuration;

use super::{
    Step,
    environment::{away, delete, drained, seen, set, told, unseen},
    gate,
    run::Run,
};
use crate::{
    api::{EnvironmentState, EnvironmentStatus, InventoryItem, ReleasePhase, TaskPhase},
    domain::{batches::Undo, text::Clean},
};

/// So many seconds is waited for what the server refuses to show; then the rest is enough.
const PATIENCE: i64 = 20;

pub(super) fn decide(run: &mut Run) {
    if run.status.phase != ReleasePhase::Aborting {
        enter(run);
        return;
    }
    let mut left = None;
    for index in (0..run.status.tasks.len()).rev() {
        let task = &run.status.tasks[index];
        if task.phase == TaskPhase::Aborted || task.phase.is_passed() {
            continue;
        }
        let undone = match task.kind.as_str() {
            "deploy" if gate::has_begun(task) => deploy(run, index),
            "cleanUp" if gate::has_begun(task) => clean_up(run, index).map(|()| None),
            _ => Ok(None),
        };
        match undone {
            Ok(message) => run.set_phase(index, TaskPhase::Aborted, message),
            Err(why) => {
                run.status.tasks[index].message = Some(why.clone());
                run.status.task = Some(run.status.tasks[index].name.clone());
                left = Some(why);
            }
        }
    }
    match left {
        Some(why) => {
            let words = run.o.trouble.map_or(why, |t| t.message.clone());
            run.status.message = Some(words);
            run.look_in(SignedDuration::from_secs(5));
        }
        None => {
            let told = run.status.tasks.iter().find_map(|t| t.message.clone());
            run.finish(ReleasePhase::Aborted, told);
        }
    }
}

/// Only writes down that it is so; the lanes close by it.
fn enter(run: &mut Run) {
    run.status.phase = ReleasePhase::Aborting;
    run.status.message = Some("rolls back".into());
    run.history("engine", "abort", None, None);
    let at = run.at();
    for task in &mut run.status.tasks {
        if task.kind == "deploy" && gate::has_begun(task) {
            task.phase = TaskPhase::Running;
            task.started_at = Some(at.clone());
            task.finished_at = None;
            task.drain_since = None;
            task.message = Some("rolls back".into());
        }
        // A clean-up that had ended has nothing left to undo, one under way stops.
    }
    for index in 0..run.status.tasks.len() {
        if let Some(job) = running_job(run, index) {
            run.steps.push(Step::Delete(job));
        }
    }
    run.look_in(SignedDuration::ZERO);
}

fn running_job(run: &Run, index: usize) -> Option<InventoryItem> {
    let task = &run.status.tasks[index];
    let seen = run.o.jobs.get(task.job.as_ref()?)?;
    (task.phase == TaskPhase::Running && !seen.succeeded && seen.failed.is_none()).then(|| seen.item.clone())
}

/// `Err` says what is still to come; `Ok` what is to be said of it.
fn deploy(run: &mut Run, index: usize) -> Result<Option<String>, String> {
    let task = run.status.tasks[index].clone();
    let name = task.environment.clone().unwrap_or_default();
    let Ok(app) = run.app() else { return Ok(Some("the App is gone: nothing was rolled back".into())) };
    let Some(environment) = app.spec.environment(&name) else { return Ok(None) };
    if let Some(why) = away(run, app, &name) {
        // Nobody is late by what could not be looked at.
        run.status.tasks[index].started_at = Some(run.at());
        return Err(why);
    }
    let before = told(app, &name);
    let gray = environment.lane.is_some();
    let most = i64::from(environment.rollout.timeout_seconds) + i64::from(environment.rollout.drain_seconds);
    let late = run.spent(task.started_at.as_deref()).is_some_and(|s| s > most);
    let there: Vec<InventoryItem> =
        before.inventory.iter().filter(|i| seen(run, &name, i).is_some()).cloned().collect();
    let made_here = |run: &Run, item: &InventoryItem| {
        seen(run, &name, item).is_some_and(|s| s.created_by.as_deref() == Some(run.uid()))
    };
    let (made, kept): (Vec<_>, Vec<_>) = there.into_iter().partition(|i| made_here(run, i));
    let hidden = unseen(run, &before.inventory);
    let patient = run.spent(task.started_at.as_deref()).is_none_or(|s| s <= PATIENCE);
    let mut waits = Vec::from_iter(hidden.clone().filter(|_| patient));
    match drained(run, index, environment, &before.inventory) {
        Err(why) => waits.push(why),
        Ok(()) => {
            for item in &kept {
                let Some(seen) = run.workload(item) else { continue };
                let workload = InventoryItem { uid: String::new(), ..item.clone() };
                match seen.undo(run.uid(), run.o.now) {
                    Undo::Patch(patch) => {
                        waits.push(format!("{} goes back to its old version", item.name));
                        run.steps.push(Step::Patch { workload, patch, why: "back, with the user's own settings" });
                    }
                    Undo::Delete(pod, why) => {
                        waits.push(why.clone());
                        run.steps.push(Step::delete_pod(&workload, *pod, why));
                    }
                    Undo::Wait(why, again) => {
                        again.into_iter().for_each(|a| run.look_in(a));
                        waits.push(format!("{}: {why}", item.name));
                    }
                    Undo::Done => {}
                }
            }
            if gray && !(made.is_empty() && kept.is_empty()) {
                // Pods of what was there before stay.
                let left = delete(run, &name, &made);
                waits.extend(left.filter(|_| kept.is_empty() || !made.is_empty()));
            } else if gray {
                waits.extend(delete(run, &name, &[]));
            }
        }
    }
    if !waits.is_empty() && !late {
        return Err(waits.join("; "));
    }
    let late = late && !waits.is_empty();
    let left = if gray && !late { kept.clone() } else { [kept.clone(), made.clone()].concat() };
    let stays = |i: &&InventoryItem| left.contains(i) || unseen(run, [*i]).is_some();
    let inventory: Vec<_> = before.inventory.iter().filter(stays).cloned().collect();
    let release = Some(run.name().to_owned());
    let status = if late {
        let message = Some(format!("rolled back, but not well within {most} s: {}", waits.join("; ")));
        EnvironmentStatus { state: EnvironmentState::Error, message, release, inventory, ..before }
    } else if let Some(why) = hidden {
        let message = Some(format!("rolled back, but {why}"));
        EnvironmentStatus { state: EnvironmentState::Error, message, release, inventory, ..before }
    } else if inventory.is_empty() {
        EnvironmentStatus { state: EnvironmentState::Cleaned, release, ..EnvironmentStatus::default() }
    } else if task.old_version.is_none() && kept.is_empty() {
        let message = Some("the first deploy was aborted: there is no older version to go back to".to_owned());
        EnvironmentStatus { state: EnvironmentState::Error, message, release, inventory, ..before }
    } else if let Some(why) = kept.iter().find_map(|item| elsewhere(run, item)) {
        EnvironmentStatus { state: EnvironmentState::Error, message: Some(why), release, inventory, ..before }
    } else {
        EnvironmentStatus {
            state: EnvironmentState::Running,
            message: None,
            images: task.old_images.clone(),
            version: task.old_version.clone(),
            release,
            inventory,
            ..before
        }
    };
    let message = status.message.clone();
    if !set(run, app, &name, status) {
        return Err("rolled back".into());
    }
    Ok(message)
}

/// What stands half-way in another release is left so; in words.
fn elsewhere(run: &Run, item: &InventoryItem) -> Option<String> {
    let mark = run.workload(item)?.mark().filter(|m| m.release_uid != run.uid())?;
    let (kind, name, other) = (&item.kind, &item.name, Clean::from_untrusted(&mark.release));
    Some(format!("{kind} {name} is still half-way in release {other}: see `graylane rescue`"))
}

/// A clean-up that is stopped leaves what it left.
fn clean_up(run: &mut Run, index: usize) -> Result<(), String> {
    let task = run.status.tasks[index].clone();
    let name = task.environment.unwrap_or_default();
    let deployed = run
        .status
        .tasks
        .iter()
        .any(|t| t.kind == "deploy" && t.environment.as_ref() == Some(&name) && gate::has_begun(t));
    let Ok(app) = run.app() else { return Ok(()) };
    // This release's own deploy there is undone as a whole.
    if deployed || app.spec.environment(&name).is_none() {
        return Ok(());
    }
    if let Some(why) = away(run, app, &name) {
        return Err(why);
    }
    let before = told(app, &name);
    let whole = before.inventory.iter().all(|i| seen(run, &name, i).is_some_and(|s| !s.terminating));
    let release = Some(run.name().to_owned());
    let status = if before.inventory.is_empty() {
        return Ok(());
    } else if whole {
        EnvironmentStatus { state: EnvironmentState::Running, message: None, release, ..before }
    } else {
        let message = Some("its clean-up was stopped half-way: tear it down again".to_owned());
        EnvironmentStatus { state: EnvironmentState::Error, message, release, ..before }
    };
    if set(run, app, &name, status) { Ok(()) } else { Err("the clean-up is stopped".into()) }
}
