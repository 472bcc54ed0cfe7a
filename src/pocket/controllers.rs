//! Controllers of the embedded cluster: level-triggered, and based on `kube::Client` only.
//!
//! One shared watch per kind fills a cache; changes put keys into a work queue; a reconciler
//! compares the desired state of a key with the actual state, writes the difference, and says when
//! to requeue. No other state is kept. Only the garbage collector watches every kind; it stores
//! owner references instead of objects.

use cache::{Cache, Key};
use events::Recorder;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use queue::Outcome;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod cache;
pub mod deployment;
pub mod endpoints;
pub mod events;
mod expiry;
mod garbage;
pub mod job;
pub mod namespaces;
mod own;
pub mod pods;
pub mod queue;
pub mod replicaset;
mod statefulset;
pub mod write;

/// State that all controllers share.
pub struct Shared {
    pub client: Client,
    pub deployments: Cache<Deployment>,
    pub sets: Cache<ReplicaSet>,
    pub stateful: Cache<StatefulSet>,
    pub revisions: Cache<ControllerRevision>,
    pub pods: Cache<Pod>,
    pub services: Cache<Service>,
    pub slices: Cache<EndpointSlice>,
    pub endpoints: Cache<Endpoints>,
    pub jobs: Cache<Job>,
    recorders: HashMap<&'static str, Recorder>,
}

impl Shared {
    /// Returns the event recorder of a component.
    fn events(&self, component: &'static str) -> &Recorder {
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
    let recorder = |c: &'static str| (c, Recorder::start(client.clone(), c, tracker, stop.clone()));
    let shared = Arc::new(Shared {
        client: client.clone(),
        deployments: Cache::default(),
        sets: Cache::default(),
        stateful: Cache::default(),
        revisions: Cache::default(),
        pods: Cache::default(),
        services: Cache::default(),
        slices: Cache::default(),
        endpoints: Cache::default(),
        jobs: Cache::default(),
        recorders: COMPONENTS.into_iter().map(recorder).collect(),
    });
    start(
        &shared,
        tracker,
        stop,
        "deployment",
        deployment::watch,
        |s, k| Box::pin(deployment::look(s, k)),
    );
    start(
        &shared,
        tracker,
        stop,
        "replicaset",
        replicaset::watch,
        |s, k| Box::pin(replicaset::look(s, k)),
    );
    start(
        &shared,
        tracker,
        stop,
        "statefulset",
        statefulset::watch,
        |s, k| Box::pin(statefulset::look(s, k)),
    );
    start(
        &shared,
        tracker,
        stop,
        "endpoints",
        endpoints::watch,
        |s, k| Box::pin(endpoints::look(s, k)),
    );
    start(&shared, tracker, stop, "job", job::watch, |s, k| {
        Box::pin(job::look(s, k))
    });
    garbage::spawn(client.clone(), tracker, stop);
    tracker.spawn(expiry::run(client.clone(), stop.clone()));
    tracker.spawn(
        shared
            .services
            .clone()
            .run(Api::all(client.clone()), stop.clone()),
    );
    tracker.spawn(
        shared
            .slices
            .clone()
            .run(Api::all(client.clone()), stop.clone()),
    );
    tracker.spawn(
        shared
            .endpoints
            .clone()
            .run(Api::all(client.clone()), stop.clone()),
    );
    tracker.spawn(
        shared
            .jobs
            .clone()
            .run(Api::all(client.clone()), stop.clone()),
    );
    tracker.spawn(
        shared
            .deployments
            .clone()
            .run(Api::all(client.clone()), stop.clone()),
    );
    tracker.spawn(
        shared
            .sets
            .clone()
            .run(Api::all(client.clone()), stop.clone()),
    );
    tracker.spawn(
        shared
            .stateful
            .clone()
            .run(Api::all(client.clone()), stop.clone()),
    );
    tracker.spawn(
        shared
            .revisions
            .clone()
            .run(Api::all(client.clone()), stop.clone()),
    );
    tracker.spawn(shared.pods.clone().run(Api::all(client), stop.clone()));
}

fn start(
    shared: &Arc<Shared>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
    name: &'static str,
    watch: fn(&Shared, queue::Queue),
    look: fn(Arc<Shared>, Key) -> BoxFuture<'static, Outcome>,
) {
    let (queue, inbox) = queue::queue();
    watch(shared, queue);
    let (shared, stop) = (shared.clone(), stop.clone());
    tracker.spawn(async move {
        // Reconcilers start only when every cache has synced.
        let all = async {
            shared.deployments.ready().await;
            shared.sets.ready().await;
            shared.stateful.ready().await;
            shared.revisions.ready().await;
            shared.pods.ready().await;
            shared.services.ready().await;
            shared.slices.ready().await;
            shared.endpoints.ready().await;
            shared.jobs.ready().await;
        };
        if stop.run_until_cancelled(all).await.is_none() {
            return;
        }
        queue::run(name, inbox, stop, move |key| look(shared.clone(), key)).await;
    });
}
