//! Deploys the images to an environment: objects in their order, Deployments and StatefulSets batch
//! by batch, a lane's Service only when its pods are ready.

mod missing;
mod report;
mod workloads;

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    ObjectSeen, ReleaseStep,
    build::format_datetime,
    environment::{
        RETRY_INTERVAL, describe_lock, describe_unreachable, describe_unreadable,
        environment_status, set_status,
    },
    gate,
    objects::{object_key, render_placed_objects, set_annotation},
    plan_error::PlanError,
    reconciliation::{Flow, Reconciliation},
    task_error::TaskError,
};
use crate::{
    api::{Environment, EnvironmentState, EnvironmentStatus, TaskPhase, label},
    domain::{
        account::Account,
        batches::{Manifest, RolloutId, is_batched, template::short_digest},
        owner::explain_refusal,
        revision::FrozenApp,
        text::Clean,
    },
};

/// One pass of a deploy task. `held` means that somebody paused the release, or that the task has
/// failed: nothing goes on, but an open latch is closed.
pub(super) fn reconcile_deploy(run: &mut Reconciliation, index: usize, held: bool) -> Flow {
    let before = run.steps.len();
    let looked = Deploy::new(run, index).and_then(|deploy| match deploy {
        Some(deploy) => deploy.reconcile_objects(run, held),
        None => Ok(Flow::Stay),
    });
    match looked {
        Ok(flow) => flow,
        Err(error) if held => {
            // What somebody has done since the failure may have made its message wrong.
            if run.status.tasks[index].phase == TaskPhase::Failed {
                fail_deploy(run, index, &error);
            }
            Flow::Stay
        }
        Err(error) => {
            // A failing pass takes no steps: what they would create is in no inventory yet.
            run.steps.truncate(before);
            fail_deploy(run, index, &error);
            Flow::Stay
        }
    }
}

/// Whether this task has moved some workload away from its old version.
pub(super) fn is_half_way(run: &Reconciliation, index: usize) -> bool {
    let task = &run.status.tasks[index].name;
    let begun = run.status.tasks[index].started_at.is_some();
    let name = run.status.tasks[index]
        .environment
        .as_deref()
        .unwrap_or_default();
    if begun
        && run
            .app()
            .is_ok_and(|app| describe_unreachable(run, app, name).is_some())
    {
        return true;
    }
    if run.status.tasks[index]
        .rollouts
        .iter()
        .any(|r| run.workload(&r.workload).is_none())
    {
        return true;
    }
    run.observed.workloads.iter().any(|(item, seen)| {
        let known = run.known_records(index, item);
        let latched = seen
            .mark_of(run.uid(), &known.as_records())
            .is_some_and(|m| m.task == *task);
        let by = RolloutId::from_meta(seen.meta());
        latched || by.is_some_and(|by| by.release_uid == run.uid() && by.task == *task)
    })
}

fn fail_deploy(run: &mut Reconciliation, index: usize, error: &TaskError) {
    let name = run.status.tasks[index]
        .environment
        .clone()
        .unwrap_or_default();
    let begun = run.status.tasks[index].started_at.is_some();
    run.fail_task(index, error);
    if let (Ok(app), true) = (run.app(), begun) {
        let message = Some(error.to_string());
        let status = EnvironmentStatus {
            state: EnvironmentState::Error,
            message,
            ..environment_status(app, &name)
        };
        set_status(run, app, &name, status);
    }
}

struct Deploy<'a> {
    index: usize,
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

impl<'a> Deploy<'a> {
    fn new(run: &mut Reconciliation<'a>, index: usize) -> Result<Option<Self>, TaskError> {
        let name = run.status.tasks[index]
            .environment
            .clone()
            .unwrap_or_default();
        let app = run.app()?;
        let environment = app
            .spec
            .environment(&name)
            .ok_or_else(|| PlanError::NoEnvironment {
                app: run.spec().app.clone(),
                environment: name.clone(),
            })?;
        let shared = run.status.variables.get(&name).cloned().unwrap_or_default();
        let objects = render_placed_objects(app, environment, &shared, &run.status.images)
            .map_err(TaskError::Objects)?;
        Ok(Some(Self {
            index,
            app,
            environment,
            objects,
        }))
    }

