//! Selects the finished Releases to delete: those that the App's history no longer keeps and
//! nothing else needs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::{
    App, InventoryItem, ObjectKey, ObjectRef, Release, ReleaseHistory, ReleasePhase, TaskKind,
    TaskPhase,
};

/// What must be known apart from the Releases.
pub struct Surroundings<'a> {
    /// Looks up an App by name.
    pub app_of: &'a dyn Fn(&str) -> Option<&'a App>,
    /// Whether the workload of a record (with its UID) still exists, as far as known.
    pub stands: &'a dyn Fn(&InventoryItem) -> bool,
    /// Current time, by the clock that also wrote the finish times.
    pub now: Timestamp,
}

/// Why a Release is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneReason {
    /// This many newer Releases of its stage are kept.
    Limit(u32),
    /// It finished more than this many seconds ago.
    Ttl(u32),
}

/// Explanation: `history.limit: the 20 newest of its stage are kept`.
impl std::fmt::Display for PruneReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit(limit) => {
                write!(f, "history.limit: the {limit} newest of its stage are kept")
            }
            Self::Ttl(seconds) => {
                write!(
                    f,
                    "history.ttlSecondsAfterFinished: it finished more than {seconds} s ago"
                )
            }
        }
    }
}

/// Describes what an App keeps: `20 of each stage, finished within 168h`.
pub fn describe_history(history: &ReleaseHistory) -> String {
    let within = history.ttl_seconds_after_finished.map(|seconds| {
        let time = jiff::SignedDuration::from_secs(i64::from(seconds));
        format!(", finished within {time:#}")
    });
    format!(
        "{} of each stage{}",
        history.limit,
        within.unwrap_or_default()
    )
}

/// Whether the history of a stage is full: when its next release ends, an older one is deleted
/// unless it is still needed.
pub fn is_full<'r>(
    all: impl IntoIterator<Item = &'r Release>,
    app: &str,
    stage: &str,
    history: &ReleaseHistory,
) -> bool {
    let of = all
        .into_iter()
        .filter(|r| r.spec.app == app && r.spec.stage == stage && is_final(r))
        .count();
    u32::try_from(of).unwrap_or(u32::MAX) >= history.limit
}

/// Number N of a release named `APP-N`.
pub fn release_number(app: &str, release: &str) -> Option<u64> {
    let digits = release.strip_prefix(app)?.strip_prefix('-')?;
    digits
        .parse()
        .ok()
        .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Releases to delete, oldest first. `all` are the Releases of one namespace; those being deleted
/// already are ignored.
pub fn releases_to_prune<'r>(
    all: &[&'r Release],
    around: &Surroundings,
) -> Vec<(&'r Release, PruneReason)> {
    let mut newest_first: Vec<&Release> = all
        .iter()
        .copied()
        .filter(|r| !is_being_deleted(r))
        .collect();
    newest_first.sort_by_cached_key(|r| std::cmp::Reverse(creation_order(r)));
    let needed = find_needed_releases(&newest_first, around);
    let mut kept: BTreeMap<HistoryKey, u32> = BTreeMap::new();
    let mut gone = vec![];
    for release in newest_first.into_iter().filter(|r| is_final(r)) {
        // Without the App its history settings are unknown, and it may be created again.
        let Some(app) = (around.app_of)(&release.spec.app) else {
            continue;
        };
        let kept = kept.entry(history_key(release, Some(app))).or_default();
        match prune_reason(release, &app.spec.history, *kept, around.now)
            .filter(|_| !needed.contains(&release_name(release)))
        {
            Some(why) => gone.push((release, why)),
            None => *kept += 1,
        }
    }
    gone.reverse();
    gone
}

fn prune_reason(
    release: &Release,
    history: &ReleaseHistory,
    kept: u32,
    now: Timestamp,
) -> Option<PruneReason> {
    let finished = release
        .status
        .as_ref()
        .and_then(|s| s.finished_at.as_ref()?.timestamp());
    let ttl = history.ttl_seconds_after_finished;
    let expired = ttl.filter(|ttl| {
        finished.is_some_and(|at| now.duration_since(at).as_secs() > i64::from(*ttl))
    });
    expired
        .map(PruneReason::Ttl)
        .or_else(|| (kept >= history.limit).then_some(PruneReason::Limit(history.limit)))
}

/// Releases that share one limit: a stage of an App, or the teardowns of one of its environments.
/// Everything that the App no longer has shares one key, so that changing stages does not
/// accumulate Releases.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct HistoryKey {
    app: String,
    stage: Option<String>,
    torn_down: Option<String>,
}

fn history_key(release: &Release, app: Option<&App>) -> HistoryKey {
    let spec = &release.spec;
    let has = |a: &App| match &spec.teardown {
        Some(teardown) => a.spec.environment(&teardown.environment).is_some(),
        None => a.spec.stage(&spec.stage).is_some(),
    };
    let known = app.is_some_and(has);
    HistoryKey {
        app: spec.app.clone(),
        stage: Some(spec.stage.clone()).filter(|_| known),
        torn_down: spec
            .teardown
            .as_ref()
            .map(|t| t.environment.clone())
            .filter(|_| known),
    }
}

