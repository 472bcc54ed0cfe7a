//! Tears down an environment: routes first, then the drain, then exactly the inventory.

use std::borrow::Cow;

use super::{
    ReleaseStep,
    environment::{
        LEFT_ALONE_PREFIX, RETRY_INTERVAL, check_drained, delete_items, describe_left_alone,
        describe_unreachable, describe_unreadable, environment_status, find_obstacle_in_view,
        removed_environment, set_status,
    },
    outcome::TaskOutcome,
    plan_error::PlanError,
    task_error::TaskError,
    timers::TimerKind,
    view::TaskView,
};
use crate::{
    api::{CleanUpTask, Environment, EnvironmentState, EnvironmentStatus, TaskPhase},
    domain::revision::FrozenApp,
};

pub(super) fn decide_clean_up(view: &TaskView, task: &CleanUpTask) -> TaskOutcome {
    let outcome = TaskOutcome::unchanged(view);
    let app = match view.app() {
        Ok(app) => app,
        Err(why) => return outcome.failed(why),
    };
    let name = task.environment.as_str();
    let environment = match app.spec.environment(name) {
        Some(environment) => Cow::Borrowed(environment),
        // The App was frozen only after this task had removed the environment.
        None if view.has_begun() && task.remove_environment => return outcome.succeeded(None),
        None if view.has_begun() || app.left_behind(name).is_some() => {
            Cow::Owned(removed_environment(view, app, name))
        }
        None => {
            let (app, environment) = (view.spec().app.clone(), name.to_owned());
            return outcome.failed(PlanError::NoEnvironment { app, environment });
        }
    };
    if let Some(why) = describe_unreachable(view, app, name) {
        return outcome.going_on(why).requeued_after(RETRY_INTERVAL);
    }
    if let Some(obstacle) = find_obstacle_in_view(view, &environment) {
        return outcome.held_up_by(&obstacle);
    }
    let outcome = outcome.started();
    let status = outcome.status.clone();
    let view = &view.with_task(&status);
    match empty_environment(view, outcome, app, &environment) {
        (outcome, Emptied::Working) => outcome,
        (outcome, Emptied::Done(_)) if task.remove_environment && app.still_has(name) => {
            let words = "the environment itself is removed".to_owned();
            outcome
                .in_phase(TaskPhase::Running, Some(words))
                .with_steps([ReleaseStep::RemoveEnvironment(name.into())])
        }
        (outcome, Emptied::Done(told)) => outcome.succeeded(told),
    }
}

/// How far the objects of an environment are taken away.
enum Emptied {
    /// Some are left; the task's phase says what is waited for.
    Working,
    /// None is left, except those in the text, which belong to others.
    Done(Option<String>),
}

fn empty_environment(
    view: &TaskView,
    outcome: TaskOutcome,
    app: &FrozenApp,
    environment: &Environment,
) -> (TaskOutcome, Emptied) {
    let name = environment.name.as_str();
    let before = environment_status(app, name);
    let inventory = before.inventory.clone();
    if before.state == EnvironmentState::Cleaned && inventory.is_empty() {
        let told = view.task.message.clone();
        let told = told.filter(|m| m.starts_with(LEFT_ALONE_PREFIX));
        return (outcome, Emptied::Done(told));
    }
    let (outcome, left) = delete_inventory(view, outcome, app, environment, before);
    if let Some(why) = left {
        let most = i64::from(environment.rollout.timeout_seconds)
            + i64::from(environment.rollout.drain_seconds);
        if view.seconds_spent(TimerKind::Task) > most {
            // What was decided to go still goes.
            let late = TaskError::CleanUpTimeout {
                seconds: most,
                waits: why,
            };
            return (outcome.failed(late), Emptied::Working);
        }
        let again = if describe_unreadable(view, inventory.iter().map(|i| &i.object)).is_some() {
            RETRY_INTERVAL
        } else {
            jiff::SignedDuration::from_secs(most)
        };
        let outcome = outcome.in_phase(TaskPhase::Running, Some(why));
        return (outcome.requeued_after(again), Emptied::Working);
    }
    let cleaned = EnvironmentStatus {
        state: EnvironmentState::Cleaned,
        release: Some(view.release_name().into()),
        ..EnvironmentStatus::default()
    };
    let told = describe_left_alone(view, name, &inventory);
    match set_status(view, app, name, cleaned) {
        Some(step) => {
            let words = told.unwrap_or_else(|| "nothing is left of it".into());
            let outcome = outcome.in_phase(TaskPhase::Running, Some(words));
            (outcome.with_steps([step]), Emptied::Working)
        }
        None => (outcome, Emptied::Done(told)),
    }
}

/// Deletes the objects once the routes to them are drained. Also returns what is waited for.
fn delete_inventory(
    view: &TaskView,
    outcome: TaskOutcome,
    app: &FrozenApp,
    environment: &Environment,
    before: EnvironmentStatus,
) -> (TaskOutcome, Option<String>) {
    let name = environment.name.as_str();
    let inventory = before.inventory.clone();
    let drain = check_drained(view, environment, &inventory);
    let outcome = outcome.with_drain(&drain);
    let (outcome, left) = if let Some(drains) = drain.pending {
        let working = EnvironmentStatus {
            state: EnvironmentState::Deploying,
            message: None,
            release: Some(view.release_name().into()),
            ..before
        };
        let step = set_status(view, app, name, working);
        (outcome.with_steps(step), Some(drains.to_string()))
    } else {
        let deletion = delete_items(view, name, &inventory);
        // Only what is known to be gone counts as gone.
        let left = deletion
            .left
            .or_else(|| describe_unreadable(view, inventory.iter().map(|i| &i.object)));
        (outcome.with_steps(deletion.steps), left)
    };
    let trouble = view.observed.trouble.map(|t| t.message.clone());
    (outcome, left.map(|left| trouble.unwrap_or(left)))
}