    fn reconcile_objects(&self, run: &mut Reconciliation, held: bool) -> Result<Flow, TaskError> {
        let index = self.index;
        if let Some(why) = describe_unreachable(run, self.app, &self.environment.name) {
            if !held {
                self.wait_for_cluster(run, why);
            }
            return Ok(Flow::Stay);
        }
        // An object that cannot be read cannot be applied correctly; an open latch is still closed.
        let items: Vec<_> = self.objects.iter().map(object_key).collect();
        if let Some(why) = describe_unreadable(run, &items).filter(|_| !held) {
            self.wait_for_cluster(run, why);
            return Ok(Flow::Stay);
        }
        let lock = describe_lock(self.environment);
        if run.status.tasks[index].started_at.is_none()
            && !self.begin_deploy(run, held, lock.clone())?
        {
            return Ok(Flow::Stay);
        }
        // Somebody may have taken over one of them since.
        self.check_ownership(run)?;
        if let Some(trouble) = run.observed.trouble.filter(|t| t.permanent && !held) {
            return Err(run.step_error(trouble));
        }
        let task = &run.status.tasks[index];
        if task.phase == TaskPhase::Waiting && lock.is_none() {
            run.restart_batch(index);
        }
        let hold = held || lock.is_some();
        let noted = environment_status(self.app, &self.environment.name);
        let finished = noted.state == EnvironmentState::Running
            && noted.release.as_deref() == Some(run.name())
            && noted.version == run.status.tasks[index].new_version;
        if !hold && !finished {
            report::note_inventory(self, run, EnvironmentState::Deploying);
        }
        let mut waits = vec![];
        let first_done = self.apply_phase(run, ApplyPhase::First, hold, &mut waits);
        let looked = workloads::reconcile_workloads(self, run, hold)?;
        let failed = run.status.tasks[index].phase == TaskPhase::Failed;
        if let Some(why) = looked.stops.first().filter(|_| !held || failed) {
            return Err(TaskError::Workload(why.clone()));
        }
        if held {
            return Ok(Flow::Stay);
        }
        if let Some(lock) = lock {
            run.set_phase(index, TaskPhase::Waiting, Some(lock));
            return Ok(Flow::Stay);
        }
        waits.extend(looked.waits);
        if first_done
            && looked.all_done
            && self.apply_phase(run, ApplyPhase::LaneService, hold, &mut waits)
        {
            if report::note_inventory(self, run, EnvironmentState::Running) {
                run.set_phase(index, TaskPhase::Succeeded, None);
                return Ok(Flow::Next);
            }
            waits.push("everything is up".into());
        }
        report::report_progress(self, run, waits, looked.acting)
    }

    /// Reports that objects cannot be seen now; that time does not count against a batch.
    fn wait_for_cluster(&self, run: &mut Reconciliation, why: String) {
        let begun = run.status.tasks[self.index].started_at.is_some();
        let phase = if begun {
            TaskPhase::Running
        } else {
            TaskPhase::Pending
        };
        run.set_phase(self.index, phase, Some(why));
        run.restart_batch(self.index);
        run.requeue_after(RETRY_INTERVAL);
    }

    /// Applies the objects of one phase; true when all are as they should be.
    fn apply_phase(
        &self,
        run: &mut Reconciliation,
        phase: ApplyPhase,
        hold: bool,
        waits: &mut Vec<String>,
    ) -> bool {
        let lane = self.environment.lane.is_some();
        let mut done = true;
        for object in &self.objects {
            let item = object_key(object);
            let own = match item.kind.as_str() {
                _ if is_batched(&item) => continue,
                "Service" if lane => ApplyPhase::LaneService,
                _ => ApplyPhase::First,
            };
            if own == phase {
                done &= self.ensure_applied(run, object, hold, waits);
            }
        }
        done
    }

