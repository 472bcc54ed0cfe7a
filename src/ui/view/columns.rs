//! Columns that a list shows where there is room, and scrolling to those for which there is none.

use crate::ui::{
    model::{Model, Pane, SortableList},
    theme::Role,
    widget::{RichText, fits_frame},
};

/// Width in which no row of a list is cut.
pub(super) const FULL_WIDTH: usize = 10_000;

/// Rows by which the width of a column is found; longer cells further down are cut.
const MEASURED_ROWS: usize = 200;

/// Blanks before a column.
const GAP: usize = 2;

/// The longest cell of the first rows, and at least `least`.
pub(super) fn measure_rows(rows: usize, least: usize, width: impl Fn(usize) -> usize) -> usize {
    let widths = (0..rows.min(MEASURED_ROWS)).map(width);
    widths.max().unwrap_or(0).max(least)
}

/// One column.
struct WideColumn<'a> {
    title: &'static str,
    width: usize,
    cell: Box<dyn Fn(usize) -> (Role, String) + 'a>,
}

/// Columns after those that a list always shows; the most useful come first.
pub(super) struct WideColumns<'a> {
    columns: Vec<WideColumn<'a>>,
    rows: usize,
    room: usize,
}

impl<'a> WideColumns<'a> {
    /// No columns yet, for a list of `rows` with this much room beside it.
    pub(super) fn with_room(room: usize, rows: usize) -> Self {
        Self {
            columns: vec![],
            rows,
            room,
        }
    }

    /// Adds a column if it fits whole and has any cell; after one that does not fit, none is added.
    pub(super) fn add_column(
        mut self,
        title: &'static str,
        cell: impl Fn(usize) -> (Role, String) + 'a,
    ) -> Self {
        if self.room < title.len() + GAP {
            self.room = 0;
            return self;
        }
        let longest = measure_rows(self.rows, 0, |row| {
            crate::domain::text::display_width(&cell(row).1)
        });
        if longest == 0 {
            return self;
        }
        let width = longest.max(title.len());
        if width + GAP > self.room {
            self.room = 0;
            return self;
        }
        self.room -= width + GAP;
        self.columns.push(WideColumn {
            title,
            width,
            cell: Box::new(cell),
        });
        self
    }

    /// Whether there is no column.
    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Width of all columns.
    pub(super) fn width(&self) -> usize {
        self.columns.iter().map(|c| c.width + GAP).sum()
    }

    /// Appends the headings.
    pub(super) fn join_head(&self, line: RichText) -> RichText {
        self.columns.iter().fold(line, |line, column| {
            line.add(Role::Text, " ".repeat(GAP)).add_column(
                Role::Muted,
                column.title,
                column.width,
            )
        })
    }

    /// Appends the cells of a row.
    pub(super) fn join_row(&self, row: usize, line: RichText) -> RichText {
        self.columns.iter().fold(line, |line, column| {
            let (role, text) = (column.cell)(row);
            line.add(Role::Text, " ".repeat(GAP))
                .add_column(role, text, column.width)
        })
    }
}

/// Room of a list in which its rows are laid out, and the columns scrolled away on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListRoom {
    /// Width of a row as it is laid out.
    pub(super) width: usize,
    /// Columns of it that are left of the pane.
    pub(super) skipped: usize,
}

impl ListRoom {
    /// The room of a pane's list: `shown` columns are seen, `full` are needed.
    pub(super) fn of_list(
        model: &Model,
        pane: Pane,
        shown: usize,
        full: impl FnOnce() -> usize,
    ) -> Self {
        let scrolled = model.scrolled.get(&pane).copied().unwrap_or(0);
        let mut room = Self {
            width: shown,
            skipped: 0,
        };
        if scrolled > 0 {
            let full = full();
            room.skipped = scrolled.min(full.saturating_sub(shown));
            if room.skipped > 0 {
                room.width = full;
            }
        }
        room
    }

    /// What is seen of a row.
    pub(super) fn show_row(self, row: RichText) -> RichText {
        row.skip_columns(self.skipped)
    }
}

/// Title of a pane with the order of its list. The default order is told where there is room and it
/// is not that of the objects themselves.
pub(super) fn add_sort_order(
    model: &Model,
    pane: Pane,
    title: RichText,
    facts: &RichText,
    width: u16,
) -> RichText {
    let Some(list) = model.sortable_list(pane) else {
        return title;
    };
    let order = model.sort_order(list);
    let chosen = order != list.default_order();
    let role = if chosen { Role::Accent } else { Role::Muted };
    let way = if order.descends() { "↓" } else { "↑" };
    let told = title
        .clone()
        .add(role, format!(" {way}{}", order.column.word()));
    let worth = model.zoom || list == SortableList::Apps;
    if chosen || worth && fits_frame(&told, facts, width) {
        told
    } else {
        title
    }
}
