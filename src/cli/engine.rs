//! `engine`: the headless engine for a real cluster or a pocket, and the engine of the demo.

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use color_eyre::eyre::{Result, WrapErr};
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{
    Global, hop_collector,
    logging::{self, LogTarget},
    session, shutdown,
};
use crate::{
    api::{ProbeHop, ProbeResult, ProbeSpec, SpanLog},
    cluster::{self, agent::Agent, clusters::Clusters, install},
    domain::{text::Clean, workflow::ProbeFailure},
    engine::{self, HopReport, Options, Prober, Telemetry},
    probe::{self, Probed, Via},
};

mod probe_feed;

use probe_feed::ProbeFeed;

#[derive(Debug, Args)]
pub struct EngineArgs {
    /// Do not update graylane's resource definitions first
    #[arg(long)]
    no_install: bool,
    /// Serve /healthz, /readyz and /metrics (for Prometheus) at this address
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Receive spans and access logs over OTLP/gRPC at this address, and print those of lanes as
    /// lines
    #[arg(long, value_name = "ADDRESS:PORT")]
    otlp_grpc: Option<SocketAddr>,
    /// The same over OTLP/HTTP
    #[arg(long, value_name = "ADDRESS:PORT")]
    otlp_http: Option<SocketAddr>,
    /// Follow the gateways' access logs while this engine acts, and print what concerns lanes as
    /// lines; NAMESPACE is that of the engine's pod, whose log cockpits then follow
    #[arg(long, value_name = "NAMESPACE")]
    write_spans: Option<String>,
}

pub(super) async fn run_engine(global: &Global, args: EngineArgs) -> Result<()> {
    let session = session::open_for(global, &session::load_config(global)?, Agent::Engine).await?;
    let ended = shutdown::shutdown_signal()?;
    let _log = logging::start_logging(&global.logging, LogTarget::Stderr)?;
    if !args.no_install {
        install::apply_definitions(&session.client).await?;
    }
    let stop = CancellationToken::new();
    let addresses = hop_collector::OtlpAddresses {
        grpc: args.otlp_grpc,
        http: args.otlp_http,
    };
    let hops = hop_collector::HopCollector::start_receivers(
        std::io::stdout(),
        addresses,
        args.write_spans.is_some(),
        &stop,
    )
    .await?;
    let telemetry = hops.as_ref().map_or_else(Telemetry::default, |hops| {
        Telemetry::with_metrics(|r| hops.register_metrics(r))
    });
    let client = telemetry.meter_client(session.client);
    let clusters = session.clusters.with_home_client(client);
    if let Some(address) = args.listen {
        let serving = engine::serve_telemetry(address, telemetry.clone(), stop.clone()).await;
        let (address, serving) = serving.wrap_err_with(|| format!("--listen {address}"))?;
        tracing::info!("http://{address} answers /healthz, /readyz and /metrics");
        tokio::spawn(serving);
    }
    let namespace = session.namespace.clone();
    let mut feed = ProbeFeed::on_demand(clusters.clone(), namespace.clone(), stop.clone());
    let mut report = HopReport::default();
    let identity = engine::new_identity();
    if let Some(hops) = hops {
        let (worlds, inlet) =
            cluster::watch::spawn_with_inlet(clusters.clone(), namespace, stop.clone());
        feed = ProbeFeed::in_worlds(&clusters, worlds.clone(), inlet);
        if let Some(namespace) = args.write_spans {
            let log = SpanLog {
                namespace,
                match_labels: install::engine_labels(&session.namespace),
            };
            report = HopReport::writing_to(log, addresses.is_any());
            hops.relay_access_logs(&clusters, worlds.clone(), &identity, report.clone(), &stop);
        }
        tokio::spawn(hops.track_cluster(worlds, stop.clone()));
    }
    let told = EngineReporting {
        identity,
        telemetry,
        hops: report,
    };
    let acting = tokio::spawn(run_reconcilers(
        clusters,
        session.namespace,
        feed,
        told,
        stop.clone(),
    ));
    ended.await;
    stop.cancel();
    acting.await?;
    Ok(())
}

/// Runs an engine with its own view of the cluster until `stop`.
#[cfg(feature = "pocket")]
pub(super) async fn run_engine_until(
    client: kube::Client,
    namespace: String,
    stop: CancellationToken,
) {
    let clusters = Clusters::from_client(client, Agent::Engine);
    let feed = ProbeFeed::on_demand(clusters.clone(), namespace.clone(), stop.clone());
    let told = EngineReporting {
        identity: engine::new_identity(),
        telemetry: Telemetry::default(),
        hops: HopReport::default(),
    };
    run_reconcilers(clusters, namespace, feed, told, stop).await;
}

/// The engine's identity and what it reports about itself.
struct EngineReporting {
    identity: String,
    telemetry: Telemetry,
    hops: HopReport,
}

async fn run_reconcilers(
    clusters: Clusters,
    namespace: String,
    feed: ProbeFeed,
    told: EngineReporting,
    stop: CancellationToken,
) {
    let client = clusters.home_client().clone();
    let (
        prober,
        EngineReporting {
            identity,
            telemetry,
            hops,
        },
    ) = (build_prober(feed), told);
    engine::run_engine(
        Options {
            client,
            clusters,
            namespace,
            identity,
            prober,
            telemetry,
            hops,
        },
        stop,
    )
    .await;
}

fn build_prober(feed: ProbeFeed) -> Prober {
    Arc::new(move |group, spec| {
        let feed = feed.clone();
        async move {
            let feed = feed.open().await;
            let probed = probe::send_probes(&spec, &group, &feed, &Via::Entry)
                .await
                .map_err(|e| ProbeFailure(Clean::from(e.to_string())))?;
            Ok(probed
                .into_iter()
                .map(|p| to_probe_result(&spec, p))
                .collect())
        }
        .boxed()
    })
}

fn to_probe_result(spec: &ProbeSpec, probed: Probed) -> ProbeResult {
    let passed = probed.is_ok();
    let hops = probed.chain.into_iter().filter_map(|h| {
        Some(ProbeHop {
            app: h.app,
            served: h.served?,
        })
    });
    ProbeResult {
        probe: spec.clone(),
        status: probed.status.unwrap_or_default(),
        chain: hops.collect(),
        passed,
        message: (!passed).then(|| format!("{}: {}", probed.verdict, probed.problems.join("; "))),
    }
}
