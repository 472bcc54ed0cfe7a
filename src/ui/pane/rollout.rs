//! The Rollout pane: one release by task and batch, old and new version, and history.

use ratatui::layout::Rect;

use super::{Pane, PaneBehaviour, Place, RowPosition};
use crate::{
    api::{ObjectRef, TaskStatus},
    domain::pod_selection::PodSelection,
    ui::{
        effect::Effect,
        keymap::{Action, KeyContext},
        model::{Model, Source, Text},
        update::open::{push_text, report_nothing},
        widget::Canvas,
    },
};

mod call;
mod pair;
mod release;

/// Pane 3.
pub(in crate::ui) struct RolloutPane;

impl PaneBehaviour for RolloutPane {
    fn title(&self) -> &'static str {
        "Rollout"
    }

    fn contexts(&self) -> &'static [KeyContext] {
        &[KeyContext::Release]
    }

    fn focus_action(&self) -> Action {
        Action::PaneRollout
    }

    fn row_position(&self, model: &Model) -> RowPosition {
        let own = model.selected_task().map(|t| &t.name);
        super::position_in(model.release_tasks(), |t| Some(&t.name) == own)
    }

    fn select_row(&self, model: &mut Model, row: usize) {
        model.task = model.release_tasks().get(row).map(|t| t.name.clone());
    }

    fn selected_object(&self, model: &Model) -> Option<ObjectRef> {
        Some(model.own_object("Release", model.selected_release()?.0))
    }

    /// Of the task's environment, where it has one.
    fn selected_pods(&self, model: &Model) -> Option<PodSelection> {
        let (_, release) = model.selected_release()?;
        let app = &release.spec.app;
        let environment = model.selected_task().and_then(|t| t.environment.as_deref());
        Some(match environment {
            Some(environment) => PodSelection::of_environment(app, environment),
            None => PodSelection::of_app(app),
        })
    }

    /// Shows the task in full.
    fn open_selected(&self, model: &mut Model) -> Vec<Effect> {
        let release = model.selected_release().map(|(name, _)| name.clone());
        match release.zip(model.selected_task()) {
            Some((release, task)) => {
                let source = Source::Task(release, task.name.clone());
                let text = Text::new(format!("Task {}", task.name), source);
                push_text(model, text)
            }
            None => report_nothing(model, "there is no task to open"),
        }
    }

    /// Follows the App and its release again.
    fn go_back(&self, model: &mut Model) -> bool {
        let task = model.task.take();
        let release = model.release.take();
        task.is_some() || release.is_some()
    }

    fn place(&self) -> Place {
        Place::Right
    }

    fn needed_height(&self, model: &Model, width: u16) -> usize {
        release::needed_height(model, width)
    }

    fn full_width(&self, model: &Model, _: usize) -> usize {
        release::full_width(model)
    }

    fn draw(&self, canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
        release::draw_pane(canvas, model, area, focused);
    }
}

/// Moves the focus to the pane.
pub(super) fn focus_pane(model: &mut Model) {
    model.pane = Pane::Rollout;
}

impl Model {
    /// Tasks of the shown release.
    pub fn release_tasks(&self) -> &[TaskStatus] {
        let status = self.selected_release().and_then(|(_, r)| r.status.as_ref());
        status.map(|s| s.tasks.as_slice()).unwrap_or_default()
    }

    /// The selected task; without a choice the current task of the release.
    pub fn selected_task(&self) -> Option<&TaskStatus> {
        let chosen = self
            .task
            .as_ref()
            .and_then(|name| self.release_tasks().iter().find(|t| t.name == *name));
        let at = || {
            let name = self
                .selected_release()
                .and_then(|(_, r)| r.status.as_ref())
                .and_then(|s| s.task.clone());
            self.release_tasks()
                .iter()
                .find(|t| Some(&t.name) == name.as_ref())
        };
        chosen.or_else(at).or_else(|| self.release_tasks().first())
    }

    /// Shows a release of an App in the pane.
    pub(in crate::ui) fn show_release(&mut self, app: String, release: String) {
        self.pane = Pane::Rollout;
        self.select_app(Some(app));
        self.pin_release(release);
    }
}
