//! Environments in remote clusters. Each namespace is watched from the first time a release needs
//! it. An unreachable cluster only holds up its own environments, which report it.
//!
//! Within the engine such a namespace is written `CONTEXT/NAMESPACE`, as in
//! [`crate::domain::world::Key`]. Decisions use these names; only reads and writes go to the
//! cluster.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, future};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Options,
    cache::{Kept, Namespaced},
    steady::steady,
    trim,
    wake::{Key, Wake, of_pod, of_set, of_workload},
    workloads::{Readiness, Workloads},
};
use crate::{
    cluster::{clusters::Clusters, error},
    domain::world,
};

/// Watched namespaces of remote clusters.
pub(super) struct Elsewhere {
    clusters: Clusters,
    wake: Arc<Wake>,
    tasks: TaskTracker,
    stop: CancellationToken,
    places: Mutex<BTreeMap<String, Arc<Place>>>,
}

/// One watched namespace of a remote cluster.
pub(super) struct Place {
    pub(super) workloads: Workloads,
    /// Problem of the watch by kind. At first that nothing has been listed yet.
    wrong: Arc<Mutex<BTreeMap<String, String>>>,
    /// Dropping it stops the watches.
    _ends: DropGuard,
}

impl Place {
    /// Why the observed state may be out of date.
    pub(super) fn away(&self) -> Option<String> {
        self.wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .next()
            .cloned()
    }
}

impl Elsewhere {
    pub(super) fn new(
        options: &Options,
        wake: &Arc<Wake>,
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

    /// Context and namespace of such a name. `None` if it is in the home cluster.
    pub(super) fn of<'a>(&self, namespace: &'a str) -> Option<(&'a str, &'a str)> {
        let (context, namespace) = world::place(namespace);
        self.clusters
            .canonical(context)
            .map(|context| (context, namespace))
    }

    /// Watched namespace; starts its watches if needed.
    pub(super) fn place(&self, name: &str, context: &str, namespace: &str) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            places
                .entry(name.to_owned())
                .or_insert_with(|| Arc::new(self.watch(context, namespace))),
        )
    }

    /// Watched namespace, if it is watched.
    pub(super) fn known(&self, name: &str) -> Option<Arc<Place>> {
        self.places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// Stops watching namespaces that are no longer needed.
    pub(super) fn keep(&self, asked: impl Fn(&str) -> bool) {
        self.places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name, _| asked(name));
    }

    fn watch(&self, context: &str, namespace: &str) -> Place {
        let (client, stop) = (self.clusters.of(Some(context)), self.stop.child_token());
        let wrong = Arc::<Mutex<BTreeMap<String, String>>>::default();
        let at = (context, namespace, &stop);
        Place {
            workloads: Workloads {
                deployments: Kept::new(self.store(&client, at, &wrong, |_| {}, of_workload)),
                stateful: Kept::new(self.store(&client, at, &wrong, |_| {}, of_workload)),
                sets: self.store(&client, at, &wrong, trim::writers, of_set),
                pods: self.store(&client, at, &wrong, trim::pod, of_pod),
                ready: Readiness::default(),
            },
            wrong,
            _ends: stop.drop_guard(),
        }
    }

    fn store<K>(
        &self,
        client: &Client,
        (context, namespace, stop): (&str, &str, &CancellationToken),
        wrong: &Arc<Mutex<BTreeMap<String, String>>>,
        trim: fn(&mut K),
        concerns: fn(&K) -> Vec<Key>,
    ) -> Store<K>
    where
        K: Namespaced,
    {
        let kind = K::plural(&()).into_owned();
        let unknown = format!("{kind} of {namespace} have not been listed yet");
        wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(kind.clone(), unknown);
        let (store, writer) = reflector::store();
        let (wake, wrong, context) = (
            Arc::clone(&self.wake),
            Arc::clone(wrong),
            context.to_owned(),
        );
        // Workloads of the same name in another cluster are different ones.
        let named = move |key: Key| match key {
            Key::Workload(namespace, name) => Key::Workload(
                world::Key::of(Some(&context), &namespace, "").namespace,
                name,
            ),
            key => key,
        };
        let api = Api::<K>::namespaced(client.clone(), namespace);
        let stream = steady(api, watcher::Config::default())
            .modify(trim)
            .reflect(writer);
        let stream = stream.for_each(move |event| {
            let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => {
                    wrong.remove(&kind);
                    wake.add(concerns(&object).into_iter().map(&named));
                }
                Ok(watcher::Event::InitDone) => {
                    wrong.remove(&kind);
                    wake.add([Key::All]);
                }
                Err(why) => {
                    let words = error::words_of_watch(&why);
                    tracing::warn!(kind, why = words, "the engine's watch in another cluster");
                    if wrong.insert(kind.clone(), words).is_none() {
                        wake.add([Key::All]);
                    }
                }
            }
            future::ready(())
        });
        let stop = stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(stream).await });
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
        let elsewhere = Elsewhere {
            clusters: Clusters::new(
                Client::new(silent, "default"),
                Some("far".into()),
                None,
                Arc::default(),
                Agent::Engine,
            ),
            wake: Arc::default(),
            tasks: tasks.clone(),
            stop: CancellationToken::new(),
            places: Mutex::default(),
        };
        drop(elsewhere.place("far/demo", "far", "demo"));
        elsewhere.keep(|name| name == "far/demo");
        assert!(elsewhere.known("far/demo").is_some() && tasks.len() == 4);
        elsewhere.keep(|_| false);
        assert!(elsewhere.known("far/demo").is_none());
        tasks.close();
        tokio::time::timeout(std::time::Duration::from_secs(60), tasks.wait())
            .await
            .expect("its watches end");
    }
}
