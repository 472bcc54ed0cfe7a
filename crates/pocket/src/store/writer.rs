//! The only writer: takes all waiting requests, decides each on the state after those before it,
//! writes them in one transaction, and then publishes them.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, RwLock};

use serde_json::Value;
use tokio::sync::oneshot;

use super::disk::{Disk, Row};
use super::history::{Change, ChangeKind};
use super::{
    Entry, ObjectKey, ObjectVersion, Precondition, StoreError, StoreState, StoredObject,
    WriteError, WriteOp, read_state, write_state,
};

/// Limit on the requests of one transaction, so that the first one does not wait long.
const MAX_BATCH: usize = 256;

pub(super) enum Message {
    Write(Box<Request>),
    Close,
}

pub(super) struct Request {
    pub(super) key: ObjectKey,
    pub(super) expect: Precondition,
    pub(super) write: WriteOp,
    pub(super) reply: oneshot::Sender<Result<StoredObject, WriteError>>,
}

struct Staged {
    key: ObjectKey,
    kind: ChangeKind,
    stored: StoredObject,
    version: Arc<ObjectVersion>,
}

pub(super) fn start_writer(
    disk: Disk,
    state: Arc<RwLock<StoreState>>,
    requests: Receiver<Message>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name("pocket-store".into())
        .spawn(move || {
            let mut writer = Writer {
                disk,
                state,
                doubtful: Vec::new(),
            };
            writer.process_requests(&requests);
        })
}

struct Writer {
    disk: Disk,
    state: Arc<RwLock<StoreState>>,
    /// A batch whose write failed at the last moment; it may be on disk.
    doubtful: Vec<Staged>,
}

impl Writer {
    fn process_requests(&mut self, requests: &Receiver<Message>) {
        while let Ok(first) = requests.recv() {
            let mut batch = Vec::new();
            let mut close = false;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Write(request) => batch.push(*request),
                    Message::Close => close = true,
                }
                next = (!close && batch.len() < MAX_BATCH)
                    .then(|| requests.try_recv().ok())
                    .flatten();
            }
            if !batch.is_empty() {
                self.commit(batch);
            }
            if close {
                return;
            }
        }
    }

    fn commit(&mut self, batch: Vec<Request>) {
        if let Err(error) = self.resolve_doubtful() {
            for request in batch {
                let _ = request.reply.send(Err(WriteError::Disk(error.to_string())));
            }
            return;
        }
        let (staged, replies) = self.stage(batch);
        if staged.is_empty() {
            return;
        }
        let rows: Vec<Row<'_>> = staged
            .iter()
            .map(|s| Row {
                key: &s.key,
                text: (s.kind != ChangeKind::Deleted).then(|| s.version.text().clone()),
            })
            .collect();
        let rv = staged.last().map_or(0, |s| s.stored.rv);
        match self.disk.write_rows(rv, &rows) {
            Ok(()) => {
                drop(rows);
                let outcomes: Vec<StoredObject> = staged.iter().map(|s| s.stored.clone()).collect();
                self.publish(staged);
                for (reply, stored) in replies.into_iter().zip(outcomes) {
                    let _ = reply.send(Ok(stored));
                }
                self.disk.compact();
            }
            Err(error) => {
                drop(rows);
                tracing::error!(%error, "state not written");
                for reply in replies {
                    let _ = reply.send(Err(WriteError::Disk(error.to_string())));
                }
                self.doubtful = staged;
            }
        }
    }

    /// Finds out whether a failed write took effect; if so, publishes it, as a restart would.
    fn resolve_doubtful(&mut self) -> Result<(), StoreError> {
        let Some(last) = self.doubtful.last() else {
            return Ok(());
        };
        let expected = last.stored.rv;
        let rv = self.disk.version()?;
        let staged = std::mem::take(&mut self.doubtful);
        if rv == expected {
            self.publish(staged);
        }
        Ok(())
    }

    /// Decides each request on the state that the requests before it leave; answers rejected ones
    /// at once.
    fn stage(
        &self,
        batch: Vec<Request>,
    ) -> (
        Vec<Staged>,
        Vec<oneshot::Sender<Result<StoredObject, WriteError>>>,
    ) {
        let state = read_state(&self.state);
        let mut rv = state.rv;
        let mut pending: HashMap<ObjectKey, Option<Entry>> = HashMap::new();
        let mut staged = Vec::new();
        let mut replies = Vec::new();
        for request in batch {
            let current = match pending.get(&request.key) {
                Some(current) => current.clone(),
                None => state.entry(&request.key).cloned(),
            };
            let holds = match (request.expect, &current) {
                (Precondition::Absent, None) => true,
                (Precondition::Version(wanted), Some(entry)) => entry.rv == wanted,
                _ => false,
            };
            if !holds {
                let _ = request.reply.send(Err(WriteError::Conflict(
                    current.map(|entry| entry.to_stored()),
                )));
                continue;
            }
            rv += 1;
            let (kind, mut value) = match request.write {
                WriteOp::Put(value) if current.is_some() => (ChangeKind::Modified, value),
                WriteOp::Put(value) => (ChangeKind::Added, value),
                WriteOp::Remove(value) => (ChangeKind::Deleted, value),
            };
            value["metadata"]["resourceVersion"] = Value::String(rv.to_string());
            let stored = StoredObject {
                rv,
                value: Arc::new(value),
            };
            let version = ObjectVersion::from_value(&stored.value);
            let after = (kind != ChangeKind::Deleted).then(|| Entry {
                rv,
                version: version.clone(),
            });
            pending.insert(request.key.clone(), after);
            staged.push(Staged {
                key: request.key,
                kind,
                stored,
                version,
            });
            replies.push(request.reply);
        }
        (staged, replies)
    }

    fn publish(&self, staged: Vec<Staged>) {
        let mut state = write_state(&self.state);
        let mut touched: HashMap<Arc<str>, u64> = HashMap::new();
        for Staged {
            key,
            kind,
            stored: StoredObject { rv, .. },
            version,
        } in staged
        {
            state.rv = rv;
            touched.insert(key.resource.clone(), rv);
            let shelf = state.collection_mut(&key.resource);
            let at = (key.namespace.clone(), key.name.clone());
            let before = shelf.objects.remove(&at);
            // The change that created it holds it too, unless the history dropped that change.
            let own = before
                .as_ref()
                .is_some_and(|b| !shelf.history.contains_version(b.rv));
            let before = before.map(|b| b.version);
            if kind != ChangeKind::Deleted {
                shelf.objects.insert(
                    at,
                    Entry {
                        rv,
                        version: version.clone(),
                    },
                );
            }
            shelf
                .history
                .push(Change::new(key, rv, kind, version, before, own));
        }
        state.trim_history();
        for (resource, rv) in touched {
            state.collection_mut(&resource).latest.send_replace(rv);
        }
    }
}
