//! The cluster as one `World`: watches in, snapshots out.
//!
//! Every object becomes a small row as it comes in; whole pods are never kept. Which namespaces are watched
//! follows the Apps' environments. Changes are gathered, so that no more than some twenty worlds a second
//! go out however much happens. A broken watch makes the world stale, never empty.

mod hub;
mod rows;
mod source;
mod table;

pub use source::ENGINE_LEASE;

use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::world::World;

/// Watches until `stop`; the receiver always holds the newest world.
pub fn spawn(client: Client, namespace: impl Into<String>, stop: CancellationToken) -> watch::Receiver<World> {
    let namespace = namespace.into();
    let first = World { namespace: namespace.clone(), ..World::default() };
    let (out, worlds) = watch::channel(first);
    let (messages, inbox) = mpsc::channel(1024);
    let hops = super::trace::spawn(client.clone(), stop.clone());
    tokio::spawn(source::probe(client.clone(), messages.clone(), stop.clone()));
    let (rights, told, until) = (super::rights::keep, messages.clone(), stop.clone());
    let keep = rights(client.clone(), worlds.clone(), move |rights| {
        let told = told.clone();
        async move { told.send(source::Message::Rights(rights)).await.is_ok() }
    });
    tokio::spawn(async move { until.run_until_cancelled(keep).await });
    tokio::spawn(hub::Hub::new(client, namespace, messages, out, stop).run(inbox, hops));
    worlds
}
