//! Fills a user's own command with what is selected.

use super::{OwnCommand, PreparedCommand};
use crate::{
    api::NamespaceRef,
    domain::own_command::SelectedValue,
    ui::{effect::context_of_place, model::Model},
};

impl OwnCommand {
    /// The command for the selection; the error is what is missing.
    pub fn prepare(&self, model: &Model) -> Result<PreparedCommand, SelectedValue> {
        let argv = self.command.fill(|value| selected_value(model, value))?;
        Ok(PreparedCommand {
            title: self.title.clone(),
            argv,
            safe: self.safe,
            output: self.output,
        })
    }
}

fn selected_value(model: &Model, value: SelectedValue) -> Option<String> {
    let pod = model.selected_pod().filter(|_| model.drilled);
    match value {
        SelectedValue::App => model.app.clone(),
        SelectedValue::Environment => model.selected_environment().map(|e| e.name.clone()),
        SelectedValue::Namespace => Some(selected_namespace(model).name.to_string()),
        SelectedValue::Context => {
            let shown = || context_of_place(&model.options.place).map(str::to_owned);
            selected_namespace(model)
                .cluster
                .context()
                .map(str::to_owned)
                .or_else(shown)
        }
        SelectedValue::Release => model.selected_release().map(|(name, _)| name.clone()),
        SelectedValue::Pod => pod.map(|pod| pod.key.name.clone()),
        SelectedValue::Lane => model.selected_lane().map(|(name, _)| name.clone()),
        SelectedValue::Group => model.pane.behaviour().selected_lane_group(model),
        SelectedValue::Image => pod?.images.first().map(ToString::to_string),
    }
}

/// Namespace of what is selected: of the pod, else of the environment. Lanes and requests belong to
/// graylane's own namespace.
fn selected_namespace(model: &Model) -> NamespaceRef {
    let home = || NamespaceRef::at_home(model.world.namespace.as_str());
    if model.pane.behaviour().is_about_home() {
        return home();
    }
    if let Some(pod) = model.selected_pod().filter(|_| model.drilled) {
        return pod.key.namespace.clone();
    }
    model
        .selected_environment()
        .map_or_else(home, |environment| {
            NamespaceRef::new(environment.context.clone(), environment.namespace.as_str())
        })
}
