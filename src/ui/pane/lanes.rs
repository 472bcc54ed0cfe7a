//! The Lanes pane: the lane group and its routes; each lane with its rule, and which side serves
//! each App and why.

use std::sync::Arc;

use ratatui::layout::Rect;

use super::{Pane, PaneBehaviour, Place, RowPosition};
use crate::{
    api::{Lane, ObjectRef},
    domain::pod_selection::PodSelection,
    ui::{
        effect::Effect,
        keymap::{Action, KeyContext},
        model::{Model, NamespaceScope, SortColumn, SortableList, matches_filter},
        rule,
        update::{
            act::perform_action,
            open::{open_yaml, report_nothing},
        },
        widget::Canvas,
    },
};

mod list;

/// The list of lanes, which has no titles.
static LANES: SortableList = SortableList {
    name: "lanes",
    columns: &[SortColumn::Order, SortColumn::Name, SortColumn::Lane],
    titles: &[],
    tells_default: false,
    keep_selection: |model| model.lane = model.selected_lane().map(|(name, _)| name.clone()),
};

/// Pane 4.
pub(in crate::ui) struct LanesPane;

impl PaneBehaviour for LanesPane {
    fn title(&self) -> &'static str {
        "Lanes"
    }

    fn contexts(&self) -> &'static [KeyContext] {
        &[KeyContext::Lanes]
    }

    fn focus_action(&self) -> Action {
        Action::PaneLanes
    }

    fn row_position(&self, model: &Model) -> RowPosition {
        let own = model.selected_lane().map(|(name, _)| name);
        super::position_in(&model.visible_lanes(), |row| {
            Some(row.name) == own && row.scope.name() == model.world.namespace
        })
    }

    fn select_row(&self, model: &mut Model, row: usize) {
        let rows = model.visible_lanes();
        let key = rows.get(row).map(|row| row.scope.key_of(row.name));
        if let Some(key) = key {
            model.visit_namespace(&key.namespace.name);
            model.lane = Some(key.name);
        }
    }

    fn sortable_list(&self, _: &Model) -> Option<&'static SortableList> {
        Some(&LANES)
    }

    fn lists_all_namespaces(&self) -> bool {
        true
    }

    fn selected_object(&self, model: &Model) -> Option<ObjectRef> {
        Some(model.own_object("Lane", model.selected_lane()?.0))
    }

    fn selected_pods(&self, model: &Model) -> Option<PodSelection> {
        let (_, lane) = model.selected_lane()?;
        Some(PodSelection::of_lane(&lane.spec.tag))
    }

    fn is_about_home(&self) -> bool {
        true
    }

    /// Edits the lane; where nothing may be changed, shows it.
    fn open_selected(&self, model: &mut Model) -> Vec<Effect> {
        match model.selected_lane() {
            Some(_) if model.read_only => open_yaml(model),
            Some(_) => perform_action(model, Action::EditLane),
            None => {
                let key = model.key_for(KeyContext::Lanes, Action::NewLane);
                report_nothing(model, &format!("there is no lane; {key} adds one"))
            }
        }
    }

    fn place(&self) -> Place {
        Place::Left
    }

    fn needed_width(&self, model: &Model) -> usize {
        list::needed_width(model)
    }

    fn needed_height(&self, model: &Model, width: u16) -> usize {
        list::needed_height(model, width)
    }

    fn full_width(&self, model: &Model, _: usize) -> usize {
        list::full_width(model)
    }

    fn draw(&self, canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
        list::draw_pane(canvas, model, area, focused);
    }
}

/// A row of the pane.
#[derive(Clone, Copy, Debug)]
pub struct LaneRow<'a> {
    /// Namespace of the lane.
    pub scope: NamespaceScope<'a>,
    /// Name of the lane.
    pub name: &'a String,
    /// The lane.
    pub lane: &'a Lane,
}

impl Model {
    /// The selected lane; without a choice the first one.
    pub fn selected_lane(&self) -> Option<(&String, &Arc<Lane>)> {
        let named = self
            .lane
            .as_ref()
            .and_then(|name| self.world.lanes.get_key_value(name));
        named.or_else(|| {
            let here = self.world.namespace.as_str();
            let rows = self.visible_lanes().into_iter();
            let mut rows = rows.map(|row| (row.scope.name(), row.name));
            let first = rows.find(|(namespace, _)| *namespace == here);
            first.and_then(|(_, name)| self.world.lanes.get_key_value(name))
        })
    }

    /// All lanes, of all namespaces that are shown.
    fn all_lanes(&self) -> impl Iterator<Item = LaneRow<'_>> {
        self.scopes().flat_map(|scope| {
            let lanes = scope.world.lanes.iter();
            lanes.map(move |(name, lane)| LaneRow { scope, name, lane })
        })
    }

    /// The lanes that pass the filter, sorted; without a choice by namespace and there in the order
    /// of evaluation: group, priority, name.
    pub fn visible_lanes(&self) -> Vec<LaneRow<'_>> {
        let filter = self.pane_filter(Pane::Lanes);
        let passes = |row: &LaneRow<'_>| {
            let (name, spec) = (
                self.qualified_name(row.scope.name(), row.name),
                &row.lane.spec,
            );
            let words = format!("{name} {} {}", spec.tag, rule::describe_rule(spec));
            matches_filter(filter, &words)
        };
        let all = self.all_lanes();
        let all = all.filter(|row| filter.is_empty() || passes(row));
        let mut all: Vec<LaneRow<'_>> = all.collect();
        all.sort_by(|a, b| {
            let order = |row: &LaneRow<'_>| (row.lane.spec.priority, row.name.clone());
            let place =
                |row: &LaneRow<'_>| (row.scope.name().to_owned(), row.lane.spec.group.clone());
            place(a)
                .cmp(&place(b))
                .then_with(|| order(a).cmp(&order(b)))
        });
        self.sort_lanes(&mut all);
        all
    }

    /// Sorts lanes, which come in by group and priority.
    fn sort_lanes(&self, rows: &mut [LaneRow<'_>]) {
        let order = self.sort_order(&LANES);
        match order.column {
            SortColumn::Name => order.sort_rows(rows, |a, b| a.name.cmp(b.name)),
            SortColumn::Lane => {
                order.sort_rows(rows, |a, b| a.lane.spec.tag.cmp(&b.lane.spec.tag));
            }
            _ => order.keep_rows(rows),
        }
    }

    /// Shows a lane in the pane.
    pub(in crate::ui) fn show_lane(&mut self, lane: String) {
        self.pane = Pane::Lanes;
        self.lane = Some(lane);
    }
}
