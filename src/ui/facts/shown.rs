//! The figures on the screen. They are taken at most once a second: on a slow line a figure that changes with every
//! request costs more than it tells. What has just gone wrong is not waited for.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Facts, Traffic, pair, pair::Pair};
use crate::domain::{chain::Group, world::World};

/// Between two looks.
const PAUSE: SignedDuration = SignedDuration::from_millis(990);

/// Figures as they were a moment ago.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// When they were taken; none before there was a world.
    taken: Option<Timestamp>,
    /// Of `Chains::alarms`.
    alarms: u64,
    /// Chains by groups, the most urgent first.
    pub groups: Arc<Vec<Group>>,
    /// Old and new version of the Apps that are being released, by App.
    pub pairs: Arc<BTreeMap<String, Pair>>,
    /// What the last minute's chains say.
    pub traffic: Traffic,
    /// Hops that came in since the start.
    pub hops: u64,
}

impl Facts {
    /// Takes the figures anew, if it is time.
    pub(super) fn show(&mut self, world: &World, now: Timestamp, is_first: bool) {
        let alarms = self.follow.0.alarms();
        let rest = |at: Timestamp| now.duration_since(at).abs();
        let is_due = self.shown.taken.is_none_or(|at| rest(at) >= PAUSE);
        let is_new = self.shown.groups.is_empty() && self.shown.hops != world.hops_seen;
        if !(is_due || is_first || is_new || alarms != self.shown.alarms) {
            return;
        }
        // An App that nobody has asked before may be new among the signals.
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
