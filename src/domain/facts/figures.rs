//! The figures on the screen. They are refreshed at most once a second, because redrawing on every
//! request costs too much on a slow connection. New leaks and failures show at once.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Facts, Traffic, pair, pair::VersionPair};
use crate::domain::{chain::ChainGroup, world::World};

/// Minimum time between two refreshes.
const REFRESH_INTERVAL: SignedDuration = SignedDuration::from_millis(990);

/// Figures as of the last refresh.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// When the figures were taken; `None` before the first world.
    taken: Option<Timestamp>,
    /// Value of `Chains::alarms` at that time.
    alarms: u64,
    /// Groups of chains, the most urgent first.
    pub groups: Arc<Vec<ChainGroup>>,
    /// Old and new version of the Apps in release, by App.
    pub pairs: Arc<BTreeMap<String, VersionPair>>,
    /// Summary of the last minute's chains.
    pub traffic: Traffic,
    /// Hops received since the start.
    pub hops: u64,
}

impl Facts {
    /// Refreshes the figures when they are due.
    pub(super) fn refresh_figures(&mut self, world: &World, now: Timestamp, is_first: bool) {
        let alarms = self.follow.0.alarm_count();
        let rest = |at: Timestamp| now.duration_since(at).abs();
        let is_due = self
            .figures
            .taken
            .is_none_or(|at| rest(at) >= REFRESH_INTERVAL);
        let is_new = self.figures.groups.is_empty() && self.figures.hops != world.hops_seen;
        if !(is_due || is_first || is_new || alarms != self.figures.alarms) {
            return;
        }
        // An App that receives its first request is not yet among the classified ones.
        let known = self
            .signals
            .apps()
            .all(|app| self.templates.contains_key(app));
        if std::mem::take(&mut self.moved) || !known {
            self.templates = self.classify_templates(world);
        }
        let apps = self
            .active
            .iter()
            .filter_map(|name| world.releases.get(name));
        let pairs = apps.filter_map(|release| pair::compare_pair(self, world, release, now));
        let pairs = Arc::new(pairs.map(|pair| (pair.app.clone(), pair)).collect());
        let groups = Arc::new(self.follow.0.list_groups(pair::SPARKLINE_COLUMNS, now));
        let traffic = self.recent_traffic(now);
        self.figures = Figures {
            taken: Some(now),
            alarms,
            groups,
            pairs,
            traffic,
            hops: world.hops_seen,
        };
    }
}
