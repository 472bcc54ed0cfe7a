//! Where the probes of workflows look for their hops. Most engines send probes seldom or never, and
//! a world holds every pod of every App: unless something else needs one anyway, it is watched from
//! the first probe on, and no longer a while after the last one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    cluster::{
        self,
        clusters::Clusters,
        trace::{SpanInlet, TraceFetcher},
    },
    domain::world::{Link, World},
    probe::HopFeed,
};

/// How long a world is watched after it was last needed: longer than any probe waits for hops.
const IDLE_TIME: Duration = Duration::from_mins(5);
/// How long a probe waits for a complete world. After that it is sent all the same, and its result
/// says what is not known.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// The hops that probes look for.
#[derive(Clone)]
pub(super) enum ProbeFeed {
    /// In worlds that are watched all the time.
    Watched(HopFeed),
    /// In worlds that are watched when a probe needs them.
    OnDemand(Arc<DemandedWorlds>),
}

impl ProbeFeed {
    pub(super) fn in_worlds(
        clusters: &Clusters,
        worlds: watch::Receiver<World>,
        inlet: SpanInlet,
    ) -> Self {
        Self::Watched(feed_in_worlds(clusters, worlds, inlet))
    }

    pub(super) fn on_demand(
        clusters: Clusters,
        namespace: String,
        stop: CancellationToken,
    ) -> Self {
        Self::OnDemand(Arc::new(DemandedWorlds {
            clusters,
            namespace,
            stop,
            watched: Mutex::default(),
        }))
    }

    /// The feed for one probe, with a complete world if the cluster shows it in time.
    pub(super) async fn open(&self) -> HopFeed {
        match self {
            Self::Watched(feed) => feed.clone(),
            Self::OnDemand(worlds) => {
                let (feed, mut worlds) = worlds.watch();
                let listed = worlds.wait_for(|world| world.link == Link::Live);
                let _ = tokio::time::timeout(LIST_TIMEOUT, listed).await;
                feed
            }
        }
    }
}

fn feed_in_worlds(
    clusters: &Clusters,
    worlds: watch::Receiver<World>,
    inlet: SpanInlet,
) -> HopFeed {
    HopFeed::new(
        worlds,
        TraceFetcher::new(clusters.home_client().clone(), inlet),
    )
}

pub(super) struct DemandedWorlds {
    clusters: Clusters,
    namespace: String,
    stop: CancellationToken,
    watched: Mutex<Option<WatchedWorlds>>,
}

struct WatchedWorlds {
    feed: HopFeed,
    worlds: watch::Receiver<World>,
    last_use: Instant,
    /// Dropping it ends the watches.
    _ends: DropGuard,
}

impl DemandedWorlds {
    fn lock(&self) -> MutexGuard<'_, Option<WatchedWorlds>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the watches, unless they run.
    fn watch(self: &Arc<Self>) -> (HopFeed, watch::Receiver<World>) {
        let mut watched = self.lock();
        let all = watched.get_or_insert_with(|| {
            let stop = self.stop.child_token();
            let (worlds, inlet) = cluster::watch::spawn_with_inlet(
                self.clusters.clone(),
                self.namespace.clone(),
                stop.clone(),
            );
            tokio::spawn(Arc::clone(self).end_when_idle());
            WatchedWorlds {
                feed: feed_in_worlds(&self.clusters, worlds.clone(), inlet),
                worlds,
                last_use: Instant::now(),
                _ends: stop.drop_guard(),
            }
        });
        all.last_use = Instant::now();
        (all.feed.clone(), all.worlds.clone())
    }

    async fn end_when_idle(self: Arc<Self>) {
        let until = self.stop.clone();
        let wait = async {
            loop {
                let idle = self.lock().as_ref().map(|all| all.last_use.elapsed());
                match idle.map(|idle| IDLE_TIME.saturating_sub(idle)) {
                    Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                    _ => break,
                }
            }
        };
        until.run_until_cancelled(wait).await;
        self.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use kube::Client;

    use super::*;
    use crate::cluster::agent::Agent;

    #[tokio::test(start_paused = true)]
    async fn a_world_is_watched_from_the_first_probe_until_long_after_the_last() {
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, tower::BoxError>>()
        });
        let clusters = Clusters::from_client(Client::new(silent, "default"), Agent::Engine);
        let feed = ProbeFeed::on_demand(clusters, "demo".into(), CancellationToken::new());
        let ProbeFeed::OnDemand(worlds) = &feed else {
            unreachable!("it was made so")
        };
        assert!(worlds.lock().is_none(), "nobody has asked yet");
        let asked = Instant::now();
        let _ = feed.open().await;
        assert!(
            asked.elapsed() >= LIST_TIMEOUT,
            "a probe waits for the world"
        );
        let running = worlds.watch().1;
        tokio::time::sleep(IDLE_TIME / 2).await;
        assert!(
            worlds.watch().1.same_channel(&running),
            "the next probe uses it too"
        );
        tokio::time::sleep(IDLE_TIME * 3 / 4).await;
        assert!(worlds.lock().is_some(), "it was used meanwhile");
        tokio::time::sleep(IDLE_TIME / 2).await;
        assert!(worlds.lock().is_none(), "nobody needs it any more");
    }
}
