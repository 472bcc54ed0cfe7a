//! One shared watch per kind: the cluster's objects as last reported, including our own writes.
//!
//! A controller that has just created a pod must not create it again because the watch is late. So
//! the answers to our writes are stored too, unless the watch has already passed their version.

use futures::StreamExt;
use kube::api::ObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// `(namespace, name)`; the namespace of a cluster-wide object is empty.
pub type NamespacedName = (String, String);

pub fn namespaced_name(meta: &ObjectMeta) -> NamespacedName {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// Receives the old and the new object of a change.
type Listener<K> = Box<dyn Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync>;

struct State<K> {
    objects: BTreeMap<NamespacedName, Arc<K>>,
    /// Newest resourceVersion that the watch has reported.
    seen: u64,
    /// Uids of objects that we deleted and whose deletion the watch has not confirmed yet.
    hidden: HashSet<String>,
}

struct Inner<K> {
    state: Mutex<State<K>>,
    listeners: Mutex<Vec<Listener<K>>>,
    ready: watch::Sender<bool>,
}

pub struct Cache<K>(Arc<Inner<K>>);

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        let state = State {
            objects: BTreeMap::new(),
            seen: 0,
            hidden: HashSet::new(),
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            listeners: Mutex::default(),
            ready: watch::Sender::new(false),
        }))
    }
}

