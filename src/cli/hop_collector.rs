//! The hops that an engine collects for others: what it receives over OTLP, also as a standby
//! because the Service may send to any engine; and, while it is the leader, the gateways' access
//! logs. All of it goes to stdout.

use std::{
    collections::BTreeSet,
    io::Write,
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use color_eyre::eyre::{Result, WrapErr};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{AccessLog, LogFormat},
    cluster::{
        clusters::Clusters,
        trace::{self, HopUpdate},
    },
    domain::{
        access_log::AccessLogReader,
        hop_logs::{self, HopLog},
        span::{Emitter, TagKeys},
        world::World,
    },
    engine::HopReport,
    otlp::{
        decode::AttributeKeys,
        filter::{Filter, Limits},
        metrics::Metrics,
        receiver::{self, ClusterView, Intake, Protocol},
        sink::Sink,
    },
};

/// Worlds arrive in bursts; pods are indexed again at most once in this time.
const REINDEX_INTERVAL: Duration = Duration::from_millis(500);

/// Addresses of the OTLP receivers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OtlpAddresses {
    pub(super) grpc: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
}

impl OtlpAddresses {
    pub(super) const fn is_any(&self) -> bool {
        self.grpc.is_some() || self.http.is_some()
    }
}

/// Lines per second from access logs. Rates are exact while ordinary baseline requests stay below
/// `rest`.
const ACCESS_LOG_LIMITS: Limits = Limits {
    lines: 2000,
    rest: 1000,
};

/// A running hop collector.
pub(super) struct HopCollector {
    known: Arc<ClusterView>,
    readers: Arc<ArcSwap<Vec<AccessLogReader>>>,
    sink: Sink,
    metrics: Metrics,
}

impl HopCollector {
    /// Starts the receivers and writes what arrives as lines. `None` if there is no address and
    /// nothing else to write.
    pub(super) async fn start_receivers(
        out: impl Write + Send + 'static,
        addresses: OtlpAddresses,
        writes: bool,
        stop: &CancellationToken,
    ) -> Result<Option<Self>> {
        if !addresses.is_any() && !writes {
            return Ok(None);
        }
        let addresses = [
            ("--otlp-grpc", Protocol::Grpc, addresses.grpc),
            ("--otlp-http", Protocol::Http, addresses.http),
        ];
        let (known, metrics) = (Arc::<ClusterView>::default(), Metrics::default());
        let sink = Sink::new(out, metrics.clone()).wrap_err("a thread for hops")?;
        let readers = Arc::<ArcSwap<Vec<AccessLogReader>>>::default();
        let line = {
            let readers = readers.clone();
            move |line: &str| {
                readers
                    .load()
                    .iter()
                    .find_map(|reader| reader.parse_line(line))
            }
        };
        let intake = Intake::new(
            known.clone(),
            Limits::default(),
            sink.clone(),
            Box::new(line),
            metrics.clone(),
        );
        let intake = Arc::new(intake);
        for (flag, protocol, address) in addresses {
            let Some(address) = address else { continue };
            let serving =
                receiver::bind_and_serve(protocol, address, intake.clone(), stop.clone()).await;
            let (address, serving) = serving.wrap_err_with(|| format!("{flag} {address}"))?;
            tracing::info!("{address} takes {}", protocol.display_name());
            tokio::spawn(serving);
        }
        Ok(Some(Self {
            known,
            readers,
            sink,
            metrics,
        }))
    }

    /// Registers its metrics.
    pub(super) fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Follows the gateways' access logs while this engine is the leader, until `stop`.
    pub(super) fn relay_access_logs(
        &self,
        clusters: &Clusters,
        worlds: watch::Receiver<World>,
        identity: &str,
        report: HopReport,
        stop: &CancellationToken,
    ) {
        let me = identity.to_owned();
        let wanted = move |world: &World, _: &BTreeSet<HopLog>| {
            let acts = world
                .engine
                .as_ref()
                .is_some_and(|engine| *engine.holder == *me);
            if acts {
                hop_logs::logs_for_engine(&world.namespace, &world.groups)
            } else {
                BTreeSet::new()
            }
        };
        let (mut inbox, _) = trace::spawn(
            clusters,
            worlds,
            wanted,
            move |health| report.note_health(health),
            stop.clone(),
        );
        let (known, sink) = (self.known.clone(), self.sink.clone());
        let writing = async move {
            let mut filter = Filter::new(ACCESS_LOG_LIMITS, Instant::now());
            let (mut batch, mut dropped) = (vec![], 0);
            while inbox.recv_many(&mut batch, 256).await > 0 {
                let spans = batch.drain(..).filter_map(|told| {
                    if let HopUpdate::Span(span) = told {
                        Some(*span)
                    } else {
                        None
                    }
                });
                let (chosen, skipped) = {
                    let pods = known.pods.read().unwrap_or_else(PoisonError::into_inner);
                    filter.choose_spans(spans.collect(), &pods, Instant::now())
                };
                // Skipped ordinary requests make rates inexact, so their number is reported.
                let lost = std::mem::replace(&mut dropped, inbox.dropped());
                sink.dropped_before(skipped.rate + skipped.share + (dropped - lost));
                chosen.into_iter().for_each(|span| sink.send(span));
            }
        };
        let until = stop.clone();
        tokio::spawn(async move { until.run_until_cancelled(writing).await });
    }

    /// Keeps the receiver's view of the cluster up to date, until `stop`.
    pub(super) async fn track_cluster(
        self,
        mut worlds: watch::Receiver<World>,
        stop: CancellationToken,
    ) {
        let follow = async {
            let mut seen: Option<World> = None;
            loop {
                let world = worlds.borrow_and_update().clone();
                self.update_from_world(&world, seen.as_ref());
                seen = Some(world);
                if worlds.changed().await.is_err() {
                    return;
                }
                tokio::time::sleep(REINDEX_INTERVAL).await;
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    fn update_from_world(&self, world: &World, seen: Option<&World>) {
        let same = |of: fn(&World) -> *const ()| seen.is_some_and(|seen| of(seen) == of(world));
        if !(same(|w| Arc::as_ptr(&w.groups).cast()) && same(|w| Arc::as_ptr(&w.lanes).cast())) {
            let (groups, lanes) = (
                world.groups.values().map(|g| &**g),
                world.lanes.values().map(|l| &**l),
            );
            let keys = TagKeys::from_groups(groups, lanes);
            let of = |format| {
                AccessLogReader::new(
                    &AccessLog {
                        format,
                        ..AccessLog::default()
                    },
                    &keys,
                    Emitter::default(),
                )
            };
            self.readers
                .store(Arc::new(vec![of(LogFormat::Traefik), of(LogFormat::Envoy)]));
            self.known
                .keys
                .store(Arc::new(AttributeKeys::from_tag_keys(keys)));
        }
        if !same(|w| Arc::as_ptr(&w.pods).cast()) {
            let mut pods = self
                .known
                .pods
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            pods.update_pods(&world.pods, Timestamp::now());
        }
    }
}
