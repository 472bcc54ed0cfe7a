//! The objects of one kind as last seen, including our own writes.
//!
//! A controller that has just created a pod must not create it again because the watch is late; a
//! decision based on an older status could let two releases into one environment. So the answers to
//! our writes are stored too, unless the watch has already passed their version. Versions are
//! compared as numbers, which Kubernetes promises of one kind of one server; where they are none,
//! only the watch counts.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt};
use kube::{
    Api, Resource, ResourceExt,
    api::ObjectMeta,
    core::NamespaceResourceScope,
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::watch::resilient_watch;

/// A namespaced kind that can be watched and stored.
pub trait NamespacedKind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> NamespacedKind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// `(namespace, name)`; the namespace of a cluster-wide object is empty.
pub type NamespacedName = (String, String);

/// Namespace and name of an object.
pub fn namespaced_name(meta: &ObjectMeta) -> NamespacedName {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// An object before and after a change; `None` where it was or is not there.
#[derive(Debug)]
pub struct ObjectChange<K> {
    /// The object before.
    pub old: Option<Arc<K>>,
    /// The object after.
    pub new: Option<Arc<K>>,
}

impl<K> ObjectChange<K> {
    /// The object after the change, or before it if it is gone.
    pub fn object(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

/// What a watch has changed in a store.
#[derive(Debug)]
pub enum StoreEvent<'a, K> {
    /// One object.
    Changed(ObjectChange<K>),
    /// A list has replaced all objects, and changed these.
    Listed(&'a [ObjectChange<K>]),
    /// The server does not have the kind, or has it (again).
    Absent(bool),
    /// The watch broke and starts again.
    Broken(&'a watcher::Error),
}

type Listener<K> = Box<dyn Fn(&StoreEvent<'_, K>) + Send + Sync>;

struct State<K> {
    objects: BTreeMap<NamespacedName, Arc<K>>,
    /// Newest version that the watch has reported.
    seen: u64,
    /// UIDs of objects that we deleted and whose deletion the watch has not confirmed yet.
    hidden: HashSet<String>,
}

impl<K: Resource> State<K> {
    fn is_shown(&self, object: &Arc<K>) -> bool {
        let uid = object.meta().uid.as_ref();
        !uid.is_some_and(|uid| self.hidden.contains(uid))
    }
}

struct Inner<K> {
    state: Mutex<State<K>>,
    listeners: Mutex<Vec<Listener<K>>>,
    /// Drops what nobody reads, of watched objects and of own writes.
    trim: fn(&mut K),
    /// Whether the kind may be missing. Of other kinds, that the server says so is an error: it does
    /// until it has read its definitions.
    optional: bool,
    synced: watch::Sender<bool>,
    absent: watch::Sender<bool>,
}

/// A store; clones share one. Filled by [`Store::run_watch`].
pub struct Store<K>(Arc<Inner<K>>);

impl<K> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Resource> Default for Store<K> {
    /// A store that keeps all but managed fields.
    fn default() -> Self {
        Self::with_trim(|object| object.meta_mut().managed_fields = None)
    }
}

/// Version of an object; `None` if it is no number.
fn version_number<K: Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

impl<K> Store<K> {
    /// A store that applies `trim` to each object first.
    pub fn with_trim(trim: fn(&mut K)) -> Self {
        Self::new(trim, false)
    }

    /// A store of a kind that a cluster may not have (yet). It is empty then.
    pub fn optional(trim: fn(&mut K)) -> Self {
        Self::new(trim, true)
    }

    fn new(trim: fn(&mut K), optional: bool) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                objects: BTreeMap::new(),
                seen: 0,
                hidden: HashSet::new(),
            }),
            listeners: Mutex::default(),
            trim,
            optional,
            synced: watch::Sender::new(false),
            absent: watch::Sender::new(false),
        }))
    }

    /// Adds a listener for what the watch changes.
    pub fn on_event(&self, listener: impl Fn(&StoreEvent<'_, K>) + Send + Sync + 'static) {
        let mut listeners = self
            .0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.push(Box::new(listener));
    }

    /// Adds a listener for each object that the watch changes, by events or by a list: it gets the
    /// object before and after.
    pub fn on_change(
        &self,
        listener: impl Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync + 'static,
    ) {
        let tell =
            move |change: &ObjectChange<K>| listener(change.old.as_ref(), change.new.as_ref());
        self.on_event(move |event| match event {
            StoreEvent::Changed(change) => tell(change),
            StoreEvent::Listed(changes) => changes.iter().for_each(&tell),
            StoreEvent::Absent(_) | StoreEvent::Broken(_) => {}
        });
    }

    fn notify_listeners(&self, event: &StoreEvent<'_, K>) {
        let listeners = self
            .0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(|listener| listener(event));
    }

    /// Whether the server does not have an optional kind.
    pub fn is_absent(&self) -> bool {
        *self.0.absent.borrow()
    }

    /// Waits until the first list is complete.
    pub async fn wait_until_synced(&self) {
        // The sender lives as long as this store.
        let _ = self.0.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Waits until the first list is complete, or the server says that it does not have the kind.
    pub async fn wait_until_synced_or_absent(&self) {
        let mut absent = self.0.absent.subscribe();
        tokio::select! {
            () = self.wait_until_synced() => {}
            _ = absent.wait_for(|absent| *absent) => {}
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    /// The object of this name; the namespace of a cluster-wide object is empty.
    pub fn get_named(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The object of this name.
    pub fn get(&self, key: &NamespacedName) -> Option<Arc<K>> {
        let state = self.lock_state();
        let object = state.objects.get(key)?;
        state.is_shown(object).then(|| object.clone())
    }

    /// All objects, by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        let state = self.lock_state();
        let shown = state.objects.values().filter(|o| state.is_shown(o));
        shown.cloned().collect()
    }

    /// The objects of one namespace, by name.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.lock_state();
        let first = (namespace.to_owned(), String::new());
        let within = state
            .objects
            .range(first..)
            .take_while(|((of, _), _)| of == namespace);
        within
            .map(|(_, object)| object)
            .filter(|o| state.is_shown(o))
            .cloned()
            .collect()
    }

    /// Stores the answer to one of our own writes.
    pub fn record_write(&self, object: &K) {
        let Some(version) = version_number(object) else {
            return;
        };
        let mut state = self.lock_state();
        let key = namespaced_name(object.meta());
        let is_newer = version > state.seen
            && state
                .objects
                .get(&key)
                .is_none_or(|known| version_number(known.as_ref()) < Some(version));
        if is_newer {
            let mut written = object.clone();
            (self.0.trim)(&mut written);
            state.objects.insert(key, Arc::new(written));
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

    /// Watches the objects that `selection` matches until `stop` is cancelled.
    pub async fn run_watch(self, api: Api<K>, selection: watcher::Config, stop: CancellationToken)
    where
        K: Debug + DeserializeOwned,
    {
        self.run_events(resilient_watch(api, selection), stop).await;
    }

    /// Takes the events of a watch until `stop` is cancelled.
    pub async fn run_events(
        self,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
        stop: CancellationToken,
    ) {
        let mut events = std::pin::pin!(events);
        let mut listed: BTreeMap<NamespacedName, Arc<K>> = BTreeMap::new();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                None => return,
                Some(Err(error)) => self.note_error(&error),
                Some(Ok(Event::Init)) => listed.clear(),
                Some(Ok(Event::InitApply(mut object))) => {
                    (self.0.trim)(&mut object);
                    listed.insert(namespaced_name(object.meta()), Arc::new(object));
                }
                Some(Ok(Event::InitDone)) => {
                    self.replace(std::mem::take(&mut listed));
                    self.0.synced.send_replace(true);
                }
                Some(Ok(Event::Apply(object))) => self.apply(object),
                Some(Ok(Event::Delete(object))) => self.delete(object),
            }
        }
    }

    fn note_error(&self, error: &watcher::Error) {
        // Said once: a kind that is missing is asked for again and again.
        if self.0.optional && is_missing(error) && !self.set_absent(true) {
            return;
        }
        self.notify_listeners(&StoreEvent::Broken(error));
    }

    /// Notes whether the server has the kind. Returns whether that is news.
    fn set_absent(&self, absent: bool) -> bool {
        let is_news = self.0.absent.send_replace(absent) != absent;
        if is_news {
            if absent {
                self.lock_state().objects.clear();
            }
            self.notify_listeners(&StoreEvent::Absent(absent));
        }
        is_news
    }

    fn replace(&self, mut listed: BTreeMap<NamespacedName, Arc<K>>) {
        self.set_absent(false);
        let changes = {
            let mut state = self.lock_state();
            state.hidden.clear();
            let newest = listed.values().filter_map(|o| version_number(o.as_ref()));
            state.seen = newest.max().unwrap_or(0).max(state.seen);
            // A write of our own that was answered while the list was read counts; its event will
            // follow. What is not listed is gone.
            for (key, new) in &mut listed {
                let known = state.objects.get(key);
                if let Some(known) = known.filter(|known| known.meta().uid == new.meta().uid)
                    && version_number(known.as_ref()) > version_number(new.as_ref())
                    && version_number(new.as_ref()).is_some()
                {
                    *new = known.clone();
                }
            }
            let mut old = std::mem::replace(&mut state.objects, listed);
            let mut changes = vec![];
            for (key, new) in &state.objects {
                changes.push(ObjectChange {
                    old: old.remove(key),
                    new: Some(new.clone()),
                });
            }
            changes.extend(old.into_values().map(|gone| ObjectChange {
                old: Some(gone),
                new: None,
            }));
            changes
        };
        self.notify_listeners(&StoreEvent::Listed(&changes));
    }

    fn apply(&self, mut object: K) {
        (self.0.trim)(&mut object);
        let object = Arc::new(object);
        let old = {
            let mut state = self.lock_state();
            let version = version_number(object.as_ref());
            state.seen = state.seen.max(version.unwrap_or(0));
            let key = namespaced_name(object.meta());
            let known = state.objects.get(&key).cloned();
            // A later write of our own is already stored; its event will follow.
            let is_late =
                |known: &Arc<K>| version.is_some() && version_number(known.as_ref()) > version;
            if !known.as_ref().is_some_and(is_late) {
                state.objects.insert(key, object.clone());
            }
            known
        };
        self.notify_listeners(&StoreEvent::Changed(ObjectChange {
            old,
            new: Some(object),
        }));
    }

    fn delete(&self, object: K) {
        let old = {
            let mut state = self.lock_state();
            state.seen = state.seen.max(version_number(&object).unwrap_or(0));
            if let Some(uid) = &object.meta().uid {
                state.hidden.remove(uid);
            }
            let key = namespaced_name(object.meta());
            // One of our own writes may already have stored a new object of the same name.
            let is_same = |o: &Arc<K>| o.meta().uid == object.meta().uid;
            if state.objects.get(&key).is_some_and(is_same) {
                state.objects.remove(&key)
            } else {
                None
            }
        };
        self.notify_listeners(&StoreEvent::Changed(ObjectChange {
            old: Some(old.unwrap_or_else(|| Arc::new(object))),
            new: None,
        }));
    }
}

/// Whether an error says that the server does not have the kind.
fn is_missing(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    code == 404
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::Status;

    use super::*;

    fn object(name: &str, uid: &str, version: u64) -> ConfigMap {
        let mut o = ConfigMap::default();
        o.metadata.name = Some(name.into());
        o.metadata.uid = Some(uid.into());
        o.metadata.resource_version = Some(version.to_string());
        o
    }

    fn listed(objects: &[ConfigMap]) -> BTreeMap<NamespacedName, Arc<ConfigMap>> {
        objects
            .iter()
            .map(|o| (namespaced_name(&o.metadata), Arc::new(o.clone())))
            .collect()
    }

    #[test]
    fn a_late_answer_brings_nothing_back() {
        let store = Store::<ConfigMap>::default();
        let made = object("a", "1", 10);
        store.apply(made.clone());
        store.delete(object("a", "1", 12));
        store.record_write(&made);
        assert!(store.list().is_empty(), "the watch was already past it");
        let early = object("b", "2", 13);
        store.record_write(&early);
        assert_eq!(
            store.list().len(),
            1,
            "an answer ahead of the watch counts at once"
        );
        store.apply(early);
        assert_eq!(store.list().len(), 1);
    }

    #[test]
    fn of_two_answers_the_newer_one_stays() {
        let store = Store::<ConfigMap>::default();
        store.record_write(&object("a", "1", 12));
        store.record_write(&object("a", "1", 11));
        store.apply(object("a", "1", 10));
        let known = store.get(&(String::new(), "a".into())).unwrap();
        assert_eq!(known.metadata.resource_version.as_deref(), Some("12"));
        // Versions that are no numbers: the watch counts alone.
        let odd = ConfigMap {
            metadata: ObjectMeta {
                resource_version: Some("v13".into()),
                ..object("a", "1", 0).metadata
            },
            ..ConfigMap::default()
        };
        store.record_write(&odd);
        assert_eq!(store.get(&(String::new(), "a".into())).unwrap(), known);
        store.apply(odd.clone());
        assert_eq!(*store.get(&(String::new(), "a".into())).unwrap(), odd);
    }

    #[test]
    fn what_we_deleted_is_gone_before_the_watch_says_so() {
        let store = Store::<ConfigMap>::default();
        let first = object("a", "1", 10);
        store.apply(first.clone());
        store.record_deletion(&first);
        assert!(store.list().is_empty());
        store.record_write(&object("a", "2", 12));
        store.delete(object("a", "1", 11));
        let left = store.get(&namespaced_name(&first.metadata)).unwrap();
        assert_eq!(
            left.metadata.uid.as_deref(),
            Some("2"),
            "the next of that name stays"
        );
    }

    #[test]
    fn a_list_tells_what_it_changes() {
        let store = Store::<ConfigMap>::default();
        let told = Arc::new(Mutex::new(vec![]));
        let heard = told.clone();
        let name_of = |o: Option<&Arc<ConfigMap>>| o.map(|o| o.name_any());
        store.on_change(move |old, new| {
            heard.lock().unwrap().push((name_of(old), name_of(new)));
        });
        store.replace(listed(&[object("a", "1", 1), object("b", "2", 2)]));
        told.lock().unwrap().clear();
        store.replace(listed(&[object("b", "2", 2), object("c", "3", 3)]));
        let name = |n: &str| Some(n.to_owned());
        assert_eq!(
            *told.lock().unwrap(),
            [(name("b"), name("b")), (None, name("c")), (name("a"), None)]
        );
    }

    #[test]
    fn a_kind_is_absent_when_the_server_says_so_until_it_is_listed() {
        let refused = |code| {
            let status = Status::failure("no", "No").with_code(code);
            watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
        };
        let store = Store::<ConfigMap>::optional(|_| {});
        let told = Arc::new(Mutex::new(vec![]));
        let heard = told.clone();
        store.on_event(move |event| {
            heard.lock().unwrap().push(match event {
                StoreEvent::Absent(absent) => format!("absent {absent}"),
                StoreEvent::Broken(_) => "broken".into(),
                StoreEvent::Listed(_) => "listed".into(),
                StoreEvent::Changed(_) => "changed".into(),
            });
        });
        store.apply(object("a", "1", 1));
        for code in [403, 500, 404, 404] {
            store.note_error(&refused(code));
        }
        assert!(store.is_absent() && store.list().is_empty());
        store.replace(listed(&[object("a", "1", 1)]));
        assert!(!store.is_absent());
        assert_eq!(
            *told.lock().unwrap(),
            [
                "changed",
                "broken",
                "broken",
                "absent true",
                "broken",
                "absent false",
                "listed"
            ]
        );
        // Of a kind that must be there it is an error, and what is known stays.
        let store = Store::<ConfigMap>::default();
        store.apply(object("a", "1", 1));
        store.note_error(&refused(404));
        assert!(!store.is_absent() && store.list().len() == 1);
    }

    #[test]
    fn a_list_that_is_older_than_an_answer_does_not_take_it_back() {
        let store = Store::<ConfigMap>::default();
        store.replace(listed(&[object("a", "1", 1), object("b", "2", 2)]));
        store.record_write(&object("a", "1", 9));
        store.record_write(&object("c", "3", 10));
        store.replace(listed(&[object("a", "1", 8), object("b", "2", 2)]));
        let versions: Vec<Option<String>> =
            store.list().iter().map(|o| o.resource_version()).collect();
        // What was made and is not listed may have been deleted; if not, its event follows.
        assert_eq!(versions, [Some("9".into()), Some("2".into())]);
        // Another object of the same name is another object.
        store.replace(listed(&[object("a", "4", 8)]));
        assert_eq!(store.list()[0].uid().as_deref(), Some("4"));
    }

    #[test]
    fn a_namespace_is_listed_alone() {
        let store = Store::<ConfigMap>::default();
        for (namespace, name) in [("a", "x"), ("b", "x"), ("b", "y"), ("c", "x")] {
            let mut one = object(name, &format!("{namespace}{name}"), 1);
            one.metadata.namespace = Some(namespace.into());
            store.apply(one);
        }
        let names: Vec<String> = store
            .list_namespace("b")
            .iter()
            .map(|o| o.name_any())
            .collect();
        assert_eq!(names, ["x", "y"]);
        assert_eq!(store.list().len(), 4);
    }
}
