//! Groups chains of one kind: the same apps, answered by the same versions, in the same lane. A
//! pane can show a hundred requests per second this way, at no cost while nothing changes.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Chain, Verdict};
use crate::domain::signals::{
    Column, RequestSample, Series, Version, Window, WindowStats, is_sampled,
};

/// Maximum number of groups; beyond it, the group that was idle for longest is forgotten.
pub const MAX_GROUPS: usize = 100;

/// Maximum number of faulty chains of one kind that a group keeps, so that the newest is still
/// known when another is removed.
const MAX_FAULTY_CHAINS: usize = 32;

/// How long a faulty chain is reported.
const FAULT_RETENTION: SignedDuration = SignedDuration::from_mins(5);

/// Key of a group: what all its chains have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Lane group of the first hop.
    pub group: Option<String>,
    /// Lane tag at the start of the chain.
    pub tag: Option<String>,
    /// Hops in calling order, callees after their caller.
    pub hops: Vec<GroupHop>,
}

/// One hop of a group's chains.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupHop {
    /// Call depth: 0 is the first app.
    pub depth: usize,
    /// App that was called.
    pub app: String,
    /// Version that answered.
    pub version: Version,
}

/// What went wrong in a group, from least to most severe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChainFault {
    /// Nothing went wrong.
    #[default]
    Nothing,
    /// Some requests failed.
    Failed,
    /// Some requests leaked or lost their tag.
    Leaked,
}

/// The counted chains of one group.
#[derive(Clone, Debug)]
struct CountedGroup {
    series: Series,
    newest: Arc<Chain>,
    failed: NewestChains,
    leaked: NewestChains,
}

/// The newest chains of one kind, oldest first.
#[derive(Clone, Debug, Default)]
struct NewestChains(Vec<Arc<Chain>>);

impl NewestChains {
    fn last_chain(&self) -> Option<&Arc<Chain>> {
        self.0.last()
    }

    fn add_chain(&mut self, chain: &Arc<Chain>) {
        let at = self.0.partition_point(|c| c.time <= chain.time);
        self.0.insert(at, Arc::clone(chain));
        if self.0.len() > MAX_FAULTY_CHAINS {
            self.0.remove(0);
        }
    }

    fn remove_chain(&mut self, chain: &Chain) {
        self.0
            .retain(|c| (&c.trace, &c.id) != (&chain.trace, &chain.id));
    }
}

/// A group at one point in time.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainGroup {
    /// Key of the group.
    pub key: Arc<GroupKey>,
    /// Figures of the last minute.
    pub minute: WindowStats,
    /// Number of requests in the last five minutes.
    pub requests: u64,
    /// Number of these requests that are faulty.
    pub wrong: u64,
    /// Requests in each complete slot of ten seconds, oldest first.
    pub columns: Vec<Column>,
    /// Newest chain of the group.
    pub newest: Arc<Chain>,
    /// Newest chain with the most severe fault; `None` when there is no fault.
    pub worst: Option<(ChainFault, Arc<Chain>)>,
}

/// All groups. Memory is bounded, and time is a parameter.
#[derive(Clone, Debug, Default)]
pub struct ChainGroups {
    all: BTreeMap<Arc<GroupKey>, CountedGroup>,
    since: Option<Timestamp>,
    alarms: u64,
}

impl GroupKey {
    /// Key of the group of a chain.
    pub fn from_chain(chain: &Chain) -> Self {
        let hop = |s: &super::ChainStep| GroupHop {
            depth: s.depth,
            app: s.app.clone(),
            version: s.version.clone(),
        };
        Self {
            group: chain.group.clone(),
            tag: chain.tag.clone(),
            hops: chain.steps.iter().map(hop).collect(),
        }
    }

    /// Whether a chain belongs to this group.
    pub fn matches_chain(&self, chain: &Chain) -> bool {
        let same = |(a, b): (&GroupHop, &super::ChainStep)| {
            a.depth == b.depth && a.app == b.app && a.version == b.version
        };
        self.tag == chain.tag
            && self.group == chain.group
            && self.hops.len() == chain.steps.len()
            && self.hops.iter().zip(&chain.steps).all(same)
    }
}

impl ChainFault {
    /// Fault of one chain.
    pub fn from_chain(chain: &Chain) -> Self {
        match chain.worst {
            Verdict::Lost | Verdict::LeakUp | Verdict::LeakDown => Self::Leaked,
            _ if chain.has_failed() => Self::Failed,
            _ => Self::Nothing,
        }
    }
}

impl ChainGroup {
    /// Most severe fault of the group.
    pub fn urgency(&self) -> ChainFault {
        self.worst
            .as_ref()
            .map(|(wrong, _)| *wrong)
            .unwrap_or_default()
    }
}

