//! Cache of observed objects: one shared watch for each kind, whose events enqueue the keys they
//! concern. Our own writes count before the watch delivers them.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, future};
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
    elsewhere::Elsewhere,
    fights::Fights,
    observe::events::Events,
    revisions::Revisions,
    since::Since,
    steady::steady,
    trim,
    wake::{
        Key, Wake, of_app, of_approval, of_job, of_own_app, of_pod, of_release, of_route, of_set,
        of_workload,
    },
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
const OPTIONAL: Duration = Duration::from_secs(5);
/// Label with the Service's name on an EndpointSlice.
pub(super) const SERVICE: &str = "kubernetes.io/service-name";

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
    pub(super) apps: Kept<App>,
    pub(super) revisions: Revisions,
    pub(super) releases: Kept<Release>,
    pub(super) approvals: Store<Approval>,
    pub(super) groups: Store<LaneGroup>,
    pub(super) lanes: Store<Lane>,
    pub(super) workloads: Workloads,
    pub(super) services: Store<Service>,
    pub(super) slices: Store<EndpointSlice>,
    pub(super) jobs: Store<Job>,
    pub(super) classes: Optional<GatewayClass>,
    pub(super) gateways: Optional<Gateway>,
    /// HTTPRoutes of everybody, since other routes at the same Gateway may match our requests.
    pub(super) routes: Optional<HttpRoute>,
    pub(super) elsewhere: Elsewhere,
    /// Recent writes of this engine.
    pub(super) fights: Fights,
    /// Recent causes of waits, from events.
    pub(super) events: Events,
    /// How long observed states have lasted.
    pub(super) since: Since,
}

/// A kind that a cluster may not have (yet). Then there are no objects, and nobody waits for it.
pub(super) struct Optional<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store: Store<K>,
    absent: watch::Receiver<bool>,
}

impl<K> Optional<K>
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
pub(super) struct Kept<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store: Store<K>,
    /// Own writes by UID.
    own: Mutex<HashMap<String, Arc<K>>>,
    /// Applied to own writes too, so that they keep no more than the store does.
    trim: fn(&mut K),
}

impl<K> Kept<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    pub(super) fn new(store: Store<K>) -> Self {
        Self::trimmed(store, |_| {})
    }

    fn trimmed(store: Store<K>, trim: fn(&mut K)) -> Self {
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
            .map(|watched| self.newest(watched))
            .collect()
    }

    pub(super) fn get(&self, key: &ObjectRef<K>) -> Option<Arc<K>> {
        self.store.get(key).map(|watched| self.newest(watched))
    }

    /// Remembers the server's answer to a write.
    pub(super) fn remember(&self, mut written: K) {
        (self.trim)(&mut written);
        if let Some(uid) = written.uid() {
            self.own
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(uid, Arc::new(written));
        }
    }

    fn newest(&self, watched: Arc<K>) -> Arc<K> {
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
struct Watches<'a> {
    wake: &'a Arc<Wake>,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl Watches<'_> {
    fn store<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        concerns: fn(&K) -> Vec<Key>,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.light(api, config, |_| {}, concerns).store
    }

    /// For our own kinds in the home namespace. There are many objects, and their managed fields
    /// are never read.
    fn ours<K>(&self, client: &Client, home: &str, concerns: fn(&K) -> Vec<Key>) -> Store<K>
    where
        K: Namespaced,
    {
        let api = Api::namespaced(client.clone(), home);
        self.light(api, watcher::Config::default(), trim::writers, concerns)
            .store
    }

    fn optional<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        concerns: fn(&K) -> Vec<Key>,
    ) -> Optional<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.light(api, config, |_| {}, concerns)
    }

    /// Applies `trim` to each object before it is stored.
    fn light<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        trim: fn(&mut K),
        concerns: fn(&K) -> Vec<Key>,
    ) -> Optional<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let (unknown, absent) = watch::channel(false);
        let (store, writer) = reflector::store();
        let wake = Arc::clone(self.wake);
        let stream = steady(api, config)
            .modify(trim)
            .reflect(writer)
            .for_each(move |event| {
                let told = absence(&event);
                let news = told.is_some_and(|absent| unknown.send_replace(absent) != absent);
                if news {
                    wake.add([Key::All]);
                }
                match event {
                    Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                    Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => {
                        wake.add(concerns(&object))
                    }
                    Ok(watcher::Event::InitDone) => wake.add([Key::All]),
                    // It was reported already that the kind is missing.
                    Err(_) if told == Some(true) && !news => {}
                    Err(why) => {
                        let (kind, why) = (K::plural(&()), error::words_of_watch(&why));
                        tracing::warn!(why, "the engine's watch of {kind}");
                    }
                }
                future::ready(())
            });
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(stream).await });
        Optional { store, absent }
    }
}

