//! The engine: observe, decide (in `domain`), do, look again.
//!
//! Level-triggered: a look reads what the cluster shows now and remembers nothing but what its own probes
//! saw. One engine acts at a time, by a Lease; a lost Lease ends all acting at once. Whatever a step meets,
//! it becomes words in a status; the engine itself goes on.

mod act;
mod adopted;
mod built;
mod cache;
mod elsewhere;
mod fights;
mod hops;
mod lanes;
mod lease;
mod look;
mod observe;
mod probes;
mod prune;
mod revisions;
mod serve;
mod since;
mod steady;
mod telemetry;
mod trim;
mod wake;
mod workloads;

use std::sync::Arc;

use futures::future::BoxFuture;
use kube::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{ProbeResult, ProbeSpec},
    cluster::clusters::Clusters,
};

pub use hops::HopReport;
pub use lease::identity;
pub use serve::serve;
pub use telemetry::Telemetry;

/// Sends the probes of verify tasks: a lane group's name and what to send, to what came back.
pub type Prober = Arc<
    dyn Fn(String, ProbeSpec) -> BoxFuture<'static, Result<Vec<ProbeResult>, String>> + Send + Sync,
>;

/// What an engine needs.
#[derive(Clone)]
pub struct Options {
    /// The cluster of the Releases.
    pub client: Client,
    /// That one, and those that environments name.
    pub clusters: Clusters,
    /// Namespace of the Releases it carries out, and of its Lease.
    pub namespace: String,
    /// Who it is; two engines must not share one.
    pub identity: String,
    /// How verify tasks send their probes.
    pub prober: Prober,
    /// What it tells of itself.
    pub telemetry: Telemetry,
    /// What it tells of the hops that it reads for others.
    pub hops: HopReport,
}

/// Carries releases out until `stop`. Stands by while another engine holds the Lease.
pub async fn run(options: Options, stop: CancellationToken) {
    let lease = lease::Lease::new(&options);
    while !stop.is_cancelled() {
        let Some(since) = stop.run_until_cancelled(lease.acquire()).await else {
            break;
        };
        tracing::info!(identity = options.identity, "this engine acts");
        options.telemetry.acts(true);
        let acting = stop.child_token();
        let held = acting.clone();
        tokio::join!(lead(&options, &acting), async {
            tokio::select! {
                () = lease.keep(since) => tracing::warn!("the Lease is lost: nothing is done any more"),
                () = held.cancelled() => {}
            }
            held.cancel();
        });
        options.telemetry.acts(false);
        if stop.is_cancelled() {
            lease.release().await;
        }
    }
}

/// Acts until told not to.
async fn lead(options: &Options, stop: &CancellationToken) {
    let wake = Arc::new(wake::Wake::told_by(options.telemetry.queue.clone()));
    let tasks = TaskTracker::new();
    let cache = cache::Cache::start(options, &wake, &tasks, stop);
    if stop.run_until_cancelled(cache.ready()).await.is_some() {
        let probes = probes::Probes::new(
            options.prober.clone(),
            Arc::clone(&wake),
            tasks.clone(),
            stop.clone(),
        );
        look::Looker::new(options, cache, probes, &wake)
            .run(stop)
            .await;
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[cfg(test)]
mod tests;
