//! Wishes for a running release, and environment locks.

use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    MAX_ATTEMPTS, Outcome, PerformContext, PerformError, Result, api_error, check_unchanged,
    decision::record_decision, is_conflict, refusal_error,
};
use crate::{
    api::{self, App, Control, EnvironmentLock, RecordedTime, Release, ReleasePhase, Wish},
    domain::{
        intent::{ControlIntent, ReleaseIntent, ReleaseState, SeenObject},
        release_intents,
    },
};

/// Carries out a wish.
#[tracing::instrument(level = "debug", skip_all, fields(release = name))]
pub(super) async fn apply_wish(
    at: &PerformContext<'_>,
    name: &str,
    seen: Option<&SeenObject>,
    wish: ReleaseIntent,
    comment: Option<String>,
) -> Result<Outcome> {
    let what = format!("release {name}");
    for _ in 0..MAX_ATTEMPTS {
        let found = at
            .namespaced_api::<Release>()
            .get_opt(name)
            .await
            .map_err(api_error(&what))?;
        let release =
            found.ok_or_else(|| PerformError::refused_with(format!("there is no {what}")))?;
        check_unchanged(&what, seen, &release)?;
        if seen
            .and_then(|s| s.state.as_ref())
            .is_some_and(|state| **state != ReleaseState::from_release(&release))
        {
            return Err(PerformError::Stale {
                what,
                why: describe_change(&release),
            });
        }
        let wish = match &wish {
            ReleaseIntent::Decide(said) => {
                return record_decision(at, &release, said, comment).await;
            }
            ReleaseIntent::Control(wish) => wish,
        };
        let mut control = release.spec.control.clone();
        let action = release_intents::apply_to_control(&release, wish, &mut control)
            .map_err(refusal_error)?;
        control.last = Some(new_wish(at, &action, comment.clone()));
        let written = patch_control(at, &release, &control).await;
        // The engine keeps writing the status of the same object: that alone does not make a wish
        // stale.
        if is_conflict(&written) {
            continue;
        }
        written.map_err(api_error(&what))?;
        return Ok(Outcome::for_object(
            "Release",
            name,
            format!("{what}: {action}"),
        ));
    }
    Err(PerformError::Stale {
        what,
        why: "it is being written too often".into(),
    })
}

fn new_wish(at: &PerformContext<'_>, action: &str, comment: Option<String>) -> Wish {
    Wish {
        by: at.by.into(),
        action: action.to_owned(),
        at: RecordedTime::to_second(Timestamp::now()),
        comment,
    }
}

/// What may have happened since the person looked.
fn describe_change(release: &Release) -> String {
    let last = release.spec.control.last.as_ref();
    let wish = last.map_or_else(String::new, |w| format!(" ({} by {})", w.action, w.by));
    format!("it is elsewhere by now, or somebody asked for something{wish}")
}

