//! Waits until a person lets the release go on.

use super::{outcome::TaskOutcome, view::TaskView};
use crate::api::{Control, ProceedTask};

pub(super) fn decide_proceed(view: &TaskView, task: &ProceedTask) -> TaskOutcome {
    let outcome = TaskOutcome::unchanged(view).started();
    if is_let_through(&view.spec().control, &view.task.name) {
        return outcome.succeeded(None);
    }
    outcome.waiting(match &task.prompt {
        Some(prompt) => format!("waits: {prompt}"),
        None => "waits to proceed".to_owned(),
    })
}

/// Whether somebody has let a proceed task through.
pub(super) fn is_let_through(control: &Control, task: &str) -> bool {
    control.allowed_level(task) >= 1
}
