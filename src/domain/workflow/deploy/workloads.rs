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
    api::{Amount, ObjectRef, RolloutRecord, TaskStatus},
    domain::{
        account::Account,
        batches::{
            self, Goal, Manifest, ManifestError, Progress, Records, RolloutAction, RolloutMark,
            WorkloadSeen, is_batched,
        },
        workflow::{
            ReleaseStep,
            outcome::TaskOutcome,
            records::{KnownRecords, merge_records},
            task_error::TaskError,
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

    /// Fails when one of the workloads cannot go on.
    pub(super) fn check_stops(&self) -> Result<(), TaskError> {
        match self.stops.first() {
            Some(why) => Err(TaskError::Workload(why.clone())),
            None => Ok(()),
        }
    }
}

/// One workload of the manifests.
struct WantedWorkload {
    object_ref: ObjectRef,
    object: Value,
    manifest: Manifest,
}

/// One workload of a deploy, with all that is known of it.
pub(super) struct WorkloadView<'a> {
    /// Which workload.
    pub(super) object_ref: ObjectRef,
    /// The object to create.
    pub(super) object: Value,
    pub(super) manifest: Manifest,
    /// The live workload, if it exists.
    pub(super) seen: Option<&'a WorkloadSeen>,
    /// It is being deleted.
    pub(super) terminating: bool,
    /// What releases have recorded about it.
    pub(super) records: KnownRecords<'a>,
    /// Account to act as.
    pub(super) by: Account,
}

impl<'a> WorkloadView<'a> {
    fn from_wanted(deploy: &Deploy, view: &TaskView<'a>, wanted: WantedWorkload) -> Self {
        let WantedWorkload {
            object_ref,
            object,
            manifest,
        } = wanted;
        Self {
            seen: view.workload(&object_ref),
            terminating: view.object(&object_ref).is_some_and(|o| o.terminating),
            records: view.known_records(&object_ref),
            by: Account::for_object(deploy.environment, &object_ref),
            object_ref,
            object,
            manifest,
        }
    }

    /// Goal of its rollout, from the goal of all workloads.
    fn goal<'b>(&'b self, goal: Goal<'b, ()>) -> Goal<'b, Manifest> {
        goal.with_records(self.records.as_records())
            .with_manifest(&self.manifest)
    }

    /// Number of pods that its rollout covers.
    pub(super) fn size(&self) -> u32 {
        self.manifest.rollout_size(self.seen)
    }

    /// The rollout of this release in progress on it.
    fn mark(&self, view: &TaskView) -> Option<RolloutMark> {
        self.seen?
            .mark_of(&view.release_uid(), &self.records.as_records())
    }
}

/// Progress of all workloads together.
pub(super) struct BatchProgress<'a> {
    pub(super) workloads: &'a [WorkloadView<'a>],
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
    let wanted = collect_wanted(deploy, view)?;
    let task = record_all_seen(view, &wanted);
    let view = &view.with_task(&task);
    let wanted = wanted.into_iter();
    let workloads: Vec<WorkloadView> = wanted
        .map(|wanted| WorkloadView::from_wanted(deploy, view, wanted))
        .collect();
    let amounts = fixed_batches(deploy, view, &workloads);
    let goal = Goal {
        manifest: &(),
        release: view.release_name(),
        home: view.home(),
        release_uid: &view.release_uid(),
        task: &view.task.name,
        attempt: view.task.attempt,
        batches: &amounts,
        upto: 0,
        hold,
        surge: deploy.environment.rollout.max_surge,
        records: Records::default(),
    };
    let batches = measure_batches(deploy, view, &workloads, goal);
    let goal = Goal {
        upto: batches.upto,
        ..goal
    };
    let moves = workloads
        .iter()
        .map(|workload| WorkloadMove::decide(deploy, view, workload, goal));
    Ok(combine_moves(view, &batches, moves.collect(), hold))
}

/// How far all workloads are, and how far they may go.
fn measure_batches<'a>(
    deploy: &Deploy,
    view: &TaskView,
    workloads: &'a [WorkloadView<'a>],
    goal: Goal<'a, ()>,
) -> BatchProgress<'a> {
    let amounts = goal.batches;
    let progress: Vec<Progress> = workloads
        .iter()
        .map(|workload| workload.goal(goal).progress(workload.seen))
        .collect();
    let done = progress.iter().map(|p| p.done).min();
    let done = done.unwrap_or(amounts.len());
    BatchProgress {
        workloads,
        amounts,
        progress,
        done,
        upto: (done + 1).min(deploy.allowed_batch(view, amounts.len())),
    }
}

