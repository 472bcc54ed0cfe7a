//! The way back of one deploy. A baseline workload goes back by one patch. In a gray environment,
//! once its routes are closed and drained, the objects that this release created are deleted, and
//! what was there before is restored.

mod objects;
mod status;

use super::UndoOutcome;
use crate::{
    api::{Environment, EnvironmentStatus, InventoryItem},
    domain::{
        revision::FrozenApp,
        workflow::{
            environment::{
                LEFT_ALONE_PREFIX, check_drained, describe_left_alone, describe_unreachable,
                describe_unreadable, environment_status, find_owned_object, set_status,
            },
            outcome::{TaskOutcome, earliest},
            records::merge_records,
            timers::TimerKind,
            view::TaskView,
        },
    },
};

use status::with_restored_uids;

/// Seconds to wait for objects that the server refuses to show; after that, the rest is enough.
const HIDDEN_WAIT_SECONDS: i64 = 20;

/// A deploy on its way back.
struct Undo<'a> {
    view: TaskView<'a>,
    app: &'a FrozenApp,
    environment: &'a Environment,
    /// Status of the environment, with the uids of restored workloads.
    before: EnvironmentStatus,
    /// The environment's objects that exist: those that this release created, and the others.
    made: Vec<InventoryItem>,
    kept: Vec<InventoryItem>,
}

/// Undoes a deploy.
pub(super) fn undo_deploy(view: &TaskView) -> UndoOutcome {
    let mut outcome = TaskOutcome::unchanged(view);
    let name = view.environment();
    let Ok(app) = view.app() else {
        let words = "the App is gone: nothing was rolled back";
        return UndoOutcome::Done(outcome, Some(words.into()));
    };
    let Some(environment) = app.spec.environment(name) else {
        return UndoOutcome::Done(outcome, None);
    };
    if let Some(why) = describe_unreachable(view, app, name) {
        // Time in which the context could not be reached does not count.
        outcome.status.started_at = Some(view.observed.recorded_now());
        return UndoOutcome::Waits(outcome, why);
    }
    let before = with_restored_uids(view, environment_status(app, name));
    let (made, kept) = split_by_creator(view, name, &before.inventory);
    let undo = Undo {
        view: *view,
        app,
        environment,
        before,
        made,
        kept,
    };
    undo.decide(outcome)
}

impl Undo<'_> {
    fn decide(&self, outcome: TaskOutcome) -> UndoOutcome {
        let view = &self.view;
        let rollout = &self.environment.rollout;
        let most = i64::from(rollout.timeout_seconds) + i64::from(rollout.drain_seconds);
        let spent = view.seconds_spent(TimerKind::Task);
        let noted = self.before.inventory.iter().map(|i| &i.object);
        let hidden = describe_unreadable(view, noted);
        let patient = spent <= HIDDEN_WAIT_SECONDS;
        let mut waits = Vec::from_iter(hidden.clone().filter(|_| patient));
        let drain = check_drained(view, self.environment, &self.before.inventory);
        let mut outcome = outcome.with_drain(&drain);
        if let Some(drains) = drain.pending {
            waits.push(drains.to_string());
        } else {
            let undone = self.undo_objects();
            waits.extend(undone.waits);
            let records = std::mem::take(&mut outcome.status.rollouts);
            outcome.status.rollouts = merge_records(records, undone.records);
            outcome.requeue = earliest(outcome.requeue, undone.requeue);
            outcome = outcome.with_steps(undone.steps);
        }
        let late = spent > most && !waits.is_empty();
        if !waits.is_empty() && !late {
            return UndoOutcome::Waits(outcome, waits.join("; "));
        }
        let timeout = late.then(|| {
            let waits = waits.join("; ");
            format!("rolled back, but not ready within {most} s: {waits}")
        });
        let hidden = hidden.map(|why| format!("rolled back, but {why}"));
        let status = outcome.status.clone();
        let view = &view.with_task(&status);
        let status = self.undone_status(view, late, timeout.or(hidden));
        self.end_undo(view, outcome, status)
    }

    /// Writes the environment's status, and ends once the App has it.
    fn end_undo(
        &self,
        view: &TaskView,
        outcome: TaskOutcome,
        status: EnvironmentStatus,
    ) -> UndoOutcome {
        let name = &self.environment.name;
        // After the status is written, the old inventory is no longer known.
        let noted = view.task.message.clone();
        let noted = noted.filter(|m| m.starts_with(LEFT_ALONE_PREFIX));
        let left = describe_left_alone(view, name, &self.before.inventory).or(noted);
        let told: Vec<String> = status.message.iter().chain(&left).cloned().collect();
        match set_status(view, self.app, name, status) {
            Some(step) => {
                let words = left.unwrap_or_else(|| "rolled back".into());
                UndoOutcome::Waits(outcome.with_steps([step]), words)
            }
            None => UndoOutcome::Done(outcome, Some(told.join("; ")).filter(|m| !m.is_empty())),
        }
    }
}

/// The environment's objects that exist: those that this release created, and the others.
fn split_by_creator(
    view: &TaskView,
    environment: &str,
    inventory: &[InventoryItem],
) -> (Vec<InventoryItem>, Vec<InventoryItem>) {
    let (mut made, mut kept) = (vec![], vec![]);
    for item in inventory {
        match find_owned_object(view, environment, item) {
            Some(seen) if seen.created_by == Some(view.release_uid()) => made.push(item.clone()),
            Some(_) => kept.push(item.clone()),
            None => {}
        }
    }
    (made, kept)
}
