//! The cluster permissions that actions need, and the text shown before an action is tried without
//! them.

use super::{
    keymap::Action,
    model::Model,
    update::{editable_object, selected_pods},
};
use crate::api::NamespaceRef;
use crate::domain::{pod_selection::PodSelection, rights::Right};

/// The permission that an action needs, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RightNeed {
    /// None.
    Nothing,
    /// In the current namespace.
    Home(Right),
    /// Where the selected pod is.
    SelectedPod(Right),
    /// Where one of the chosen pods is.
    ChosenPods(Right),
    /// That to change the selected object.
    EditedObject,
}

/// Why the user may not run an action; `None` when it is permitted or not known.
pub fn missing_right(model: &Model, action: Action) -> Option<String> {
    let rights = &model.world.rights;
    let home = NamespaceRef::at_home(model.world.namespace.as_str());
    let (right, chosen) = match action.row().needs {
        RightNeed::Nothing => return None,
        RightNeed::Home(right) => return rights.explain_missing(right, &home),
        RightNeed::EditedObject => {
            let (kind, _) = editable_object(model)?;
            return rights.explain_missing(kind.right(), &home);
        }
        RightNeed::ChosenPods(right) => (right, selected_pods(model)?),
        RightNeed::SelectedPod(right) => (
            right,
            PodSelection::of_pod(model.selected_pod()?.key.clone()),
        ),
    };
    // Logs of several namespaces are opened when those of one of them can be read.
    let mut missing = None;
    for pod in chosen.select_pods(&model.world) {
        missing = Some(rights.explain_missing(right, &pod.key.namespace)?);
    }
    missing
}
