//! What an action needs of the cluster, and what is said when the person lacks it: before it is tried, not after.

use super::{keymap::Action, model::Model};
use crate::domain::rights::Right;

/// What the cluster must allow for it.
const fn needs(action: Action) -> Option<Right> {
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

/// Why the person may not do it, in words; nothing when it is permitted, or when nobody knows.
pub fn forbidden(model: &Model, action: Action) -> Option<String> {
    let right = needs(action)?;
    let namespace = match (action, model.selected_pod()) {
        (Action::Logs, Some(pod)) => &pod.key.namespace,
        _ => &model.world.namespace,
    };
    model.world.rights.missing(right, namespace)
}
