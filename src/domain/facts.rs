//! Data derived from the world for the screen. Only what depends on a changed part is recomputed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::Release,
    domain::{
        chain::{Chain, Chains, Verdict},
        signals::Signals,
        text::format_duration,
        world::{Link, ObjectKey, Pod, Pods, World, pod_changes},
    },
};

mod cause;
mod figures;
mod pair;
mod release_state;
mod replacement;
mod templates;

pub use crate::domain::versions::{VersionCounts, count_versions};
pub use cause::find_stall_cause;
pub use figures::Figures;
pub use pair::{SPARKLINE_COLUMNS, VersionFigures, VersionPair};
pub use release_state::{ReleaseState, release_state};
pub use replacement::{ReplacementStrategy, replacement_strategy};

/// Indexes over one world.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Release names by App, newest first.
    pub releases: HashMap<String, Vec<String>>,
    /// Releases in progress: those that need a person first, then by name.
    pub active: Vec<String>,
    /// The newest release in progress of each App that has one.
    pub turns: HashMap<String, AppTurn>,
    /// Pod keys by App and environment, in ascending order.
    pub pods: HashMap<String, BTreeMap<String, Vec<Arc<ObjectKey>>>>,
    /// Chains, newest first.
    pub chains: Arc<Vec<Arc<Chain>>>,
    /// Short App names: the full name without the prefix that all Apps of its lane group share.
    pub short: HashMap<String, String>,
    /// Request counts, failures and latencies of every version.
    pub signals: Signals,
    /// Figures on the screen, refreshed at most once a second.
    pub figures: Figures,
    templates: templates::TemplatesByApp,
    /// Pods or releases have changed since the pod templates were last classified.
    moved: bool,
    follow: ChainTracker,
    seen: Option<World>,
}

/// An App's release in progress, as lists are sorted by it.
#[derive(Clone, Debug)]
pub struct AppTurn {
    /// Name of the release.
    pub release: String,
    /// [`ReleaseState::urgency`] of it.
    pub urgency: u8,
    /// Time when it was created.
    pub created: Option<Timestamp>,
}

/// Builds chains from hops; a verdict is kept once it has been given.
#[derive(Clone, Debug)]
struct ChainTracker(Chains);

impl Default for ChainTracker {
    fn default() -> Self {
        Self(Chains::new(1000))
    }
}

/// Summary of recent traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Number of chains.
    pub chains: usize,
    /// Number of tagged chains.
    pub tagged: usize,
    /// Number of leaking chains.
    pub leaks: usize,
    /// Number of failed chains.
    pub failed: usize,
    /// The newest leak, else the newest failure: what, where and why.
    pub worst: Option<String>,
}

