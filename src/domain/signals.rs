//! Signals: how many requests each version of each app got and how it answered them, from hops.
//! They are requests per second, the share that failed, latency percentiles over one and five
//! minutes, and the requests of each ten seconds.
//!
//! A hop is counted once, in the ten seconds of its own time, however late and in whatever order it
//! comes. A hop older than five minutes, or from the future, is dropped. A version is a lane's
//! pods, or the baseline's pods with one template: during a rollout the baseline has two of them.
//! Figures are exact if every request was reported (by graylane's own gateway or an access log,
//! with nothing dropped on the way), otherwise they are *sampled*.
//!
//! Memory is bounded: [`MAX_VERSIONS`] versions of at most 25 KB each. Beyond that, the version that was
//! idle for longest is forgotten.

mod compare;
mod series;
#[cfg(test)]
mod tests;
mod window_stats;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    hop::Hop,
    span::Source,
    world::{ObjectKey, World},
};
pub use compare::{
    Comparison, MAX_CHANCE, MIN_REQUESTS, MIN_REQUESTS_FOR_LATENCY, compare_versions,
};
pub use series::{Column, RequestSample, SLOT_SECONDS, Series, Window};
pub use window_stats::WindowStats;

/// Maximum number of versions of all apps together.
pub const MAX_VERSIONS: usize = 400;

/// Version that answered a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// No pod answered, or it is unknown which one did.
    #[default]
    Unknown,
    /// Baseline pods with one template.
    Base {
        /// Environment of the pods, if the pod is known.
        environment: Option<String>,
        /// Template hash of the pods, if the pod is known.
        hash: Option<String>,
    },
    /// Pods of a lane, by its tag.
    Lane(String),
}

impl Version {
    /// Version whose pod answered a hop.
    pub fn from_hop(hop: &Hop, world: &World) -> Self {
        let Some(pod) = &hop.pod else {
            return Self::Unknown;
        };
        if let Some(tag) = &hop.pod_tag {
            return Self::Lane(tag.clone());
        }
        let known = world
            .pods
            .get(&ObjectKey::at_home(hop.namespace.as_str(), pod.as_str()));
        Self::Base {
            environment: known.and_then(|p| p.environment.clone()),
            hash: known.and_then(|p| p.hash.clone()),
        }
    }

    /// Whether it is the baseline, with any template.
    pub const fn is_base(&self) -> bool {
        matches!(self, Self::Base { .. })
    }
}

impl RequestSample {
    /// Converts a hop to the request that is counted.
    pub fn from_hop(hop: &Hop) -> Self {
        Self {
            time: hop.time,
            micros: hop.micros,
            failed: hop.has_failed(),
            sampled: is_sampled(hop),
        }
    }
}

/// Whether the source of the hop does not report every request.
pub fn is_sampled(hop: &Hop) -> bool {
    !hop.source.is_none_or(Source::is_complete)
}

/// Signals of a world. Memory is bounded, and time is a parameter.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Number of hops read so far, as in `World::hops_seen`.
    seen: u64,
    /// Number of dropped hops so far, as in `World::hops_dropped`.
    dropped: u64,
    apps: BTreeMap<String, Vec<(Version, Series)>>,
    versions: usize,
    /// Requests before this time are not counted.
    from: Option<Timestamp>,
    /// Since when hops are received, or the time of the oldest counted request if that is earlier.
    since: Option<Timestamp>,
    /// When hops were last lost on their way here.
    lost: Option<Timestamp>,
}

impl Signals {
    /// Creates signals that count only requests from that time on.
    pub fn starting_at(begun: Timestamp) -> Self {
        Self {
            from: Some(begun),
            since: Some(begun),
            ..Self::default()
        }
    }

