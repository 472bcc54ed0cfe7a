//! The way back. First the status records that the release is being aborted: from then on its lanes
//! are closed. Then what it has begun is undone, the last task first: a deploy goes back
//! (`deploy`), a clean-up stops (`clean_up`).

mod clean_up;
mod deploy;
mod reason;

use super::{
    Observed, ReleaseStep, gate,
    outcome::{TaskOutcome, release_entry},
    view::TaskView,
};
use crate::{
    api::{InventoryItem, ReleasePhase, ReleaseStatus, TaskKind, TaskPhase, TaskStatus},
    domain::account::Account,
};

pub(super) use reason::abort_reason;

/// Only records that the release is being aborted; this closes the lanes.
pub(super) fn enter_abort(observed: &Observed, status: &mut ReleaseStatus) -> Vec<ReleaseStep> {
    status.phase = ReleasePhase::Aborting;
    status.message = Some("rolls back".into());
    let entry = release_entry(observed, "abort", None);
    let at = entry.at.clone();
    status.history.push(entry);
    // A finished clean-up has nothing to undo; one in progress stops.
    for task in &mut status.tasks {
        if task.kind == TaskKind::Deploy && gate::has_begun(task) {
            task.phase = TaskPhase::Running;
            task.started_at = Some(at.clone());
            task.finished_at = None;
            task.drain_since = None;
            task.message = Some("rolls back".into());
        }
    }
    let jobs = status.tasks.iter();
    jobs.filter_map(|task| running_job(observed, task))
        .map(|job| ReleaseStep::Delete {
            by: Account::deployer(job.object.key.namespace.clone()),
            item: job,
        })
        .collect()
}

fn running_job(observed: &Observed, task: &TaskStatus) -> Option<InventoryItem> {
    let seen = observed.facts.jobs.get(task.job.as_ref()?)?;
    (task.phase == TaskPhase::Running && !seen.succeeded && seen.failed.is_none())
        .then(|| seen.item.clone())
}

/// What remains of the way back of one task.
pub(super) enum UndoOutcome {
    /// Nothing is left to do. Holds what people should know.
    Done(TaskOutcome, Option<String>),
    /// Holds what is still to do.
    Waits(TaskOutcome, String),
}

/// Undoes one task of a release that is being aborted.
pub(super) fn undo_task(view: &TaskView) -> UndoOutcome {
    match view.task.kind {
        _ if !gate::has_begun(view.task) => nothing_to_undo(view),
        TaskKind::Deploy => deploy::undo_deploy(view),
        TaskKind::CleanUp => clean_up::stop_clean_up(view),
        TaskKind::Build
        | TaskKind::Approval
        | TaskKind::Verify
        | TaskKind::Proceed
        | TaskKind::Unknown => nothing_to_undo(view),
    }
}

fn nothing_to_undo(view: &TaskView) -> UndoOutcome {
    UndoOutcome::Done(TaskOutcome::unchanged(view), None)
}
