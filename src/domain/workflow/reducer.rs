//! Folds outcomes into the next status of a release.

use jiff::SignedDuration;

use super::{
    Decision, Observed, ReleaseStep,
    abort::{self, UndoOutcome},
    outcome::{BuiltImage, TaskOutcome, earliest, release_entry},
    task::decide_task,
    view::TaskView,
};
use crate::{
    api::{HistoryEntry, RecordedTime, ReleasePhase, ReleaseStatus, TaskPhase},
    domain::text::Clean,
};

/// Number of history entries that are kept.
const MAX_HISTORY: usize = 200;
/// Largest accepted difference between the clocks of people and engines.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Time until a way back that waits for something is looked at again.
const ABORT_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// The next status of a release, as far as it is decided.
pub(super) struct Reducer<'a> {
    pub observed: &'a Observed<'a>,
    pub status: ReleaseStatus,
    steps: Vec<ReleaseStep>,
    requeue: Option<SignedDuration>,
}

impl<'a> Reducer<'a> {
    /// Starts from the status that the release has.
    pub fn from_observed(observed: &'a Observed<'a>) -> Self {
        Self {
            observed,
            status: observed.release.status.clone().unwrap_or_default(),
            steps: vec![],
            requeue: None,
        }
    }

    pub fn into_decision(mut self) -> Decision {
        let too_many = self.status.history.len().saturating_sub(MAX_HISTORY);
        self.status.history.drain(..too_many);
        Decision {
            status: self.status,
            steps: self.steps,
            look_again: self.requeue,
        }
    }

    /// Reconciles again after this time at the latest.
    pub fn requeue_after(&mut self, wait: SignedDuration) {
        self.requeue = earliest(self.requeue, Some(wait));
    }

    /// Adds what the engine has done with the whole release to the history.
    pub fn add_history(&mut self, action: &str, message: Option<String>) {
        let entry = release_entry(self.observed, action, message);
        self.status.history.push(entry);
    }

    /// Adds a person's last intent to the history once. Its time comes from the person's own clock,
    /// and does not tell whether it is new.
    pub fn record_wish(&mut self) {
        let Some(last) = &self.observed.release.spec.control.last else {
            return;
        };
        if self.status.told.replace(last.clone()).as_ref() == Some(last) {
            return;
        }
        let clean = |text: &str| Clean::from_untrusted(text).to_string();
        let entry = HistoryEntry {
            at: if self.is_likely_time(&last.at) {
                clean(&last.at.to_string()).as_str().into()
            } else {
                self.observed.recorded_now()
            },
            by: clean(&last.by),
            action: clean(&last.action),
            task: None,
            message: last.comment.as_deref().map(clean),
        };
        // An engine that did not record the last intent may have added it already.
        if !self.status.history.contains(&entry) {
            self.status.history.push(entry);
        }
    }

    /// Whether something can have happened to the release at this time: the person's client sets
    /// it.
    fn is_likely_time(&self, at: &RecordedTime) -> bool {
        let (begun, now) = (self.status.started_at.as_ref(), self.observed.now);
        let begun = begun
            .and_then(RecordedTime::timestamp)
            .unwrap_or(now)
            .saturating_sub(MAX_CLOCK_SKEW)
            .unwrap_or(now);
        let latest = now.saturating_add(MAX_CLOCK_SKEW).unwrap_or(now);
        at.timestamp()
            .is_some_and(|at| (begun..=latest).contains(&at))
    }

    /// Runs the tasks, or undoes them when the release is aborted.
    pub fn decide_tasks(&mut self) {
        let wished = self.observed.release.spec.control.abort;
        if wished || self.status.phase == ReleasePhase::Aborting {
            self.undo_tasks();
        } else {
            self.run_tasks();
        }
    }

    /// Runs tasks in order, in this same pass, until one has not passed.
    fn run_tasks(&mut self) {
        let passed = |status: &ReleaseStatus| {
            let mut tasks = status.tasks.iter();
            tasks.position(|task| !task.phase.is_passed())
        };
        while let Some(next) = passed(&self.status) {
            let outcome = decide_task(&self.view_task(next));
            if !self.fold_task(next, outcome) {
                return;
            }
        }
        // Every latch is off, removed by its own last patch.
        let tasks = self.status.tasks.iter_mut();
        tasks.for_each(|task| task.rollouts.clear());
        self.finish(ReleasePhase::Succeeded, None);
    }

