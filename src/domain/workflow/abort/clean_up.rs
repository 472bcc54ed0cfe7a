//! A clean-up that the abort stops.

use super::UndoOutcome;
use crate::{
    api::{EnvironmentState, EnvironmentStatus, TaskKind},
    domain::workflow::{
        environment::{describe_unreachable, environment_status, find_owned_object, set_status},
        gate,
        outcome::TaskOutcome,
        view::TaskView,
    },
};

/// A stopped clean-up leaves what it has not deleted yet.
pub(super) fn stop_clean_up(view: &TaskView) -> UndoOutcome {
    let outcome = TaskOutcome::unchanged(view);
    let name = view.environment();
    let deployed = view.release.tasks.iter().any(|t| {
        t.kind == TaskKind::Deploy && t.environment.as_deref() == Some(name) && gate::has_begun(t)
    });
    // This release's own deploy there is undone as a whole.
    let app = view.app().ok().filter(|_| !deployed);
    let Some(app) = app.filter(|app| app.spec.environment(name).is_some()) else {
        return UndoOutcome::Done(outcome, None);
    };
    if let Some(why) = describe_unreachable(view, app, name) {
        return UndoOutcome::Waits(outcome, why);
    }
    let before = environment_status(app, name);
    if before.inventory.is_empty() {
        return UndoOutcome::Done(outcome, None);
    }
    let mut inventory = before.inventory.iter();
    let whole = inventory.all(|i| find_owned_object(view, name, i).is_some_and(|s| !s.terminating));
    let (state, message) = if whole {
        (EnvironmentState::Running, None)
    } else {
        let words = "its clean-up was stopped half-way: tear it down again";
        (EnvironmentState::Error, Some(words.to_owned()))
    };
    let status = EnvironmentStatus {
        state,
        message,
        release: Some(view.release_name().to_owned()),
        ..before
    };
    match set_status(view, app, name, status) {
        None => UndoOutcome::Done(outcome, None),
        Some(step) => {
            UndoOutcome::Waits(outcome.with_steps([step]), "the clean-up is stopped".into())
        }
    }
}
