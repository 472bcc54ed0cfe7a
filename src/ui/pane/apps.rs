//! The Apps pane: each App with the states of its environments, its release in progress, and who
//! must act.

use ratatui::layout::Rect;

use super::{Pane, PaneBehaviour, Place, RowPosition, environments, rollout};
use crate::{
    api::ObjectRef,
    domain::{facts, pod_selection::PodSelection, world::ObjectKey},
    ui::{
        effect::Effect,
        keymap::{Action, KeyContext},
        model::{Model, NamespaceScope, SortColumn, SortableList, matches_filter},
        update::act::move_selection,
        widget::Canvas,
    },
};

pub(in crate::ui) mod list;

/// The list of Apps. Those without a release in progress come last, unless it is sorted by name.
pub(in crate::ui) static APPS: SortableList = SortableList {
    name: "apps",
    columns: &[
        SortColumn::Waiting,
        SortColumn::Name,
        SortColumn::Stage,
        SortColumn::Age,
        SortColumn::Requester,
    ],
    titles: &[
        ("APP", SortColumn::Name),
        ("RELEASE", SortColumn::Waiting),
        ("STAGE", SortColumn::Stage),
        ("AGE", SortColumn::Age),
        ("BY", SortColumn::Requester),
    ],
    tells_default: true,
    keep_selection: |_| {},
};

/// Pane 1.
pub(in crate::ui) struct AppsPane;

impl PaneBehaviour for AppsPane {
    fn title(&self) -> &'static str {
        "Apps"
    }

    fn contexts(&self) -> &'static [KeyContext] {
        &[KeyContext::Apps, KeyContext::Release]
    }

    fn focus_action(&self) -> Action {
        Action::PaneApps
    }

    fn row_position(&self, model: &Model) -> RowPosition {
        super::position_in(&model.visible_apps(), |row| {
            Some(row.name) == model.app.as_ref() && row.scope.name() == model.world.namespace
        })
    }

    fn select_row(&self, model: &mut Model, row: usize) {
        let rows = model.visible_apps();
        let key = rows.get(row).map(|row| row.scope.key_of(row.name));
        if let Some(key) = key {
            model.enter_namespace(&key.namespace.name);
            model.select_app(Some(key.name));
        }
    }

    fn sortable_list(&self, _: &Model) -> Option<&'static SortableList> {
        Some(&APPS)
    }

    fn lists_all_namespaces(&self) -> bool {
        true
    }

    fn acts_on_marked(&self) -> bool {
        true
    }

    fn selected_object(&self, model: &Model) -> Option<ObjectRef> {
        Some(model.own_object("App", model.app.as_ref()?))
    }

    fn selected_pods(&self, model: &Model) -> Option<PodSelection> {
        model.app.as_deref().map(PodSelection::of_app)
    }

    /// Leads to the App's release, else to its environments.
    fn open_selected(&self, model: &mut Model) -> Vec<Effect> {
        if model.selected_release().is_some() {
            rollout::focus_pane(model);
        } else {
            environments::focus_pane(model);
        }
        vec![]
    }

    fn place(&self) -> Place {
        Place::Left
    }

    fn needed_width(&self, model: &Model) -> usize {
        list::needed_width(model)
    }

    fn needed_height(&self, model: &Model, _: u16) -> usize {
        model.scopes().map(|s| s.world.apps.len()).sum::<usize>() + 3
    }

    fn full_width(&self, model: &Model, most_pinned: usize) -> usize {
        list::full_width(model, most_pinned)
    }

    fn draw(&self, canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
        list::draw_pane(canvas, model, area, focused);
    }
}

/// A row of the pane.
#[derive(Clone, Copy, Debug)]
pub struct AppRow<'a> {
    /// Namespace of the App.
    pub scope: NamespaceScope<'a>,
    /// Name of the App.
    pub name: &'a String,
}

impl Model {
    /// The Apps that pass the filter, sorted; of all namespaces that are shown.
    pub fn visible_apps(&self) -> Vec<AppRow<'_>> {
        let filter = self.pane_filter(Pane::Apps);
        let passes = |row: &AppRow<'_>| {
            let AppRow { scope, name } = row;
            let turn = scope.facts.active_of(name);
            let turn = turn.and_then(|r| scope.world.releases.get(r));
            let word = turn
                .map(|r| facts::release_state(r).state_label())
                .unwrap_or_default();
            let name = self.qualified_name(scope.name(), name);
            matches_filter(filter, &format!("{name} {word}"))
        };
        let all = self.scopes().flat_map(|scope| {
            let names = scope.world.apps.keys();
            names.map(move |name| AppRow { scope, name })
        });
        self.sort_apps(all.filter(|row| filter.is_empty() || passes(row)))
    }

    /// Sorts Apps, which come in by namespace and name.
    fn sort_apps<'a>(&'a self, rows: impl Iterator<Item = AppRow<'a>>) -> Vec<AppRow<'a>> {
        let order = self.sort_order(&APPS);
        if order.column == SortColumn::Name {
            let mut rows: Vec<_> = rows.collect();
            order.sort_rows(&mut rows, |a, b| a.name.cmp(b.name));
            return rows;
        }
        let turn = |row: &AppRow<'a>| row.scope.facts.turns.get(row.name);
        let (mut active, idle): (Vec<_>, Vec<_>) = rows.partition(|row| turn(row).is_some());
        let spec = |row: &AppRow<'a>| {
            let release = row.scope.facts.active_of(row.name)?;
            Some(&row.scope.world.releases.get(release)?.spec)
        };
        order.sort_rows(&mut active, |a, b| match order.column {
            SortColumn::Stage => spec(a).map(|s| &s.stage).cmp(&spec(b).map(|s| &s.stage)),
            SortColumn::Requester => {
                let by = |row| spec(row).map(|s| &s.requester);
                by(a).cmp(&by(b))
            }
            // The youngest was created last.
            SortColumn::Age => turn(b)
                .and_then(|t| t.created)
                .cmp(&turn(a).and_then(|t| t.created)),
            _ => turn(a).map(|t| t.urgency).cmp(&turn(b).map(|t| t.urgency)),
        });
        active.extend(idle);
        active
    }

    /// Row of the selected App.
    pub(in crate::ui) fn selected_app_row(&self) -> Option<usize> {
        self.row_position(Pane::Apps).1
    }

    /// Selects an App and forgets the selections within the previous one.
    pub fn select_app(&mut self, name: Option<String>) {
        if name != self.app {
            (self.release, self.task, self.pod) = (None, None, None);
            self.drilled = false;
        }
        self.app = name;
    }

    /// Shows an App in the pane.
    pub(in crate::ui) fn show_app(&mut self, app: String) {
        self.pane = Pane::Apps;
        self.select_app(Some(app));
    }
}

/// Marks the selected App, or no longer, and goes to the next one.
pub(in crate::ui) fn toggle_mark(model: &mut Model) -> Vec<Effect> {
    if let Some(app) = model
        .app
        .as_ref()
        .map(|app| model.current_scope().key_of(app))
        && !model.marked.remove(&app)
    {
        model.marked.insert(app);
    }
    move_selection(model, 1)
}

/// Marks every App that the list shows; where all of them are marked, none.
pub(in crate::ui) fn mark_all(model: &mut Model) -> Vec<Effect> {
    let rows = model.visible_apps().into_iter();
    let shown: Vec<ObjectKey> = rows.map(|row| row.scope.key_of(row.name)).collect();
    if shown.iter().all(|app| model.marked.contains(app)) {
        shown.iter().for_each(|app| {
            model.marked.remove(app);
        });
    } else {
        model.marked.extend(shown);
    }
    vec![]
}
