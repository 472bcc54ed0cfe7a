//! The objects of one pocket: kept in memory as text ([`ObjectVersion`]) and written through to one file.
//!
//! There is one writer, and every change takes the next resourceVersion. Nobody sees a change, not
//! even its author, before it is on disk; a reader never waits for the disk. The history is
//! limited, in changes per resource and in total bytes (`HISTORY`): a watch that starts before it
//! gets an error (410) and lists again.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;
use tokio::sync::{oneshot, watch};

mod disk;
mod error;
mod history;
mod version;
mod writer;

pub use disk::damage_behind_panic;
pub use error::{StoreError, WriteError};
pub use history::{Change, ChangeKind, TooOld};
pub use version::ObjectVersion;

use disk::Disk;
use history::History;
use writer::{Message, Request};

/// Identifies an object: storage name of its resource (`pods`, `deployments.apps`), namespace
/// (empty when cluster-scoped), name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub resource: Arc<str>,
    pub namespace: String,
    pub name: String,
}

/// Current state of an object, parsed.
#[derive(Clone, Debug)]
pub struct StoredObject {
    pub rv: u64,
    pub value: Arc<Value>,
}

/// Precondition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    Absent,
    Version(u64),
}

/// A write: the object to store, or the final state of the one to remove.
#[derive(Clone, Debug)]
pub enum WriteOp {
    Put(Value),
    Remove(Value),
}

/// Objects of one resource at one version.
#[derive(Clone, Debug)]
pub struct Listing {
    pub rv: u64,
    pub items: Vec<Arc<ObjectVersion>>,
}

impl Listing {
    /// Iterates over the parsed values; each is parsed on demand.
    pub fn values(&self) -> impl Iterator<Item = Arc<Value>> {
        self.items.iter().map(|version| version.value())
    }
}

/// Approximate limit on the total bytes in the histories of all resources; beyond it, the resource
/// with the largest history drops its oldest changes.
const HISTORY: usize = 8 << 20;

/// Current state of an object; the history shares its version.
#[derive(Clone)]
struct Entry {
    rv: u64,
    version: Arc<ObjectVersion>,
}

impl Entry {
    fn to_stored(&self) -> StoredObject {
        StoredObject {
            rv: self.rv,
            value: self.version.value(),
        }
    }
}

type EntryMap = BTreeMap<(String, String), Entry>;

/// Objects and recent history of one resource.
struct Collection {
    objects: EntryMap,
    history: History,
    latest: watch::Sender<u64>,
}

struct StoreState {
    rv: u64,
    /// Version at which this process opened the store; older changes cannot be replayed.
    opened_at: u64,
    collections: HashMap<Arc<str>, Collection>,
    /// Limit in bytes, see [`HISTORY`].
    history: usize,
}

impl StoreState {
    fn collection_mut(&mut self, resource: &Arc<str>) -> &mut Collection {
        let floor = self.opened_at;
        self.collections
            .entry(resource.clone())
            .or_insert_with(|| Collection {
                objects: EntryMap::new(),
                history: History::new(floor),
                latest: watch::channel(floor).0,
            })
    }

    fn entry(&self, key: &ObjectKey) -> Option<&Entry> {
        self.collections
            .get(&key.resource)?
            .objects
            .get(&(key.namespace.clone(), key.name.clone()))
    }

    /// Drops the oldest changes of the largest histories until the limit is met.
    fn trim_history(&mut self) {
        let mut bytes: usize = self.collections.values().map(|s| s.history.bytes()).sum();
        while bytes > self.history {
            let Some(most) = self
                .collections
                .values_mut()
                .max_by_key(|s| s.history.bytes())
            else {
                return;
            };
            bytes -= most.history.bytes();
            most.history.forget_oldest();
            bytes += most.history.bytes();
        }
    }
}

/// Handle to a store; clones share one store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    state: Arc<RwLock<StoreState>>,
    sender: std::sync::mpsc::Sender<Message>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.sender.send(Message::Close);
        if let Some(thread) = self.writer.lock().ok().and_then(|mut w| w.take()) {
            let _ = thread.join();
        }
    }
}

