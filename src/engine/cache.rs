//! Cache of observed objects: one shared watch for each kind, whose events enqueue the keys they
//! concern. Our own writes count before the watch delivers them.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, future};
use k8s_openapi::api::{batch::v1::Job, core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::WriterDropped},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Options,
    change_queue::{
        ChangeKey, ChangeQueue, keys_for_app, keys_for_approval, keys_for_job, keys_for_labelled,
        keys_for_pod, keys_for_release, keys_for_replica_set, keys_for_route, keys_for_workload,
    },
    conflicts::WriteConflicts,
    observe::events::Events,
    remote_clusters::RemoteClusters,
    resilient_watch::resilient_watch,
    revisions::Revisions,
    state_ages::StateAges,
    trim,
    workloads::{Readiness, Workloads},
};
use crate::{
    api::{
        App, Approval, Lane, LaneGroup, Release,
        gateway_api::{Gateway, GatewayClass, HttpRoute},
        label,
    },
    cluster::error,
};

/// How long to wait for the kinds of Gateway API.
const OPTIONAL_KINDS_TIMEOUT: Duration = Duration::from_secs(5);
/// Label with the Service's name on an EndpointSlice.
pub(super) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A namespaced kind.
pub(super) trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

pub(super) struct Cache {
    pub(super) apps: WriteThroughStore<App>,
    pub(super) revisions: Revisions,
    pub(super) releases: WriteThroughStore<Release>,
    pub(super) approvals: Store<Approval>,
    pub(super) groups: Store<LaneGroup>,
    pub(super) lanes: Store<Lane>,
    pub(super) workloads: Workloads,
    pub(super) services: Store<Service>,
    pub(super) slices: Store<EndpointSlice>,
    pub(super) jobs: Store<Job>,
    pub(super) classes: OptionalStore<GatewayClass>,
    pub(super) gateways: OptionalStore<Gateway>,
    /// HTTPRoutes of everybody, since other routes at the same Gateway may match our requests.
    pub(super) routes: OptionalStore<HttpRoute>,
    pub(super) remote_clusters: RemoteClusters,
    /// Recent writes of this engine.
    pub(super) conflicts: WriteConflicts,
    /// Recent causes of waits, from events.
    pub(super) events: Events,
    /// How long observed states have lasted.
    pub(super) state_ages: StateAges,
}

/// A kind that a cluster may not have (yet). Then there are no objects, and nobody waits for it.
pub(super) struct OptionalStore<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store: Store<K>,
    absent: watch::Receiver<bool>,
}

impl<K> OptionalStore<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// Whether the server does not have the kind.
    pub(super) fn is_absent(&self) -> bool {
        *self.absent.borrow()
    }

    pub(super) fn state(&self) -> Vec<Arc<K>> {
        if self.is_absent() {
            vec![]
        } else {
            self.store.state()
        }
    }

    pub(super) fn get(&self, key: &ObjectRef<K>) -> Option<Arc<K>> {
        self.store.get(key).filter(|_| !self.is_absent())
    }

    async fn wait_until_ready(&self) {
        let mut absent = self.absent.clone();
        tokio::select! {
            _ = self.store.wait_until_ready() => {}
            _ = absent.wait_for(|absent| *absent) => {}
        }
    }
}

/// Store of a watched kind in which our own writes count at once. A decision based on older data
/// could let two releases into one environment, or ignore a new inventory.
pub(super) struct WriteThroughStore<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store: Store<K>,
    /// Own writes by UID.
    own: Mutex<HashMap<String, Arc<K>>>,
    /// Applied to own writes too, so that they keep no more than the store does.
    trim: fn(&mut K),
}

