//! The state of each cluster connection and each watch: live, stale (since when and why), or not
//! readable.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    super::source::{Kind, Lost},
    Hub,
};
use crate::domain::{
    text::Clean,
    world::{Gap, Link, Trouble},
};

#[derive(Default)]
pub(super) struct SourceState {
    pub(super) listed: bool,
    /// Whether rows of it are shown, from this watch or an earlier one.
    pub(super) shown: bool,
    pub(super) broken: Option<(Timestamp, Lost)>,
    /// Set when nothing can be read, although the server answers.
    pub(super) barred: Option<(Timestamp, Lost)>,
    pub(super) stop: CancellationToken,
}

/// A cluster, by its context; `None` is home.
#[derive(Default)]
pub(super) struct Server {
    pub(super) lost: Option<(Timestamp, Lost)>,
    /// Set when the server answers again: earlier rows are stale until everything is listed again.
    pub(super) anew: Option<(Timestamp, Lost)>,
    pub(super) was_live: bool,
    pub(super) stop: CancellationToken,
}

impl Hub {
    /// The state of a cluster connection.
    pub(super) fn link(&mut self, context: &Option<String>) -> Link {
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
        if let (Some(since), Some((_, lost))) =
            (since, broken.min_by_key(|(_, lost)| rank(lost.trouble)))
        {
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

    pub(super) fn gaps(&self) -> Arc<Vec<Gap>> {
        let told = self
            .sources
            .iter()
            .filter(|(id, _)| !(id.kind == Kind::Route || id.kind == Kind::Engine));
        let gaps: Vec<Gap> = told
            .filter_map(|(id, state)| {
                let (since, lost) = state.barred.as_ref()?;
                Some(Gap {
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
pub(super) fn is_news(place: &mut Option<(Timestamp, Lost)>, lost: Lost) -> bool {
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
const fn rank(trouble: Trouble) -> u8 {
    match trouble {
        Trouble::Unauthorized => 0,
        Trouble::Missing => 1,
        Trouble::Throttled => 2,
        Trouble::Failing => 3,
        Trouble::Slept => 4,
        Trouble::Offline => 5,
        Trouble::Expired | Trouble::Forbidden => 6,
    }
}
