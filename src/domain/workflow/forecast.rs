//! Everything a release does next until it asks somebody again: what a confirmation dialog shows
//! before a person answers.
//!
//! It asks the same functions as the engine: [`build::existing_image`], [`approval::count_given`],
//! [`proceed::is_let_through`], [`find_obstacle`], and about batches those that
//! `forecast/deploy.rs` names. `tests/forecast.rs` compares both step by step.

mod deploy;
mod steps;

use super::{
    approval, build,
    environment::{Obstacle, find_obstacle},
    plan, proceed,
};
use crate::{
    api::{
        App, Approval, ApprovalTask, ObjectRef, Release, ReleaseStatus, TaskPhase, TaskSpec,
        TaskStatus,
    },
    domain::{
        release_intents::{is_retried, is_skippable},
        world::Workload,
    },
};

pub use steps::{Forecast, ForecastStep, ForecastStop};

use deploy::forecast_deploy;

/// What is known at the time of the question.
pub struct ForecastInput<'a> {
    /// The App as the release has it.
    pub app: &'a App,
    /// The release as it would be after the intent.
    pub release: &'a Release,
    /// All releases of its namespace.
    pub others: &'a [&'a Release],
    /// Approvals of the release, including the one that is about to be given.
    pub approvals: &'a [&'a Approval],
    /// Looks up an existing workload.
    pub workload_of: &'a dyn Fn(&ObjectRef) -> Option<&'a Workload>,
}

/// What a release does until it asks somebody again, if nothing fails.
pub fn forecast_release(known: &ForecastInput) -> Forecast {
    let status = known.release.status.clone().unwrap_or_default();
    let mut steps = vec![];
    let stop = forecast_tasks(known, &status, &mut steps);
    Forecast {
        steps,
        stop: stop.unwrap_or(ForecastStop::End),
    }
}

fn forecast_tasks(
    known: &ForecastInput,
    status: &ReleaseStatus,
    steps: &mut Vec<ForecastStep>,
) -> Option<ForecastStop> {
    let (spec, control) = (&known.release.spec, &known.release.spec.control);
    if control.paused {
        return Some(ForecastStop::Held);
    }
    let failed = |task: &str, why: &str| {
        Some(ForecastStop::Failed {
            task: task.into(),
            why: why.into(),
        })
    };
    let specs = match plan::task_specs(known.app, spec) {
        Ok(specs) => specs,
        Err(error) => return failed("", &error.to_string()),
    };
    let mut current = true;
    for told in status.tasks.iter().filter(|t| !t.phase.is_passed()) {
        let name = told.name.clone();
        if control.skip.contains(&name) && is_skippable(told) {
            steps.push(ForecastStep::Skip { task: name });
            current = false;
            continue;
        }
        if told.phase == TaskPhase::Failed && !is_retried(told, control) {
            return failed(&name, told.message.as_deref().unwrap_or_default());
        }
        let task = specs.iter().find(|t| t.name == name);
        let Some(kind) = task.and_then(|t| t.spec()) else {
            return failed(&name, "the App's workflow no longer has it");
        };
        let stop = forecast_task(known, status, told, kind, current, steps);
        if stop.is_some() {
            return stop;
        }
        current = false;
    }
    None
}

/// What one task does, and where it stops. `current` means that it is the release's next task.
fn forecast_task(
    known: &ForecastInput,
    status: &ReleaseStatus,
    told: &TaskStatus,
    kind: TaskSpec,
    current: bool,
    steps: &mut Vec<ForecastStep>,
) -> Option<ForecastStop> {
    let spec = &known.release.spec;
    let task = told.name.clone();
    match kind {
        TaskSpec::Build(t) => {
            steps.push(match build::existing_image(spec, t) {
                Some(image) => ForecastStep::UseImage {
                    task,
                    image: image.to_owned(),
                },
                None => ForecastStep::Build {
                    task,
                    image: t.image.clone(),
                },
            });
            None
        }
        TaskSpec::Approval(t) => forecast_approval(known, told, t, current),
        TaskSpec::Proceed(t) => {
            let open = proceed::is_let_through(&spec.control, &task);
            (!open).then(|| ForecastStop::Proceed {
                task,
                prompt: t.prompt.clone(),
            })
        }
        TaskSpec::Verify(t) => {
            steps.push(ForecastStep::Verify {
                task,
                group: t.lane_group.clone(),
                probes: t.probes.len(),
            });
            None
        }
        TaskSpec::CleanUp(t) => {
            let environment = t.environment.clone();
            enter_environment(known, told, &environment, steps).or_else(|| {
                steps.push(ForecastStep::TakeDown {
                    task,
                    environment,
                    removes: t.remove_environment,
                });
                None
            })
        }
        TaskSpec::Deploy(t) => enter_environment(known, told, &t.environment, steps)
            .or_else(|| forecast_deploy(known, status, told, &t.environment, steps)),
    }
}

fn forecast_approval(
    known: &ForecastInput,
    told: &TaskStatus,
    task: &ApprovalTask,
    current: bool,
) -> Option<ForecastStop> {
    // Only the current task can have decisions already.
    let given = current.then(|| approval::count_given(known.approvals, known.release, told, task));
    let (given, passed_over) = given.unwrap_or_default();
    let needed = match approval::needed_approvals(task, &known.release.spec.requester) {
        Ok(needed) => needed,
        Err(error) => {
            return Some(ForecastStop::Failed {
                task: told.name.clone(),
                why: error.to_string(),
            });
        }
    };
    (given < needed).then(|| ForecastStop::Approval {
        task: told.name.clone(),
        given,
        needed,
        passed_over,
    })
}

/// A task that changes an environment waits for other releases there, and stops at a lock.
fn enter_environment(
    known: &ForecastInput,
    told: &TaskStatus,
    environment: &str,
    steps: &mut Vec<ForecastStep>,
) -> Option<ForecastStop> {
    let task = told.name.clone();
    let lock = known.app.spec.environment(environment);
    let lock = lock.and_then(|e| e.lock.as_ref());
    match find_obstacle(known.release, told, (environment, lock), known.others)? {
        Obstacle::Locked { environment, .. } => Some(ForecastStop::Locked { task, environment }),
        Obstacle::InUse {
            environment,
            holder,
        } => {
            steps.push(ForecastStep::Wait {
                task,
                environment,
                holder,
            });
            None
        }
    }
}