fn resource_version<K: Resource>(object: &K) -> u64 {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    fn lock_state(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a listener that gets the old and the new object of every change that the watch reports.
    pub fn on_change(
        &self,
        listener: impl Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync + 'static,
    ) {
        self.0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(listener));
    }

    fn notify_listeners(&self, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        for listener in self
            .0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            listener(old, new);
        }
    }

    pub fn get(&self, key: &NamespacedName) -> Option<Arc<K>> {
        let state = self.lock_state();
        let object = state.objects.get(key)?;
        let hidden = object
            .meta()
            .uid
            .as_ref()
            .is_some_and(|uid| state.hidden.contains(uid));
        (!hidden).then(|| object.clone())
    }

    /// Lists the objects of one namespace, or of all when `namespace` is empty.
    pub fn list(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.lock_state();
        let all = state
            .objects
            .iter()
            .filter(|((ns, _), _)| namespace.is_empty() || ns == namespace);
        all.map(|(_, object)| object)
            .filter(|o| {
                !o.meta()
                    .uid
                    .as_ref()
                    .is_some_and(|uid| state.hidden.contains(uid))
            })
            .cloned()
            .collect()
    }

    /// Stores the answer to one of our own writes.
    pub fn record_write(&self, object: &K) {
        let mut state = self.lock_state();
        if resource_version(object) > state.seen {
            state
                .objects
                .insert(namespaced_name(object.meta()), Arc::new(object.clone()));
        }
    }

    /// Hides an object that we deleted until the watch confirms the deletion.
    pub fn record_deletion(&self, object: &K) {
        if let Some(uid) = object.uid() {
            let mut state = self.lock_state();
            let present = state.objects.get(&namespaced_name(object.meta()));
            if present.is_some_and(|o| o.meta().uid.as_deref() == Some(uid.as_str())) {
                state.hidden.insert(uid);
            }
        }
    }

    /// Waits until the first list is complete.
    pub async fn wait_until_synced(&self) {
        let mut ready = self.0.ready.subscribe();
        let _ = ready.wait_for(|r| *r).await;
    }

    /// Watches all objects until `stop` is cancelled.
    pub async fn run_watch(self, api: Api<K>, stop: CancellationToken) {
        self.run_filtered_watch(api, watcher::Config::default(), stop)
            .await;
    }

    /// Watches the objects that `selection` matches until `stop` is cancelled.
    pub async fn run_filtered_watch(
        self,
        api: Api<K>,
        selection: watcher::Config,
        stop: CancellationToken,
    ) {
        let strip = |o: &mut K| o.meta_mut().managed_fields = None;
        let events = watcher(api, selection).modify(strip).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut listed: BTreeMap<NamespacedName, Arc<K>> = BTreeMap::new();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                None => return,
                Some(Err(error)) => tracing::debug!(kind = %K::kind(&()), %error, "watch"),
                Some(Ok(watcher::Event::Init)) => listed.clear(),
                Some(Ok(watcher::Event::InitApply(object))) => {
                    listed.insert(namespaced_name(object.meta()), Arc::new(object));
                }
                Some(Ok(watcher::Event::InitDone)) => {
                    self.replace(std::mem::take(&mut listed));
                    self.0.ready.send_replace(true);
                }
                Some(Ok(watcher::Event::Apply(object))) => self.apply(object),
                Some(Ok(watcher::Event::Delete(object))) => self.delete(object),
            }
        }
    }

    fn replace(&self, listed: BTreeMap<NamespacedName, Arc<K>>) {
        let old = {
            let mut state = self.lock_state();
            state.hidden.clear();
            state.seen = listed
                .values()
                .map(|o| resource_version(o.as_ref()))
                .max()
                .unwrap_or(0)
                .max(state.seen);
            std::mem::replace(&mut state.objects, listed.clone())
        };
        for (key, was) in &old {
            if !listed.contains_key(key) {
                self.notify_listeners(Some(was), None);
            }
        }
        for (key, is) in &listed {
            self.notify_listeners(old.get(key), Some(is));
        }
    }

    fn apply(&self, object: K) {
        let object = Arc::new(object);
        let old = {
            let mut state = self.lock_state();
            let at = resource_version(object.as_ref());
            state.seen = state.seen.max(at);
            let newer = |o: &Arc<K>| resource_version(o.as_ref()) > at;
            if state
                .objects
                .get(&namespaced_name(object.meta()))
                .is_some_and(newer)
            {
                // A later write of our own is already stored; its event will follow.
                None
            } else {
                state
                    .objects
                    .insert(namespaced_name(object.meta()), object.clone())
            }
        };
        self.notify_listeners(old.as_ref(), Some(&object));
    }

    fn delete(&self, object: K) {
        let old = {
            let mut state = self.lock_state();
            state.seen = state.seen.max(resource_version(&object));
            if let Some(uid) = &object.meta().uid {
                state.hidden.remove(uid);
            }
            let key = namespaced_name(object.meta());
            // One of our own writes may already have stored a new object of the same name.
            let same = state
                .objects
                .get(&key)
                .is_some_and(|o| o.meta().uid == object.meta().uid);
            if same {
                state.objects.remove(&key)
            } else {
                None
            }
        };
        self.notify_listeners(Some(&old.unwrap_or_else(|| Arc::new(object))), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn object(name: &str, uid: &str, version: u64) -> ConfigMap {
        let mut o = ConfigMap::default();
        o.metadata.name = Some(name.into());
        o.metadata.uid = Some(uid.into());
        o.metadata.resource_version = Some(version.to_string());
        o
    }

    #[test]
    fn a_late_answer_brings_nothing_back() {
        let cache = Cache::<ConfigMap>::default();
        let made = object("a", "1", 10);
        cache.apply(made.clone());
        cache.delete(object("a", "1", 12));
        cache.record_write(&made);
        assert!(cache.list("").is_empty(), "the watch was already past it");
        let early = object("b", "2", 13);
        cache.record_write(&early);
        assert_eq!(
            cache.list("").len(),
            1,
            "an answer ahead of the watch counts at once"
        );
        cache.apply(early);
        assert_eq!(cache.list("").len(), 1);
    }

    #[test]
    fn what_we_deleted_is_gone_before_the_watch_says_so() {
        let cache = Cache::<ConfigMap>::default();
        let first = object("a", "1", 10);
        cache.apply(first.clone());
        cache.record_deletion(&first);
        assert!(cache.list("").is_empty());
        cache.record_write(&object("a", "2", 12));
        cache.delete(object("a", "1", 11));
        let left = cache.get(&namespaced_name(&first.metadata)).unwrap();
        assert_eq!(
            left.metadata.uid.as_deref(),
            Some("2"),
            "the next of that name stays"
        );
    }
}
