//! Everything a release does next until it asks somebody again: what a confirmation dialog shows
//! before a person answers.
//!
//! It asks the same functions as the engine: [`build::existing_image`], [`approval::count_given`],
//! [`proceed::is_let_through`], [`find_obstacle`], [`deploy::allowed_batch`] and those of
//! [`batches`]. `tests/forecast.rs` compares both step by step.

use std::collections::BTreeMap;

use super::{
    approval, build, deploy,
    environment::{Obstacle, find_obstacle},
    object_error::RenderError,
    objects::render_placed_objects,
    plan, proceed,
    proposal::expected_images,
};
use crate::{
    api::{
        App, Approval, ApprovalTask, BatchPhase, Environment, ObjectRef, Release, ReleaseStatus,
        TaskPhase, TaskSpec, TaskStatus, label,
    },
    domain::{
        batches::{self, Manifest, ManifestError, is_batched},
        release_intents::{is_retried, is_skippable},
        text::join_errors,
        world::Workload,
    },
};

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

/// One step of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForecastStep {
    /// Builds an image.
    Build {
        /// Name of the task.
        task: String,
        /// Name of the image.
        image: String,
    },
    /// Uses an existing image instead of building it.
    UseImage {
        /// Name of the task.
        task: String,
        /// Reference of the image.
        image: String,
    },
    /// Waits for another release to be over.
    Wait {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
        /// Name of that release.
        holder: String,
    },
    /// Moves pods of one or several batches.
    Batch {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
        /// First and last batch, from 1: one batch, or all that are left when the strategy has no
        /// batches.
        numbers: (u32, u32),
        /// Number of batches.
        of: u32,
        /// New pods before and after.
        pods: (u32, u32),
        /// Number of all pods.
        size: u32,
    },
    /// Deploys what already runs there: no pod moves.
    Unchanged {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
    },
    /// Sends probes until all pass.
    Verify {
        /// Name of the task.
        task: String,
        /// Lane group whose entry receives them.
        group: String,
        /// Number of probes.
        probes: usize,
    },
    /// Tears down an environment.
    TakeDown {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
        /// Also removes the environment from the App.
        removes: bool,
    },
    /// Skips a task.
    Skip {
        /// Name of the task.
        task: String,
    },
}

/// Where the release stops next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForecastStop {
    /// Waits for approvals.
    Approval {
        /// Name of the task.
        task: String,
        /// Approvals given.
        given: usize,
        /// Approvals needed.
        needed: usize,
        /// Whose decisions do not count, and why.
        passed_over: Vec<String>,
    },
    /// Waits for somebody to say that it may go on.
    Proceed {
        /// Name of the task.
        task: String,
        /// What to check first.
        prompt: Option<String>,
    },
    /// Waits for the next batch to be allowed.
    Batch {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
        /// Number of the batch, from 1.
        number: u32,
        /// Number of batches.
        of: u32,
    },
    /// The environment is locked.
    Locked {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
    },
    /// A task has failed, or will fail.
    Failed {
        /// Name of the task.
        task: String,
        /// Reason, where it is known.
        why: String,
    },
    /// Somebody paused the release.
    Held,
    /// It has finished.
    End,
}

/// Next steps of a release, and where it stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Steps until then, in order.
    pub steps: Vec<ForecastStep>,
    /// Where it stops.
    pub stop: ForecastStop,
}

impl ForecastStep {
    /// Environment whose pods the step moves or removes.
    pub fn environment(&self) -> Option<&str> {
        match self {
            Self::Batch { environment, .. } | Self::TakeDown { environment, .. } => {
                Some(environment)
            }
            _ => None,
        }
    }
}

impl Forecast {
    /// Whether pods of an environment move or are removed.
    pub fn moves_pods_of(&self, environment: &str) -> bool {
        self.steps
            .iter()
            .any(|d| d.environment() == Some(environment))
    }

