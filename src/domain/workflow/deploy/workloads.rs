//! The workloads of an environment, batch by batch: all of them do the same batch, and none goes on alone.

use jiff::SignedDuration;
use serde_json::Value;

use super::{Deploy, marked, tell};
use crate::{
    api::{Amount, BatchPhase, InventoryItem, PausePolicy},
    domain::{
        batches::{self, Goal, Manifest, Move, Progress, WorkloadSeen, is_rolled},
        workflow::{Step, objects::key, run::Run},
    },
};

/// What all of them say together.
pub(super) struct Looked {
    pub(super) waits: Vec<String>,
    pub(super) stops: Vec<String>,
    pub(super) acting: bool,
    pub(super) all_done: bool,
}

/// One workload: what names it, the object as it is created, and what is wanted of it.
pub(super) struct Rolled {
    pub(super) item: InventoryItem,
    object: Value,
    pub(super) manifest: Manifest,
}

/// How far all of them are.
pub(super) struct Batches<'a> {
    pub(super) all: &'a [Rolled],
    pub(super) amounts: &'a [Amount],
    pub(super) progress: Vec<Progress>,
    /// Done by all of them, and how far they may go now.
    pub(super) done: usize,
    pub(super) upto: usize,
}

pub(super) fn look(deploy: &Deploy, run: &mut Run, hold: bool) -> Result<Looked, String> {
    let mut all = vec![];
    for object in deploy.objects.iter().filter(|o| is_rolled(&key(o))) {
        let object = marked(run, object, run.o.objects.get(&key(object)));
        all.push(Rolled { item: key(&object), manifest: Manifest::of(&object)?, object });
    }
    let rollout = &deploy.environment.rollout;
    let amounts = frozen(run, &all).unwrap_or_else(|| {
        let size = |r: &Rolled| Some(r.manifest.size(Some(run.workload(&r.item)?)));
        batches::batches(&rollout.batches, &all.iter().filter_map(size).collect::<Vec<_>>())
    });
    let task = run.status.tasks[deploy.index].clone();
    let may = run.spec().control.allow.get(&task.name).copied().unwrap_or(0) as usize;
    let allowed = match rollout.pause {
        PausePolicy::Never => amounts.len(),
        PausePolicy::First if may >= 2 => amounts.len(),
        PausePolicy::First => 1,
        PausePolicy::Every => may.max(1),
    }
    .min(amounts.len());
    let (release, release_uid, now) = (run.name(), run.uid(), run.o.now);
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
        now,
    };
    let progress: Vec<Progress> = all.iter().map(|r| plan.of(&r.manifest).progress(run.workload(&r.item))).collect();
    let done = progress.iter().map(|p| p.done).min().unwrap_or(amounts.len());
    let upto = (done + 1).min(allowed);
    let mut looked = Looked { waits: vec![], stops: vec![], acting: upto > done, all_done: true };
    let was_done = task.batches.iter().any(|b| b.phase == BatchPhase::Done);
    let mut again: Option<SignedDuration> = None;
    let mut steps = vec![];
    for Rolled { item, object, manifest } in &all {
        let InventoryItem { kind, name, .. } = item;
        let told = |why: String| if all.len() == 1 { why } else { format!("{name}: {why}") };
        let seen = run.workload(item);
        if run.o.objects.get(item).is_some_and(|o| o.terminating) {
            looked.waits.push(told(format!("waits for the old {kind} {name} to be gone")));
            looked.all_done = false;
            continue;
        }
        let ours = seen.and_then(WorkloadSeen::mark).is_some_and(|m| m.release_uid == run.uid());
        let begins_anew = was_done && done == 0 && seen.is_some() && !ours;
        let is_new = seen.is_some_and(|s| manifest.is_template_of(s));
        let next = match (Goal { upto, ..plan.of(manifest) }).next(seen) {
            Move::Patch(..) if begins_anew && !is_new => {
                Move::Stop("the latch was taken off by somebody else: its batches are no longer known".into())
            }
            next => next,
        };
        looked.all_done &= next == Move::Done;
        match next {
            Move::Create => {
                looked.waits.push(told(format!("makes {kind} {name}")));
                steps.push(Step::Apply { object: object.clone(), force: false });
            }
            Move::Patch(patch, why) => {
                looked.waits.push(told(why.into()));
                steps.push(Step::Patch { workload: item.clone(), patch, why });
            }
            Move::Delete(pod, why) => {
                looked.waits.push(told(why.clone()));
                steps.push(Step::delete_pod(item, *pod, why));
            }
            Move::Wait(why, look) => {
                looked.waits.push(told(why));
                again = again.into_iter().chain(look).min();
            }
            Move::Stop(why) => looked.stops.push(format!("{kind} {name}: {why}")),
            Move::Held | Move::Done => {}
        }
    }
    // One of them cannot go on: none does.
    if looked.stops.is_empty() {
        run.steps.extend(steps);
    }
    again.into_iter().for_each(|a| run.look_in(a));
    let batches = Batches { all: &all, amounts: &amounts, progress, done, upto };
    tell::note_batches(run, deploy.index, &batches, hold);
    Ok(looked)
}

/// The batches of a rollout under way.
fn frozen(run: &Run, all: &[Rolled]) -> Option<Vec<Amount>> {
    let mark = |r: &Rolled| run.workload(&r.item)?.mark().filter(|m| m.release_uid == run.uid());
    all.iter().find_map(mark).map(|m| m.batches)
}
