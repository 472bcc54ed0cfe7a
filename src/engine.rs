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
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

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
    let tasks = TaskTracker::new();
    // Kept over a lost Lease: an API server that is too slow for renewals must not be asked for
    // everything again. What another engine has written may be missing in them: then they go.
    let mut stores: Option<Stores> = None;
    while !stop.is_cancelled() {
        let acquired = lease.acquire(|| stores = None);
        let Some(since) = stop.run_until_cancelled(acquired).await else {
            break;
        };
        tracing::info!(identity = options.identity, "this engine acts");
        options.telemetry.set_acting(true);
        let acting = stop.child_token();
        let held = acting.clone();
        let stores = stores.get_or_insert_with(|| Stores::start_watches(&options, &tasks, &stop));
        tokio::join!(
            stores.act_on_changes(&options, lease.pace(), &acting),
            async {
                tokio::select! {
                    () = lease.keep_renewing(since) => tracing::warn!("the Lease is lost: nothing is done any more"),
                    () = held.cancelled() => {}
                }
                held.cancel();
            }
        );
        options.telemetry.set_acting(false);
        if stop.is_cancelled() {
            lease.release().await;
        }
    }
    drop(stores);
    tasks.close();
    tasks.wait().await;
}

/// What the engine knows of the cluster, kept up to date by watches until it is dropped.
struct Stores {
    cache: Arc<cache::Cache>,
    wake: Arc<change_queue::ChangeQueue>,
    /// Dropping it stops the watches.
    _ends: DropGuard,
}

impl Stores {
    fn start_watches(options: &Options, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let wake = Arc::new(change_queue::ChangeQueue::with_gauge(
            options.telemetry.queue.clone(),
        ));
        let stop = stop.child_token();
        let cache = Arc::new(cache::Cache::start_watches(options, &wake, tasks, &stop));
        Self {
            cache,
            wake,
            _ends: stop.drop_guard(),
        }
    }

    /// Reconciles until `stop`, while the Lease is held.
    async fn act_on_changes(
        &self,
        options: &Options,
        pace: &lease::RenewalPace,
        stop: &CancellationToken,
    ) {
        let tasks = TaskTracker::new();
        if stop
            .run_until_cancelled(self.cache.wait_until_synced())
            .await
            .is_some()
        {
            let probes = probes::Probes::new(
                options.prober.clone(),
                Arc::clone(&self.wake),
                tasks.clone(),
                stop.clone(),
            );
            self.wake.add([change_queue::ChangeKey::All]);
            let cache = Arc::clone(&self.cache);
            reconcile::Reconciler::new(options, cache, probes, &self.wake, pace)
                .run_loop(stop)
                .await;
        }
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}

#[cfg(all(test, feature = "pocket"))]
mod tests;