    /// Begins the task; false when it may not begin yet.
    fn begin_deploy(
        &self,
        run: &mut Reconciliation,
        held: bool,
        lock: Option<String>,
    ) -> Result<bool, TaskError> {
        let index = self.index;
        if held {
            return Ok(false);
        }
        if let Some(lock) = lock {
            run.set_phase(index, TaskPhase::Waiting, Some(lock));
            return Ok(false);
        }
        let name = &self.environment.name;
        if let Some(holder) =
            gate::find_holder(&run.spec().app, name, run.uid(), run.observed.others)
        {
            let why = format!(
                "{name} is in use by release {holder}: this one continues when that one has ended"
            );
            run.set_phase(index, TaskPhase::Pending, Some(why));
            return Ok(false);
        }
        self.check_ownership(run)?;
        run.start_task(index);
        let before = environment_status(self.app, name);
        let number = run
            .name()
            .rsplit('-')
            .next()
            .and_then(|n| n.parse::<u64>().ok());
        let number = number.unwrap_or_else(|| {
            u64::from_str_radix(&short_digest(&run.name().into())[..8], 16).unwrap_or(0)
        });
        let images = run.status.images.clone();
        let task = &mut run.status.tasks[index];
        task.new_version = Some(format!(
            "{}-{:03}",
            format_datetime(task.started_at.as_deref()),
            number % 1000
        ));
        task.new_images = images;
        task.old_images = before.images;
        task.old_version = before.version;
        let message = self.preview_warnings(run);
        run.set_phase(index, TaskPhase::Running, message);
        Ok(true)
    }

    /// Checks that every object to be written belongs to this environment or does not exist yet;
    /// `Err` names those that do not.
    fn check_ownership(&self, run: &Reconciliation) -> Result<(), TaskError> {
        let environment = &self.environment.name;
        let me = run.acting_owner(environment);
        let told = |object: &Value| {
            let item = object_key(object);
            // A terminating object is waited for.
            let seen = run.observed.objects.get(&item).filter(|s| !s.terminating)?;
            explain_refusal(
                &item,
                &run.classify_owner(environment, &item, seen),
                &seen.marks,
                &me,
            )
        };
        let problems: Vec<String> = self.objects.iter().filter_map(told).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(TaskError::Owned(problems))
        }
    }

    /// Warnings that are shown before the rollout.
    fn preview_warnings(&self, run: &Reconciliation) -> Option<String> {
        let mut told = vec![];
        for (object, seen) in self
            .objects
            .iter()
            .filter_map(|o| Some((o, run.workload(&object_key(o))?)))
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

    /// Applies an object that differs from its manifest or does not exist; true when it is as it
    /// should be.
    fn ensure_applied(
        &self,
        run: &mut Reconciliation,
        object: &Value,
        hold: bool,
        waits: &mut Vec<String>,
    ) -> bool {
        let item = object_key(object);
        let seen = run.observed.objects.get(&item);
        if seen.is_some_and(|s| !s.terminating && s.applied.as_deref() == applied_digest(object)) {
            return true;
        }
        if seen.is_some_and(|s| s.terminating) {
            waits.push(format!(
                "waits until the old {} {} is gone",
                item.kind, item.name
            ));
        } else if !hold {
            waits.push(format!("applies {} {}", item.kind, item.name));
            let version = seen.map(|s| s.version.clone());
            let object = with_release_marks(run, object, seen);
            let by = Account::for_object(self.environment, &item);
            run.steps.push(ReleaseStep::Apply {
                object,
                seen: version,
                force: run.may_take_over(self.index),
                by,
            });
        }
        false
    }
}

/// The object with the release's marks; an existing object keeps the annotation that says who
/// created it.
fn with_release_marks(run: &Reconciliation, object: &Value, seen: Option<&ObjectSeen>) -> Value {
    let mut object = object.clone();
    set_annotation(&mut object, label::RELEASE, run.name());
    // Not part of the digest: objects applied by older versions of graylane need no new apply for
    // it.
    let home = run.observed.release.metadata.namespace.as_deref();
    home.into_iter()
        .for_each(|home| set_annotation(&mut object, label::HOME, home));
    let maker = seen.map_or(Some(run.uid()), |s| s.created_by.as_deref());
    maker
        .into_iter()
        .for_each(|uid| set_annotation(&mut object, label::CREATED_BY, uid));
    object
}

fn applied_digest(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][label::APPLIED].as_str()
}