impl Facts {
    /// Recomputes what the new world changes.
    pub fn refresh(&mut self, world: &World, now: Timestamp) {
        let first = self.seen.is_none();
        let last = self.seen.take().unwrap_or_default();
        if first || !Arc::ptr_eq(&last.releases, &world.releases) {
            self.index_releases(world);
        }
        if !Arc::ptr_eq(&last.pods, &world.pods) {
            self.index_pods(&last.pods, &world.pods);
        }
        if first
            || !Arc::ptr_eq(&last.groups, &world.groups)
            || !Arc::ptr_eq(&last.apps, &world.apps)
        {
            self.short = short_names(world);
        }
        self.signals.follow_world(world, now);
        if self.follow.0.follow_world(world, now) {
            let mut chains: Vec<Arc<Chain>> = self.follow.0.all_chains().rev().cloned().collect();
            chains.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.id.cmp(&b.id)));
            self.chains = Arc::new(chains);
        }
        let same =
            Arc::ptr_eq(&last.releases, &world.releases) && Arc::ptr_eq(&last.pods, &world.pods);
        self.moved |= first || !same;
        self.refresh_figures(world, now, first);
        self.seen = Some(world.clone());
    }

    /// Chains for which no more hops are expected.
    pub fn settled_chains(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.follow.0.settled_chains()
    }

    /// Lets time pass: pending chains may become due and figures age. Without a live connection
    /// nothing changes, because missing data then proves nothing.
    pub fn advance_clock(&mut self, now: Timestamp) {
        if let Some(world) = self.seen.clone().filter(|w| w.link == Link::Live) {
            self.refresh(&world, now);
        }
    }

    /// Brings the index of pods up to date. It costs as much as there are changes, and little for
    /// each pod that is the same.
    fn index_pods(&mut self, before: &Pods, after: &Pods) {
        for change in pod_changes(before, after) {
            let places = [change.before, change.after].map(place_of_pod);
            if places[0] == places[1] {
                continue;
            }
            if let Some((app, environment)) = places[0] {
                self.remove_pod(app, environment, change.key);
            }
            if let Some((app, environment)) = places[1] {
                let of_app = self.pods.entry(app.to_owned()).or_default();
                let keys = of_app.entry(environment.to_owned()).or_default();
                if let Err(at) = keys.binary_search(change.key) {
                    keys.insert(at, Arc::clone(change.key));
                }
            }
        }
    }

    fn remove_pod(&mut self, app: &str, environment: &str, key: &Arc<ObjectKey>) {
        let Some(of_app) = self.pods.get_mut(app) else {
            return;
        };
        if let Some(keys) = of_app.get_mut(environment) {
            keys.retain(|own| own != key);
            if keys.is_empty() {
                of_app.remove(environment);
            }
        }
        if of_app.is_empty() {
            self.pods.remove(app);
        }
    }

    fn index_releases(&mut self, world: &World) {
        self.releases.clear();
        self.active.clear();
        self.turns.clear();
        let mut all: Vec<(&String, &Arc<Release>)> = world.releases.iter().collect();
        all.sort_by(|a, b| {
            created_at(b.1)
                .cmp(&created_at(a.1))
                .then_with(|| b.0.cmp(a.0))
        });
        let mut active = vec![];
        for (name, release) in all {
            self.releases
                .entry(release.spec.app.clone())
                .or_default()
                .push(name.clone());
            let state = release_state(release);
            if !state.is_over() {
                active.push((state.urgency(), name));
                self.turns
                    .entry(release.spec.app.clone())
                    .or_insert_with(|| AppTurn {
                        release: name.clone(),
                        urgency: state.urgency(),
                        created: created_at(release),
                    });
            }
        }
        active.sort();
        self.active = active.into_iter().map(|(_, name)| name.clone()).collect();
    }

    /// The App's release in progress, else its newest one.
    pub fn release_of(&self, app: &str) -> Option<&String> {
        self.active_of(app)
            .or_else(|| self.releases.get(app)?.first())
    }

    /// The App's release in progress.
    pub fn active_of(&self, app: &str) -> Option<&String> {
        self.turns.get(app).map(|turn| &turn.release)
    }

    /// Pod keys of an environment, by name.
    pub fn pods_of(&self, app: &str, environment: &str) -> &[Arc<ObjectKey>] {
        self.pods
            .get(app)
            .and_then(|of| of.get(environment))
            .map_or(&[], Vec::as_slice)
    }

    /// Short name of an App.
    pub fn short_name<'a>(&'a self, app: &'a str) -> &'a str {
        self.short.get(app).map_or(app, String::as_str)
    }

    /// Summary of the last minute's chains.
    pub fn recent_traffic(&self, now: Timestamp) -> Traffic {
        let since = now
            .checked_sub(SignedDuration::from_secs(60))
            .unwrap_or(Timestamp::MIN);
        let mut traffic = Traffic::default();
        let mut worst: Option<&Chain> = None;
        for chain in self.chains.iter().take_while(|c| c.time >= since) {
            traffic.chains += 1;
            traffic.tagged += usize::from(chain.tag.is_some());
            traffic.leaks += usize::from(chain.worst.is_bad());
            traffic.failed += usize::from(chain.has_failed());
            let worse = |w: &Chain| !w.worst.is_bad() && chain.worst.is_bad();
            if chain.is_wrong() && worst.is_none_or(worse) {
                worst = Some(chain);
            }
        }
        traffic.worst = worst.map(|chain| {
            if chain.worst.is_bad() {
                self.describe_problem(chain)
            } else {
                self.describe_request(chain)
            }
        });
        traffic
    }

    /// Describes what went wrong with a chain, where and why.
    pub fn describe_problem(&self, chain: &Chain) -> String {
        if let Some(step) = chain.failed_step().filter(|_| !chain.worst.is_bad()) {
            let error = step
                .hop
                .as_ref()
                .and_then(|h| h.error.as_ref())
                .map(|e| format!(": {e}"))
                .unwrap_or_default();
            let version = self
                .version_label(&step.app, &step.version)
                .map(|v| format!(" {v}"))
                .unwrap_or_default();
            return format!(
                "{} at {}{version}{error}",
                verdict_word(chain),
                self.short_name(&step.app)
            );
        }
        let culprit = chain.worst_step().filter(|_| chain.worst != Verdict::Ok);
        let at = culprit
            .map(|s| format!(" at {}", self.short_name(&s.app)))
            .unwrap_or_default();
        let cause = culprit
            .and_then(|s| s.cause.clone())
            .map(|c| format!(": {c}"))
            .unwrap_or_default();
        format!("{}{at}{cause}", verdict_word(chain))
    }

    /// Describes what went wrong, with the path of the request and its duration.
    pub fn describe_request(&self, chain: &Chain) -> String {
        format!(
            "{}, {} in {}",
            self.describe_problem(chain),
            chain.path,
            format_duration(Duration::from_micros(chain.micros))
        )
    }
}

