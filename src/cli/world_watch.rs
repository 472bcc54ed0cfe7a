//! A continuously updated view of the cluster, for commands that watch.

use std::time::Duration;

use color_eyre::eyre::{Result, bail};
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::session::Session;
use crate::{
    cluster::{
        self,
        trace::{SpanInlet, TraceFetcher},
    },
    domain::world::{Link, World},
    probe::HopFeed,
};

/// Time limit for the first complete world.
const FIRST_WORLD_TIMEOUT: Duration = Duration::from_secs(15);

/// Worlds, received until this is dropped.
pub(super) struct WorldWatch {
    pub(super) worlds: watch::Receiver<World>,
    /// Adds spans from other sources to the worlds.
    pub(super) inlet: SpanInlet,
    pub(super) stop: CancellationToken,
    client: Client,
    _stop: DropGuard,
}

impl WorldWatch {
    /// Where the hops of probes are looked for.
    pub(super) fn hop_feed(&self) -> HopFeed {
        HopFeed::new(self.worlds.clone(), self.trace_fetcher())
    }

    /// Asks the trace stores of lane groups; what they return appears in the worlds.
    pub(super) fn trace_fetcher(&self) -> TraceFetcher {
        TraceFetcher::new(self.client.clone(), self.inlet.clone())
    }
}

/// Starts a watch and waits for the first complete world that `is_ready` accepts. `lacks` is the
/// error text for one that is never accepted.
pub(super) async fn watch_world(
    session: &Session,
    lacks: &str,
    is_ready: impl Fn(&World) -> bool,
) -> Result<WorldWatch> {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let (mut worlds, inlet) = cluster::watch::spawn_with_inlet(
        session.clusters.clone(),
        session.namespace.clone(),
        stop.clone(),
    );
    let live = worlds.wait_for(|w| w.link == Link::Live && is_ready(w));
    if !matches!(
        tokio::time::timeout(FIRST_WORLD_TIMEOUT, live).await,
        Ok(Ok(_))
    ) {
        let link = worlds.borrow().link.clone();
        let why = match &link {
            Link::Stale { why, .. } => why.as_str(),
            Link::Connecting => "some kinds have not been listed yet",
            Link::Live => lacks,
        };
        bail!(
            "the cluster could not be read within {} s: {why}",
            FIRST_WORLD_TIMEOUT.as_secs()
        );
    }
    Ok(WorldWatch {
        worlds,
        inlet,
        stop,
        client: session.client.clone(),
        _stop: guard,
    })
}
