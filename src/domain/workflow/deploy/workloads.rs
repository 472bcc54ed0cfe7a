//! The workloads of an environment, batch by batch: all of them do the same batch, and none goes
//! ahead alone.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    Deploy,
    missing::{self, MissingAction},
    report, with_release_marks,
};
use crate::{
    api::{Amount, InventoryItem},
    domain::{
        account::Account,
        batches::{
            self, Goal, Manifest, ManifestError, Progress, Records, RolloutAction, is_batched,
        },
        workflow::{ReleaseStep, objects::object_key, reconciliation::Reconciliation},
    },
};

/// Combined result of all workloads.
pub(super) struct WorkloadsOutcome {
    pub(super) waits: Vec<String>,
    pub(super) stops: Vec<String>,
    pub(super) acting: bool,
    pub(super) all_done: bool,
}

/// One workload: its name, the object to create, and its manifest.
pub(super) struct WorkloadRollout {
    pub(super) item: InventoryItem,
    pub(super) object: Value,
    pub(super) manifest: Manifest,
}

/// Progress of all workloads together.
pub(super) struct BatchProgress<'a> {
    pub(super) all: &'a [WorkloadRollout],
    pub(super) amounts: &'a [Amount],
    pub(super) progress: Vec<Progress>,
    /// Batches that all workloads have finished, and the batch that they may reach now.
    pub(super) done: usize,
    pub(super) upto: usize,
}

pub(super) fn reconcile_workloads(
    deploy: &Deploy,
    run: &mut Reconciliation,
    hold: bool,
) -> Result<WorkloadsOutcome, ManifestError> {
    let all = collect_workloads(deploy, run)?;
    let rollout = &deploy.environment.rollout;
    for WorkloadRollout { item, .. } in &all {
        if let Some(seen) = run.workload(item) {
            run.keep_as_seen(deploy.index, item, seen);
        }
    }
    let amounts = ongoing_batches(run, deploy.index, &all).unwrap_or_else(|| {
        let size =
            |r: &WorkloadRollout| Some(r.manifest.rollout_size(Some(run.workload(&r.item)?)));
        batches::plan_batches(
            &rollout.batches,
            &all.iter().filter_map(size).collect::<Vec<_>>(),
        )
    });
    let task = run.status.tasks[deploy.index].clone();
    let allow = &run.spec().control.allow;
    let level = allow.get(&task.name).copied().unwrap_or(0);
    let allowed_of = |all: usize| batches::last_allowed_batch(rollout.pause, level, all);
    let allowed = allowed_of(amounts.len());
    let (release, release_uid) = (run.name(), run.uid());
    let plan = Goal {
        manifest: &(),
        release,
        release_uid,
        task: &task.name,
        attempt: task.attempt,
        batches: &amounts,
        upto: 0,
        hold,
        surge: rollout.max_surge,
        records: Records::default(),
    };
    let progress = |r: &WorkloadRollout| {
        let known = run.known_records(deploy.index, &r.item);
        Goal {
            records: known.as_records(),
            ..plan.with_manifest(&r.manifest)
        }
        .progress(run.workload(&r.item))
    };
    let progress: Vec<Progress> = all.iter().map(progress).collect();
    let done = progress
        .iter()
        .map(|p| p.done)
        .min()
        .unwrap_or(amounts.len());
    let upto = (done + 1).min(allowed);
    let mut pass = WorkloadsPass::new(deploy, all.len() == 1, upto > done);
    for rolled in &all {
        if pass.await_termination(run, rolled) {
            continue;
        }
        let known = run.known_records(deploy.index, &rolled.item);
        let next = (Goal {
            upto,
            records: known.as_records(),
            ..plan.with_manifest(&rolled.manifest)
        })
        .next_action(run.workload(&rolled.item));
        pass.take_action(run, rolled, next, &|all| allowed_of(all) == all);
    }
    let (looked, begins_anew) = pass.finish(run);
    let batches = BatchProgress {
        all: &all,
        amounts: &amounts,
        progress,
        done,
        upto,
    };
    report::note_batches(run, deploy.index, &batches, hold);
    if begins_anew {
        // The targets are known only when it exists again.
        run.status.tasks[deploy.index].batches.clear();
    }
    Ok(looked)
}

fn collect_workloads(
    deploy: &Deploy,
    run: &Reconciliation,
) -> Result<Vec<WorkloadRollout>, ManifestError> {
    let objects = deploy.objects.iter().filter(|o| is_batched(&object_key(o)));
    objects
        .map(|object| {
            let seen = run.observed.objects.get(&object_key(object));
            let object = with_release_marks(run, object, seen);
            Ok(WorkloadRollout {
                item: object_key(&object),
                manifest: Manifest::from_object(&object)?,
                object,
            })
        })
        .collect()
}

/// One pass over the workloads: what each does next, and what is told about it.
struct WorkloadsPass<'d, 'a> {
    deploy: &'d Deploy<'a>,
    /// There is only one workload, so messages need not name it.
    single: bool,
    looked: WorkloadsOutcome,
    again: Option<SignedDuration>,
    steps: Vec<ReleaseStep>,
    begins_anew: bool,
}

