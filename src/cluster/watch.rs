//! The cluster as one `World`: watches in, snapshots out.
//!
//! Every object becomes a small row as it comes in; whole pods are never kept. Which namespaces are watched
//! follows the Apps' environments. Changes are gathered, so that no more than some twenty worlds a second
//! go out however much happens. A broken watch makes the world stale, never empty; one that is not permitted is told by
//! itself, and the others live. Each cluster that environments name is looked after by itself.

mod hub;
pub mod pauses;
mod rows;
mod source;
mod table;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{clusters::Clusters, trace::SpanInlet};
use crate::domain::{
    hop_logs,
    world::{HopSourceSeen, World},
};

/// Watches until `stop`; the receiver always holds the newest world.
pub fn spawn(
    clusters: impl Into<Clusters>,
    namespace: impl Into<String>,
    stop: CancellationToken,
) -> watch::Receiver<World> {
    spawn_with_inlet(clusters, namespace, stop).0
}

/// The same, with a way in for spans that somebody else reads.
pub fn spawn_with_inlet(
    clusters: impl Into<Clusters>,
    namespace: impl Into<String>,
    stop: CancellationToken,
) -> (watch::Receiver<World>, SpanInlet) {
    let (out, worlds) = watch::channel(World {
        namespace: namespace.into(),
        ..World::default()
    });
    let clusters = clusters.into();
    let (messages, inbox) = mpsc::channel(1024);
    let to = messages.clone();
    let health = move |health: &super::trace::Health| {
        let sources = health.iter().map(|(log, health)| HopSourceSeen {
            name: log.word(),
            pods: health.pods,
            problem: health.problem.clone(),
        });
        // It comes again in some seconds.
        let _ = to.try_send(source::Message::HopSources(sources.collect()));
    };
    let (hops, inlet) = super::trace::spawn(
        &clusters,
        worlds.clone(),
        hop_logs::for_cockpit,
        health,
        stop.clone(),
    );
    let (told, until) = (messages.clone(), stop.clone());
    let keep = super::rights::keep(clusters.clone(), worlds.clone(), move |rights| {
        let told = told.clone();
        async move { told.send(source::Message::Rights(rights)).await.is_ok() }
    });
    tokio::spawn(async move { until.run_until_cancelled(keep).await });
    tokio::spawn(hub::Hub::new(clusters, messages, out, stop).run(inbox, hops));
    (worlds, inlet)
}
