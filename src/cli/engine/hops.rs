//! What an engine receives over OTLP: whether it acts or stands by, for a Service brings a sender to any of them.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};

use color_eyre::eyre::{Result, WrapErr};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::world::World,
    otlp::{
        decode::TagKeys,
        filter::Limits,
        metrics::Metrics,
        receiver::{self, Door, Intake, Known},
        sink::Sink,
    },
};

/// Worlds come in bursts; pods are indexed anew this often at the most.
const SETTLED: Duration = Duration::from_millis(500);

/// Where it listens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doors {
    pub(super) grpc: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
}

/// A receiver at work.
pub(super) struct Hops {
    known: Arc<Known>,
    metrics: Metrics,
}

impl Hops {
    /// Opens the doors, and prints what comes in; nothing where there is no door.
    pub(super) async fn receive(doors: Doors, stop: &CancellationToken) -> Result<Option<Self>> {
        let doors = [("--otlp-grpc", Door::Grpc, doors.grpc), ("--otlp-http", Door::Http, doors.http)];
        if doors.iter().all(|(_, _, address)| address.is_none()) {
            return Ok(None);
        }
        let (known, metrics) = (Arc::<Known>::default(), Metrics::default());
        let sink = Sink::new(io::stdout(), metrics.clone()).wrap_err("a thread for hops")?;
        // Lines of access logs are not read yet: they are counted as such.
        let intake = Intake::new(known.clone(), Limits::default(), sink, Box::new(|_| None), metrics.clone());
        let intake = Arc::new(intake);
        for (flag, door, address) in doors {
            let Some(address) = address else { continue };
            let serving = receiver::serve(door, address, intake.clone(), stop.clone()).await;
            let (address, serving) = serving.wrap_err_with(|| format!("{flag} {address}"))?;
            tracing::info!("{address} takes {}", door.words());
            tokio::spawn(serving);
        }
        Ok(Some(Self { known, metrics }))
    }

    /// Shows its numbers.
    pub(super) fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Keeps what the receiver knows as the cluster has it, until `stop`.
    pub(super) async fn follow(self, mut worlds: watch::Receiver<World>, stop: CancellationToken) {
        let follow = async {
            let mut seen: Option<World> = None;
            loop {
                let world = worlds.borrow_and_update().clone();
                self.take(&world, seen.as_ref());
                seen = Some(world);
                if worlds.changed().await.is_err() {
                    return;
                }
                tokio::time::sleep(SETTLED).await;
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    fn take(&self, world: &World, seen: Option<&World>) {
        let same = |of: fn(&World) -> *const ()| seen.is_some_and(|seen| of(seen) == of(world));
        if !(same(|w| Arc::as_ptr(&w.groups).cast()) && same(|w| Arc::as_ptr(&w.lanes).cast())) {
            let (groups, lanes) = (world.groups.values().map(|g| &**g), world.lanes.values().map(|l| &**l));
            self.known.keys.store(Arc::new(TagKeys::of(groups, lanes)));
        }
        if !same(|w| Arc::as_ptr(&w.pods).cast()) {
            let mut pods = self.known.pods.write().unwrap_or_else(PoisonError::into_inner);
            pods.follow(&world.pods, Timestamp::now());
        }
    }
}
