//! Tears down an environment: routes first, then the drain, then exactly the inventory.

use super::{
    environment::{
        LEFT_ALONE_PREFIX, RETRY_INTERVAL, check_drained, delete_items, describe_left_alone,
        describe_lock, describe_unreachable, describe_unreadable, environment_status,
        removed_environment, set_status,
    },
    gate,
    plan_error::PlanError,
    reconciliation::{Flow, Reconciliation},
    task_error::TaskError,
    timers::TimerKind,
};
use crate::{
    api::{CleanUpTask, Environment, EnvironmentState, EnvironmentStatus, TaskPhase},
    domain::revision::FrozenApp,
};

pub(super) fn reconcile_clean_up(
    run: &mut Reconciliation,
    index: usize,
    task: &CleanUpTask,
) -> Flow {
    match run_clean_up(run, index, task) {
        Ok(flow) => flow,
        Err(why) => {
            run.fail_task(index, why);
            Flow::Stay
        }
    }
}

fn run_clean_up(
    run: &mut Reconciliation,
    index: usize,
    task: &CleanUpTask,
) -> Result<Flow, TaskError> {
    let app = run.app()?;
    let name = task.environment.as_str();
    let begun = run.status.tasks[index].started_at.is_some();
    let left;
    let environment = match app.spec.environment(name) {
        Some(environment) => environment,
        // The App was frozen only after this task had removed the environment.
        None if begun && task.remove_environment => {
            run.set_phase(index, TaskPhase::Succeeded, None);
            return Ok(Flow::Next);
        }
        None if begun || app.left_behind(name).is_some() => {
            left = removed_environment(run, app, name);
            &left
        }
        None => {
            let (app, environment) = (run.spec().app.clone(), name.to_owned());
            return Err(PlanError::NoEnvironment { app, environment }.into());
        }
    };
    if is_held_up(run, index, app, environment) {
        return Ok(Flow::Stay);
    }
    if !begun {
        run.start_task(index);
    }
    let told = match empty_environment(run, index, app, environment)? {
        Emptied::Working => return Ok(Flow::Stay),
        Emptied::Done(told) => told,
    };
    if task.remove_environment && app.still_has(name) {
        run.steps
            .push(super::ReleaseStep::RemoveEnvironment(name.into()));
        run.set_phase(
            index,
            TaskPhase::Running,
            Some("the environment itself is removed".into()),
        );
        return Ok(Flow::Stay);
    }
    run.set_phase(index, TaskPhase::Succeeded, told);
    Ok(Flow::Next)
}

/// Whether the clean-up may not go on now; then the task's phase says why.
fn is_held_up(
    run: &mut Reconciliation,
    index: usize,
    app: &FrozenApp,
    environment: &Environment,
) -> bool {
    let name = environment.name.as_str();
    let begun = run.status.tasks[index].started_at.is_some();
    if let Some(why) = describe_unreachable(run, app, name) {
        run.set_phase(
            index,
            if begun {
                TaskPhase::Running
            } else {
                TaskPhase::Pending
            },
            Some(why),
        );
        run.requeue_after(RETRY_INTERVAL);
        return true;
    }
    if let Some(why) = describe_lock(environment) {
        run.set_phase(index, TaskPhase::Waiting, Some(why));
        return true;
    }
    let (app, uid, others) = (&run.spec().app, run.uid(), run.observed.others);
    if let Some(holder) = gate::find_holder(app, name, uid, others).filter(|_| !begun) {
        let why = format!(
            "{name} is in use by release {holder}: this one continues when that one has ended"
        );
        run.set_phase(index, TaskPhase::Pending, Some(why));
        return true;
    }
    false
}

/// How far the objects of an environment are taken away.
enum Emptied {
    /// Some are left; the task's phase says what is waited for.
    Working,
    /// None is left, except those in the text, which belong to others.
    Done(Option<String>),
}

fn empty_environment(
    run: &mut Reconciliation,
    index: usize,
    app: &FrozenApp,
    environment: &Environment,
) -> Result<Emptied, TaskError> {
    let name = environment.name.as_str();
    let before = environment_status(app, name);
    let inventory = before.inventory.clone();
    if before.state == EnvironmentState::Cleaned && inventory.is_empty() {
        let told = run.status.tasks[index].message.clone();
        let told = told.filter(|m| m.starts_with(LEFT_ALONE_PREFIX));
        return Ok(Emptied::Done(told));
    }
    if let Some(why) = delete_inventory(run, index, app, environment, before) {
        let most = i64::from(environment.rollout.timeout_seconds)
            + i64::from(environment.rollout.drain_seconds);
        if run.seconds_spent(index, TimerKind::Task) > most {
            return Err(TaskError::CleanUpTimeout {
                seconds: most,
                waits: why,
            });
        }
        let again = if describe_unreadable(run, &inventory).is_some() {
            RETRY_INTERVAL
        } else {
            jiff::SignedDuration::from_secs(most)
        };
        run.requeue_after(again);
        run.set_phase(index, TaskPhase::Running, Some(why));
        return Ok(Emptied::Working);
    }
    let cleaned = EnvironmentStatus {
        state: EnvironmentState::Cleaned,
        release: Some(run.name().into()),
        ..EnvironmentStatus::default()
    };
    let told = describe_left_alone(run, name, &inventory);
    if !set_status(run, app, name, cleaned) {
        let words = told.unwrap_or_else(|| "nothing is left of it".into());
        run.set_phase(index, TaskPhase::Running, Some(words));
        return Ok(Emptied::Working);
    }
    Ok(Emptied::Done(told))
}

/// Deletes the objects once the routes to them are drained. Returns what is waited for.
fn delete_inventory(
    run: &mut Reconciliation,
    index: usize,
    app: &FrozenApp,
    environment: &Environment,
    before: EnvironmentStatus,
) -> Option<String> {
    let name = environment.name.as_str();
    let inventory = before.inventory.clone();
    let left = match check_drained(run, index, environment, &inventory) {
        Err(drains) => {
            let working = EnvironmentStatus {
                state: EnvironmentState::Deploying,
                message: None,
                release: Some(run.name().into()),
                ..before
            };
            set_status(run, app, name, working);
            Some(drains.to_string())
        }
        // Only what is known to be gone counts as gone.
        Ok(()) => {
            delete_items(run, name, &inventory).or_else(|| describe_unreadable(run, &inventory))
        }
    };
    let trouble = run.observed.trouble.map(|t| t.message.clone());
    left.map(|left| trouble.unwrap_or(left))
}
