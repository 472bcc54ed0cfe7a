//! Deploys the images to an environment: objects in their order, Deployments and StatefulSets batch
//! by batch, a lane's Service only when its pods are ready.

mod missing;
mod report;
mod workloads;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use self::{
    report::DeployProgress,
    workloads::{WorkloadsOutcome, decide_workloads},
};
use super::{
    ObjectSeen, ReleaseStep,
    build::format_datetime,
    environment::{
        RETRY_INTERVAL, describe_unreachable, describe_unreadable, environment_status,
        find_obstacle_in_view, set_status,
    },
    objects::{render_placed_objects, set_annotation},
    outcome::TaskOutcome,
    plan_error::PlanError,
    task_error::TaskError,
    view::TaskView,
};
use crate::{
    api::{
        Control, Environment, EnvironmentState, EnvironmentStatus, ObjectRef, RecordedTime,
        TaskPhase, label,
    },
    domain::{
        account::Account,
        batches::{self, Manifest, RolloutId, is_batched, template::short_digest},
        owner::explain_refusal,
        revision::FrozenApp,
        text::Clean,
    },
};

/// One pass of a deploy task. Held, nothing goes on, but an open latch is closed.
pub(super) fn decide_deploy(view: &TaskView) -> TaskOutcome {
    run_stages(view).unwrap_or_else(|end| match *end {
        DeployEnd::Rests(outcome) => outcome,
        DeployEnd::Fails(outcome, error) => fail_deploy(view, outcome, &error),
    })
}

/// Why a pass ends before all of its stages.
enum DeployEnd {
    /// Nothing more can be done now.
    Rests(TaskOutcome),
    /// The deploy cannot go on. The outcome has what was noted before, and no steps.
    Fails(TaskOutcome, TaskError),
}

type Stage<T> = Result<T, Box<DeployEnd>>;

/// The stages of a pass: what is to be deployed, whether it can be seen, whether the task may
/// begin and go on, the workloads, and what goes around them.
fn run_stages(view: &TaskView) -> Stage<TaskOutcome> {
    let outcome = TaskOutcome::unchanged(view);
    let deploy = Deploy::from_task(view).map_err(fails_after(&outcome))?;
    let outcome = deploy.check_visible(view, outcome)?;
    let outcome = deploy.begin_deploy(view, outcome)?;
    let outcome = deploy.check_steps(view, outcome)?;
    let (outcome, workloads) = deploy.roll_out(view, outcome)?;
    deploy.finish_pass(view, outcome, workloads)
}

/// Ends the pass with an error after what was noted in this outcome.
fn fails_after<E: Into<TaskError>>(outcome: &TaskOutcome) -> impl FnOnce(E) -> Box<DeployEnd> {
    let outcome = outcome.clone();
    |error| Box::new(DeployEnd::Fails(outcome, error.into()))
}

/// Ends the pass with this outcome.
fn rests<T>(outcome: TaskOutcome) -> Stage<T> {
    Err(Box::new(DeployEnd::Rests(outcome)))
}

/// Whether this task has moved some workload away from its old version.
pub(super) fn is_half_way(view: &TaskView) -> bool {
    let is_away = |app| describe_unreachable(view, app, view.environment()).is_some();
    if view.has_begun() && view.app().is_ok_and(|app| is_away(app)) {
        return true;
    }
    let mut rollouts = view.task.rollouts.iter();
    if rollouts.any(|r| view.workload(&r.workload.object).is_none()) {
        return true;
    }
    let (uid, task) = (view.release_uid(), &view.task.name);
    view.observed.facts.workloads.iter().any(|(object, seen)| {
        let known = view.known_records(object);
        let mark = seen.mark_of(&uid, &known.as_records());
        let by = RolloutId::from_meta(seen.meta());
        mark.is_some_and(|m| m.task == *task)
            || by.is_some_and(|by| by.release_uid == uid && by.task == *task)
    })
}

/// The last batch of so many that people let a deploy to an environment go to.
pub(super) fn allowed_batch(
    environment: &Environment,
    control: &Control,
    task: &str,
    batches: usize,
) -> usize {
    let level = control.allowed_level(task);
    batches::last_allowed_batch(environment.rollout.pause, level, batches)
}

