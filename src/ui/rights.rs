//! The cluster permissions that actions need, and the text shown before an action is tried without
//! them.

use super::{keymap::Action, model::Model, update::selected_pods};
use crate::domain::rights::Right;

/// The permission that an action needs.
const fn required_right(action: Action) -> Option<Right> {
    Some(match action {
        Action::Start | Action::Teardown => Right::Start,
        Action::Approve | Action::Refuse => Right::Approve,
        Action::Continue
        | Action::Pause
        | Action::Resume
        | Action::Retry
        | Action::Skip
        | Action::Abort
        | Action::StopTheLine => Right::Steer,
        Action::NewApps => Right::NewApp,
        Action::NewLane => Right::NewLane,
        Action::EditLane | Action::ToggleLane => Right::EditLane,
        Action::DeleteLane => Right::DeleteLane,
        Action::Lock => Right::Lock,
        Action::Logs => Right::Logs,
        _ => return None,
    })
}

/// Why the user may not run an action; `None` when it is permitted or not known.
pub fn missing_right(model: &Model, action: Action) -> Option<String> {
    let right = required_right(action)?;
    let rights = &model.world.rights;
    if action != Action::Logs {
        return rights.explain_missing(right, &model.world.namespace);
    }
    // Logs of several namespaces are opened when those of one of them can be read.
    let chosen = selected_pods(model)?;
    let pods = chosen.select_pods(&model.world);
    let mut missing = None;
    for pod in pods {
        missing = Some(rights.explain_missing(right, &pod.key.namespace)?);
    }
    missing
}