/// Verdict of a chain; leaks and failures in capitals.
pub fn verdict_word(chain: &Chain) -> String {
    match chain.worst {
        bad if bad.is_bad() => bad.as_str().to_uppercase(),
        _ if chain.has_failed() && chain.status == 0 => "FAILED, no answer".into(),
        _ if chain.has_failed() => format!("FAILED {}", chain.status),
        other => other.as_str().into(),
    }
}

fn created_at(release: &Release) -> Option<Timestamp> {
    release.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

/// Pods of an environment.
pub fn environment_pods<'a>(
    facts: &'a Facts,
    world: &'a World,
    app: &str,
    environment: &str,
) -> impl Iterator<Item = &'a Pod> {
    facts
        .pods_of(app, environment)
        .iter()
        .filter_map(|key| world.pods.get(key))
        .map(|pod| &**pod)
}

/// App and environment of a pod, if it has both.
fn place_of_pod(pod: Option<&Arc<Pod>>) -> Option<(&str, &str)> {
    let pod = pod?;
    Some((pod.app.as_deref()?, pod.environment.as_deref()?))
}

fn short_names(world: &World) -> HashMap<String, String> {
    let mut short = HashMap::new();
    for group in world.groups.values() {
        let apps: Vec<&str> = group.spec.apps.iter().map(|a| a.app.as_str()).collect();
        let Some(first) = apps.first() else { continue };
        let same = |n: usize| {
            apps.iter()
                .all(|a| a.is_char_boundary(n) && first.get(..n) == a.get(..n))
        };
        let cut = (1..=first.len()).filter(|n| first.is_char_boundary(*n) && same(*n));
        let cut = cut.filter(|n| {
            first
                .get(..*n)
                .is_some_and(|p| p.ends_with(['-', '_', '.']))
        });
        let cut = if apps.len() > 1 {
            cut.max().unwrap_or(0)
        } else {
            0
        };
        for app in apps {
            let rest = app.get(cut..).unwrap_or(app);
            let rest = if rest.chars().count() == 1 {
                rest.to_uppercase()
            } else {
                rest.to_owned()
            };
            short.insert(app.to_owned(), rest);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::world::pods_by_key;

    /// A world with these pods: for each its number, its App and its environment.
    fn world(pods: &BTreeMap<u8, (u8, u8)>) -> World {
        let pod = |(n, (app, environment)): (&u8, &(u8, u8))| Pod {
            key: ObjectKey::at_home("n", n.to_string()),
            // Some pods are of no App.
            app: (*app > 0).then(|| format!("a{app}")),
            environment: Some(format!("e{environment}")),
            ..Pod::default()
        };
        World {
            pods: Arc::new(pods_by_key(pods.iter().map(pod))),
            ..World::default()
        }
    }

    proptest! {
        #[test]
        fn the_index_of_pods_is_the_same_whatever_was_before(
            worlds in prop::collection::vec(prop::collection::btree_map(0u8..12, (0u8..3, 0u8..2), 0..12), 1..5),
        ) {
            let (mut facts, now) = (Facts::default(), Timestamp::UNIX_EPOCH);
            for pods in worlds {
                facts.refresh(&world(&pods), now);
                let mut fresh = Facts::default();
                fresh.refresh(&world(&pods), now);
                prop_assert_eq!(&facts.pods, &fresh.pods);
                let known: usize = fresh.pods.values().flat_map(|of| of.values()).map(Vec::len).sum();
                prop_assert_eq!(known, pods.values().filter(|(app, _)| *app > 0).count());
            }
        }
    }
}