/// Outcome of a deploy that cannot go on. `outcome` has what was noted before, and no steps.
fn fail_deploy(view: &TaskView, outcome: TaskOutcome, error: &TaskError) -> TaskOutcome {
    // What somebody has done since a failure may have made its message wrong.
    if view.held && outcome.status.phase != TaskPhase::Failed {
        return outcome;
    }
    let name = view.environment();
    let begun = outcome.status.started_at.is_some();
    let step = view.app().ok().filter(|_| begun).and_then(|app| {
        let status = EnvironmentStatus {
            state: EnvironmentState::Error,
            message: Some(error.to_string()),
            ..environment_status(app, name)
        };
        set_status(view, app, name, status)
    });
    outcome.failed(error).with_steps(step)
}

struct Deploy<'a> {
    app: &'a FrozenApp,
    environment: &'a Environment,
    objects: Vec<Value>,
}

/// When objects are applied whole; workloads go batch by batch in between.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ApplyPhase {
    First,
    /// A lane's Service waits for its pods.
    LaneService,
}

/// What is applied in one phase.
struct AppliedObjects {
    steps: Vec<ReleaseStep>,
    waits: Vec<String>,
    /// All are as they should be.
    done: bool,
}

impl<'a> Deploy<'a> {
    fn from_task(view: &TaskView<'a>) -> Result<Self, TaskError> {
        let (app, name) = (view.app()?, view.environment());
        let environment = app
            .spec
            .environment(name)
            .ok_or_else(|| PlanError::NoEnvironment {
                app: view.spec().app.clone(),
                environment: name.to_owned(),
            })?;
        let shared = view
            .release
            .variables
            .get(name)
            .cloned()
            .unwrap_or_default();
        let objects = render_placed_objects(app, environment, &shared, &view.release.images)
            .map_err(TaskError::Objects)?;
        Ok(Self {
            app,
            environment,
            objects,
        })
    }

    fn allowed_batch(&self, view: &TaskView, batches: usize) -> usize {
        let control = &view.spec().control;
        allowed_batch(self.environment, control, &view.task.name, batches)
    }

    /// Waits while objects cannot be seen; that time does not count against a batch. An object that
    /// cannot be read cannot be applied correctly; an open latch is still closed.
    fn check_visible(&self, view: &TaskView, outcome: TaskOutcome) -> Stage<TaskOutcome> {
        let wanted: Vec<_> = self.objects.iter().map(ObjectRef::from_object).collect();
        let hidden = describe_unreachable(view, self.app, &self.environment.name)
            .or_else(|| describe_unreadable(view, &wanted).filter(|_| !view.held));
        match hidden {
            None => Ok(outcome),
            Some(_) if view.held => rests(outcome),
            Some(why) => rests(
                outcome
                    .going_on(why)
                    .with_restarted_batch()
                    .requeued_after(RETRY_INTERVAL),
            ),
        }
    }

    /// Begins the task, unless it has begun.
    fn begin_deploy(&self, view: &TaskView, outcome: TaskOutcome) -> Stage<TaskOutcome> {
        if !view.has_begun() {
            if view.held {
                return rests(outcome);
            }
            if let Some(obstacle) = find_obstacle_in_view(view, self.environment) {
                return rests(outcome.held_up_by(&obstacle));
            }
        }
        // Also once it has begun: somebody may have taken over one of the objects since.
        self.check_ownership(view).map_err(fails_after(&outcome))?;
        if view.has_begun() {
            return Ok(outcome);
        }
        let mut outcome = outcome.started();
        let before = environment_status(self.app, &self.environment.name);
        let task = &mut outcome.status;
        let started_at = task.started_at.as_ref().and_then(RecordedTime::timestamp);
        task.new_version = Some(version_name(started_at, view.release_name()));
        task.new_images.clone_from(&view.release.images);
        task.old_images = before.images;
        task.old_version = before.version;
        let message = self.preview_warnings(view);
        Ok(outcome.in_phase(TaskPhase::Running, message))
    }

