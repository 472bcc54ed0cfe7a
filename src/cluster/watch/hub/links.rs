//! The state of each cluster connection and each watch: live, stale (since when and why), or not
//! readable.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    super::source::{SourceFailure, SourceId, SourceKind},
    Hub,
};
use crate::{
    api::ClusterName,
    domain::{
        text::Clean,
        world::{Link, LinkTrouble, WatchGap},
    },
};

#[derive(Default)]
pub(in super::super) struct SourceState {
    pub(in super::super) listed: bool,
    /// Whether rows of it are shown, from this watch or an earlier one.
    pub(in super::super) shown: bool,
    pub(in super::super) broken: Option<(Timestamp, SourceFailure)>,
    /// Set when nothing can be read, although the server answers.
    pub(in super::super) barred: Option<(Timestamp, SourceFailure)>,
    pub(in super::super) stop: CancellationToken,
}

/// A cluster.
#[derive(Default)]
pub(in super::super) struct ServerState {
    pub(in super::super) lost: Option<(Timestamp, SourceFailure)>,
    /// Set when the server answers again: earlier rows are stale until everything is listed again.
    pub(in super::super) anew: Option<(Timestamp, SourceFailure)>,
    pub(super) was_live: bool,
    pub(super) stop: CancellationToken,
}

impl Hub {
    /// The state of a cluster connection.
    pub(super) fn cluster_link(&mut self, cluster: &ClusterName) -> Link {
        let Some(server) = self.servers.get_mut(cluster) else {
            return Link::Connecting;
        };
        let own = self.sources.iter();
        let own = own.filter(|(id, _)| id.cluster == *cluster);
        server.judge_link(own.map(|(_, state)| state))
    }

    pub(super) fn collect_gaps(&self) -> Arc<Vec<WatchGap>> {
        let shared = self.shared.is_some();
        let mut gaps: Vec<WatchGap> = self
            .sources
            .iter()
            .filter_map(|(id, state)| {
                let mut gap = describe_gap(id, state)?;
                gap.namespace = gap.namespace.filter(|_| !(shared && id.cluster.is_home()));
                Some(gap)
            })
            .collect();
        // One watch of all namespaces may stand for several of ours.
        gaps.dedup_by(|a, b| {
            (&a.cluster, a.resource, &a.namespace) == (&b.cluster, b.resource, &b.namespace)
        });
        let old = &self.out.borrow().gaps;
        if **old == gaps {
            Arc::clone(old)
        } else {
            Arc::new(gaps)
        }
    }
}

impl ServerState {
    /// The state of the connection, from the watches of this cluster.
    pub(in super::super) fn judge_link<'a>(
        &'a mut self,
        own: impl Iterator<Item = &'a SourceState> + Clone,
    ) -> Link {
        let all_listed = own.clone().all(|s| s.listed);
        if all_listed {
            self.anew = None;
        }
        let broken = own
            .filter_map(|s| s.broken.as_ref())
            .chain(&self.lost)
            .chain(&self.anew);
        let since = broken.clone().map(|(since, _)| *since).min();
        // Show the most informative one: refused credentials also break watches and connections.
        if let (Some(since), Some((_, lost))) = (
            since,
            broken.min_by_key(|(_, lost)| trouble_rank(lost.trouble)),
        ) {
            return Link::Stale {
                since,
                trouble: lost.trouble,
                why: Clean::from_untrusted(&lost.why),
            };
        }
        self.was_live |= all_listed;
        if self.was_live {
            Link::Live
        } else {
            Link::Connecting
        }
    }
}

/// What a watch cannot read, where that is worth telling.
pub(in super::super) fn describe_gap(id: &SourceId, state: &SourceState) -> Option<WatchGap> {
    let (since, lost) = state.barred.as_ref()?;
    let told = !matches!(id.kind, SourceKind::Route | SourceKind::Engine);
    told.then(|| WatchGap {
        cluster: id.cluster.clone(),
        resource: id.kind.resource(),
        namespace: Some(id.namespace.to_string()).filter(|name| !name.is_empty()),
        trouble: lost.trouble,
        since: *since,
        why: Clean::from_untrusted(&lost.why),
    })
}

/// Records a failure and returns whether it is new. The start time of an earlier failure stays.
pub(in super::super) fn record_failure(
    place: &mut Option<(Timestamp, SourceFailure)>,
    lost: SourceFailure,
) -> bool {
    match place {
        Some((_, old)) if *old == lost => false,
        Some((_, old)) => {
            *old = lost;
            true
        }
        None => {
            *place = Some((Timestamp::now(), lost));
            true
        }
    }
}

/// The lower the rank, the better it explains the others.
const fn trouble_rank(trouble: LinkTrouble) -> u8 {
    match trouble {
        LinkTrouble::Unauthorized => 0,
        LinkTrouble::Missing => 1,
        LinkTrouble::Throttled => 2,
        LinkTrouble::Failing => 3,
        LinkTrouble::Slept => 4,
        LinkTrouble::Offline => 5,
        LinkTrouble::Expired | LinkTrouble::Forbidden => 6,
    }
}