    /// Counts the new hops of a world. Returns whether there were any.
    pub fn follow_world(&mut self, world: &World, now: Timestamp) -> bool {
        let (fresh, missed) = world.hops_since(self.seen);
        if missed || world.hops_dropped > self.dropped {
            self.lost = Some(now);
        }
        (self.seen, self.dropped) = (world.hops_seen, world.hops_dropped);
        self.since.get_or_insert(now);
        for hop in fresh.iter().filter(|hop| hop.is_first_report()) {
            self.add_request(
                &hop.app,
                Version::from_hop(hop, world),
                RequestSample::from_hop(hop),
                now,
            );
        }
        !fresh.is_empty()
    }

    /// Counts one request. Returns false if its time is outside the window.
    pub fn add_request(
        &mut self,
        app: &str,
        version: Version,
        request: RequestSample,
        now: Timestamp,
    ) -> bool {
        if !series::is_within(request.time, now)
            || self.from.is_some_and(|from| request.time < from)
        {
            return false;
        }
        if !self.apps.contains_key(app) {
            self.apps.insert(app.to_owned(), vec![]);
        }
        let Some(versions) = self.apps.get_mut(app) else {
            return false;
        };
        let at = versions
            .iter()
            .position(|(v, _)| *v == version)
            .unwrap_or_else(|| {
                versions.push((version, Series::default()));
                self.versions += 1;
                versions.len() - 1
            });
        let counted = versions
            .get_mut(at)
            .is_some_and(|(_, series)| series.add_request(request, now));
        self.since = Some(
            self.since
                .map_or(request.time, |since| since.min(request.time)),
        );
        self.evict_versions();
        counted
    }

    /// Forgets the versions that were idle for longest while there are too many.
    fn evict_versions(&mut self) {
        while self.versions > MAX_VERSIONS {
            let all = self
                .apps
                .iter()
                .flat_map(|(app, of)| of.iter().map(move |(v, s)| (s.newest_slot(), app, v)));
            let Some((_, app, version)) = all.min() else {
                return;
            };
            let (app, version) = (app.clone(), version.clone());
            let left = self.apps.get_mut(&app).map(|of| {
                of.retain(|(v, _)| *v != version);
                of.len()
            });
            if left == Some(0) {
                self.apps.remove(&app);
            }
            self.versions -= 1;
        }
    }

    /// Apps that have signals.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.apps.keys().map(String::as_str)
    }

    /// Versions of an app that got requests within five minutes.
    pub fn active_versions(&self, app: &str, now: Timestamp) -> impl Iterator<Item = &Version> {
        self.versions_of(app)
            .filter(move |(_, series)| series.is_alive(now))
            .map(|(version, _)| version)
    }

    fn versions_of(&self, app: &str) -> impl Iterator<Item = &(Version, Series)> {
        self.apps.get(app).into_iter().flatten()
    }

    /// Reads the figures of some versions of an app together.
    pub fn read_window(
        &self,
        app: &str,
        which: impl Fn(&Version) -> bool,
        window: Window,
        now: Timestamp,
    ) -> WindowStats {
        let mut reading = WindowStats::over_seconds(self.observed_seconds(window, now));
        for (_, series) in self.versions_of(app).filter(|(version, _)| which(version)) {
            series.add_to_stats(&mut reading, window, now);
        }
        reading.sampled |= reading.requests > 0 && self.has_lost_hops(now);
        reading
    }

    /// Requests of some versions of an app in each of the last `slots` complete slots of ten
    /// seconds, oldest first.
    pub fn read_columns(
        &self,
        app: &str,
        which: impl Fn(&Version) -> bool,
        slots: usize,
        now: Timestamp,
    ) -> Vec<Column> {
        let mut columns = vec![Column::default(); slots];
        for (_, series) in self.versions_of(app).filter(|(version, _)| which(version)) {
            series.add_to_columns(&mut columns, now);
        }
        columns
    }

    /// Whether hops were lost on their way here within five minutes.
    fn has_lost_hops(&self, now: Timestamp) -> bool {
        self.lost
            .is_some_and(|at| now.duration_since(at) < SignedDuration::from_mins(5))
    }

    /// Seconds of the window in which hops were received.
    pub fn observed_seconds(&self, window: Window, now: Timestamp) -> f64 {
        window.observed_seconds(self.since, now)
    }
}
