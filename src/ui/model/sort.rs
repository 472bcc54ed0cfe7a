//! In which order the rows of a list stand.

use std::cmp::Ordering;

use super::Model;
use crate::ui::pane::Pane;

/// A list whose rows can be sorted. Each stands in the file of its pane.
#[derive(Debug)]
pub struct SortableList {
    /// Its name, which no other list has.
    pub name: &'static str,
    /// Columns that it can be sorted by; the first one is the default.
    pub columns: &'static [SortColumn],
    /// Titles of the columns that a click sorts by.
    pub titles: &'static [(&'static str, SortColumn)],
    /// Whether the head of the pane tells the default order, because it is not that of the objects
    /// themselves.
    pub tells_default: bool,
    /// Keeps selected what was selected because it came first.
    pub keep_selection: fn(&mut Model),
}

/// What the rows of a list are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SortColumn {
    /// Those that wait for a person first.
    Waiting,
    /// By name.
    Name,
    /// By the stage of the release in progress.
    Stage,
    /// By age, the youngest first.
    Age,
    /// By the user who requested the release.
    Requester,
    /// In the order that the App or the lane group gives them.
    Order,
    /// Those that are not ready first.
    Ready,
    /// By restarts, the most first.
    Restarts,
    /// By lane tag.
    Lane,
    /// The wrong ones first.
    Wrong,
    /// By the number of requests, the most first.
    Requests,
    /// By rate, the highest first.
    Rate,
    /// By latency, the slowest first.
    Latency,
    /// By time, the newest first.
    Time,
    /// By HTTP status, the highest first.
    Status,
}

impl SortableList {
    /// The order without a choice.
    pub fn default_order(&self) -> SortOrder {
        SortOrder {
            column: self.columns.first().copied().unwrap_or(SortColumn::Name),
            reversed: false,
        }
    }
}

impl SortColumn {
    /// As the head of the pane names it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Name => "name",
            Self::Stage => "stage",
            Self::Age => "age",
            Self::Requester => "by",
            Self::Order => "order",
            Self::Ready => "ready",
            Self::Restarts => "restarts",
            Self::Lane => "lane",
            Self::Wrong => "wrong",
            Self::Requests => "requests",
            Self::Rate => "rate",
            Self::Latency => "latency",
            Self::Time => "time",
            Self::Status => "status",
        }
    }

    /// Whether the greatest value comes first, unless the order is reversed.
    const fn descends(self) -> bool {
        matches!(
            self,
            Self::Waiting
                | Self::Restarts
                | Self::Wrong
                | Self::Requests
                | Self::Rate
                | Self::Latency
                | Self::Time
                | Self::Status
        )
    }
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortOrder {
    /// What the rows are sorted by.
    pub column: SortColumn,
    /// The other way round.
    pub reversed: bool,
}

impl SortOrder {
    /// Whether the shown values fall from row to row.
    pub const fn descends(self) -> bool {
        self.column.descends() != self.reversed
    }

    /// Sorts rows; rows that `compare` finds equal stay in the order they are in.
    pub(in crate::ui) fn sort_rows<T>(self, rows: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
        if self.reversed {
            rows.sort_by(|a, b| compare(b, a));
        } else {
            rows.sort_by(compare);
        }
    }

    /// Leaves rows in the order they come in, or turns that round.
    pub(in crate::ui) fn keep_rows<T>(self, rows: &mut [T]) {
        if self.reversed {
            rows.reverse();
        }
    }
}

impl Model {
    /// The sortable list that a pane shows.
    pub fn sortable_list(&self, pane: Pane) -> Option<&'static SortableList> {
        pane.behaviour().sortable_list(self)
    }

    /// The order of a list.
    pub fn sort_order(&self, list: &SortableList) -> SortOrder {
        self.sort_orders
            .get(list.name)
            .copied()
            .unwrap_or_else(|| list.default_order())
    }

    /// Sorts a list by its next column.
    pub fn sort_by_next_column(&mut self, list: &SortableList) {
        let columns = list.columns;
        let now = self.sort_order(list).column;
        let at = columns.iter().position(|c| *c == now).unwrap_or(0);
        let column = columns.get((at + 1) % columns.len()).copied();
        self.sort_by_column(list, column.unwrap_or(now));
    }

    /// Sorts a list by a column of it.
    pub fn sort_by_column(&mut self, list: &SortableList, column: SortColumn) {
        let order = SortOrder {
            column,
            reversed: false,
        };
        self.set_sort_order(list, order);
    }

    /// Turns the order of a list round.
    pub fn reverse_sort_order(&mut self, list: &SortableList) {
        let now = self.sort_order(list);
        self.set_sort_order(
            list,
            SortOrder {
                reversed: !now.reversed,
                ..now
            },
        );
    }

    fn set_sort_order(&mut self, list: &SortableList, order: SortOrder) {
        (list.keep_selection)(self);
        self.sort_orders.insert(list.name, order);
    }
}
