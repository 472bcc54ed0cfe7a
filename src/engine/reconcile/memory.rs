//! What the engine knows from earlier passes and nobody else needs: it is lost when the engine ends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    api::{NamespaceRef, Uid},
    domain::{
        workflow::{ProposalCache, StepFailure, Timers},
        world::ObjectKey,
    },
};

pub(super) struct Memory {
    /// Start of the engine's monotonic clock, and time of the last pass.
    pub(super) began: Instant,
    pub(super) last: Instant,
    releases: HashMap<Uid, ReleaseMemory>,
}

/// What is known of a release that is not over.
#[derive(Default)]
pub(super) struct ReleaseMemory {
    /// When it is due although nothing has changed; `None` before its first pass.
    pub(super) due: Option<Instant>,
    /// Failure of the last try of its steps.
    pub(super) backoff: Option<StepBackoff>,
    /// What has started when, on the engine's clock.
    pub(super) timers: Timers,
    /// Rendered objects that its approval lets through.
    pub(super) rendered: Arc<ProposalCache>,
    /// How often in a row it could not be observed.
    pub(super) unobserved: u32,
    /// Namespaces of remote clusters that it uses.
    pub(super) remote_namespaces: BTreeSet<NamespaceRef>,
    /// Workloads that it rolls out.
    pub(super) rolled: HashSet<ObjectKey>,
}

/// Failure of the last try of a release's steps.
#[derive(Clone)]
pub(super) struct StepBackoff {
    pub(super) trouble: StepFailure,
    /// When to try again, and how long that is after the failed try.
    pub(super) at: Instant,
    pub(super) pause: Duration,
    /// Requested retries at the time of the failure: a person's retry request ends the back-off.
    pub(super) retries: BTreeMap<String, u32>,
}

impl Memory {
    /// Memory of an engine whose clock starts `now`.
    pub(super) fn starting_at(now: Instant) -> Self {
        Self {
            began: now,
            last: now,
            releases: HashMap::new(),
        }
    }

    /// What is known of a release.
    pub(super) fn release(&mut self, uid: &Uid) -> &mut ReleaseMemory {
        self.releases.entry(uid.clone()).or_default()
    }

    /// Notes a pass. After a suspension of this process, times of releases do not count it.
    pub(super) fn note_pass(&mut self, now: Instant, suspended_after: Duration) {
        if now.duration_since(self.last) > suspended_after {
            let clock = now.duration_since(self.began);
            for release in self.releases.values_mut() {
                release.timers.skip_gap(clock);
            }
        }
        self.last = now;
    }

    /// When a release is due although nothing has changed; `None` before its first pass.
    pub(super) fn due_at(&self, uid: &Uid) -> Option<Instant> {
        self.releases.get(uid)?.due
    }

    /// When the first release is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.releases.values().filter_map(|r| r.due).min()
    }

    /// UIDs of the releases that roll out a workload.
    pub(super) fn find_rollouts<'a>(
        &'a self,
        workload: &'a ObjectKey,
    ) -> impl Iterator<Item = &'a Uid> {
        self.releases
            .iter()
            .filter(move |(_, release)| release.rolled.contains(workload))
            .map(|(uid, _)| uid)
    }

    /// Workloads that releases roll out.
    pub(super) fn rolled_workloads(&self) -> impl Iterator<Item = &ObjectKey> {
        self.releases.values().flat_map(|release| &release.rolled)
    }

    /// Whether a release uses a namespace of a remote cluster.
    pub(super) fn uses_remote_namespace(&self, name: &NamespaceRef) -> bool {
        self.releases
            .values()
            .any(|r| r.remote_namespaces.contains(name))
    }

    /// Forgets releases that are over. Returns whether there were any.
    pub(super) fn forget_finished(&mut self, active: &HashSet<Uid>) -> bool {
        let before = self.releases.len();
        self.releases.retain(|uid, _| active.contains(uid));
        self.releases.len() < before
    }
}
