//! The panes. Each is a type in a file of its own below this one: its title and keys, its rows and
//! what is selected among them, what Enter and Esc do, its place on the screen, and how it is drawn.
//! Everything else asks the pane and names none.

use ratatui::layout::Rect;

use super::{
    effect::{DescribeTarget, Effect},
    keymap::{Action, KeyContext},
    model::{Model, SortableList},
    widget::Canvas,
};
use crate::api::ObjectRef;
use crate::domain::pod_selection::PodSelection;

pub mod apps;
pub mod environments;
pub mod lanes;
pub mod rollout;
pub mod trace;

macro_rules! panes {
    ($($name:ident => $module:ident::$kind:ident,)*) => {
        /// Names a pane.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Pane { $(#[doc = concat!("[`", stringify!($module), "`]")] $name,)* }

        impl Pane {
            /// All panes, in the order of their keys.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name,)*];

            /// What is particular to it.
            pub(in crate::ui) fn behaviour(self) -> &'static dyn PaneBehaviour {
                match self { $(Self::$name => &$module::$kind,)* }
            }
        }
    };
}

// The first one has the keys at the start.
panes! {
    Apps => apps::AppsPane,
    Environments => environments::EnvironmentsPane,
    Rollout => rollout::RolloutPane,
    Lanes => lanes::LanesPane,
    Trace => trace::TracePane,
}

/// Where a pane stands on a wide screen, and how much room it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ui) enum Place {
    /// In the left column: a list that needs a limited width. The lists share the height by need.
    Left,
    /// In the right column, as high as it needs.
    Right,
    /// At the foot of the right column: gets what the others leave, but never too little to be
    /// useful. A narrow screen shows it below the focused pane, because on-call engineers must keep
    /// it in sight.
    Foot,
}

/// Number of rows of a pane, and the index of the selected one.
pub(in crate::ui) type RowPosition = (usize, Option<usize>);

/// What is particular to a pane.
pub(in crate::ui) trait PaneBehaviour: Sync {
    /// Title, as frames and tabs show it.
    fn title(&self) -> &'static str;

    /// The contexts of its own keys, the most specific first: rows of actions in these belong to it.
    fn contexts(&self) -> &'static [KeyContext];

    /// Action that moves the focus to it.
    fn focus_action(&self) -> Action;

    /// Number of rows, and the index of the selected one.
    fn row_position(&self, model: &Model) -> RowPosition;

    /// Selects a row, by a key or a click.
    fn select_row(&self, model: &mut Model, row: usize);

    /// The list that it shows now; `None` where the rows have an order of their own.
    fn sortable_list(&self, _: &Model) -> Option<&'static SortableList> {
        None
    }

    /// Whether its rows are of all namespaces that are shown, not of the current one.
    fn lists_all_namespaces(&self) -> bool {
        false
    }

    /// Whether actions on releases are about all marked Apps.
    fn acts_on_marked(&self) -> bool {
        false
    }

    /// The selected object, as kubectl names it.
    fn selected_object(&self, model: &Model) -> Option<ObjectRef>;

    /// The object that is edited.
    fn edited_object(&self, model: &Model) -> Option<ObjectRef> {
        self.selected_object(model)
    }

    /// What is described of the selection.
    fn described_objects(&self, model: &Model) -> Option<DescribeTarget> {
        self.selected_object(model).map(DescribeTarget::of_object)
    }

    /// The name that is copied.
    fn copied_name(&self, model: &Model) -> Option<String> {
        self.selected_object(model).map(|object| object.key.name)
    }

    /// The pods of the selection, for its logs.
    fn selected_pods(&self, model: &Model) -> Option<PodSelection>;

    /// Says why there is no log to open.
    fn explain_missing_pods(&self, _: &Model) -> String {
        "there are no pods of it".to_owned()
    }

    /// Lane group of the selection.
    fn selected_lane_group(&self, model: &Model) -> Option<String> {
        let selected = model.selected_lane();
        selected.map(|(_, lane)| lane.spec.group.clone())
    }

    /// Whether its rows belong to graylane's own namespace, whatever environment is selected.
    fn is_about_home(&self) -> bool {
        false
    }

    /// Enter: opens the selected row.
    fn open_selected(&self, model: &mut Model) -> Vec<Effect>;

    /// Esc: undoes one thing that was chosen in it; `false` when there is nothing to undo.
    fn go_back(&self, _: &mut Model) -> bool {
        false
    }

    /// Where it stands.
    fn place(&self) -> Place;

    /// Width at which nothing that matters is cut, with the frame; only the left column asks.
    fn needed_width(&self, _: &Model) -> usize {
        0
    }

    /// Number of lines that it needs at a width, with the frame.
    fn needed_height(&self, model: &Model, width: u16) -> usize;

    /// Width of a row in which nothing is cut, with names of at most so many columns.
    fn full_width(&self, model: &Model, most_pinned: usize) -> usize;

    /// Draws it.
    fn draw(&self, canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool);
}

