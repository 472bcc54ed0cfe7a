//! Controllers of the embedded cluster: level-triggered, and based on `kube::Client` only.
//!
//! One shared watch per kind fills a cache; changes put keys into a work queue; a reconciler
//! compares the desired state of a key with the actual state, writes the difference, and says when
//! to requeue. No other state is kept. Only the garbage collector watches every kind; it stores
//! owner references instead of objects.

use events::Recorder;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher;
use kube::{Api, Client};
use reconcile::runner::{self, KeySender, ReconcileResult};
use reconcile::store::{NamespacedName, Store};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod deployment;
pub mod endpoints;
mod event_expiry;
pub mod events;
mod garbage;
pub mod job;
pub mod namespaces;
mod ownership;
pub mod pods;
pub mod replicaset;
mod statefulset;
pub mod write;

#[cfg(test)]
mod tests;

/// State that all controllers share.
pub struct ControllerContext {
    pub client: Client,
    pub deployments: Store<Deployment>,
    pub sets: Store<ReplicaSet>,
    pub stateful: Store<StatefulSet>,
    pub revisions: Store<ControllerRevision>,
    pub pods: Store<Pod>,
    pub services: Store<Service>,
    pub slices: Store<EndpointSlice>,
    pub endpoints: Store<Endpoints>,
    pub jobs: Store<Job>,
    recorders: HashMap<&'static str, Recorder>,
}

impl ControllerContext {
    /// With empty stores.
    fn new(client: &Client, tracker: &TaskTracker, stop: &CancellationToken) -> Self {
        let recorder =
            |c: &'static str| (c, Recorder::start(client.clone(), c, tracker, stop.clone()));
        Self {
            client: client.clone(),
            deployments: Store::default(),
            sets: Store::default(),
            stateful: Store::default(),
            revisions: Store::default(),
            pods: Store::default(),
            services: Store::default(),
            slices: Store::default(),
            endpoints: Store::default(),
            jobs: Store::default(),
            recorders: COMPONENTS.into_iter().map(recorder).collect(),
        }
    }

    /// Returns the event recorder of a component.
    fn event_recorder(&self, component: &'static str) -> &Recorder {
        &self.recorders[component]
    }
}

const COMPONENTS: [&str; 4] = [
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "job-controller",
];

/// Starts all controllers; they end soon after `stop` is cancelled (wait for them on `tracker`).
pub fn spawn(client: Client, tracker: &TaskTracker, stop: &CancellationToken) {
    let shared = Arc::new(ControllerContext::new(&client, tracker, stop));
    start_controllers(&shared, tracker, stop);
    garbage::spawn(client.clone(), tracker, stop);
    tracker.spawn(event_expiry::run_expiry(client, stop.clone()));
    watch_all(&shared, tracker, stop);
}

fn start_controllers(
    shared: &Arc<ControllerContext>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    let start = |name, watch, look| start_controller(shared, tracker, stop, name, watch, look);
    start("deployment", deployment::enqueue_changes, |s, k| {
        Box::pin(deployment::reconcile_deployment(s, k))
    });
    start("replicaset", replicaset::enqueue_changes, |s, k| {
        Box::pin(replicaset::reconcile_replica_set(s, k))
    });
    start("statefulset", statefulset::enqueue_changes, |s, k| {
        Box::pin(statefulset::reconcile_stateful_set(s, k))
    });
    start("endpoints", endpoints::enqueue_changes, |s, k| {
        Box::pin(endpoints::reconcile_slices(s, k))
    });
    start("job", job::enqueue_changes, |s, k| {
        Box::pin(job::reconcile_job(s, k))
    });
}

/// Keeps the shared caches up to date.
fn watch_all(shared: &ControllerContext, tracker: &TaskTracker, stop: &CancellationToken) {
    macro_rules! watch {
        ($($cache:ident),*) => {
            $(tracker.spawn(
                shared.$cache.clone().run_watch(Api::all(shared.client.clone()), watcher::Config::default(), stop.clone()),
            );)*
        };
    }
    watch!(
        services,
        slices,
        endpoints,
        jobs,
        deployments,
        sets,
        stateful,
        revisions,
        pods
    );
}

fn start_controller(
    shared: &Arc<ControllerContext>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
    name: &'static str,
    watch: fn(&ControllerContext, KeySender<NamespacedName>),
    look: fn(Arc<ControllerContext>, NamespacedName) -> BoxFuture<'static, ReconcileResult>,
) {
    let (queue, inbox) = runner::new_queue();
    watch(shared, queue);
    let (shared, stop) = (shared.clone(), stop.clone());
    tracker.spawn(async move {
        // Reconcilers start only when every cache has synced.
        let all = async {
            shared.deployments.wait_until_synced().await;
            shared.sets.wait_until_synced().await;
            shared.stateful.wait_until_synced().await;
            shared.revisions.wait_until_synced().await;
            shared.pods.wait_until_synced().await;
            shared.services.wait_until_synced().await;
            shared.slices.wait_until_synced().await;
            shared.endpoints.wait_until_synced().await;
            shared.jobs.wait_until_synced().await;
        };
        if stop.run_until_cancelled(all).await.is_none() {
            return;
        }
        runner::run_queue(name, inbox, stop, move |key| look(shared.clone(), key)).await;
    });
}