fn combine_moves(
    view: &TaskView,
    batches: &BatchProgress,
    moves: Vec<WorkloadMove>,
    hold: bool,
) -> WorkloadsOutcome {
    let workloads = batches.workloads;
    // Messages need not name the only workload.
    let told = |workload: &ObjectRef, why: &String| match workloads {
        [_] => why.clone(),
        _ => format!("{}: {why}", workload.key.name),
    };
    let waits = workloads.iter().zip(&moves);
    let waits = waits.filter_map(|(w, m)| Some(told(&w.object_ref, m.wait.as_ref()?)));
    let stops = workloads.iter().zip(&moves);
    let stops = stops.filter_map(|(w, m)| {
        let why = m.stop.as_ref()?;
        Some(format!("{}: {why}", w.object_ref.kind_and_name()))
    });
    let (waits, stops): (_, Vec<String>) = (waits.collect(), stops.collect());
    let records = moves.iter().filter_map(|m| m.record.clone());
    let begins_anew = moves.iter().any(|m| m.begins_anew);
    let may_act = stops.is_empty();
    WorkloadsOutcome {
        waits,
        stops,
        acting: batches.upto > batches.done,
        all_done: moves.iter().all(|m| m.done),
        requeue: moves.iter().filter_map(|m| m.requeue).min(),
        rollouts: merge_records(view.task.rollouts.clone(), records),
        // The targets are known only when it exists again.
        batches: report::note_batches(view, batches, hold).unless_begun_anew(begins_anew),
        steps: moves
            .into_iter()
            .filter_map(|m| m.step.filter(|_| may_act))
            .collect(),
    }
}

/// The workloads of the manifests.
fn collect_wanted(deploy: &Deploy, view: &TaskView) -> Result<Vec<WantedWorkload>, ManifestError> {
    let objects = deploy
        .objects
        .iter()
        .map(|object| (ObjectRef::from_object(object), object));
    objects
        .filter(|(object_ref, _)| is_batched(object_ref))
        .map(|(object_ref, object)| {
            let object = with_release_marks(view, object, view.object(&object_ref));
            Ok(WantedWorkload {
                manifest: Manifest::from_object(&object)?,
                object_ref,
                object,
            })
        })
        .collect()
}

/// Status of the task with a record of each latch that is seen for this rollout.
fn record_all_seen(view: &TaskView, wanted: &[WantedWorkload]) -> TaskStatus {
    let seen = |w: &WantedWorkload| view.record_seen(&w.object_ref, view.workload(&w.object_ref)?);
    let records = view.task.rollouts.clone();
    TaskStatus {
        rollouts: merge_records(records, wanted.iter().filter_map(seen)),
        ..view.task.clone()
    }
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

    fn decide(deploy: &Deploy, view: &TaskView, workload: &WorkloadView, goal: Goal<()>) -> Self {
        if workload.terminating {
            let what = workload.object_ref.kind_and_name();
            return Self {
                stop: missing::describe_terminating(view, workload),
                ..Self::waits(format!("waits until the old {what} is gone"))
            };
        }
        let action = workload.goal(goal).next_action(workload.seen);
        Self::from_action(deploy, view, workload, action)
    }

    fn from_action(
        deploy: &Deploy,
        view: &TaskView,
        workload: &WorkloadView,
        action: RolloutAction,
    ) -> Self {
        let WorkloadView {
            object_ref, seen, ..
        } = workload;
        let by = workload.by.clone();
        match action {
            RolloutAction::Create => missing::create_missing(deploy, view, workload),
            RolloutAction::Patch(patch, why) => Self {
                record: view.record_patch(object_ref, *seen, &patch),
                ..Self::takes(ReleaseStep::patch(object_ref, patch, why, by), why)
            },
            RolloutAction::Restore(patch, latch) => {
                let words = "back with its old version: none of its pods ran any more";
                let step = ReleaseStep::patch(object_ref, patch, words, by);
                Self {
                    record: Some(view.record_restored(object_ref, *seen, latch)),
                    begins_anew: true,
                    ..Self::takes(
                        step,
                        format!(
                            "brings {} back with its old version",
                            object_ref.kind_and_name()
                        ),
                    )
                }
            }
            RolloutAction::Delete(pod, why) => Self::takes(
                ReleaseStep::delete_pod(object_ref, *pod, why.clone(), by),
                why,
            ),
            RolloutAction::Wait(why, requeue) => Self {
                requeue,
                ..Self::waits(why)
            },
            RolloutAction::Stop(why) => Self::stops(why),
            RolloutAction::Held if seen.is_none() => Self {
                stop: missing::describe_missing(view, object_ref),
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
fn fixed_batches(deploy: &Deploy, view: &TaskView, workloads: &[WorkloadView]) -> Vec<Amount> {
    if let Some(mark) = workloads.iter().find_map(|w| w.mark(view)) {
        return mark.batches;
    }
    let live = workloads.iter().filter(|w| w.seen.is_some());
    let sizes: Vec<u32> = live.map(WorkloadView::size).collect();
    batches::plan_batches(&deploy.environment.rollout.batches, &sizes)
}