    /// Environments that get new pods, in order.
    pub fn deployed_environments(&self) -> Vec<&str> {
        let mut all: Vec<&str> = vec![];
        for step in &self.steps {
            if let ForecastStep::Batch { environment, .. } = step
                && !all.contains(&environment.as_str())
            {
                all.push(environment);
            }
        }
        all
    }
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

fn forecast_deploy(
    known: &ForecastInput,
    status: &ReleaseStatus,
    told: &TaskStatus,
    environment: &str,
    steps: &mut Vec<ForecastStep>,
) -> Option<ForecastStop> {
    let task = told.name.clone();
    let failed = |why: String| {
        Some(ForecastStop::Failed {
            task: told.name.clone(),
            why,
        })
    };
    let Some(found) = known.app.spec.environment(environment) else {
        return failed(format!(
            "app {} has no environment {environment:?}",
            known.release.spec.app
        ));
    };
    let objects = match expected_objects(known, status, found) {
        Ok(objects) => objects,
        Err(all) => return failed(join_errors(&all, "; ")),
    };
    let workloads = match forecast_workloads(known, &objects) {
        Ok(workloads) => workloads,
        Err(error) => return failed(error.to_string()),
    };
    let there = || workloads.iter().filter(|w| w.live.is_some());
    let begun = told.batches.iter().any(|b| b.started_at.is_some());
    let targets: Vec<u32> = if begun {
        told.batches.iter().map(|b| b.target).collect()
    } else {
        let sizes: Vec<u32> = there().map(|w| w.size).collect();
        let amounts = batches::plan_batches(&found.rollout.batches, &sizes);
        batches::sum_targets(&amounts, workloads.iter().map(|w| w.size))
    };
    if !begun && !workloads.is_empty() && workloads.iter().all(|w| w.same) {
        let environment = environment.to_owned();
        steps.push(ForecastStep::Unchanged { task, environment });
        return None;
    }
    let at_once = there().next().is_some() && there().all(|w| w.at_once);
    forecast_batches(known, told, found, &targets, at_once, steps)
}

/// The batches that are left. `at_once` means that without batches the first one takes all pods.
fn forecast_batches(
    known: &ForecastInput,
    told: &TaskStatus,
    environment: &Environment,
    targets: &[u32],
    at_once: bool,
    steps: &mut Vec<ForecastStep>,
) -> Option<ForecastStop> {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (of, size) = (count(targets.len()), targets.last().copied().unwrap_or(0));
    let done = told
        .batches
        .iter()
        .take_while(|b| b.phase == BatchPhase::Done)
        .count();
    let control = &known.release.spec.control;
    let allowed = deploy::allowed_batch(environment, control, &told.name, targets.len());
    let reached = |n: usize| {
        n.checked_sub(1)
            .and_then(|i| targets.get(i))
            .copied()
            .unwrap_or(0)
    };
    let batch = |numbers, pods| ForecastStep::Batch {
        task: told.name.clone(),
        environment: environment.name.clone(),
        numbers,
        of,
        pods,
        size,
    };
    if at_once && done < targets.len() {
        steps.push(batch((count(done + 1), of), (reached(done), size)));
        return None;
    }
    for n in done + 1..=targets.len() {
        let number = count(n);
        if n > allowed {
            return Some(ForecastStop::Batch {
                task: told.name.clone(),
                environment: environment.name.clone(),
                number,
                of,
            });
        }
        steps.push(batch((number, number), (reached(n - 1), reached(n))));
    }
    None
}

/// A workload of an environment as it will be rolled out.
struct ForecastWorkload<'a> {
    live: Option<&'a Workload>,
    /// Pods that the rollout covers.
    size: u32,
    /// All pods are replaced at once.
    at_once: bool,
    /// It already runs what is to be deployed.
    same: bool,
}

/// Objects that a deploy to this environment will apply.
fn expected_objects(
    known: &ForecastInput,
    status: &ReleaseStatus,
    environment: &Environment,
) -> Result<Vec<serde_json::Value>, Vec<RenderError>> {
    let images: BTreeMap<String, String> = expected_images(known.app, &known.release.spec, status);
    let shared = status
        .variables
        .get(&environment.name)
        .cloned()
        .unwrap_or_default();
    render_placed_objects(known.app, environment, &shared, &images)
}

fn forecast_workloads<'a>(
    known: &ForecastInput<'a>,
    objects: &[serde_json::Value],
) -> Result<Vec<ForecastWorkload<'a>>, ManifestError> {
    let rolled = |object: &serde_json::Value| {
        let manifest = Manifest::from_object(object)?;
        let live = (known.workload_of)(&ObjectRef::from_object(object));
        let applied = object["metadata"]["annotations"][label::APPLIED].as_str();
        let same = live.is_some_and(|w| {
            !w.latched && w.applied.as_deref().is_some_and(|a| Some(a) == applied)
        });
        let size = manifest.rollout_size_from_watch(live);
        Ok(ForecastWorkload {
            live,
            size,
            at_once: live.is_some_and(|w| w.recreates) || manifest.uses_recreate(),
            same,
        })
    };
    objects
        .iter()
        .filter(|o| is_batched(&ObjectRef::from_object(o)))
        .map(rolled)
        .collect()
}
