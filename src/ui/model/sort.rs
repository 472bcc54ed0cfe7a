//! In which order the rows of a list stand.

use std::{cmp::Ordering, sync::Arc};

use super::{AppRow, LaneRow, Model, Pane};
use crate::{
    api::Environment,
    domain::{
        chain::{Chain, ChainGroup},
        world::Pod,
    },
};

/// A list whose rows can be sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SortableList {
    /// The Apps pane.
    Apps,
    /// The Environments pane.
    Environments,
    /// The pods of an environment.
    Pods,
    /// The Lanes pane.
    Lanes,
    /// Groups of requests in the Trace pane.
    Groups,
    /// Single requests in the Trace pane.
    Chains,
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
    /// Columns that the list can be sorted by; the first one is the default.
    pub const fn columns(self) -> &'static [SortColumn] {
        use SortColumn as C;
        match self {
            Self::Apps => &[C::Waiting, C::Name, C::Stage, C::Age, C::Requester],
            Self::Environments => &[C::Order, C::Name, C::Ready],
            Self::Pods => &[C::Name, C::Ready, C::Age, C::Restarts, C::Lane],
            Self::Lanes => &[C::Order, C::Name, C::Lane],
            Self::Groups => &[C::Wrong, C::Lane, C::Requests, C::Rate, C::Latency],
            Self::Chains => &[C::Time, C::Lane, C::Wrong, C::Status, C::Latency],
        }
    }

    /// The order without a choice.
    pub fn default_order(self) -> SortOrder {
        SortOrder {
            column: self.columns().first().copied().unwrap_or(SortColumn::Name),
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
    fn sort_rows<T>(self, rows: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
        if self.reversed {
            rows.sort_by(|a, b| compare(b, a));
        } else {
            rows.sort_by(compare);
        }
    }

    /// Leaves rows in the order they come in, or turns that round.
    fn keep_rows<T>(self, rows: &mut [T]) {
        if self.reversed {
            rows.reverse();
        }
    }
}

impl Model {
    /// The sortable list that a pane shows.
    pub fn sortable_list(&self, pane: Pane) -> Option<SortableList> {
        Some(match pane {
            Pane::Apps => SortableList::Apps,
            Pane::Environments if self.drilled => SortableList::Pods,
            Pane::Environments => SortableList::Environments,
            Pane::Rollout => return None,
            Pane::Lanes => SortableList::Lanes,
            Pane::Trace if self.is_grouped() => SortableList::Groups,
            Pane::Trace => SortableList::Chains,
        })
    }

    /// The order of a list.
    pub fn sort_order(&self, list: SortableList) -> SortOrder {
        self.sort_orders
            .get(&list)
            .copied()
            .unwrap_or_else(|| list.default_order())
    }

    /// Sorts a list by its next column.
    pub fn sort_by_next_column(&mut self, list: SortableList) {
        let columns = list.columns();
        let now = self.sort_order(list).column;
        let at = columns.iter().position(|c| *c == now).unwrap_or(0);
        let column = columns.get((at + 1) % columns.len()).copied();
        self.sort_by_column(list, column.unwrap_or(now));
    }

    /// Sorts a list by a column of it.
    pub fn sort_by_column(&mut self, list: SortableList, column: SortColumn) {
        let order = SortOrder {
            column,
            reversed: false,
        };
        self.set_sort_order(list, order);
    }

    /// Turns the order of a list round.
    pub fn reverse_sort_order(&mut self, list: SortableList) {
        let now = self.sort_order(list);
        self.set_sort_order(
            list,
            SortOrder {
                reversed: !now.reversed,
                ..now
            },
        );
    }

    /// What was selected because it came first stays selected.
    fn set_sort_order(&mut self, list: SortableList, order: SortOrder) {
        match list {
            SortableList::Chains => self.chain = self.selected_chain().map(|c| c.id.clone()),
            SortableList::Groups => {
                self.group = self.selected_group().map(|g| Arc::clone(&g.key));
            }
            SortableList::Pods => self.pod = self.selected_pod().map(|p| p.key.clone()),
            SortableList::Environments => {
                self.environment = self.selected_environment().map(|e| e.name.clone());
            }
            SortableList::Lanes => self.lane = self.selected_lane().map(|(name, _)| name.clone()),
            SortableList::Apps => {}
        }
        self.sort_orders.insert(list, order);
    }

    /// Sorts Apps, which come in by namespace and name. Those without a release in progress come
    /// last.
    pub(super) fn sort_apps<'a>(
        &'a self,
        rows: impl Iterator<Item = AppRow<'a>>,
    ) -> Vec<AppRow<'a>> {
        let order = self.sort_order(SortableList::Apps);
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

    /// Sorts environments, which come in by promotion order.
    pub(super) fn sort_environments(&self, rows: &mut [&Environment]) {
        let order = self.sort_order(SortableList::Environments);
        let app = self.app.as_deref().unwrap_or_default();
        let missing = |e: &Environment| {
            let workloads = self.world.workloads_of(app, &e.name);
            let (ready, wanted) = workloads.fold((0, 0), |(ready, wanted), w| {
                (ready + u64::from(w.ready), wanted + u64::from(w.replicas))
            });
            std::cmp::Reverse(u64::saturating_sub(wanted, ready))
        };
        match order.column {
            SortColumn::Name => order.sort_rows(rows, |a, b| a.name.cmp(&b.name)),
            SortColumn::Ready => order.sort_rows(rows, |a, b| missing(a).cmp(&missing(b))),
            _ => order.keep_rows(rows),
        }
    }

    /// Sorts pods, which come in by name.
    pub(super) fn sort_pods(&self, rows: &mut [&Pod]) {
        let order = self.sort_order(SortableList::Pods);
        match order.column {
            SortColumn::Ready => order.sort_rows(rows, |a, b| a.ready.cmp(&b.ready)),
            SortColumn::Age => order.sort_rows(rows, |a, b| b.born.cmp(&a.born)),
            SortColumn::Restarts => order.sort_rows(rows, |a, b| b.restarts.cmp(&a.restarts)),
            SortColumn::Lane => order.sort_rows(rows, |a, b| a.tag.cmp(&b.tag)),
            _ => order.sort_rows(rows, |a, b| a.key.cmp(&b.key)),
        }
    }

    /// Sorts lanes, which come in by group and priority.
    pub(super) fn sort_lanes(&self, rows: &mut [LaneRow<'_>]) {
        let order = self.sort_order(SortableList::Lanes);
        match order.column {
            SortColumn::Name => order.sort_rows(rows, |a, b| a.name.cmp(b.name)),
            SortColumn::Lane => {
                order.sort_rows(rows, |a, b| a.lane.spec.tag.cmp(&b.lane.spec.tag));
            }
            _ => order.keep_rows(rows),
        }
    }

    /// Sorts groups of requests, which come in with the most urgent first.
    pub(super) fn sort_groups(&self, rows: &mut [&ChainGroup]) {
        let order = self.sort_order(SortableList::Groups);
        let rate = |g: &ChainGroup| g.minute.rate();
        match order.column {
            SortColumn::Lane => order.sort_rows(rows, |a, b| a.key.tag.cmp(&b.key.tag)),
            SortColumn::Requests => order.sort_rows(rows, |a, b| b.requests.cmp(&a.requests)),
            SortColumn::Rate => order.sort_rows(rows, |a, b| rate(b).total_cmp(&rate(a))),
            SortColumn::Latency => {
                order.sort_rows(rows, |a, b| b.minute.p95().cmp(&a.minute.p95()));
            }
            _ => order.keep_rows(rows),
        }
    }

    /// Sorts requests, which come in with the newest first.
    pub(super) fn sort_chains(&self, rows: &mut [&Arc<Chain>]) {
        let order = self.sort_order(SortableList::Chains);
        let wrong = |c: &Chain| (c.worst.is_bad(), c.has_failed());
        match order.column {
            SortColumn::Lane => order.sort_rows(rows, |a, b| a.tag.cmp(&b.tag)),
            SortColumn::Wrong => order.sort_rows(rows, |a, b| wrong(b).cmp(&wrong(a))),
            SortColumn::Status => order.sort_rows(rows, |a, b| b.status.cmp(&a.status)),
            SortColumn::Latency => order.sort_rows(rows, |a, b| b.micros.cmp(&a.micros)),
            _ => order.keep_rows(rows),
        }
    }
}
