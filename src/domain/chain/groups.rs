//! Groups chains of one kind: the same apps, answered by the same versions, in the same lane. A
//! pane can show a hundred requests per second this way, at no cost while nothing changes.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Chain, Verdict};
use crate::domain::signals::{Column, Reading, Request, Series, Version, Window, is_sampled};

/// Maximum number of groups; beyond it, the group that was idle for longest is forgotten.
pub const MOST_GROUPS: usize = 100;

/// Maximum number of faulty chains of one kind that a group keeps, so that the newest is still
/// known when another is removed.
const MOST_WRONG: usize = 32;

/// How long a faulty chain is reported.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(5);

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
pub enum Wrong {
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
struct Counted {
    series: Series,
    newest: Arc<Chain>,
    failed: Newest,
    leaked: Newest,
}

/// The newest chains of one kind, oldest first.
#[derive(Clone, Debug, Default)]
struct Newest(Vec<Arc<Chain>>);

impl Newest {
    fn last(&self) -> Option<&Arc<Chain>> {
        self.0.last()
    }

    fn add(&mut self, chain: &Arc<Chain>) {
        let at = self.0.partition_point(|c| c.time <= chain.time);
        self.0.insert(at, Arc::clone(chain));
        if self.0.len() > MOST_WRONG {
            self.0.remove(0);
        }
    }

    fn take_back(&mut self, chain: &Chain) {
        self.0
            .retain(|c| (&c.trace, &c.id) != (&chain.trace, &chain.id));
    }
}

/// A group at one point in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Key of the group.
    pub key: Arc<GroupKey>,
    /// Figures of the last minute.
    pub minute: Reading,
    /// Number of requests in the last five minutes.
    pub requests: u64,
    /// Number of these requests that are faulty.
    pub wrong: u64,
    /// Requests in each complete slot of ten seconds, oldest first.
    pub columns: Vec<Column>,
    /// Newest chain of the group.
    pub newest: Arc<Chain>,
    /// Newest chain with the most severe fault; `None` when there is no fault.
    pub worst: Option<(Wrong, Arc<Chain>)>,
}

/// All groups. Memory is bounded, and time is a parameter.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    all: BTreeMap<Arc<GroupKey>, Counted>,
    since: Option<Timestamp>,
    alarms: u64,
}

impl GroupKey {
    /// Key of the group of a chain.
    pub fn of(chain: &Chain) -> Self {
        let hop = |s: &super::Step| GroupHop {
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
    pub fn is_of(&self, chain: &Chain) -> bool {
        let same = |(a, b): (&GroupHop, &super::Step)| {
            a.depth == b.depth && a.app == b.app && a.version == b.version
        };
        self.tag == chain.tag
            && self.group == chain.group
            && self.hops.len() == chain.steps.len()
            && self.hops.iter().zip(&chain.steps).all(same)
    }
}

impl Wrong {
    /// Fault of one chain.
    pub fn of(chain: &Chain) -> Self {
        match chain.worst {
            Verdict::Lost | Verdict::LeakUp | Verdict::LeakDown => Self::Leaked,
            _ if chain.has_failed() => Self::Failed,
            _ => Self::Nothing,
        }
    }
}

impl Group {
    /// Most severe fault of the group.
    pub fn urgency(&self) -> Wrong {
        self.worst
            .as_ref()
            .map(|(wrong, _)| *wrong)
            .unwrap_or_default()
    }
}

/// Converts a chain to the request that is counted.
fn request(chain: &Chain) -> Request {
    let sampled = chain
        .steps
        .iter()
        .filter_map(|s| s.hop.as_ref())
        .any(|h| is_sampled(h));
    Request {
        time: chain.time,
        micros: chain.micros,
        failed: chain.is_wrong(),
        sampled,
    }
}

impl Groups {
    /// Counts a chain.
    pub(super) fn add(&mut self, chain: &Arc<Chain>, now: Timestamp) {
        let (key, wrong) = (GroupKey::of(chain), Wrong::of(chain));
        let counted = self.all.entry(Arc::new(key)).or_insert_with(|| Counted {
            series: Series::default(),
            newest: Arc::clone(chain),
            failed: Newest::default(),
            leaked: Newest::default(),
        });
        if !counted.series.add(request(chain), now) {
            // The request is outside the window: drop the group if it has no other.
            self.all.retain(|_, c| c.series.is_alive(now));
            return;
        }
        if counted.newest.time <= chain.time {
            counted.newest = Arc::clone(chain);
        }
        let worst = match wrong {
            Wrong::Nothing => None,
            Wrong::Failed => Some(&mut counted.failed),
            Wrong::Leaked => Some(&mut counted.leaked),
        };
        if let Some(worst) = worst {
            if worst.last().is_none_or(|w| is_over(w, now)) {
                self.alarms += 1;
            }
            worst.add(chain);
        }
        self.since = Some(self.since.map_or(chain.time, |since| since.min(chain.time)));
        self.forget(now);
    }

    /// Removes a counted chain, because more of its hops have come.
    pub(super) fn take_back(&mut self, chain: &Arc<Chain>, now: Timestamp) {
        let key = GroupKey::of(chain);
        let Some(counted) = self.all.get_mut(&key) else {
            return;
        };
        counted.series.take_back(request(chain));
        counted.failed.take_back(chain);
        counted.leaked.take_back(chain);
        if !counted.series.is_alive(now) {
            self.all.remove(&key);
        }
    }

    fn forget(&mut self, now: Timestamp) {
        if self.all.len() > MOST_GROUPS {
            self.all.retain(|_, c| c.series.is_alive(now));
        }
        while self.all.len() > MOST_GROUPS {
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
    pub(super) const fn alarms(&self) -> u64 {
        self.alarms
    }

    /// All groups, the most urgent first. Groups of the same urgency keep their order, so that rows
    /// move only when something has happened.
    pub(super) fn list(
        &self,
        listened: Option<Timestamp>,
        columns: usize,
        now: Timestamp,
    ) -> Vec<Group> {
        let since = self.since.into_iter().chain(listened).min();
        let group = |(key, counted): (&Arc<GroupKey>, &Counted)| {
            let read = |window: Window| {
                let mut reading = Reading::of(window.seconds(since, now));
                counted.series.read(&mut reading, window, now);
                reading
            };
            let all = read(Window::FiveMinutes);
            let mut drawn = vec![Column::default(); columns];
            counted.series.columns(&mut drawn, now);
            let recent = |chains: &Newest| chains.last().filter(|c| !is_over(c, now)).cloned();
            let leaked = recent(&counted.leaked).map(|c| (Wrong::Leaked, c));
            (all.requests > 0).then(|| Group {
                key: Arc::clone(key),
                minute: read(Window::Minute),
                requests: all.requests,
                wrong: all.failed,
                columns: drawn,
                newest: Arc::clone(&counted.newest),
                worst: leaked.or_else(|| recent(&counted.failed).map(|c| (Wrong::Failed, c))),
            })
        };
        let mut all: Vec<Group> = self.all.iter().filter_map(group).collect();
        // Tagged groups come first: they are what a release is about.
        all.sort_by_key(|g| (std::cmp::Reverse(g.urgency()), g.key.tag.is_none()));
        all
    }
}

fn is_over(chain: &Chain, now: Timestamp) -> bool {
    now.duration_since(chain.time) >= REMEMBERED
}
