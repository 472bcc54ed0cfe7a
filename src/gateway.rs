//! The lane data plane: entry and service-to-service routing, drain, hops.
//!
//! Rule: what a request meets follows from one immutable `Table`, made anew from the cluster's objects at
//! each change; the data path takes no lock that another request holds while it waits, and tells a hop for
//! each request without ever waiting for who listens.

mod body;
mod compile;
mod controller;
mod endpoint;
mod forward;
mod headers;
mod holder;
mod limits;
mod objects;
mod proxy;
mod raw;
mod record;
mod refusal;
mod rule;
mod server;
mod status;
mod table;
mod trace;
mod tunnel;
mod version;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

pub use compile::Verdicts;
pub use controller::{GatewayError, run};
pub use limits::Limits;
pub use objects::Objects;
pub use record::HopSink;

use crate::net::admission::Admission;

use self::{compile::compile, objects::Known, proxy::Shared, server::Listeners, table::Table};

/// A running data plane.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    listeners: Listeners,
    known: Known,
    node: IpAddr,
}

/// What came of a change.
#[derive(Debug)]
pub struct Applied {
    /// What is to be said in statuses.
    pub verdicts: Verdicts,
    /// Addresses that could not be listened on, and why.
    pub failed: HashMap<SocketAddr, String>,
}

impl Gateway {
    /// One that serves nothing yet. `node` is where Gateways listen that name no address.
    pub fn new(node: IpAddr, limits: Limits, hops: HopSink) -> Self {
        let (table, switched) = (ArcSwap::from_pointee(Table::default()), TaskTracker::new());
        let tunnels = Admission::share(limits.tunnels, 2);
        let shared = Arc::new(Shared {
            table,
            limits,
            hops,
            switched,
            tunnels,
        });
        Self {
            shared,
            listeners: Listeners::default(),
            known: Known::default(),
            node,
        }
    }

    /// Serves what the objects say from now on. Needs a tokio runtime.
    pub fn apply(&mut self, objects: &Objects) -> Applied {
        let (table, verdicts) = compile(objects, self.node, &mut self.known);
        let wanted: Vec<SocketAddr> = table.listeners.keys().copied().collect();
        self.shared.table.store(Arc::new(table));
        let failed = self.listeners.follow(&self.shared, &wanted);
        Applied { verdicts, failed }
    }

    /// Serves one connection as if it had come in at an address where the gateway listens.
    pub fn serve<S>(&self, stream: S, at: SocketAddr) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        server::serve(self.shared.clone(), stream, at)
    }

    /// Hops that were dropped because they came too fast.
    pub fn hops_dropped(&self) -> u64 {
        self.shared.hops.dropped()
    }

    /// Closes connections to backends that were not used for long.
    pub fn prune(&self) {
        self.known.prune(self.shared.limits.idle);
    }

    /// Takes no more requests, and waits for those in flight up to the limit. Switched and passed-through
    /// connections have no end of their own: they get a moment.
    pub async fn drain(mut self) {
        self.listeners.drain(self.shared.limits.drain).await;
        self.shared.switched.close();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.shared.switched.wait()).await;
    }
}