    /// Fails when a step failed and trying it again without a change does not help.
    fn check_steps(&self, view: &TaskView, outcome: TaskOutcome) -> Stage<TaskOutcome> {
        let trouble = view.observed.trouble.filter(|t| t.permanent && !view.held);
        trouble
            .map_or(Ok(()), |trouble| Err(view.step_error(trouble)))
            .map_err(fails_after(&outcome))?;
        Ok(outcome)
    }

    /// Decides about the workloads. Held, or behind an obstacle, an open latch is closed and
    /// nothing else.
    fn roll_out(
        &self,
        view: &TaskView,
        outcome: TaskOutcome,
    ) -> Stage<(TaskOutcome, WorkloadsOutcome)> {
        let obstacle = find_obstacle_in_view(&view.with_task(&outcome.status), self.environment);
        let outcome = if outcome.status.phase == TaskPhase::Waiting && obstacle.is_none() {
            outcome.with_restarted_batch()
        } else {
            outcome
        };
        let hold = view.held || obstacle.is_some();
        let workloads = decide_workloads(self, &view.with_task(&outcome.status), hold)
            .map_err(fails_after(&outcome))?;
        let outcome = workloads.note_in(outcome);
        let is_told = !view.held || outcome.status.phase == TaskPhase::Failed;
        if is_told {
            workloads.check_stops().map_err(fails_after(&outcome))?;
        }
        match obstacle {
            _ if view.held => rests(outcome.with_steps(workloads.steps)),
            Some(obstacle) => rests(outcome.held_up_by(&obstacle).with_steps(workloads.steps)),
            None => Ok((outcome, workloads)),
        }
    }

    /// Applies what goes around the workloads, and says how far the deploy is.
    fn finish_pass(
        &self,
        view: &TaskView,
        outcome: TaskOutcome,
        workloads: WorkloadsOutcome,
    ) -> Stage<TaskOutcome> {
        let status = outcome.status.clone();
        let view = &view.with_task(&status);
        let noted = environment_status(self.app, &self.environment.name);
        let finished = noted.state == EnvironmentState::Running
            && noted.release.as_deref() == Some(view.release_name())
            && noted.version == view.task.new_version;
        let noting = (!finished)
            .then(|| report::note_inventory(self, view, EnvironmentState::Deploying))
            .flatten();
        let first = self.apply_phase(view, ApplyPhase::First);
        let mut steps: Vec<ReleaseStep> = noting.into_iter().chain(first.steps).collect();
        steps.extend(workloads.steps);
        let mut waits = first.waits;
        waits.extend(workloads.waits);
        if first.done && workloads.all_done {
            let last = self.apply_phase(view, ApplyPhase::LaneService);
            steps.extend(last.steps);
            waits.extend(last.waits);
            if last.done {
                let Some(step) = report::note_inventory(self, view, EnvironmentState::Running)
                else {
                    return Ok(outcome.succeeded(None).with_steps(steps));
                };
                steps.push(step);
                waits.push("everything is up".into());
            }
        }
        let progress = DeployProgress {
            steps,
            waits,
            acting: workloads.acting,
        };
        report::report_progress(self, view, outcome, progress)
    }

    /// Applies the objects of one phase.
    fn apply_phase(&self, view: &TaskView, phase: ApplyPhase) -> AppliedObjects {
        let mut applied = AppliedObjects {
            steps: vec![],
            waits: vec![],
            done: true,
        };
        for object in &self.objects {
            if self.apply_phase_of(&ObjectRef::from_object(object)) == Some(phase) {
                self.ensure_applied(view, object, &mut applied);
            }
        }
        applied
    }

    /// Phase in which an object is applied; `None` for a workload.
    fn apply_phase_of(&self, object: &ObjectRef) -> Option<ApplyPhase> {
        let lane = self.environment.lane.is_some();
        match object.kind.as_str() {
            _ if is_batched(object) => None,
            "Service" if lane => Some(ApplyPhase::LaneService),
            _ => Some(ApplyPhase::First),
        }
    }

