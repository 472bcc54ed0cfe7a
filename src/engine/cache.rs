//! Cache of observed objects: one shared watch for each kind, whose events enqueue the keys they
//! concern. Our own writes count before the watch delivers them.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::Stream;
use k8s_openapi::api::{
    apps::v1::Deployment, batch::v1::Job, core::v1::Service, discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Resource, ResourceExt, runtime::watcher};
use reconcile::{
    store::{NamespacedKind, Store, StoreEvent},
    watch::resilient_watch,
};
use serde::de::DeserializeOwned;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Options,
    change_queue::{
        ChangeKey, ChangeQueue, keys_for_app, keys_for_approval, keys_for_job, keys_for_labelled,
        keys_for_pod, keys_for_release, keys_for_replica_set, keys_for_route, keys_for_workload,
    },
    conflicts::WriteConflicts,
    observe::events::Events,
    pod_watch,
    remote_clusters::RemoteClusters,
    revisions::Revisions,
    state_ages::StateAges,
    workloads::{Readiness, Workloads},
};
use crate::{
    api::{
        App, Approval, Lane, LaneGroup, Release,
        gateway_api::{Gateway, GatewayClass, HttpRoute},
        label,
    },
    cluster::error,
    domain::observe::predates_app,
};

/// How long to wait for the kinds of Gateway API.
const OPTIONAL_KINDS_TIMEOUT: Duration = Duration::from_secs(5);
/// Label with the Service's name on an EndpointSlice.
pub(super) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

pub(super) struct Cache {
    pub(super) apps: Store<App>,
    pub(super) revisions: Revisions,
    pub(super) releases: Store<Release>,
    pub(super) approvals: Store<Approval>,
    pub(super) groups: Store<LaneGroup>,
    pub(super) lanes: Store<Lane>,
    pub(super) workloads: Workloads,
    pub(super) services: Store<Service>,
    pub(super) slices: Store<EndpointSlice>,
    pub(super) jobs: Store<Job>,
    pub(super) classes: Store<GatewayClass>,
    pub(super) gateways: Store<Gateway>,
    /// HTTPRoutes of everybody, since other routes at the same Gateway may match our requests.
    pub(super) routes: Store<HttpRoute>,
    pub(super) remote_clusters: RemoteClusters,
    /// Recent writes of this engine.
    pub(super) conflicts: WriteConflicts,
    /// Recent causes of waits, from events.
    pub(super) events: Events,
    /// How long observed states have lasted.
    pub(super) state_ages: StateAges,
}

/// Starts watches that enqueue keys.
struct WatchStarter<'a> {
    wake: &'a Arc<ChangeQueue>,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl WatchStarter<'_> {
    /// Watches the objects that `config` selects.
    fn watch_kind<K>(
        &self,
        store: Store<K>,
        api: Api<K>,
        config: watcher::Config,
        concerns: fn(&K) -> Vec<ChangeKey>,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let wake = Arc::clone(self.wake);
        let tell = move |object: &K| wake.add(concerns(object));
        self.follow_events(store, resilient_watch(api, config), tell)
    }

    /// Follows pods or ReplicaSets. Their changes start a pass where something waits for them, or
    /// where they are of a Deployment whose pods may lack the labels of its App.
    fn follow_parts<K>(
        &self,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
        deployments: &Store<Deployment>,
        concerns: fn(&K) -> Vec<ChangeKey>,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let (wake, deployments) = (Arc::clone(self.wake), deployments.clone());
        let tell = move |object: &K| {
            wake.add_parts(concerns(object), |workload| {
                let live = deployments.get_named(&workload.namespace.name, &workload.name);
                live.is_some_and(|live| predates_app(&live))
            });
        };
        self.follow_events(Store::default(), events, tell)
    }

    /// For our own kinds in the home namespace. There are many objects, and their managed fields
    /// are never read.
    fn watch_own_kind<K>(
        &self,
        client: &Client,
        home: &str,
        concerns: fn(&K) -> Vec<ChangeKey>,
    ) -> Store<K>
    where
        K: NamespacedKind,
    {
        let api = Api::namespaced(client.clone(), home);
        self.watch_kind(Store::default(), api, watcher::Config::default(), concerns)
    }

    /// Fills a store from the events of a watch, and tells of each object that has changed.
    fn follow_events<K>(
        &self,
        store: Store<K>,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
        tell: impl Fn(&K) + Send + Sync + 'static,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let wake = Arc::clone(self.wake);
        store.on_event(move |event| match event {
            StoreEvent::Changed(change) => change.object().into_iter().for_each(|o| tell(o)),
            StoreEvent::Listed(_) | StoreEvent::Absent(_) => wake.add([ChangeKey::All]),
            StoreEvent::Broken(why) => {
                let (kind, why) = (K::plural(&()), error::describe_watch_error(why));
                tracing::warn!(why, "the engine's watch of {kind}");
            }
        });
        self.tasks
            .spawn(store.clone().run_events(events, self.stop.clone()));
        store
    }
}

