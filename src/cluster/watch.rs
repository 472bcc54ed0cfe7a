//! Watches the cluster and publishes it as snapshots of one `World`.
//!
//! Every object becomes a small row as it arrives; whole pods are never kept. The watched
//! namespaces follow the environments of the Apps. Changes are batched, so that at most about
//! twenty worlds a second are published. A broken watch makes the world stale, never empty. A watch
//! that is not permitted is reported by itself, and the others go on. Each cluster that
//! environments name is handled separately.

mod hub;
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

/// As `spawn`, and returns an inlet for spans from other sources.
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
    let health = move |health: &super::trace::HealthByLog| {
        let sources = health.iter().map(|(log, health)| HopSourceSeen {
            name: log.display_name(),
            pods: health.pods,
            problem: health.problem.clone(),
        });
        // A lost report does not matter: the next one follows within seconds.
        let _ = to.try_send(source::HubMessage::HopSources(sources.collect()));
    };
    let (hops, inlet) = super::trace::spawn(
        &clusters,
        worlds.clone(),
        hop_logs::logs_for_cockpit,
        health,
        stop.clone(),
    );
    let (told, until) = (messages.clone(), stop.clone());
    let keep = super::rights::watch_rights(clusters.clone(), worlds.clone(), move |rights| {
        let told = told.clone();
        async move { told.send(source::HubMessage::Rights(rights)).await.is_ok() }
    });
    tokio::spawn(async move { until.run_until_cancelled(keep).await });
    tokio::spawn(hub::Hub::new(clusters, messages, out, stop).run(inbox, hops));
    (worlds, inlet)
}
