//! The state of each cluster connection and each watch: live, stale (since when and why), or not
//! readable.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    super::source::{SourceFailure, SourceKind},
    Hub,
};
use crate::domain::{
    text::Clean,
    world::{Link, LinkTrouble, WatchGap},
};

#[derive(Default)]
pub(super) struct SourceState {
    pub(super) listed: bool,
    /// Whether rows of it are shown, from this watch or an earlier one.
    pub(super) shown: bool,
    pub(super) broken: Option<(Timestamp, SourceFailure)>,
    /// Set when nothing can be read, although the server answers.
    pub(super) barred: Option<(Timestamp, SourceFailure)>,
    pub(super) stop: CancellationToken,
}

/// A cluster, by its context; `None` is home.
#[derive(Default)]
pub(super) struct ServerState {
    pub(super) lost: Option<(Timestamp, SourceFailure)>,
    /// Set when the server answers again: earlier rows are stale until everything is listed again.
    pub(super) anew: Option<(Timestamp, SourceFailure)>,
    pub(super) was_live: bool,
    pub(super) stop: CancellationToken,
}

impl Hub {
    /// The state of a cluster connection.
    pub(super) fn cluster_link(&mut self, context: &Option<String>) -> Link {
        let Some(server) = self.servers.get_mut(context) else {
            return Link::Connecting;
        };
        let own = || {
            self.sources
                .iter()
                .filter(|(id, _)| id.context == *context)
                .map(|(_, state)| state)
        };
        let all_listed = own().all(|s| s.listed);
        if all_listed {
            server.anew = None;
        }
        let broken = own()
            .filter_map(|s| s.broken.as_ref())
            .chain(&server.lost)
            .chain(&server.anew);
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
        server.was_live |= all_listed;
        if server.was_live {
            Link::Live
        } else {
            Link::Connecting
        }
    }

    pub(super) fn collect_gaps(&self) -> Arc<Vec<WatchGap>> {
        let told = self
            .sources
            .iter()
            .filter(|(id, _)| !(id.kind == SourceKind::Route || id.kind == SourceKind::Engine));
        let gaps: Vec<WatchGap> = told
            .filter_map(|(id, state)| {
                let (since, lost) = state.barred.as_ref()?;
                Some(WatchGap {
                    context: id.context.clone(),
                    resource: id.kind.resource(),
                    namespace: id.namespace.clone(),
                    trouble: lost.trouble,
                    since: *since,
                    why: Clean::from_untrusted(&lost.why),
                })
            })
            .collect();
        let old = &self.out.borrow().gaps;
        if **old == gaps {
            Arc::clone(old)
        } else {
            Arc::new(gaps)
        }
    }
}

/// Records a failure and returns whether it is new. The start time of an earlier failure stays.
pub(super) fn record_failure(
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