impl<'d, 'a> WorkloadsPass<'d, 'a> {
    fn new(deploy: &'d Deploy<'a>, single: bool, acting: bool) -> Self {
        Self {
            deploy,
            single,
            looked: WorkloadsOutcome {
                waits: vec![],
                stops: vec![],
                acting,
                all_done: true,
            },
            again: None,
            steps: vec![],
            begins_anew: false,
        }
    }

    fn add_wait(&mut self, item: &InventoryItem, why: String) {
        self.looked.waits.push(if self.single {
            why
        } else {
            format!("{}: {why}", item.name)
        });
    }

    fn add_stop(&mut self, InventoryItem { kind, name, .. }: &InventoryItem, why: &str) {
        self.looked.stops.push(format!("{kind} {name}: {why}"));
    }

    /// Whether the workload is being deleted; then it is waited for.
    fn await_termination(&mut self, run: &Reconciliation, rolled: &WorkloadRollout) -> bool {
        let item = &rolled.item;
        let object = run.observed.objects.get(item);
        if !object.is_some_and(|o| o.terminating) {
            return false;
        }
        let seen = run.workload(item);
        if let Some(why) = missing::describe_terminating(run, self.deploy.index, rolled, seen) {
            self.add_stop(item, &why);
        }
        let InventoryItem { kind, name, .. } = item;
        self.add_wait(item, format!("waits until the old {kind} {name} is gone"));
        self.looked.all_done = false;
        true
    }

    fn take_action(
        &mut self,
        run: &mut Reconciliation,
        rolled: &WorkloadRollout,
        next: RolloutAction,
        lets_through: &dyn Fn(usize) -> bool,
    ) {
        let WorkloadRollout { item, object, .. } = rolled;
        let InventoryItem { kind, name, .. } = item;
        let index = self.deploy.index;
        let by = Account::for_object(self.deploy.environment, item);
        let seen = run.workload(item);
        self.looked.all_done &= next == RolloutAction::Done;
        match next {
            RolloutAction::Create => {
                match missing::handle_missing(self.deploy, run, rolled, lets_through) {
                    MissingAction::Create => {
                        self.add_wait(item, format!("makes {kind} {name}"));
                        self.steps.push(ReleaseStep::Apply {
                            object: object.clone(),
                            seen: None,
                            force: false,
                            by,
                        });
                    }
                    MissingAction::Recreate(step) => {
                        self.begins_anew = true;
                        let words = format!("recreates {kind} {name} with its old version");
                        self.add_wait(item, words);
                        self.steps.push(*step);
                    }
                    MissingAction::Stop(why) => self.add_stop(item, &why),
                }
            }
            RolloutAction::Patch(patch, why) => {
                run.keep_as_written(index, item, seen, &patch);
                self.add_wait(item, why.into());
                self.add_patch(item, patch, why, by);
            }
            RolloutAction::Restore(patch, latch) => {
                self.begins_anew = true;
                run.keep_as_restored(index, item, seen, latch);
                let words = format!("brings {kind} {name} back with its old version");
                self.add_wait(item, words);
                let why = "back with its old version: none of its pods ran any more";
                self.add_patch(item, patch, why, by);
            }
            RolloutAction::Delete(pod, why) => {
                self.add_wait(item, why.clone());
                self.steps
                    .push(ReleaseStep::delete_pod(item, *pod, why, by));
            }
            RolloutAction::Wait(why, look) => {
                self.add_wait(item, why);
                self.again = self.again.into_iter().chain(look).min();
            }
            RolloutAction::Stop(why) => self.add_stop(item, &why),
            RolloutAction::Held if seen.is_none() => {
                if let Some(why) = missing::describe_missing(run, index, item) {
                    self.add_stop(item, &why);
                }
            }
            RolloutAction::Held | RolloutAction::Done => {}
        }
    }

    fn add_patch(&mut self, item: &InventoryItem, patch: Value, why: &'static str, by: Account) {
        self.steps.push(ReleaseStep::Patch {
            workload: item.clone(),
            patch,
            why,
            by,
        });
    }

    /// Takes the steps, unless one of the workloads cannot go on: then none does.
    fn finish(self, run: &mut Reconciliation) -> (WorkloadsOutcome, bool) {
        if self.looked.stops.is_empty() {
            run.steps.extend(self.steps);
        }
        self.again.into_iter().for_each(|a| run.requeue_after(a));
        (self.looked, self.begins_anew)
    }
}

/// The batches of a rollout in progress.
fn ongoing_batches(
    run: &Reconciliation,
    index: usize,
    all: &[WorkloadRollout],
) -> Option<Vec<Amount>> {
    let mark = |r: &WorkloadRollout| {
        run.workload(&r.item)?
            .mark_of(run.uid(), &run.known_records(index, &r.item).as_records())
    };
    all.iter().find_map(mark).map(|m| m.batches)
}