fn read_state(state: &RwLock<StoreState>) -> RwLockReadGuard<'_, StoreState> {
    state
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write_state(state: &RwLock<StoreState>) -> RwLockWriteGuard<'_, StoreState> {
    state
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Store {
    /// Opens the store at `path`, creates it if missing, and takes its lock.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        Store::open_with(path, Vec::new())
    }

    /// Like [`Store::open`], and adds the objects of `seed` that do not exist yet.
    pub fn open_with(path: &Path, seed: Vec<(ObjectKey, Value)>) -> Result<Store, StoreError> {
        let (mut disk, mut loaded) = Disk::open(path)?;
        disk.seed(&mut loaded, seed)?;
        let mut state = StoreState {
            rv: loaded.rv,
            opened_at: loaded.rv,
            collections: HashMap::new(),
            history: HISTORY,
        };
        for (key, entry) in loaded.objects {
            state
                .collection_mut(&key.resource)
                .objects
                .insert((key.namespace, key.name), entry);
        }
        let state = Arc::new(RwLock::new(state));
        let (sender, receiver) = std::sync::mpsc::channel();
        let writer = writer::start_writer(disk, state.clone(), receiver).map_err(|source| {
            StoreError::Io {
                path: path.to_owned(),
                source,
            }
        })?;
        Ok(Store {
            inner: Arc::new(Inner {
                state,
                sender,
                writer: Mutex::new(Some(writer)),
            }),
        })
    }

    /// Stops the writer and releases the lock; later writes fail with [`WriteError::Closed`].
    pub async fn close(&self) {
        let _ = self.inner.sender.send(Message::Close);
        let thread = self.inner.writer.lock().ok().and_then(|mut w| w.take());
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Returns the version of the last change of any object.
    pub fn version(&self) -> u64 {
        read_state(&self.inner.state).rv
    }

    /// Returns the version of the last change of one resource.
    pub fn version_of(&self, resource: &str) -> u64 {
        let state = read_state(&self.inner.state);
        state
            .collections
            .get(resource)
            .map_or(state.opened_at, |s| *s.latest.borrow())
    }

    pub fn get(&self, key: &ObjectKey) -> Option<StoredObject> {
        let entry = read_state(&self.inner.state).entry(key).cloned();
        // Parsed after the state's lock is released.
        entry.map(|entry| entry.to_stored())
    }

    /// Lists the objects of a resource, in one namespace or all, sorted by namespace and name.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Listing {
        let state = read_state(&self.inner.state);
        let items = match state.collections.get(resource) {
            None => Vec::new(),
            Some(shelf) => in_namespace(&shelf.objects, namespace)
                .map(|entry| entry.version.clone())
                .collect(),
        };
        Listing {
            rv: state.rv,
            items,
        }
    }

    /// Like [`Store::list`] at an earlier version, by undoing the history step by step. `after` is
    /// the namespace and name at which the list continues.
    pub fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        rv: u64,
        after: Option<(&str, &str)>,
    ) -> Result<Listing, TooOld> {
        let state = read_state(&self.inner.state);
        let Some(shelf) = state.collections.get(resource) else {
            return Ok(Listing {
                rv,
                items: Vec::new(),
            });
        };
        let undo = shelf.history.changes_after(rv)?;
        let is_asked = |at: &(&str, &str)| {
            namespace.is_none_or(|n| n == at.0) && after.is_none_or(|after| *at > after)
        };
        let objects = shelf
            .objects
            .iter()
            .map(|((ns, name), e)| ((ns.as_str(), name.as_str()), e.version.clone()));
        let mut objects: BTreeMap<(&str, &str), Arc<ObjectVersion>> =
            objects.filter(|(at, _)| is_asked(at)).collect();
        for change in undo.iter().rev() {
            let at = (change.namespace.as_str(), change.name.as_str());
            if !is_asked(&at) {
                continue;
            }
            match change.before() {
                Some(before) => objects.insert(at, before.clone()),
                None => objects.remove(&at),
            };
        }
        Ok(Listing {
            rv,
            items: objects.into_values().collect(),
        })
    }

    /// Returns the changes of a resource after `rv`, oldest first, and the version up to which they
    /// are complete.
    pub fn changes_since(
        &self,
        resource: &str,
        rv: u64,
    ) -> Result<(Vec<Arc<Change>>, u64), TooOld> {
        let state = read_state(&self.inner.state);
        match state.collections.get(resource) {
            Some(shelf) => Ok((shelf.history.changes_after(rv)?, state.rv)),
            None if rv < state.opened_at => Err(TooOld {
                asked: rv,
                oldest: state.opened_at,
            }),
            None => Ok((Vec::new(), state.rv)),
        }
    }

    /// Subscribes to the version of the last change of a resource.
    pub fn subscribe(&self, resource: &Arc<str>) -> watch::Receiver<u64> {
        write_state(&self.inner.state)
            .collection_mut(resource)
            .latest
            .subscribe()
    }

    /// Returns all objects of all resources except these.
    pub fn all_but(&self, left_out: &[&str]) -> Vec<Arc<ObjectVersion>> {
        let state = read_state(&self.inner.state);
        let shelves = state
            .collections
            .iter()
            .filter(|(resource, _)| !left_out.contains(&&***resource));
        shelves
            .flat_map(|(_, shelf)| shelf.objects.values())
            .map(|entry| entry.version.clone())
            .collect()
    }

    /// Returns the storage names of the resources that have objects in a namespace.
    pub fn resources_in(&self, namespace: &str) -> Vec<Arc<str>> {
        let state = read_state(&self.inner.state);
        let mut found: Vec<Arc<str>> = state
            .collections
            .iter()
            .filter(|(_, shelf)| {
                in_namespace(&shelf.objects, Some(namespace))
                    .next()
                    .is_some()
            })
            .map(|(resource, _)| resource.clone())
            .collect();
        found.sort();
        found
    }

    /// Writes one object if `expect` holds; returns when it is on disk.
    pub async fn write(
        &self,
        key: ObjectKey,
        expect: Precondition,
        write: WriteOp,
    ) -> Result<StoredObject, WriteError> {
        let (reply, answer) = oneshot::channel();
        let request = Request {
            key,
            expect,
            write,
            reply,
        };
        self.inner
            .sender
            .send(Message::Write(Box::new(request)))
            .map_err(|_| WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)?
    }
}

fn in_namespace<'a>(
    objects: &'a EntryMap,
    namespace: Option<&'a str>,
) -> impl Iterator<Item = &'a Entry> {
    let start = namespace.map_or_else(Default::default, |ns| (ns.to_owned(), String::new()));
    objects
        .range(start..)
        .take_while(move |((ns, _), _)| namespace.is_none_or(|n| n == ns))
        .map(|(_, entry)| entry)
}

#[cfg(test)]
mod tests;