/// Converts a chain to the request that is counted.
fn to_sample(chain: &Chain) -> RequestSample {
    let sampled = chain
        .steps
        .iter()
        .filter_map(|s| s.hop.as_ref())
        .any(|h| is_sampled(h));
    RequestSample {
        time: chain.time,
        micros: chain.micros,
        failed: chain.is_wrong(),
        sampled,
    }
}

impl ChainGroups {
    /// Counts a chain.
    pub(super) fn add_chain(&mut self, chain: &Arc<Chain>, now: Timestamp) {
        let (key, wrong) = (GroupKey::from_chain(chain), ChainFault::from_chain(chain));
        let counted = self
            .all
            .entry(Arc::new(key))
            .or_insert_with(|| CountedGroup {
                series: Series::default(),
                newest: Arc::clone(chain),
                failed: NewestChains::default(),
                leaked: NewestChains::default(),
            });
        if !counted.series.add_request(to_sample(chain), now) {
            // The request is outside the window: drop the group if it has no other.
            self.all.retain(|_, c| c.series.is_alive(now));
            return;
        }
        if counted.newest.time <= chain.time {
            counted.newest = Arc::clone(chain);
        }
        let worst = match wrong {
            ChainFault::Nothing => None,
            ChainFault::Failed => Some(&mut counted.failed),
            ChainFault::Leaked => Some(&mut counted.leaked),
        };
        if let Some(worst) = worst {
            if worst.last_chain().is_none_or(|w| is_expired(w, now)) {
                self.alarms += 1;
            }
            worst.add_chain(chain);
        }
        self.since = Some(self.since.map_or(chain.time, |since| since.min(chain.time)));
        self.evict_groups(now);
    }

    /// Removes a counted chain, because more of its hops have come.
    pub(super) fn remove_chain(&mut self, chain: &Arc<Chain>, now: Timestamp) {
        let key = GroupKey::from_chain(chain);
        let Some(counted) = self.all.get_mut(&key) else {
            return;
        };
        counted.series.remove_request(to_sample(chain));
        counted.failed.remove_chain(chain);
        counted.leaked.remove_chain(chain);
        if !counted.series.is_alive(now) {
            self.all.remove(&key);
        }
    }

    fn evict_groups(&mut self, now: Timestamp) {
        if self.all.len() > MAX_GROUPS {
            self.all.retain(|_, c| c.series.is_alive(now));
        }
        while self.all.len() > MAX_GROUPS {
            let oldest = self
                .all
                .iter()
                .min_by_key(|(_, c)| c.newest.time)
                .map(|(key, _)| Arc::clone(key));
            match oldest {
                Some(key) => self.all.remove(&key),
                None => return,
            };
        }
    }

    /// Counter that goes up as soon as a group turns faulty.
    pub(super) const fn alarm_count(&self) -> u64 {
        self.alarms
    }

    /// All groups, the most urgent first. Groups of the same urgency keep their order, so that rows
    /// move only when something has happened.
    pub(super) fn list_groups(
        &self,
        listened: Option<Timestamp>,
        columns: usize,
        now: Timestamp,
    ) -> Vec<ChainGroup> {
        let since = self.since.into_iter().chain(listened).min();
        let group = |(key, counted): (&Arc<GroupKey>, &CountedGroup)| {
            let read = |window: Window| {
                let mut reading = WindowStats::over_seconds(window.observed_seconds(since, now));
                counted.series.add_to_stats(&mut reading, window, now);
                reading
            };
            let all = read(Window::FiveMinutes);
            let mut drawn = vec![Column::default(); columns];
            counted.series.add_to_columns(&mut drawn, now);
            let recent = |chains: &NewestChains| {
                chains.last_chain().filter(|c| !is_expired(c, now)).cloned()
            };
            let leaked = recent(&counted.leaked).map(|c| (ChainFault::Leaked, c));
            (all.requests > 0).then(|| ChainGroup {
                key: Arc::clone(key),
                minute: read(Window::Minute),
                requests: all.requests,
                wrong: all.failed,
                columns: drawn,
                newest: Arc::clone(&counted.newest),
                worst: leaked.or_else(|| recent(&counted.failed).map(|c| (ChainFault::Failed, c))),
            })
        };
        let mut all: Vec<ChainGroup> = self.all.iter().filter_map(group).collect();
        // Tagged groups come first: they are what a release is about.
        all.sort_by_key(|g| (std::cmp::Reverse(g.urgency()), g.key.tag.is_none()));
        all
    }
}

fn is_expired(chain: &Chain, now: Timestamp) -> bool {
    now.duration_since(chain.time) >= FAULT_RETENTION
}