impl<K> WriteThroughStore<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    pub(super) fn new(store: Store<K>) -> Self {
        Self::with_trim(store, |_| {})
    }

    fn with_trim(store: Store<K>, trim: fn(&mut K)) -> Self {
        Self {
            store,
            own: Mutex::default(),
            trim,
        }
    }

    pub(super) fn state(&self) -> Vec<Arc<K>> {
        self.store
            .state()
            .into_iter()
            .map(|watched| self.newer_of(watched))
            .collect()
    }

    pub(super) fn get(&self, key: &ObjectRef<K>) -> Option<Arc<K>> {
        self.store.get(key).map(|watched| self.newer_of(watched))
    }

    /// Remembers the server's answer to a write.
    pub(super) fn remember_write(&self, mut written: K) {
        (self.trim)(&mut written);
        if let Some(uid) = written.uid() {
            self.own
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(uid, Arc::new(written));
        }
    }

    fn newer_of(&self, watched: Arc<K>) -> Arc<K> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(uid) = watched.uid() else {
            return watched;
        };
        // Resource versions that are numbers can be compared; otherwise the watch wins.
        let version = |o: &K| o.resource_version().and_then(|v| v.parse::<u64>().ok());
        let newer = own
            .get(&uid)
            .filter(|o| version(o) > version(&watched))
            .cloned();
        newer.unwrap_or_else(|| {
            own.remove(&uid);
            watched
        })
    }

    pub(super) async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        self.store.wait_until_ready().await
    }
}

/// Starts watches that enqueue keys.
struct WatchStarter<'a> {
    wake: &'a Arc<ChangeQueue>,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl WatchStarter<'_> {
    fn watch_kind<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        concerns: fn(&K) -> Vec<ChangeKey>,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.watch_trimmed(api, config, |_| {}, concerns).store
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
        K: Namespaced,
    {
        let api = Api::namespaced(client.clone(), home);
        self.watch_trimmed(
            api,
            watcher::Config::default(),
            trim::drop_managed_fields,
            concerns,
        )
        .store
    }

    fn watch_optional<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        concerns: fn(&K) -> Vec<ChangeKey>,
    ) -> OptionalStore<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.watch_trimmed(api, config, |_| {}, concerns)
    }

    /// Applies `trim` to each object before it is stored.
    fn watch_trimmed<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        trim: fn(&mut K),
        concerns: fn(&K) -> Vec<ChangeKey>,
    ) -> OptionalStore<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.store_events(resilient_watch(api, config).modify(trim), concerns)
    }

    /// Stores the objects of a watch.
    fn store_events<K>(
        &self,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
        concerns: fn(&K) -> Vec<ChangeKey>,
    ) -> OptionalStore<K>
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let (unknown, absent) = watch::channel(false);
        let (store, writer) = reflector::store();
        let wake = Arc::clone(self.wake);
        let stream = events.reflect(writer).for_each(move |event| {
            let told = kind_is_absent(&event);
            let news = told.is_some_and(|absent| unknown.send_replace(absent) != absent);
            if news {
                wake.add([ChangeKey::All]);
            }
            match event {
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => {
                    wake.add(concerns(&object))
                }
                Ok(watcher::Event::InitDone) => wake.add([ChangeKey::All]),
                // It was reported already that the kind is missing.
                Err(_) if told == Some(true) && !news => {}
                Err(why) => {
                    let (kind, why) = (K::plural(&()), error::describe_watch_error(&why));
                    tracing::warn!(why, "the engine's watch of {kind}");
                }
            }
            future::ready(())
        });
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(stream).await });
        OptionalStore { store, absent }
    }
}

