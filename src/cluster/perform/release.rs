//! Wishes about a release that is under way, and environment locks.

use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{Outcome, PerformError, Place, Result, TRIES, check, decision::decide, is_conflict, told};
use crate::{
    api::{self, App, Control, EnvironmentLock, Release, ReleasePhase, TaskPhase, Wish},
    domain::intent::{ReleaseWish, Seen, meaning},
};

/// Carries a wish out.
pub(super) async fn wish(
    at: &Place<'_>,
    name: &str,
    seen: Option<&Seen>,
    wish: ReleaseWish,
    comment: Option<String>,
) -> Result<Outcome> {
    let what = format!("release {name}");
    for _ in 0..TRIES {
        let found = at.api::<Release>().get_opt(name).await.map_err(told(&what))?;
        let release = found.ok_or_else(|| PerformError::refused(format!("there is no {what}")))?;
        check(&what, seen, &release)?;
        if seen.and_then(|s| s.meaning.as_ref()).is_some_and(|m| *m != meaning(&release)) {
            return Err(PerformError::Stale { what, why: moved(&release) });
        }
        if let ReleaseWish::Decide { task, attempt, decision } = &wish {
            return decide(at, &release, task, *attempt, *decision, comment).await;
        }
        let mut control = release.spec.control.clone();
        let action = apply(&release, &wish, &mut control)?;
        let at_time = Timestamp::now().round(jiff::Unit::Second).unwrap_or_else(|_| Timestamp::now()).to_string();
        control.last = Some(Wish { by: at.by.into(), action: action.clone(), at: at_time, comment: comment.clone() });
        let written = write(at, &release, &control).await;
        // The engine writes the same object's status all the time: that alone makes no wish stale.
        if is_conflict(&written) {
            continue;
        }
        written.map_err(told(&what))?;
        return Ok(Outcome::one("Release", name, format!("{what}: {action}")));
    }
    Err(PerformError::Stale { what, why: "it is being written too often".into() })
}

/// What may have happened since somebody looked.
fn moved(release: &Release) -> String {
    let last = release.spec.control.last.as_ref();
    let wish = last.map_or_else(String::new, |w| format!(" ({} by {})", w.action, w.by));
    format!("it stands elsewhere, or somebody wished something{wish}")
}

async fn write(at: &Place<'_>, release: &Release, control: &Control) -> Result<Release, kube::Error> {
    let mut wanted = serde_json::to_value(control).map_err(kube::Error::SerdeError)?;
    // A merge patch keeps what it does not name: the last wish's comment is not this one's.
    if control.last.as_ref().is_some_and(|w| w.comment.is_none()) {
        wanted["last"]["comment"] = serde_json::Value::Null;
    }
    let patch = json!({
        "metadata": {"resourceVersion": release.resource_version(), "uid": release.uid()},
        "spec": {"control": wanted},
    });
    let params = PatchParams { field_manager: Some(api::FIELD_MANAGER.into()), ..PatchParams::default() };
    at.api::<Release>().patch(&release.name_any(), &params, &Patch::Merge(&patch)).await
}

/// Writes a wish into the control levels; what it is called in the history.
fn apply(release: &Release, wish: &ReleaseWish, control: &mut Control) -> Result<String> {
    let status = release.status.clone().unwrap_or_default();
    let name = release.name_any();
    if status.phase.is_final() {
        return Err(PerformError::refused(format!("release {name} is over: {:?}", status.phase)));
    }
    if (control.abort || status.phase == ReleasePhase::Aborting) && *wish != ReleaseWish::Abort {
        return Err(PerformError::refused(format!("release {name} is being aborted")));
    }
    let task = |task: &str| {
        status.tasks.iter().find(|t| t.name == task).ok_or_else(|| {
            let known: Vec<&str> = status.tasks.iter().map(|t| t.name.as_str()).collect();
            let known = if known.is_empty() { "none yet".into() } else { known.join(", ") };
            PerformError::refused(format!("release {name} has no task {task:?}; it has {known}"))
        })
    };
    let ends = |t: &api::TaskStatus, word: &str| {
        PerformError::refused(format!("task {} of {name} is {:?}: there is nothing to {word}", t.name, t.phase))
    };
    Ok(match wish {
        ReleaseWish::Pause => {
            control.paused = true;
            "pause".into()
        }
        ReleaseWish::Resume => {
            control.paused = false;
            "resume".into()
        }
        ReleaseWish::Abort => {
            control.abort = true;
            "abort".into()
        }
        ReleaseWish::Allow { task: of, batch } => {
            let task = task(of)?;
            if task.phase.is_passed() || task.phase == TaskPhase::Aborted {
                return Err(ends(task, "let through"));
            }
            if !matches!(task.kind.as_str(), "proceed" | "deploy") {
                return Err(PerformError::refused(format!(
                    "task {of} is of kind {}: it waits for nobody's key",
                    task.kind
                )));
            }
            let last = task.batches.len();
            if task.kind == "deploy" && last > 0 && *batch as usize > last {
                return Err(PerformError::refused(format!("task {of} has {last} batches, not {batch}")));
            }
            let level = control.allow.entry(of.clone()).or_default();
            if *level >= *batch {
                // Two people at one gate: the second one is told that it was not he.
                let what =
                    if task.kind == "proceed" { format!("{of} of {name}") } else { format!("batch {batch} of {of}") };
                let last = control.last.as_ref();
                let wish = last.map_or_else(String::new, |w| format!(" ({} by {})", w.action, w.by));
                return Err(PerformError::Stale { what, why: format!("it is let through already{wish}") });
            }
            *level = *batch;
            if task.kind == "proceed" { format!("proceed with {of}") } else { format!("allow batch {batch} of {of}") }
        }
        ReleaseWish::Retry { task: of, force } => {
            let task = task(of)?;
            if task.phase != TaskPhase::Failed {
                return Err(ends(task, "retry"));
            }
            // As many retries as there were attempts: said twice, it is one.
            let retries = task.attempt.max(1);
            control.retry.insert(of.clone(), retries);
            if *force {
                control.take_over.insert(of.clone(), retries + 1);
            }
            format!("retry {of}{}", if *force { ", taking over what conflicts" } else { "" })
        }
        ReleaseWish::Skip { task: of } => {
            let task = task(of)?;
            if !matches!(task.phase, TaskPhase::Failed | TaskPhase::Waiting | TaskPhase::Paused) {
                return Err(ends(task, "skip"));
            }
            if !control.skip.contains(of) {
                control.skip.push(of.clone());
            }
            format!("skip {of}")
        }
        ReleaseWish::Decide { .. } => return Err(PerformError::refused("a decision is an Approval of its own")),
    })
}