    /// Checks that every object to be written belongs to this environment or does not exist yet;
    /// `Err` names those that do not.
    fn check_ownership(&self, view: &TaskView) -> Result<(), TaskError> {
        let environment = &self.environment.name;
        let me = view.acting_owner(environment);
        let told = |object: &Value| {
            let object = ObjectRef::from_object(object);
            // A terminating object is waited for.
            let seen = view.object(&object).filter(|s| !s.terminating)?;
            let whose = view.classify_owner(environment, &object, seen);
            explain_refusal(&object, &whose, &seen.marks, &me)
        };
        let problems: Vec<String> = self.objects.iter().filter_map(told).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(TaskError::Owned(problems))
        }
    }

    /// Warnings that are shown before the rollout.
    fn preview_warnings(&self, view: &TaskView) -> Option<String> {
        let mut told = vec![];
        for (object, seen) in self
            .objects
            .iter()
            .filter_map(|o| Some((o, view.workload(&ObjectRef::from_object(o))?)))
        {
            let meta = seen.meta();
            let gitops = meta
                .labels
                .iter()
                .chain(&meta.annotations)
                .flatten()
                .find(|(k, _)| {
                    k.starts_with("argocd.argoproj.io/")
                        || k.starts_with("kustomize.toolkit.fluxcd.io/")
                        || k.starts_with("helm.toolkit.fluxcd.io/")
                });
            told.extend(gitops.map(|(label, _)| {
                let label = Clean::from_untrusted(label);
                format!("{label}: a GitOps tool may see the rollout as drift and undo it")
            }));
            told.extend(seen.describe_cost().map(str::to_owned));
            told.extend(
                Manifest::from_object(object)
                    .ok()
                    .and_then(|m| m.warn_beforehand(seen)),
            );
        }
        let mut known = BTreeSet::new();
        told.retain(|words| known.insert(words.clone()));
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Applies an object that differs from its manifest or does not exist.
    fn ensure_applied(&self, view: &TaskView, object: &Value, applied: &mut AppliedObjects) {
        let object_ref = ObjectRef::from_object(object);
        let seen = view.object(&object_ref);
        if seen.is_some_and(|s| !s.terminating && s.applied.as_deref() == applied_digest(object)) {
            return;
        }
        applied.done = false;
        let what = object_ref.kind_and_name();
        if seen.is_some_and(|s| s.terminating) {
            let why = format!("waits until the old {what} is gone");
            applied.waits.push(why);
            return;
        }
        applied.waits.push(format!("applies {what}"));
        applied.steps.push(ReleaseStep::Apply {
            object: with_release_marks(view, object, seen),
            seen: seen.map(|s| s.version.clone()),
            force: view.may_take_over(),
            by: Account::for_object(self.environment, &object_ref),
        });
    }
}

/// Name of a version: when its deploy began, and the number in its release's name.
fn version_name(started_at: Option<Timestamp>, release: &str) -> String {
    let number = release
        .rsplit('-')
        .next()
        .and_then(|n| n.parse::<u64>().ok());
    let number = number.unwrap_or_else(|| {
        u64::from_str_radix(&short_digest(&release.into())[..8], 16).unwrap_or(0)
    });
    format!("{}-{:03}", format_datetime(started_at), number % 1000)
}

/// The object with the release's marks; an existing object keeps the annotation that says who
/// created it.
fn with_release_marks(view: &TaskView, object: &Value, seen: Option<&ObjectSeen>) -> Value {
    let mut object = object.clone();
    set_annotation(&mut object, label::RELEASE, view.release_name());
    // Not part of the digest: objects applied by older versions of graylane need no new apply for
    // it.
    let home = view.observed.release.metadata.namespace.as_deref();
    home.into_iter()
        .for_each(|home| set_annotation(&mut object, label::HOME, home));
    let maker = seen.map_or_else(|| Some(view.release_uid()), |s| s.created_by.clone());
    maker
        .iter()
        .for_each(|uid| set_annotation(&mut object, label::CREATED_BY, uid.as_str()));
    object
}

fn applied_digest(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][label::APPLIED].as_str()
}