impl Cache {
    pub(super) fn start_watches(
        options: &Options,
        wake: &Arc<ChangeQueue>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let w = WatchStarter { wake, tasks, stop };
        let client = &options.client;
        let all = watcher::Config::default;
        let ours = || all().labels(label::APP);
        let home = options.namespace.as_str();
        let deployments = w.watch_kind(
            Store::with_trim(keep_whole),
            Api::all(client.clone()),
            all(),
            keys_for_workload,
        );
        let sets = resilient_watch(Api::all(client.clone()), all());
        let sets = w.follow_parts(sets, &deployments, keys_for_replica_set);
        let pods = pod_watch::watch_pods(Api::all(client.clone()));
        let pods = w.follow_parts(pods, &deployments, keys_for_pod);
        Self {
            revisions: Revisions::default(),
            apps: w.watch_own_kind(client, home, keys_for_app),
            releases: w.watch_own_kind(client, home, keys_for_release),
            approvals: w.watch_own_kind(client, home, keys_for_approval),
            groups: w.watch_own_kind(client, home, |g: &LaneGroup| {
                vec![ChangeKey::Group(g.name_any())]
            }),
            lanes: w.watch_own_kind(client, home, |l: &Lane| {
                vec![ChangeKey::Group(l.spec.group.clone())]
            }),
            workloads: Workloads {
                deployments,
                stateful: w.watch_kind(
                    Store::with_trim(keep_whole),
                    Api::all(client.clone()),
                    all(),
                    keys_for_workload,
                ),
                sets,
                pods,
                ready: Readiness::default(),
            },
            services: w.watch_kind(
                Store::default(),
                Api::namespaced(client.clone(), home),
                all(),
                |s| [vec![ChangeKey::Service(s.name_any())], keys_for_labelled(s)].concat(),
            ),
            slices: w.watch_kind(
                Store::default(),
                Api::namespaced(client.clone(), home),
                all(),
                |s: &EndpointSlice| {
                    let service = s.labels().get(SERVICE_NAME_LABEL).cloned();
                    service.map(ChangeKey::Service).into_iter().collect()
                },
            ),
            jobs: w.watch_kind(
                Store::default(),
                Api::all(client.clone()),
                ours(),
                keys_for_job,
            ),
            classes: w.watch_kind(
                Store::optional(keep_whole),
                Api::all(client.clone()),
                all(),
                |_| vec![ChangeKey::Class],
            ),
            gateways: w.watch_kind(
                Store::optional(keep_whole),
                Api::namespaced(client.clone(), home),
                all(),
                |g| vec![ChangeKey::Gateway(g.name_any())],
            ),
            routes: w.watch_kind(
                Store::optional(keep_whole),
                Api::all(client.clone()),
                all(),
                keys_for_route,
            ),
            remote_clusters: RemoteClusters::new(options, wake, tasks, stop),
            conflicts: WriteConflicts::default(),
            events: Events::default(),
            state_ages: StateAges::default(),
        }
    }

    /// Waits until every kind has been listed once.
    pub(super) async fn wait_until_synced(&self) {
        tokio::join!(
            self.apps.wait_until_synced(),
            self.releases.wait_until_synced(),
            self.approvals.wait_until_synced(),
            self.groups.wait_until_synced(),
            self.lanes.wait_until_synced(),
            self.workloads.wait_until_synced(),
            self.services.wait_until_synced(),
            self.slices.wait_until_synced(),
            self.jobs.wait_until_synced(),
        );
        // Releases also work in a cluster without Gateway API, or one that does not let us read it.
        let routes = async {
            tokio::join!(
                self.classes.wait_until_synced_or_absent(),
                self.gateways.wait_until_synced_or_absent(),
                self.routes.wait_until_synced_or_absent()
            );
        };
        if tokio::time::timeout(OPTIONAL_KINDS_TIMEOUT, routes)
            .await
            .is_err()
        {
            tracing::warn!("the Gateway API is not installed: lanes have no routes until it is");
        }
    }
}

/// For kinds whose managed fields are read: workloads and what routes are made of.
pub(super) fn keep_whole<K>(_: &mut K) {}
