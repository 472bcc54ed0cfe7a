//! Watches the cluster and publishes it as snapshots of one `World`.
//!
//! Every object becomes a small row as it arrives; whole pods are never kept. The watched
//! namespaces follow the environments of the Apps. Changes are batched, so that at most about
//! twenty worlds a second are published. A broken watch makes the world stale, never empty. A watch
//! that is not permitted is reported by itself, and the others go on. Each cluster that
//! environments name is handled separately. All namespaces of a cluster can be watched at once: each
//! then has a world of its own, from watches that they share.

mod hub;
mod own_object;
mod row_object;
mod rows;
mod shared;
mod source;
mod table;

use std::collections::BTreeSet;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{clusters::Clusters, trace::SpanInlet};
use crate::domain::{
    hop_logs::{self, HopLog},
    world::{HopSourceSeen, World},
};
use shared::SharedWatches;
pub use shared::{AllWorlds, NamespaceFeed, spawn_all};

/// Of how many namespaces, where all are shown at once, hops are followed and rights asked about:
/// each costs a look-up of pods every ten seconds and a few requests a minute.
const MAX_FOLLOWED: usize = 32;

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
    let first = World {
        namespace: namespace.into(),
        ..World::default()
    };
    spawn_hub(clusters.into(), first, None, stop)
}

/// Watches one namespace, by watches of its own or by shared ones. A namespace that is not followed
/// has neither hops nor rights: those that are unknown count as granted, until the server refuses.
fn spawn_hub(
    clusters: Clusters,
    first: World,
    shared: Option<(SharedWatches, bool)>,
    stop: CancellationToken,
) -> (watch::Receiver<World>, SpanInlet) {
    let (out, worlds) = watch::channel(first);
    let (messages, inbox) = mpsc::channel(1024);
    let is_followed = shared.as_ref().is_none_or(|(_, followed)| *followed);
    let to = messages.clone();
    let health = move |health: &super::trace::HealthByLog| {
        let mut sources: Vec<HopSourceSeen> = health
            .iter()
            .map(|(log, health)| HopSourceSeen {
                name: log.display_name(),
                pods: health.pods,
                problem: health.problem.clone(),
            })
            .collect();
        if !is_followed {
            sources.push(HopSourceSeen::not_followed(MAX_FOLLOWED));
        }
        // A lost report does not matter: the next one follows within seconds.
        let _ = to.try_send(source::HubMessage::HopSources(sources));
    };
    let wanted = move |world: &World, silent: &BTreeSet<HopLog>| {
        if is_followed {
            hop_logs::logs_for_cockpit(world, silent)
        } else {
            BTreeSet::new()
        }
    };
    let (hops, inlet) =
        super::trace::spawn(&clusters, worlds.clone(), wanted, health, stop.clone());
    let (told, until) = (messages.clone(), stop.clone());
    let tell = move |rights| {
        let told = told.clone();
        async move { told.send(source::HubMessage::Rights(rights)).await.is_ok() }
    };
    let (rights_of, seen) = (clusters.clone(), worlds.clone());
    let keep = async move {
        if is_followed {
            super::rights::watch_rights(rights_of, seen, tell).await;
        } else {
            super::rights::tell_user(rights_of, tell).await;
        }
    };
    tokio::spawn(async move { until.run_until_cancelled(keep).await });
    let shared = shared.map(|(watches, _)| watches);
    tokio::spawn(hub::Hub::new(clusters, shared, messages, out, stop).run(inbox, hops));
    (worlds, inlet)
}