impl Default for Pane {
    fn default() -> Self {
        Self::ALL[0]
    }
}

impl Pane {
    /// Title of the pane.
    pub fn title(self) -> &'static str {
        self.behaviour().title()
    }

    /// The key contexts that are active in the pane, the most specific first.
    pub fn key_contexts(self) -> Vec<KeyContext> {
        let own = self.behaviour().contexts();
        [own, &[KeyContext::Move, KeyContext::Global]].concat()
    }

    /// The pane after this one, or before it, in a circle.
    pub(in crate::ui) fn neighbour(self, back: bool) -> Self {
        let count = Self::ALL.len();
        let by = if back { count - 1 } else { 1 };
        Self::ALL[(self as usize + by) % count]
    }
}

/// Number of rows, and the index of the selected one.
fn position_in<T>(rows: &[T], is_selected: impl Fn(&T) -> bool) -> RowPosition {
    (rows.len(), rows.iter().position(is_selected))
}

/// The same, where the first row is selected without a choice.
fn position_or_first<T>(rows: &[T], is_selected: impl Fn(&T) -> bool) -> RowPosition {
    let (count, selected) = position_in(rows, is_selected);
    (count, selected.or((count > 0).then_some(0)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ui::{fixture, update::act::perform_action};

    #[test]
    fn the_row_that_was_chosen_is_the_selected_one() {
        for pane in Pane::ALL {
            let mut model = fixture::model();
            perform_action(&mut model, pane.behaviour().focus_action());
            assert_eq!(model.pane, pane);
            let (rows, _) = model.row_position(pane);
            assert!(rows > 0, "{pane:?}");
            for row in (0..rows).rev() {
                model.select_row(row);
                assert_eq!(model.row_position(pane), (rows, Some(row)), "{pane:?}");
            }
        }
    }

    #[test]
    fn lists_have_names_of_their_own_and_titles_of_their_columns() {
        let mut known: BTreeMap<&str, &SortableList> = BTreeMap::new();
        for (pane, other) in Pane::ALL.into_iter().flat_map(|p| [(p, false), (p, true)]) {
            let mut model = fixture::model();
            (model.drilled, model.trace.each) = (other, other);
            let Some(list) = model.sortable_list(pane) else {
                continue;
            };
            let before = known.insert(list.name, list);
            assert!(before.is_none_or(|before| std::ptr::eq(before, list)));
            let columns = list.titles.iter().map(|(_, column)| column);
            assert!(columns.into_iter().all(|c| list.columns.contains(c)));
        }
        assert!(known.len() > Pane::ALL.len());
    }

    #[test]
    fn panes_follow_each_other_in_a_circle() {
        for pane in Pane::ALL {
            assert_eq!(pane.neighbour(false).neighbour(true), pane);
        }
        let (first, last) = (Pane::default(), Pane::ALL[Pane::ALL.len() - 1]);
        assert_eq!(first.neighbour(true), last);
    }
}
