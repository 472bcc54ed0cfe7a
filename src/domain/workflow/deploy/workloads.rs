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
    let mut all = vec![];
    for object in deploy.objects.iter().filter(|o| is_batched(&object_key(o))) {
        let object = with_release_marks(run, object, run.observed.objects.get(&object_key(object)));
        all.push(WorkloadRollout {
            item: object_key(&object),
            manifest: Manifest::from_object(&object)?,
            object,
        });
    }
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
    let level = run
        .spec()
        .control
        .allow
        .get(&task.name)
        .copied()
        .unwrap_or(0);
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
    let mut looked = WorkloadsOutcome {
        waits: vec![],
        stops: vec![],
        acting: upto > done,
        all_done: true,
    };
    let mut again: Option<SignedDuration> = None;
    let mut steps = vec![];
    let mut begins_anew = false;
    for rolled in &all {
        let WorkloadRollout {
            item,
            object,
            manifest,
        } = rolled;
        let InventoryItem { kind, name, .. } = item;
        let told = |why: String| {
            if all.len() == 1 {
                why
            } else {
                format!("{name}: {why}")
            }
        };
        let seen = run.workload(item);
        if run
            .observed
            .objects
            .get(item)
            .is_some_and(|o| o.terminating)
        {
            if let Some(why) = missing::describe_terminating(run, deploy.index, rolled, seen) {
                looked.stops.push(format!("{kind} {name}: {why}"));
            }
            looked
                .waits
                .push(told(format!("waits for the old {kind} {name} to be gone")));
            looked.all_done = false;
            continue;
        }
        let by = Account::for_object(deploy.environment, item);
        let known = run.known_records(deploy.index, item);
        let next = (Goal {
            upto,
            records: known.as_records(),
            ..plan.with_manifest(manifest)
        })
        .next_action(seen);
        looked.all_done &= next == RolloutAction::Done;
        match next {
            RolloutAction::Create => {
                match missing::handle_missing(deploy, run, rolled, &|all| allowed_of(all) == all) {
                    MissingAction::Create => {
                        looked.waits.push(told(format!("makes {kind} {name}")));
                        steps.push(ReleaseStep::Apply {
                            object: object.clone(),
                            seen: None,
                            force: false,
                            by,
                        });
                    }
                    MissingAction::Recreate(step) => {
                        begins_anew = true;
                        looked.waits.push(told(format!(
                            "makes {kind} {name} again, with its old version"
                        )));
                        steps.push(*step);
                    }
                    MissingAction::Stop(why) => looked.stops.push(format!("{kind} {name}: {why}")),
                }
            }
            RolloutAction::Patch(patch, why) => {
                run.keep_as_written(deploy.index, item, seen, &patch);
                looked.waits.push(told(why.into()));
                steps.push(ReleaseStep::Patch {
                    workload: item.clone(),
                    patch,
                    why,
                    by,
                });
            }
            RolloutAction::Restore(patch, latch) => {
                begins_anew = true;
                run.keep_as_restored(deploy.index, item, seen, latch);
                looked.waits.push(told(format!(
                    "brings {kind} {name} back with its old version"
                )));
                let why = "back with its old version: nothing of it ran any more";
                steps.push(ReleaseStep::Patch {
                    workload: item.clone(),
                    patch,
                    why,
                    by,
                });
            }
            RolloutAction::Delete(pod, why) => {
                looked.waits.push(told(why.clone()));
                steps.push(ReleaseStep::delete_pod(item, *pod, why, by));
            }
            RolloutAction::Wait(why, look) => {
                looked.waits.push(told(why));
                again = again.into_iter().chain(look).min();
            }
            RolloutAction::Stop(why) => looked.stops.push(format!("{kind} {name}: {why}")),
            RolloutAction::Held if seen.is_none() => {
                let gone = missing::describe_missing(run, deploy.index, item);
                looked
                    .stops
                    .extend(gone.map(|why| format!("{kind} {name}: {why}")));
            }
            RolloutAction::Held | RolloutAction::Done => {}
        }
    }
    // If one of them cannot go on, none does.
    if looked.stops.is_empty() {
        run.steps.extend(steps);
    }
    again.into_iter().for_each(|a| run.requeue_after(a));
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