#[tracing::instrument(level = "debug", skip_all, fields(release = release.metadata.name))]
async fn patch_control(
    at: &PerformContext<'_>,
    release: &Release,
    control: &Control,
) -> Result<Release, kube::Error> {
    let mut wanted = serde_json::to_value(control).map_err(kube::Error::SerdeError)?;
    // A merge patch keeps what it does not name: the last comment must not stay with a new wish.
    if control.last.as_ref().is_some_and(|w| w.comment.is_none()) {
        wanted["last"]["comment"] = serde_json::Value::Null;
    }
    let patch = json!({
        "metadata": {"resourceVersion": release.resource_version(), "uid": release.uid()},
        "spec": {"control": wanted},
    });
    let params = PatchParams {
        field_manager: Some(api::FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    at.namespaced_api::<Release>()
        .patch(&release.name_any(), &params, &Patch::Merge(&patch))
        .await
}

/// Pauses all running releases.
#[tracing::instrument(level = "debug", skip_all)]
pub(super) async fn stop_the_line(at: &PerformContext<'_>) -> Result<Outcome> {
    let all = at
        .namespaced_api::<Release>()
        .list(&ListParams::default())
        .await
        .map_err(api_error("listing releases"))?
        .items;
    let running = |r: &&Release| {
        let phase = r.status.as_ref().map(|s| s.phase).unwrap_or_default();
        !phase.is_final()
            && phase != ReleasePhase::Aborting
            && !r.spec.control.paused
            && !r.spec.control.abort
    };
    let mut held = vec![];
    let mut failed = vec![];
    for release in all.iter().filter(running) {
        let name = release.name_any();
        let comment = Some("the line was stopped".to_owned());
        // An error with one release does not stop the others from being paused.
        let pause = ControlIntent::Pause.into();
        match Box::pin(apply_wish(at, &name, None, pause, comment)).await {
            Ok(_) => held.push(name),
            Err(why) => failed.push(format!("{name}: {why}")),
        }
    }
    if !failed.is_empty() {
        let held = if held.is_empty() {
            "nothing".into()
        } else {
            held.join(", ")
        };
        return Err(PerformError::refused_with(format!(
            "paused {held}; not paused: {}",
            failed.join("; ")
        )));
    }
    let message = if held.is_empty() {
        "nothing was running".into()
    } else {
        format!("held {}", held.join(", "))
    };
    Ok(Outcome {
        message,
        objects: held
            .into_iter()
            .map(|n| ("Release".to_owned(), n))
            .collect(),
    })
}

/// Locks or unlocks an environment of an App.
#[tracing::instrument(level = "debug", skip_all, fields(app = name, environment))]
pub(super) async fn set_lock(
    at: &PerformContext<'_>,
    name: &str,
    environment: &str,
    seen: Option<&SeenObject>,
    lock: Option<EnvironmentLock>,
) -> Result<Outcome> {
    let what = format!("app {name}");
    for _ in 0..MAX_ATTEMPTS {
        let found = at
            .namespaced_api::<App>()
            .get_opt(name)
            .await
            .map_err(api_error(&what))?;
        let app = found.ok_or_else(|| PerformError::refused_with(format!("there is no {what}")))?;
        if seen.is_some_and(|s| !s.uid.is_of(&app.metadata)) {
            check_unchanged(&what, seen, &app)?;
        }
        let Some(index) = app
            .spec
            .environments
            .iter()
            .position(|e| e.name == environment)
        else {
            return Err(PerformError::refused_with(format!(
                "app {name} has no environment {environment:?}"
            )));
        };
        let message = describe_lock_change(at, &app, index, lock.as_ref())?;
        let mut environments = app.spec.environments.clone();
        environments[index].lock.clone_from(&lock);
        let patch = json!({
            "metadata": {"resourceVersion": app.resource_version()},
            "spec": {"environments": environments},
        });
        let params = PatchParams {
            field_manager: Some(api::FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let written = at
            .namespaced_api::<App>()
            .patch(name, &params, &Patch::Merge(&patch))
            .await;
        if is_conflict(&written) {
            continue;
        }
        return written
            .map(|_| Outcome::for_object("App", name, message))
            .map_err(api_error(&what));
    }
    Err(PerformError::Stale {
        what,
        why: "it is being written too often".into(),
    })
}

/// What locking or unlocking an environment comes to; refused where it makes no sense.
fn describe_lock_change(
    at: &PerformContext<'_>,
    app: &App,
    index: usize,
    lock: Option<&EnvironmentLock>,
) -> Result<String> {
    let (name, found) = (app.name_any(), &app.spec.environments[index]);
    let environment = &found.name;
    match (&found.lock, lock) {
        (Some(held), Some(_)) if held.by != at.by => Err(PerformError::refused_with(format!(
            "{environment} is locked by {}: {}",
            held.by, held.reason
        ))),
        (None, None) => Err(PerformError::refused_with(format!(
            "{environment} of {name} is not locked"
        ))),
        (_, Some(_)) => Ok(format!("{environment} of {name} is locked")),
        (Some(_), None) => Ok(format!("{environment} of {name} is unlocked")),
    }
}
