//! The cluster permissions that actions need, and the text shown before an action is tried without
//! them.

use super::{
    keymap::Action,
    model::Model,
    update::{editable_object, selected_pods},
};
use crate::domain::{pod_selection::PodSelection, rights::Right};

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
        Action::Shell => Right::Shell,
        Action::PortForward => Right::PortForward,
        _ => return None,
    })
}

/// Why the user may not run an action; `None` when it is permitted or not known.
pub fn missing_right(model: &Model, action: Action) -> Option<String> {
    let rights = &model.world.rights;
    let home = &model.world.namespace;
    let chosen = match action {
        Action::Edit => {
            let (kind, _) = editable_object(model)?;
            return rights.explain_missing(kind.right(), home);
        }
        Action::Logs => selected_pods(model)?,
        Action::Shell | Action::PortForward => {
            PodSelection::of_pod(model.selected_pod()?.key.clone())
        }
        _ => return rights.explain_missing(required_right(action)?, home),
    };
    // Logs of several namespaces are opened when those of one of them can be read.
    let right = required_right(action)?;
    let mut missing = None;
    for pod in chosen.select_pods(&model.world) {
        missing = Some(rights.explain_missing(right, &pod.key.namespace)?);
    }
    missing
}
