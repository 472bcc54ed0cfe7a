//! The engine: observe, decide (in `domain`), act, repeat.
//!
//! Level-triggered: each reconcile pass reads the current state of the cluster and remembers
//! nothing but probe results and timers. A Lease lets one engine act at a time; an engine that
//! loses it stops acting at once. Errors of steps are reported in a status, and the engine
//! continues.

mod act;
mod adopted;
mod build_digests;
mod cache;
mod change_queue;
mod conflicts;
mod hops;
mod lanes;
mod lease;
mod observe;
mod pod_watch;
mod probes;
mod prune;
mod reconcile;
mod remote_clusters;
mod revisions;
mod serve;
mod state_ages;
mod telemetry;
mod workloads;

use std::sync::Arc;

use futures::future::BoxFuture;
use kube::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{ProbeResult, ProbeSpec},
    cluster::clusters::Clusters,
    domain::workflow::ProbeFailure,
};

pub use hops::HopReport;
pub use lease::new_identity;
pub use serve::serve_telemetry;
pub use telemetry::Telemetry;

/// Sends the probes of verify tasks: takes the name of a lane group and what to send, returns the
/// results.
pub type Prober = Arc<
    dyn Fn(String, ProbeSpec) -> BoxFuture<'static, Result<Vec<ProbeResult>, ProbeFailure>>
        + Send
        + Sync,
>;

/// Configuration and dependencies of an engine.
#[derive(Clone)]
pub struct Options {
    /// Cluster with the Releases.
    pub client: Client,
    /// That cluster, and the clusters that environments name.
    pub clusters: Clusters,
    /// Namespace of the Releases and of the Lease.
    pub namespace: String,
    /// Identity of the engine in the Lease; must be unique.
    pub identity: String,
    /// Sends the probes of verify tasks.
    pub prober: Prober,
    /// Metrics and health of the engine.
    pub telemetry: Telemetry,
    /// Report about the hops that the engine reads.
    pub hops: HopReport,
}

/// Runs releases until `stop`. Stands by while another engine holds the Lease.
pub async fn run_engine(options: Options, stop: CancellationToken) {
    let lease = lease::Lease::new(&options);
    while !stop.is_cancelled() {
        let Some(since) = stop.run_until_cancelled(lease.acquire()).await else {
            break;
        };
        tracing::info!(identity = options.identity, "this engine acts");
        options.telemetry.set_acting(true);
        let acting = stop.child_token();
        let held = acting.clone();
        tokio::join!(run_as_leader(&options, &acting), async {
            tokio::select! {
                () = lease.keep_renewing(since) => tracing::warn!("the Lease is lost: nothing is done any more"),
                () = held.cancelled() => {}
            }
            held.cancel();
        });
        options.telemetry.set_acting(false);
        if stop.is_cancelled() {
            lease.release().await;
        }
    }
}

/// Reconciles until `stop`, while the Lease is held.
async fn run_as_leader(options: &Options, stop: &CancellationToken) {
    let wake = Arc::new(change_queue::ChangeQueue::with_gauge(
        options.telemetry.queue.clone(),
    ));
    let tasks = TaskTracker::new();
    let cache = cache::Cache::start_watches(options, &wake, &tasks, stop);
    if stop
        .run_until_cancelled(cache.wait_until_synced())
        .await
        .is_some()
    {
        let probes = probes::Probes::new(
            options.prober.clone(),
            Arc::clone(&wake),
            tasks.clone(),
            stop.clone(),
        );
        reconcile::Reconciler::new(options, cache, probes, &wake)
            .run_loop(stop)
            .await;
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[cfg(all(test, feature = "pocket"))]
mod tests;