/// Names of the finished Releases that are still needed, whatever the history limits.
fn find_needed_releases<'r>(
    newest_first: &[&'r Release],
    around: &Surroundings,
) -> BTreeSet<&'r str> {
    let mut needed = BTreeSet::new();
    let running = || newest_first.iter().filter(|r| !is_final(r));
    // Releases of a window are evaluated together.
    let windows: BTreeSet<&str> = running().filter_map(|r| r.spec.window.as_deref()).collect();
    let apps: BTreeSet<&str> = newest_first.iter().map(|r| r.spec.app.as_str()).collect();
    let told = releases_of_environments(&apps, around);
    let mut newest = NewestReleases::default();
    for release in newest_first {
        let (name, spec) = (release_name(release), &release.spec);
        newest.note_number(name, &apps, around);
        let is_told = told.contains(&(spec.app.as_str(), name.to_owned()));
        let in_window = spec.window.as_deref().is_some_and(|w| windows.contains(w));
        // Each of them notes the release, so all are asked.
        let has_succeeded = newest.note_success(release, around);
        let has_records = newest.note_records(release, around);
        if is_told || in_window || has_succeeded || has_records {
            needed.insert(name);
        }
    }
    needed.extend(newest.highest.into_values().map(|(_, name)| name));
    needed
}

/// Apps with the Releases that the status of one of their environments names.
fn releases_of_environments<'r>(
    apps: &BTreeSet<&'r str>,
    around: &Surroundings,
) -> BTreeSet<(&'r str, String)> {
    apps.iter()
        .filter_map(|name| Some((*name, (around.app_of)(name)?)))
        .flat_map(|(name, app)| {
            let all = app
                .status
                .iter()
                .flat_map(|s| s.environments.values())
                .filter_map(|e| e.release.clone());
            all.map(move |release| (name, release))
        })
        .collect()
}

/// What newer releases stand for; those that stand for something else are needed too.
#[derive(Default)]
struct NewestReleases<'r> {
    /// Highest number by App, and the Release that has it.
    highest: BTreeMap<&'r str, (u64, &'r str)>,
    succeeded: BTreeSet<HistoryKey>,
    /// Apps and the environments that were deployed to.
    deployed: BTreeSet<(&'r str, &'r str)>,
    /// Kind, namespace and name of workloads with a record.
    records: BTreeSet<(&'r str, &'r ObjectKey)>,
}

impl<'r> NewestReleases<'r> {
    /// New names continue from the highest number, whichever App the Release belongs to.
    fn note_number(&mut self, name: &'r str, apps: &BTreeSet<&str>, around: &Surroundings) {
        for own in
            owners_of_name(name).filter(|own| apps.contains(own) || (around.app_of)(own).is_some())
        {
            let number = release_number(own, name).unwrap_or_default();
            let seen = self.highest.entry(own).or_insert((number, name));
            *seen = (*seen).max((number, name));
        }
    }

    /// Whether it is the last successful Release of a stage or environment that the App still has.
    fn note_success(&mut self, release: &'r Release, around: &Surroundings) -> bool {
        let status = release.status.as_ref();
        if !status.is_some_and(|s| s.phase == ReleasePhase::Succeeded) {
            return false;
        }
        let spec = &release.spec;
        let app = (around.app_of)(&spec.app);
        let key = history_key(release, app);
        let is_known = key.stage.is_some() || key.torn_down.is_some();
        let mut is_last = is_known && self.succeeded.insert(key);
        let tasks = release.status.iter().flat_map(|s| &s.tasks);
        let to = tasks.filter(|t| t.kind == TaskKind::Deploy && t.phase == TaskPhase::Succeeded);
        let to = to.filter_map(|t| t.environment.as_deref());
        for environment in to.filter(|e| app.is_some_and(|a| a.spec.environment(e).is_some())) {
            is_last |= self.deployed.insert((spec.app.as_str(), environment));
        }
        is_last
    }

    /// Whether it has the newest record of an existing workload: the engine and `rescue` read it if
    /// the workload itself has no annotation.
    fn note_records(&mut self, release: &'r Release, around: &Surroundings) -> bool {
        let mut is_newest = false;
        for record in release
            .status
            .iter()
            .flat_map(|s| &s.tasks)
            .flat_map(|t| &t.rollouts)
        {
            let ObjectRef { kind, key, .. } = &record.workload.object;
            let key = (kind.as_str(), key);
            if !self.records.contains(&key) && (around.stands)(&record.workload) {
                is_newest |= self.records.insert(key);
            }
        }
        is_newest
    }
}

/// Apps whose releases may have this name.
fn owners_of_name(release: &str) -> impl Iterator<Item = &str> {
    release
        .rsplit_once('-')
        .filter(|(app, _)| release_number(app, release).is_some())
        .map(|(app, _)| app)
        .into_iter()
}

fn is_being_deleted(release: &Release) -> bool {
    release.metadata.deletion_timestamp.is_some()
}

fn is_final(release: &Release) -> bool {
    release.status.as_ref().is_some_and(|s| s.phase.is_final())
}

fn release_name(release: &Release) -> &str {
    release.metadata.name.as_deref().unwrap_or_default()
}

/// Order of creation; within one second by number.
fn creation_order(release: &Release) -> (Option<Timestamp>, Option<u64>, String) {
    let made = release.metadata.creation_timestamp.as_ref().map(|t| t.0);
    (
        made,
        release_number(&release.spec.app, release_name(release)),
        release_name(release).to_owned(),
    )
}

#[cfg(test)]
mod tests;