/// Whether the server lacks the kind, if the event says so: a complete list means no, the answer
/// that there is no such resource means yes. The beginning of a list says nothing.
fn kind_is_absent<K>(event: &watcher::Result<watcher::Event<K>>) -> Option<bool> {
    match event {
        Ok(watcher::Event::InitDone) => Some(false),
        Err(why) if error::watch_status_code(why) == Some(404) => Some(true),
        _ => None,
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
        Self {
            revisions: Revisions::default(),
            apps: WriteThroughStore::with_trim(
                w.watch_own_kind(client, home, keys_for_app),
                trim::drop_managed_fields,
            ),
            releases: WriteThroughStore::with_trim(
                w.watch_own_kind(client, home, keys_for_release),
                trim::drop_managed_fields,
            ),
            approvals: w.watch_own_kind(client, home, keys_for_approval),
            groups: w.watch_own_kind(client, home, |g: &LaneGroup| {
                vec![ChangeKey::Group(g.name_any())]
            }),
            lanes: w.watch_own_kind(client, home, |l: &Lane| {
                vec![ChangeKey::Group(l.spec.group.clone())]
            }),
            workloads: Workloads {
                deployments: WriteThroughStore::new(w.watch_kind(
                    Api::all(client.clone()),
                    all(),
                    keys_for_workload,
                )),
                stateful: WriteThroughStore::new(w.watch_kind(
                    Api::all(client.clone()),
                    all(),
                    keys_for_workload,
                )),
                sets: w
                    .watch_trimmed(
                        Api::all(client.clone()),
                        all(),
                        trim::drop_managed_fields,
                        keys_for_replica_set,
                    )
                    .store,
                pods: w
                    .store_events(trim::watch_pods(Api::all(client.clone())), keys_for_pod)
                    .store,
                ready: Readiness::default(),
            },
            services: w.watch_kind(Api::namespaced(client.clone(), home), all(), |s| {
                [vec![ChangeKey::Service(s.name_any())], keys_for_labelled(s)].concat()
            }),
            slices: w
                .watch_trimmed(
                    Api::namespaced(client.clone(), home),
                    all(),
                    trim::drop_managed_fields,
                    |s: &EndpointSlice| {
                        s.labels()
                            .get(SERVICE_NAME_LABEL)
                            .cloned()
                            .map(ChangeKey::Service)
                            .into_iter()
                            .collect()
                    },
                )
                .store,
            jobs: w
                .watch_trimmed(
                    Api::all(client.clone()),
                    ours(),
                    trim::drop_managed_fields,
                    keys_for_job,
                )
                .store,
            classes: w.watch_optional(Api::all(client.clone()), all(), |_| vec![ChangeKey::Class]),
            gateways: w.watch_optional(Api::namespaced(client.clone(), home), all(), |g| {
                vec![ChangeKey::Gateway(g.name_any())]
            }),
            remote_clusters: RemoteClusters::new(options, wake, tasks, stop),
            routes: w.watch_optional(Api::all(client.clone()), all(), keys_for_route),
            conflicts: WriteConflicts::default(),
            events: Events::default(),
            state_ages: StateAges::default(),
        }
    }

    /// Waits until every kind has been listed once.
    pub(super) async fn wait_until_ready(&self) {
        // A dropped writer means that the engine is stopping, and nobody waits for this either.
        let _ = tokio::join!(
            self.apps.wait_until_ready(),
            self.releases.wait_until_ready(),
            self.approvals.wait_until_ready(),
            self.groups.wait_until_ready(),
            self.lanes.wait_until_ready(),
            self.workloads.wait_until_ready(),
            self.services.wait_until_ready(),
            self.slices.wait_until_ready(),
            self.jobs.wait_until_ready(),
        );
        // Releases also work in a cluster without Gateway API, or one that does not let us read it.
        let routes = async {
            let _ = tokio::join!(
                self.classes.wait_until_ready(),
                self.gateways.wait_until_ready(),
                self.routes.wait_until_ready()
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

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use watcher::{Error, Event};

    use super::*;

    #[test]
    fn a_kind_is_there_when_it_has_been_listed_and_absent_when_the_server_says_so() {
        let refused = |code| {
            let status = Status::failure("no", "No").with_code(code);
            Err(Error::InitialListFailed(kube::Error::Api(Box::new(status))))
        };
        // A cluster without the kind, listed repeatedly; then the kind is installed.
        let told = [
            Ok(Event::Init),
            refused(404),
            Ok(Event::Init),
            refused(404),
            Ok(Event::Init),
            Ok(Event::InitDone),
        ]
        .map(|event| kind_is_absent::<()>(&event));
        assert_eq!(
            told,
            [None, Some(true), None, Some(true), None, Some(false)]
        );
        assert_eq!(
            [refused(403), refused(500)].map(|event| kind_is_absent::<()>(&event)),
            [None, None]
        );
    }
}
