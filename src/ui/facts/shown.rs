//! The figures on the screen. They are refreshed at most once a second, because redrawing on every
//! request costs too much on a slow connection. New leaks and failures show at once.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Facts, Traffic, pair, pair::Pair};
use crate::domain::{chain::Group, world::World};

/// Minimum time between two refreshes.
const PAUSE: SignedDuration = SignedDuration::from_millis(990);

/// Figures as of the last refresh.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// When the figures were taken; `None` before the first world.
    taken: Option<Timestamp>,
    /// Value of `Chains::alarms` at that time.
    alarms: u64,
    /// Groups of chains, the most urgent first.
    pub groups: Arc<Vec<Group>>,
    /// Old and new version of the Apps in release, by App.
    pub pairs: Arc<BTreeMap<String, Pair>>,
    /// Summary of the last minute's chains.
    pub traffic: Traffic,
    /// Hops received since the start.
    pub hops: u64,
}

impl Facts {
    /// Refreshes the figures when they are due.
    pub(super) fn show(&mut self, world: &World, now: Timestamp, is_first: bool) {
        let alarms = self.follow.0.alarms();
        let rest = |at: Timestamp| now.duration_since(at).abs();
        let is_due = self.shown.taken.is_none_or(|at| rest(at) >= PAUSE);
        let is_new = self.shown.groups.is_empty() && self.shown.hops != world.hops_seen;
        if !(is_due || is_first || is_new || alarms != self.shown.alarms) {
            return;
        }
        // An App that receives its first request is not yet among the classified ones.
        let known = self
            .signals
            .apps()
            .all(|app| self.templates.contains_key(app));
        if std::mem::take(&mut self.moved) || !known {
            self.templates = self.tell_templates(world);
        }
        let apps = self
            .active
            .iter()
            .filter_map(|name| world.releases.get(name));
        let pairs = apps.filter_map(|release| pair::pair(self, world, release, now));
        let pairs = Arc::new(pairs.map(|pair| (pair.app.clone(), pair)).collect());
        let groups = Arc::new(self.follow.0.groups(pair::COLUMNS, now));
        let traffic = self.traffic(now);
        self.shown = Shown {
            taken: Some(now),
            alarms,
            groups,
            pairs,
            traffic,
            hops: world.hops_seen,
        };
    }
}