    /// Undoes the tasks, the last one first.
    fn undo_tasks(&mut self) {
        if self.status.phase != ReleasePhase::Aborting {
            let steps = abort::enter_abort(self.observed, &mut self.status);
            self.steps.extend(steps);
            self.requeue_after(SignedDuration::ZERO);
            return;
        }
        let is_undone = |phase: TaskPhase| phase == TaskPhase::Aborted || phase.is_passed();
        let tasks = self.status.tasks.iter().enumerate().rev();
        let begun: Vec<usize> = tasks
            .filter(|(_, task)| !is_undone(task.phase))
            .map(|(index, _)| index)
            .collect();
        let mut left = None;
        for index in begun {
            match abort::undo_task(&self.view_task(index)) {
                UndoOutcome::Done(outcome, message) => {
                    self.fold(index, outcome.in_phase(TaskPhase::Aborted, message));
                }
                UndoOutcome::Waits(mut outcome, why) => {
                    outcome.status.message = Some(why.clone());
                    self.status.task = Some(outcome.status.name.clone());
                    self.fold(index, outcome);
                    left = Some(why);
                }
            }
        }
        let Some(why) = left else {
            let why = abort::abort_reason(&self.observed.release.spec.control, &self.status);
            self.finish(ReleasePhase::Aborted, Some(why));
            return;
        };
        let trouble = self.observed.trouble.map(|t| t.message.clone());
        self.status.message = Some(trouble.unwrap_or(why));
        self.requeue_after(ABORT_INTERVAL);
    }

    /// Ends the release.
    pub fn finish(&mut self, phase: ReleasePhase, message: Option<String>) {
        self.status.phase = phase;
        self.status.finished_at = Some(self.observed.recorded_now());
        self.status.message.clone_from(&message);
        self.status.task = None;
        let word = if phase == ReleasePhase::Succeeded {
            "succeeded"
        } else {
            "aborted"
        };
        self.add_history(word, message);
    }

    fn view_task(&self, index: usize) -> TaskView<'_> {
        TaskView {
            observed: self.observed,
            release: &self.status,
            task: &self.status.tasks[index],
            held: false,
        }
    }

    /// Folds the outcome of the current task; whether the next one may begin.
    fn fold_task(&mut self, index: usize, outcome: TaskOutcome) -> bool {
        let (passed, task) = (outcome.is_passed(), &outcome.status);
        self.status.task = Some(task.name.clone());
        if !passed {
            self.status.phase = match task.phase {
                TaskPhase::Failed => ReleasePhase::Failed,
                TaskPhase::Waiting => ReleasePhase::Waiting,
                TaskPhase::Paused => ReleasePhase::Paused,
                _ => ReleasePhase::Running,
            };
            self.status.message.clone_from(&task.message);
        }
        self.fold(index, outcome);
        passed
    }

    fn fold(&mut self, index: usize, outcome: TaskOutcome) {
        let TaskOutcome {
            status,
            history,
            built,
            steps,
            requeue,
            ..
        } = outcome;
        self.status.tasks[index] = status;
        self.status.history.extend(history);
        self.steps.extend(steps);
        self.requeue = earliest(self.requeue, requeue);
        if let Some(image) = built {
            take_image(&mut self.status, image);
        }
    }
}

/// Takes a built image for the release. It deploys exactly what was built, even if the tag moves
/// later.
fn take_image(status: &mut ReleaseStatus, image: BuiltImage) {
    let BuiltImage {
        name,
        reference,
        digest,
    } = image;
    let pinned = match &digest {
        Some(digest) => format!("{reference}@{digest}"),
        None => reference,
    };
    status.images.insert(name.clone(), pinned);
    let mut bound = status.images.clone();
    bound.extend(std::mem::take(&mut status.digests));
    if let Some(digest) = digest {
        bound.insert(name, digest);
    }
    status.digests = bound;
}
