//! The lane data plane: routing at the entry and between services, draining, and hops.
//!
//! Rule: how a request is handled follows from one immutable `Table`, rebuilt from the cluster's
//! objects at each change. The data path takes no lock that another request holds while it waits,
//! and reports a hop for each request without waiting for the receiver.

mod backend_connection;
mod body;
mod compile;
mod controller;
mod deadline;
mod endpoint;
mod forward;
mod headers;
mod hop_record;
mod limits;
mod objects;
mod passthrough;
mod port_owner;
mod proxy;
mod refusal;
mod rule;
mod server;
mod status;
mod table;
mod trace_context;
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
pub use controller::{GatewayError, run_gateway};
pub use hop_record::HopSink;
pub use limits::Limits;
pub use objects::Objects;

use net::admission::Admission;

use self::{
    compile::compile_table, objects::KnownEndpoints, proxy::DataPlane, server::Listeners,
    table::RoutingTable,
};

/// A running data plane.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<DataPlane>,
    listeners: Listeners,
    known: KnownEndpoints,
    node: IpAddr,
}

/// The result of applying objects.
#[derive(Debug)]
pub struct Applied {
    /// Results for the statuses of the objects.
    pub verdicts: Verdicts,
    /// Addresses that could not be bound, and why.
    pub failed: HashMap<SocketAddr, String>,
}

impl Gateway {
    /// A gateway without routes. Gateways that name no address listen on `node`.
    pub fn new(node: IpAddr, limits: Limits, hops: HopSink) -> Self {
        let (table, switched) = (
            ArcSwap::from_pointee(RoutingTable::default()),
            TaskTracker::new(),
        );
        let tunnels = Admission::for_descriptor_share(limits.tunnels, 2);
        let shared = Arc::new(DataPlane {
            table,
            limits,
            hops,
            switched,
            tunnels,
        });
        Self {
            shared,
            listeners: Listeners::default(),
            known: KnownEndpoints::default(),
            node,
        }
    }

    /// Serves according to the objects from now on. Needs a tokio runtime.
    pub fn apply(&mut self, objects: &Objects) -> Applied {
        let (table, verdicts) = compile_table(objects, self.node, &mut self.known);
        let wanted: Vec<SocketAddr> = table.listeners.keys().copied().collect();
        self.shared.table.store(Arc::new(table));
        let failed = self.listeners.update_sockets(&self.shared, &wanted);
        Applied { verdicts, failed }
    }

    /// Serves one connection as if it had been accepted at an address of the gateway.
    pub fn serve<S>(&self, stream: S, at: SocketAddr) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        server::serve_connection(self.shared.clone(), stream, at)
    }

    /// Hops that were dropped because they arrived too fast.
    pub fn hops_dropped(&self) -> u64 {
        self.shared.hops.dropped()
    }

    /// Closes backend connections that were idle for too long.
    pub fn prune(&self) {
        self.known.prune(self.shared.limits.idle);
    }

    /// Stops accepting requests and waits for those in flight, up to the limit. Switched and
    /// passed-through connections do not end by themselves: they get one second.
    pub async fn drain(mut self) {
        self.listeners.drain(self.shared.limits.drain).await;
        self.shared.switched.close();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.shared.switched.wait()).await;
    }
}
