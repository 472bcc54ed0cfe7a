//! Environments in remote clusters. Each namespace is watched from the first time a release needs
//! it. An unreachable cluster only holds up its own environments, which report it.
//!
//! Decisions name objects by their cluster too; only reads and writes go to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::Stream;
use kube::{Api, Client, Resource, runtime::watcher};
use reconcile::{
    store::{NamespacedKind, Store, StoreEvent},
    watch::resilient_watch,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Options,
    cache::keep_whole,
    change_queue::{ChangeKey, ChangeQueue, keys_for_pod, keys_for_replica_set, keys_for_workload},
    pod_watch,
    workloads::{Readiness, Workloads},
};
use crate::{
    api::NamespaceRef,
    cluster::{clusters::Clusters, error},
    domain::world::ObjectKey,
};

/// Watched namespaces of remote clusters.
pub(super) struct RemoteClusters {
    clusters: Clusters,
    wake: Arc<ChangeQueue>,
    tasks: TaskTracker,
    stop: CancellationToken,
    places: Mutex<BTreeMap<NamespaceRef, Arc<RemoteNamespace>>>,
}

/// One watched namespace of a remote cluster.
pub(super) struct RemoteNamespace {
    pub(super) workloads: Workloads,
    /// Problem of the watch by kind. At first that nothing has been listed yet.
    wrong: Arc<Mutex<BTreeMap<String, String>>>,
    /// Dropping it stops the watches.
    _ends: DropGuard,
}

impl RemoteNamespace {
    /// Why the observed state may be out of date.
    pub(super) fn unreachable_reason(&self) -> Option<String> {
        self.wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .next()
            .cloned()
    }
}

impl RemoteClusters {
    pub(super) fn new(
        options: &Options,
        wake: &Arc<ChangeQueue>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        Self {
            clusters: options.clusters.clone(),
            wake: Arc::clone(wake),
            tasks: tasks.clone(),
            stop: stop.clone(),
            places: Mutex::default(),
        }
    }

    /// Whether a namespace is in another cluster than the home cluster.
    pub(super) fn is_remote(&self, namespace: &NamespaceRef) -> bool {
        !self.clusters.is_home(&namespace.cluster)
    }

    /// Watched namespace; starts its watches if needed.
    pub(super) fn get_or_watch(&self, namespace: &NamespaceRef) -> Arc<RemoteNamespace> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            places
                .entry(namespace.clone())
                .or_insert_with(|| Arc::new(self.start_watches(namespace))),
        )
    }

    /// Watched namespace, if it is watched.
    pub(super) fn get_watched(&self, namespace: &NamespaceRef) -> Option<Arc<RemoteNamespace>> {
        self.places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(namespace)
            .cloned()
    }

    /// Stops watching namespaces that are no longer needed.
    pub(super) fn retain_watched(&self, asked: impl Fn(&NamespaceRef) -> bool) {
        self.places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name, _| asked(name));
    }

    fn start_watches(&self, namespace: &NamespaceRef) -> RemoteNamespace {
        let (client, stop) = (
            self.clusters.client_for(&namespace.cluster),
            self.stop.child_token(),
        );
        let wrong = Arc::<Mutex<BTreeMap<String, String>>>::default();
        let at = (namespace, &stop);
        RemoteNamespace {
            workloads: Workloads {
                deployments: self.watch_kind(
                    Store::with_trim(keep_whole),
                    &client,
                    at,
                    &wrong,
                    keys_for_workload,
                ),
                stateful: self.watch_kind(
                    Store::with_trim(keep_whole),
                    &client,
                    at,
                    &wrong,
                    keys_for_workload,
                ),
                sets: self.watch_kind(Store::default(), &client, at, &wrong, keys_for_replica_set),
                pods: self.follow_events(
                    Store::default(),
                    pod_watch::watch_pods(Api::namespaced(client.clone(), &namespace.name)),
                    at,
                    &wrong,
                    keys_for_pod,
                ),
                ready: Readiness::default(),
            },
            wrong,
            _ends: stop.drop_guard(),
        }
    }

    fn watch_kind<K>(
        &self,
        store: Store<K>,
        client: &Client,
        at: (&NamespaceRef, &CancellationToken),
        wrong: &Arc<Mutex<BTreeMap<String, String>>>,
        concerns: fn(&K) -> Vec<ChangeKey>,
    ) -> Store<K>
    where
        K: NamespacedKind,
    {
        let api = Api::<K>::namespaced(client.clone(), &at.0.name);
        let events = resilient_watch(api, watcher::Config::default());
        self.follow_events(store, events, at, wrong, concerns)
    }

    fn follow_events<K>(
        &self,
        store: Store<K>,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
        (namespace, stop): (&NamespaceRef, &CancellationToken),
        wrong: &Arc<Mutex<BTreeMap<String, String>>>,
        concerns: fn(&K) -> Vec<ChangeKey>,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let kind = K::plural(&()).into_owned();
        let unknown = format!("{kind} of {} have not been listed yet", namespace.name);
        wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(kind.clone(), unknown);
        let (wake, wrong, namespace) =
            (Arc::clone(&self.wake), Arc::clone(wrong), namespace.clone());
        // Workloads of the same name in another cluster are different ones.
        let named = move |key: ChangeKey| match key {
            ChangeKey::Workload(key) => {
                ChangeKey::Workload(ObjectKey::new(namespace.clone(), key.name))
            }
            key => key,
        };
        store.on_event(move |event| {
            let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                StoreEvent::Changed(change) => {
                    wrong.remove(&kind);
                    let keys = change.object().into_iter().flat_map(|o| concerns(o));
                    wake.add(keys.map(&named));
                }
                StoreEvent::Listed(_) | StoreEvent::Absent(_) => {
                    wrong.remove(&kind);
                    wake.add([ChangeKey::All]);
                }
                StoreEvent::Broken(why) => {
                    let words = error::describe_watch_error(why);
                    tracing::warn!(kind, why = words, "the engine's watch in another cluster");
                    if wrong.insert(kind.clone(), words).is_none() {
                        wake.add([ChangeKey::All]);
                    }
                }
            }
        });
        self.tasks
            .spawn(store.clone().run_events(events, stop.clone()));
        store
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::agent::Agent;

    #[tokio::test]
    async fn what_no_release_asks_for_is_watched_no_longer() {
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, tower::BoxError>>()
        });
        let tasks = TaskTracker::new();
        let elsewhere = RemoteClusters {
            clusters: Clusters::new(
                Client::new(silent, "default"),
                "far".into(),
                None,
                Arc::default(),
                Agent::Engine,
            ),
            wake: Arc::default(),
            tasks: tasks.clone(),
            stop: CancellationToken::new(),
            places: Mutex::default(),
        };
        let place = NamespaceRef::from("far/demo");
        drop(elsewhere.get_or_watch(&place));
        elsewhere.retain_watched(|name| *name == place);
        assert!(elsewhere.get_watched(&place).is_some() && tasks.len() == 4);
        elsewhere.retain_watched(|_| false);
        assert!(elsewhere.get_watched(&place).is_none());
        tasks.close();
        tokio::time::timeout(std::time::Duration::from_mins(1), tasks.wait())
            .await
            .expect("its watches end");
    }
}