/// Holds every release that is under way.
pub(super) async fn stop_the_line(at: &Place<'_>) -> Result<Outcome> {
    let all = at.api::<Release>().list(&ListParams::default()).await.map_err(told("listing releases"))?.items;
    let running = |r: &&Release| {
        let phase = r.status.as_ref().map(|s| s.phase).unwrap_or_default();
        !phase.is_final() && phase != ReleasePhase::Aborting && !r.spec.control.paused && !r.spec.control.abort
    };
    let mut held = vec![];
    let mut failed = vec![];
    for release in all.iter().filter(running) {
        let name = release.name_any();
        let comment = Some("the line was stopped".to_owned());
        // One that cannot be held keeps no other from being held.
        match Box::pin(wish(at, &name, None, ReleaseWish::Pause, comment)).await {
            Ok(_) => held.push(name),
            Err(why) => failed.push(format!("{name}: {why}")),
        }
    }
    if !failed.is_empty() {
        let held = if held.is_empty() { "nothing".into() } else { held.join(", ") };
        return Err(PerformError::refused(format!("held {held}; not held: {}", failed.join("; "))));
    }
    let message = if held.is_empty() { "nothing was running".into() } else { format!("held {}", held.join(", ")) };
    Ok(Outcome { message, objects: held.into_iter().map(|n| ("Release".to_owned(), n)).collect() })
}

/// Locks or unlocks an environment of an App.
pub(super) async fn lock(
    at: &Place<'_>,
    name: &str,
    environment: &str,
    seen: Option<&Seen>,
    lock: Option<EnvironmentLock>,
) -> Result<Outcome> {
    let what = format!("app {name}");
    for _ in 0..TRIES {
        let found = at.api::<App>().get_opt(name).await.map_err(told(&what))?;
        let app = found.ok_or_else(|| PerformError::refused(format!("there is no {what}")))?;
        if seen.is_some_and(|s| app.uid().as_deref() != Some(&s.uid)) {
            check(&what, seen, &app)?;
        }
        let Some(index) = app.spec.environments.iter().position(|e| e.name == environment) else {
            return Err(PerformError::refused(format!("app {name} has no environment {environment:?}")));
        };
        let message = match (&app.spec.environments[index].lock, &lock) {
            (Some(held), Some(_)) if held.by != at.by => {
                return Err(PerformError::refused(format!("{environment} is locked by {}: {}", held.by, held.reason)));
            }
            (None, None) => return Err(PerformError::refused(format!("{environment} of {name} is not locked"))),
            (_, Some(_)) => format!("{environment} of {name} is locked"),
            (Some(_), None) => format!("{environment} of {name} is unlocked"),
        };
        let mut environments = app.spec.environments.clone();
        environments[index].lock.clone_from(&lock);
        let patch = json!({
            "metadata": {"resourceVersion": app.resource_version()},
            "spec": {"environments": environments},
        });
        let params = PatchParams { field_manager: Some(api::FIELD_MANAGER.into()), ..PatchParams::default() };
        let written = at.api::<App>().patch(name, &params, &Patch::Merge(&patch)).await;
        if is_conflict(&written) {
            continue;
        }
        return written.map(|_| Outcome::one("App", name, message)).map_err(told(&what));
    }
    Err(PerformError::Stale { what, why: "it is being written too often".into() })
}
