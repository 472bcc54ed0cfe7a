//! Columns that a list shows where there is room, and scrolling to those for which there is none.

use ratatui::layout::Rect;

use crate::{
    domain::text::display_width,
    ui::{
        model::Model,
        pane::Pane,
        theme::Role,
        widget::{Canvas, PointerTarget, RichText, columns_of_line},
    },
};

/// Width in which no row of a list is cut.
pub(in crate::ui) const FULL_WIDTH: usize = 10_000;

/// Rows by which the width of a column is found; longer cells further down are cut.
const MEASURED_ROWS: usize = 200;

/// Blanks before a column.
const GAP: usize = 2;

/// The longest cell of the first rows, and at least `least`.
pub(in crate::ui) fn measure_rows(
    rows: usize,
    least: usize,
    width: impl Fn(usize) -> usize,
) -> usize {
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
pub(in crate::ui) struct WideColumns<'a> {
    columns: Vec<WideColumn<'a>>,
    rows: usize,
    room: usize,
}

impl<'a> WideColumns<'a> {
    /// No columns yet, for a list of `rows` with this much room beside it.
    pub(in crate::ui) fn with_room(room: usize, rows: usize) -> Self {
        Self {
            columns: vec![],
            rows,
            room,
        }
    }

    /// Adds a column if it fits whole and has any cell; after one that does not fit, none is added.
    pub(in crate::ui) fn add_column(
        mut self,
        title: &'static str,
        cell: impl Fn(usize) -> (Role, String) + 'a,
    ) -> Self {
        if self.room < title.len() + GAP {
            self.room = 0;
            return self;
        }
        let longest = measure_rows(self.rows, 0, |row| display_width(&cell(row).1));
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
    pub(in crate::ui) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Width of all columns.
    pub(in crate::ui) fn width(&self) -> usize {
        self.columns.iter().map(|c| c.width + GAP).sum()
    }

    /// Appends the headings.
    pub(in crate::ui) fn join_head(&self, line: RichText) -> RichText {
        self.columns.iter().fold(line, |line, column| {
            line.add(Role::Text, " ".repeat(GAP)).add_column(
                Role::Muted,
                column.title,
                column.width,
            )
        })
    }

    /// Appends the cells of a row.
    pub(in crate::ui) fn join_row(&self, row: usize, line: RichText) -> RichText {
        self.columns.iter().fold(line, |line, column| {
            let (role, text) = (column.cell)(row);
            line.add(Role::Text, " ".repeat(GAP))
                .add_column(role, text, column.width)
        })
    }
}

/// Room of a list in which its rows are laid out, and the columns scrolled away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ui) struct ListRoom {
    /// Width of a row as it is laid out.
    pub(in crate::ui) width: usize,
    /// Columns of it that are hidden behind those that stay.
    skipped: usize,
    /// Most columns for the names, which stay while the others are scrolled.
    pub(in crate::ui) most_pinned: usize,
}

impl ListRoom {
    /// The room of a pane's list: `shown` columns are seen; `full` tells how many are needed when
    /// the names take at most so many.
    pub(in crate::ui) fn of_list(
        model: &Model,
        pane: Pane,
        shown: usize,
        full: impl FnOnce(usize) -> usize,
    ) -> Self {
        let scrolled = model.scrolled.get(&pane).copied().unwrap_or(0);
        let whole = Self {
            width: shown,
            skipped: 0,
            most_pinned: usize::MAX,
        };
        if scrolled == 0 {
            return whole;
        }
        let most_pinned = Self::most_pinned(shown);
        let full = full(most_pinned);
        match scrolled.min(full.saturating_sub(shown)) {
            0 => whole,
            skipped => Self {
                width: full,
                skipped,
                most_pinned,
            },
        }
    }

    /// Names take at most half of what is seen.
    pub(in crate::ui) const fn most_pinned(shown: usize) -> usize {
        shown / 2
    }

    /// What is seen of a row whose first `pinned` columns stay.
    pub(in crate::ui) fn show_row(self, pinned: usize, row: RichText) -> RichText {
        row.skip_columns_after(pinned, self.skipped)
    }
}

/// Column headings are shown when no row is lost to them, or when there are many rows.
const fn has_head(inner: Rect, rows: usize) -> bool {
    inner.height > 4 || rows < inner.height as usize
}

/// Draws the titles above a list where there is room for them; returns the room of the rows.
pub(in crate::ui) fn draw_head(
    canvas: &mut Canvas<'_>,
    model: &Model,
    pane: Pane,
    inner: Rect,
    rows: usize,
    head: &RichText,
) -> Rect {
    if !has_head(inner, rows) {
        return inner;
    }
    let line = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(1),
        height: 1,
        ..inner
    };
    canvas.draw_line(line, 0, head);
    let told = head.plain_text();
    let titles = model
        .sortable_list(pane)
        .map_or(&[][..], |list| list.titles);
    for (title, column) in titles {
        if let Some(left) = find_title(&told, title) {
            let area = columns_of_line(line, left, title.len());
            canvas.add_target(area, PointerTarget::Heading(pane, *column));
        }
    }
    Rect {
        y: inner.y + 1,
        height: inner.height - 1,
        ..inner
    }
}

/// The first column of a title that stands whole in a line of titles.
fn find_title(line: &str, title: &str) -> Option<usize> {
    let is_gap = |c: Option<char>| c.is_none_or(|c| c == ' ' || c == '…');
    let found = line.match_indices(title).find(|(at, _)| {
        let after = line.get(at + title.len()..).and_then(|s| s.chars().next());
        is_gap(line.get(..*at).and_then(|s| s.chars().next_back())) && is_gap(after)
    });
    let before = found.and_then(|(at, _)| line.get(..at))?;
    Some(display_width(before))
}
