//! The cluster permissions that actions need, and the text shown before an action is tried without
//! them.

use super::{keymap::Action, model::Model};
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
    let namespace = match (action, model.selected_pod()) {
        (Action::Logs, Some(pod)) => &pod.key.namespace,
        _ => &model.world.namespace,
    };
    model.world.rights.explain_missing(right, namespace)
}