/// Whether the server lacks the kind, if the event says so: a complete list means no, the answer
/// that there is no such resource means yes. The beginning of a list says nothing.
fn absence<K>(event: &watcher::Result<watcher::Event<K>>) -> Option<bool> {
    match event {
        Ok(watcher::Event::InitDone) => Some(false),
        Err(why) if error::code_of_watch(why) == Some(404) => Some(true),
        _ => None,
    }
}

impl Cache {
    pub(super) fn start(
        options: &Options,
        wake: &Arc<Wake>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let w = Watches { wake, tasks, stop };
        let client = &options.client;
        let all = watcher::Config::default;
        let ours = || all().labels(label::APP);
        let home = options.namespace.as_str();
        Self {
            revisions: Revisions::default(),
            apps: Kept::trimmed(w.ours(client, home, of_own_app), trim::writers),
            releases: Kept::trimmed(w.ours(client, home, of_release), trim::writers),
            approvals: w.ours(client, home, of_approval),
            groups: w.ours(client, home, |g: &LaneGroup| vec![Key::Group(g.name_any())]),
            lanes: w.ours(client, home, |l: &Lane| {
                vec![Key::Group(l.spec.group.clone())]
            }),
            workloads: Workloads {
                deployments: Kept::new(w.store(Api::all(client.clone()), all(), of_workload)),
                stateful: Kept::new(w.store(Api::all(client.clone()), all(), of_workload)),
                sets: w
                    .light(Api::all(client.clone()), all(), trim::writers, of_set)
                    .store,
                pods: w
                    .light(Api::all(client.clone()), all(), trim::pod, of_pod)
                    .store,
                ready: Readiness::default(),
            },
            services: w.store(Api::namespaced(client.clone(), home), all(), |s| {
                [vec![Key::Service(s.name_any())], of_app(s)].concat()
            }),
            slices: w
                .light(
                    Api::namespaced(client.clone(), home),
                    all(),
                    trim::writers,
                    |s: &EndpointSlice| {
                        s.labels()
                            .get(SERVICE)
                            .cloned()
                            .map(Key::Service)
                            .into_iter()
                            .collect()
                    },
                )
                .store,
            jobs: w
                .light(Api::all(client.clone()), ours(), trim::writers, of_job)
                .store,
            classes: w.optional(Api::all(client.clone()), all(), |_| vec![Key::Class]),
            gateways: w.optional(Api::namespaced(client.clone(), home), all(), |g| {
                vec![Key::Gateway(g.name_any())]
            }),
            elsewhere: Elsewhere::new(options, wake, tasks, stop),
            routes: w.optional(Api::all(client.clone()), all(), of_route),
            fights: Fights::default(),
            events: Events::default(),
            since: Since::default(),
        }
    }

    /// Waits until every kind has been listed once.
    pub(super) async fn ready(&self) {
        // A dropped writer means that the engine is stopping, and nobody waits for this either.
        let _ = tokio::join!(
            self.apps.wait_until_ready(),
            self.releases.wait_until_ready(),
            self.approvals.wait_until_ready(),
            self.groups.wait_until_ready(),
            self.lanes.wait_until_ready(),
            self.workloads.ready(),
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
        if tokio::time::timeout(OPTIONAL, routes).await.is_err() {
            tracing::warn!("no Gateway API kinds in sight: lanes have no routes until they are");
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
        .map(|event| absence::<()>(&event));
        assert_eq!(
            told,
            [None, Some(true), None, Some(true), None, Some(false)]
        );
        assert_eq!(
            [refused(403), refused(500)].map(|event| absence::<()>(&event)),
            [None, None]
        );
    }
}
