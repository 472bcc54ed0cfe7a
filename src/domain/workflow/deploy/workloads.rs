//! The workloads of an environment, batch by batch: all of them do the same batch, and none goes
//! ahead alone.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    Deploy,
    gone::{self, Gone},
    marked, tell,
};
use crate::{
    api::{Amount, InventoryItem},
    domain::{
        account::Account,
        batches::{self, Goal, Manifest, Move, Progress, Records, is_rolled},
        workflow::{Step, objects::key, run::Run},
    },
};

/// Combined result of all workloads.
pub(super) struct Looked {
    pub(super) waits: Vec<String>,
    pub(super) stops: Vec<String>,
    pub(super) acting: bool,
    pub(super) all_done: bool,
}

/// One workload: its name, the object to create, and its manifest.
pub(super) struct Rolled {
    pub(super) item: InventoryItem,
    pub(super) object: Value,
    pub(super) manifest: Manifest,
}

/// Progress of all workloads together.
pub(super) struct Batches<'a> {
    pub(super) all: &'a [Rolled],
    pub(super) amounts: &'a [Amount],
    pub(super) progress: Vec<Progress>,
    /// Batches that all workloads have finished, and the batch that they may reach now.
    pub(super) done: usize,
    pub(super) upto: usize,
}

pub(super) fn look(deploy: &Deploy, run: &mut Run, hold: bool) -> Result<Looked, String> {
    let mut all = vec![];
    for object in deploy.objects.iter().filter(|o| is_rolled(&key(o))) {
        let object = marked(run, object, run.o.objects.get(&key(object)));
        all.push(Rolled {
            item: key(&object),
            manifest: Manifest::of(&object)?,
            object,
        });
    }
    let rollout = &deploy.environment.rollout;
    for Rolled { item, .. } in &all {
        if let Some(seen) = run.workload(item) {
            run.keep_as_seen(deploy.index, item, seen);
        }
    }
    let amounts = frozen(run, deploy.index, &all).unwrap_or_else(|| {
        let size = |r: &Rolled| Some(r.manifest.size(Some(run.workload(&r.item)?)));
        batches::batches(
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
    let allowed_of = |all: usize| batches::allowed(rollout.pause, level, all);
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
    let progress = |r: &Rolled| {
        let known = run.known(deploy.index, &r.item);
        Goal {
            records: known.records(),
            ..plan.of(&r.manifest)
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
    let mut looked = Looked {
        waits: vec![],
        stops: vec![],
        acting: upto > done,
        all_done: true,
    };
    let mut again: Option<SignedDuration> = None;
    let mut steps = vec![];
    let mut begins_anew = false;
    for rolled in &all {
        let Rolled {
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
        if run.o.objects.get(item).is_some_and(|o| o.terminating) {
            if let Some(why) = gone::going(run, deploy.index, rolled, seen) {
                looked.stops.push(format!("{kind} {name}: {why}"));
            }
            looked
                .waits
                .push(told(format!("waits for the old {kind} {name} to be gone")));
            looked.all_done = false;
            continue;
        }
        let by = Account::of(deploy.environment, item);
        let known = run.known(deploy.index, item);
        let next = (Goal {
            upto,
            records: known.records(),
            ..plan.of(manifest)
        })
        .next(seen);
        looked.all_done &= next == Move::Done;
        match next {
            Move::Create => match gone::look(deploy, run, rolled, &|all| allowed_of(all) == all) {
                Gone::Make => {
                    looked.waits.push(told(format!("makes {kind} {name}")));
                    steps.push(Step::Apply {
                        object: object.clone(),
                        seen: None,
                        force: false,
                        by,
                    });
                }
                Gone::Again(step) => {
                    begins_anew = true;
                    looked.waits.push(told(format!(
                        "makes {kind} {name} again, with its old version"
                    )));
                    steps.push(*step);
                }
                Gone::Stop(why) => looked.stops.push(format!("{kind} {name}: {why}")),
            },
            Move::Patch(patch, why) => {
                run.keep_as_written(deploy.index, item, seen, &patch);
                looked.waits.push(told(why.into()));
                steps.push(Step::Patch {
                    workload: item.clone(),
                    patch,
                    why,
                    by,
                });
            }
            Move::Restore(patch, latch) => {
                begins_anew = true;
                run.keep_as_restored(deploy.index, item, seen, latch);
                looked.waits.push(told(format!(
                    "brings {kind} {name} back with its old version"
                )));
                let why = "back with its old version: nothing of it ran any more";
                steps.push(Step::Patch {
                    workload: item.clone(),
                    patch,
                    why,
                    by,
                });
            }
            Move::Delete(pod, why) => {
                looked.waits.push(told(why.clone()));
                steps.push(Step::delete_pod(item, *pod, why, by));
            }
            Move::Wait(why, look) => {
                looked.waits.push(told(why));
                again = again.into_iter().chain(look).min();
            }
            Move::Stop(why) => looked.stops.push(format!("{kind} {name}: {why}")),
            Move::Held if seen.is_none() => {
                let gone = gone::held(run, deploy.index, item);
                looked
                    .stops
                    .extend(gone.map(|why| format!("{kind} {name}: {why}")));
            }
            Move::Held | Move::Done => {}
        }
    }
    // If one of them cannot go on, none does.
    if looked.stops.is_empty() {
        run.steps.extend(steps);
    }
    again.into_iter().for_each(|a| run.look_in(a));
    let batches = Batches {
        all: &all,
        amounts: &amounts,
        progress,
        done,
        upto,
    };
    tell::note_batches(run, deploy.index, &batches, hold);
    if begins_anew {
        // The targets are known only when it exists again.
        run.status.tasks[deploy.index].batches.clear();
    }
    Ok(looked)
}

/// The batches of a rollout in progress.
fn frozen(run: &Run, index: usize, all: &[Rolled]) -> Option<Vec<Amount>> {
    let mark = |r: &Rolled| {
        run.workload(&r.item)?
            .mark_of(run.uid(), &run.known(index, &r.item).records())
    };
    all.iter().find_map(mark).map(|m| m.batches)
}
