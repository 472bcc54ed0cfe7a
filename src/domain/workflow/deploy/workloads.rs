//! The workloads of an environment, batch by batch: all of them do the same batch, and none goes
//! ahead alone.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    Deploy, missing,
    report::{self, NotedBatches},
    with_release_marks,
};
use crate::{
    api::{Amount, InventoryItem, RolloutRecord, TaskStatus},
    domain::{
        account::Account,
        batches::{
            self, Goal, Manifest, ManifestError, Progress, Records, RolloutAction, is_batched,
        },
        workflow::{
            ReleaseStep, objects::object_key, outcome::TaskOutcome, records::merge_records,
            view::TaskView,
        },
    },
};

/// Outcome of all workloads together.
pub(super) struct WorkloadsOutcome {
    /// Steps to take; none when one of the workloads cannot go on.
    pub(super) steps: Vec<ReleaseStep>,
    /// What is waited for.
    pub(super) waits: Vec<String>,
    /// Why workloads cannot go on.
    pub(super) stops: Vec<String>,
    /// A batch is in progress.
    pub(super) acting: bool,
    pub(super) all_done: bool,
    requeue: Option<SignedDuration>,
    rollouts: Vec<RolloutRecord>,
    batches: NotedBatches,
}

impl WorkloadsOutcome {
    /// Outcome of the task with what is noted of its workloads, whether they can go on or not.
    pub(super) fn note_in(&self, mut outcome: TaskOutcome) -> TaskOutcome {
        outcome.status.rollouts.clone_from(&self.rollouts);
        let outcome = self.batches.note_in(outcome);
        self.requeue
            .into_iter()
            .fold(outcome, TaskOutcome::requeued_after)
    }
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

/// Decides about all workloads of a deploy. `hold`: an open latch is closed, and nothing else.
pub(super) fn decide_workloads(
    deploy: &Deploy,
    view: &TaskView,
    hold: bool,
) -> Result<WorkloadsOutcome, ManifestError> {
    let all = collect_workloads(deploy, view)?;
    let seen = |r: &WorkloadRollout| view.record_seen(&r.item, view.workload(&r.item)?);
    let rollouts = merge_records(view.task.rollouts.clone(), all.iter().filter_map(seen));
    let recorded = TaskStatus {
        rollouts,
        ..view.task.clone()
    };
    let view = &view.with_task(&recorded);
    let amounts = fixed_batches(deploy, view, &all);
    let goal = Goal {
        manifest: &(),
        release: view.release_name(),
        release_uid: view.release_uid(),
        task: &view.task.name,
        attempt: view.task.attempt,
        batches: &amounts,
        upto: 0,
        hold,
        surge: deploy.environment.rollout.max_surge,
        records: Records::default(),
    };
    let progress = |r: &WorkloadRollout| {
        let known = view.known_records(&r.item);
        let goal = goal.with_records(known.as_records());
        goal.with_manifest(&r.manifest)
            .progress(view.workload(&r.item))
    };
    let progress: Vec<Progress> = all.iter().map(progress).collect();
    let done = progress.iter().map(|p| p.done).min();
    let done = done.unwrap_or(amounts.len());
    let upto = (done + 1).min(deploy.allowed_batch(view, amounts.len()));
    let goal = Goal { upto, ..goal };
    let moves: Vec<WorkloadMove> = all
        .iter()
        .map(|rolled| WorkloadMove::decide(deploy, view, rolled, &goal))
        .collect();
    let batches = BatchProgress {
        all: &all,
        amounts: &amounts,
        progress,
        done,
        upto,
    };
    let batches = report::note_batches(view, &batches, hold);
    Ok(combine_moves(view, &all, moves, batches, upto > done))
}

fn combine_moves(
    view: &TaskView,
    all: &[WorkloadRollout],
    moves: Vec<WorkloadMove>,
    batches: NotedBatches,
    acting: bool,
) -> WorkloadsOutcome {
    // Messages need not name the only workload.
    let named = |item: &InventoryItem, why: &String| match all {
        [_] => why.clone(),
        _ => format!("{}: {why}", item.name),
    };
    let told = |(r, m): (&WorkloadRollout, &WorkloadMove)| Some(named(&r.item, m.wait.as_ref()?));
    let stopped = |(r, m): (&WorkloadRollout, &WorkloadMove)| {
        let InventoryItem { kind, name, .. } = &r.item;
        m.stop.as_ref().map(|why| format!("{kind} {name}: {why}"))
    };
    let waits = all.iter().zip(&moves).filter_map(told).collect();
    let stops: Vec<String> = all.iter().zip(&moves).filter_map(stopped).collect();
    let records = moves.iter().filter_map(|m| m.record.clone());
    let begins_anew = moves.iter().any(|m| m.begins_anew);
    let may_act = stops.is_empty();
    WorkloadsOutcome {
        waits,
        stops,
        acting,
        all_done: moves.iter().all(|m| m.done),
        requeue: moves.iter().filter_map(|m| m.requeue).min(),
        rollouts: merge_records(view.task.rollouts.clone(), records),
        // The targets are known only when it exists again.
        batches: batches.unless_begun_anew(begins_anew),
        steps: moves
            .into_iter()
            .filter_map(|m| m.step.filter(|_| may_act))
            .collect(),
    }
}

fn collect_workloads(
    deploy: &Deploy,
    view: &TaskView,
) -> Result<Vec<WorkloadRollout>, ManifestError> {
    let objects = deploy.objects.iter().filter(|o| is_batched(&object_key(o)));
    objects
        .map(|object| {
            let item = object_key(object);
            let object = with_release_marks(view, object, view.object(&item));
            Ok(WorkloadRollout {
                manifest: Manifest::from_object(&object)?,
                item,
                object,
            })
        })
        .collect()
}

/// What one workload does next.
#[derive(Default)]
pub(super) struct WorkloadMove {
    /// What is waited for.
    pub(super) wait: Option<String>,
    /// Why it cannot go on.
    pub(super) stop: Option<String>,
    pub(super) step: Option<ReleaseStep>,
    /// What is recorded before the step is taken.
    pub(super) record: Option<RolloutRecord>,
    /// The batches start over.
    pub(super) begins_anew: bool,
    /// When it may change by itself.
    pub(super) requeue: Option<SignedDuration>,
    /// It is as the manifest wants it.
    pub(super) done: bool,
}

impl WorkloadMove {
    fn waits(why: impl Into<String>) -> Self {
        Self {
            wait: Some(why.into()),
            ..Self::default()
        }
    }

