//! The objects of one pocket: kept in memory, written through to one file.
//!
//! Rules: there is one writer; every change takes the next resourceVersion; nobody sees a change
//! (not even its author) before it is on disk; a reader never waits for the disk.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;
use tokio::sync::{oneshot, watch};

mod disk;
mod error;
mod history;
mod writer;

pub use disk::is_guarded;
pub use error::{StoreError, WriteError};
pub use history::{Change, ChangeKind, TooOld};

use disk::Disk;
use history::History;
use writer::{Message, Request};

/// Names one object: the storage name of its resource (`pods`, `deployments.apps`), namespace ("" when cluster-wide), name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub resource: Arc<str>,
    pub namespace: String,
    pub name: String,
}

/// One object as it is now.
#[derive(Clone, Debug)]
pub struct Stored {
    pub rv: u64,
    pub value: Arc<Value>,
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Version(u64),
}

/// A write: the object to keep, or the last words of one to remove.
#[derive(Clone, Debug)]
pub enum Write {
    Put(Value),
    Remove(Value),
}

/// Objects of one resource at one version.
#[derive(Clone, Debug)]
pub struct Listing {
    pub rv: u64,
    pub items: Vec<Arc<Value>>,
}

type Named = BTreeMap<(String, String), Stored>;

/// The objects and the recent past of one resource.
struct Shelf {
    objects: Named,
    history: History,
    latest: watch::Sender<u64>,
}

struct State {
    rv: u64,
    /// The version at which this process opened the store: nothing older can be replayed.
    opened_at: u64,
    shelves: HashMap<Arc<str>, Shelf>,
}

impl State {
    fn shelf(&mut self, resource: &Arc<str>) -> &mut Shelf {
        let floor = self.opened_at;
        self.shelves.entry(resource.clone()).or_insert_with(|| Shelf {
            objects: Named::new(),
            history: History::new(floor),
            latest: watch::channel(floor).0,
        })
    }
}

/// A handle; clones share one store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    state: Arc<RwLock<State>>,
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

fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write(state: &RwLock<State>) -> RwLockWriteGuard<'_, State> {
    state.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Store {
    /// Opens (or makes) the store at `path` and takes its lock.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        Store::open_with(path, Vec::new())
    }

    /// The same; of `seed` what is not there yet is there afterwards.
    pub fn open_with(path: &Path, seed: Vec<(Key, Value)>) -> Result<Store, StoreError> {
        let (mut disk, mut loaded) = Disk::open(path)?;
        disk.seed(&mut loaded, seed)?;
        let mut state = State { rv: loaded.rv, opened_at: loaded.rv, shelves: HashMap::new() };
        for (key, stored) in loaded.objects {
            state.shelf(&key.resource).objects.insert((key.namespace, key.name), stored);
        }
        let state = Arc::new(RwLock::new(state));
        let (sender, receiver) = std::sync::mpsc::channel();
        let writer = writer::start(disk, state.clone(), receiver)
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        Ok(Store { inner: Arc::new(Inner { state, sender, writer: Mutex::new(Some(writer)) }) })
    }

    /// Ends the writer and gives the lock up; later writes fail with [`WriteError::Closed`].
    pub async fn close(&self) {
        let _ = self.inner.sender.send(Message::Close);
        let thread = self.inner.writer.lock().ok().and_then(|mut w| w.take());
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// The version of the last change of anything.
    pub fn version(&self) -> u64 {
        read(&self.inner.state).rv
    }

    /// The version of the last change of one resource.
    pub fn version_of(&self, resource: &str) -> u64 {
        let state = read(&self.inner.state);
        state.shelves.get(resource).map_or(state.opened_at, |s| *s.latest.borrow())
    }

    pub fn get(&self, key: &Key) -> Option<Stored> {
        let state = read(&self.inner.state);
        let shelf = state.shelves.get(&key.resource)?;
        shelf.objects.get(&(key.namespace.clone(), key.name.clone())).cloned()
    }

    /// All objects of a resource, of one namespace or of all, sorted by namespace and name.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Listing {
        let state = read(&self.inner.state);
        let items = match state.shelves.get(resource) {
            None => Vec::new(),
            Some(shelf) => in_namespace(&shelf.objects, namespace).map(|stored| stored.value.clone()).collect(),
        };
        Listing { rv: state.rv, items }
    }

    /// The same, as it was at an earlier version: the history is undone step by step.
    pub fn list_at(&self, resource: &str, namespace: Option<&str>, rv: u64) -> Result<Listing, TooOld> {
        let state = read(&self.inner.state);
        let Some(shelf) = state.shelves.get(resource) else {
            return Ok(Listing { rv, items: Vec::new() });
        };
        let undo = shelf.history.after(rv)?;
        let mut objects: BTreeMap<(&str, &str), Arc<Value>> = shelf
            .objects
            .iter()
            .filter(|((ns, _), _)| namespace.is_none_or(|n| n == ns))
            .map(|((ns, name), s)| ((ns.as_str(), name.as_str()), s.value.clone()))
            .collect();
        for change in undo.iter().rev() {
            if namespace.is_some_and(|n| n != change.namespace) {
                continue;
            }
            let at = (change.namespace.as_str(), change.name.as_str());
            match &change.before {
                Some(before) => objects.insert(at, before.clone()),
                None => objects.remove(&at),
            };
        }
        Ok(Listing { rv, items: objects.into_values().collect() })
    }

    /// Changes of a resource after `rv`, oldest first, and the version up to which that is complete.
    pub fn changes(&self, resource: &str, rv: u64) -> Result<(Vec<Arc<Change>>, u64), TooOld> {
        let state = read(&self.inner.state);
        match state.shelves.get(resource) {
            Some(shelf) => Ok((shelf.history.after(rv)?, state.rv)),
            None if rv < state.opened_at => Err(TooOld { asked: rv, oldest: state.opened_at }),
            None => Ok((Vec::new(), state.rv)),
        }
    }

    /// Tells of every change of a resource, by version.
    pub fn subscribe(&self, resource: &Arc<str>) -> watch::Receiver<u64> {
        write(&self.inner.state).shelf(resource).latest.subscribe()
    }

    /// Storage names of the resources that have objects in a namespace.
    pub fn resources_in(&self, namespace: &str) -> Vec<Arc<str>> {
        let state = read(&self.inner.state);
        let mut found: Vec<Arc<str>> = state
            .shelves
            .iter()
            .filter(|(_, shelf)| in_namespace(&shelf.objects, Some(namespace)).next().is_some())
            .map(|(resource, _)| resource.clone())
            .collect();
        found.sort();
        found
    }

    /// Writes one object if `expect` holds, and returns once it is on disk.
    pub async fn write(&self, key: Key, expect: Expect, write: Write) -> Result<Stored, WriteError> {
        let (reply, answer) = oneshot::channel();
        let request = Request { key, expect, write, reply };
        self.inner.sender.send(Message::Write(Box::new(request))).map_err(|_| WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)?
    }
}

fn in_namespace<'a>(objects: &'a Named, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Stored> {
    let start = namespace.map_or_else(Default::default, |ns| (ns.to_owned(), String::new()));
    objects.range(start..).take_while(move |((ns, _), _)| namespace.is_none_or(|n| n == ns)).map(|(_, stored)| stored)
}

#[cfg(test)]
mod tests;