    pub(super) fn stops(why: String) -> Self {
        Self {
            stop: Some(why),
            ..Self::default()
        }
    }

    pub(super) fn takes(step: ReleaseStep, why: impl Into<String>) -> Self {
        Self {
            step: Some(step),
            ..Self::waits(why)
        }
    }

    fn decide(deploy: &Deploy, view: &TaskView, rolled: &WorkloadRollout, goal: &Goal<()>) -> Self {
        let item = &rolled.item;
        let seen = view.workload(item);
        if view.object(item).is_some_and(|o| o.terminating) {
            let InventoryItem { kind, name, .. } = item;
            return Self {
                stop: missing::describe_terminating(view, rolled, seen),
                ..Self::waits(format!("waits until the old {kind} {name} is gone"))
            };
        }
        let known = view.known_records(item);
        let goal = goal.with_records(known.as_records());
        let action = goal.with_manifest(&rolled.manifest).next_action(seen);
        Self::from_action(deploy, view, rolled, action)
    }

    fn from_action(
        deploy: &Deploy,
        view: &TaskView,
        rolled: &WorkloadRollout,
        action: RolloutAction,
    ) -> Self {
        let item = &rolled.item;
        let InventoryItem { kind, name, .. } = item;
        let by = Account::for_object(deploy.environment, item);
        let seen = view.workload(item);
        match action {
            RolloutAction::Create => missing::create_missing(deploy, view, rolled),
            RolloutAction::Patch(patch, why) => Self {
                record: view.record_patch(item, seen, &patch),
                ..Self::takes(ReleaseStep::patch(item, patch, why, by), why)
            },
            RolloutAction::Restore(patch, latch) => {
                let words = "back with its old version: none of its pods ran any more";
                let step = ReleaseStep::patch(item, patch, words, by);
                Self {
                    record: Some(view.record_restored(item, seen, latch)),
                    begins_anew: true,
                    ..Self::takes(
                        step,
                        format!("brings {kind} {name} back with its old version"),
                    )
                }
            }
            RolloutAction::Delete(pod, why) => {
                Self::takes(ReleaseStep::delete_pod(item, *pod, why.clone(), by), why)
            }
            RolloutAction::Wait(why, requeue) => Self {
                requeue,
                ..Self::waits(why)
            },
            RolloutAction::Stop(why) => Self::stops(why),
            RolloutAction::Held if seen.is_none() => Self {
                stop: missing::describe_missing(view, item),
                ..Self::default()
            },
            RolloutAction::Held => Self::default(),
            RolloutAction::Done => Self {
                done: true,
                ..Self::default()
            },
        }
    }
}

/// The batches of a rollout in progress, which are fixed, or else those of the plan.
fn fixed_batches(deploy: &Deploy, view: &TaskView, all: &[WorkloadRollout]) -> Vec<Amount> {
    let mark = |r: &WorkloadRollout| {
        let known = view.known_records(&r.item);
        view.workload(&r.item)?
            .mark_of(view.release_uid(), &known.as_records())
    };
    if let Some(mark) = all.iter().find_map(mark) {
        return mark.batches;
    }
    let size = |r: &WorkloadRollout| Some(r.manifest.rollout_size(Some(view.workload(&r.item)?)));
    let sizes: Vec<u32> = all.iter().filter_map(size).collect();
    batches::plan_batches(&deploy.environment.rollout.batches, &sizes)
}
