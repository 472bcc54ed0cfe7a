//! The one writer: takes all waiting requests at once, decides each on the state as it will be,
//! writes them in one transaction, and only then shows them.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, RwLock};

use serde_json::Value;
use tokio::sync::oneshot;

use super::disk::{Disk, Entry};
use super::history::{Change, ChangeKind};
use super::{Expect, Key, State, Stored, Write, WriteError, read, write};

/// So that one transaction (and the wait of its first request) stays short.
const BATCH: usize = 256;

pub(super) enum Message {
    Write(Box<Request>),
    Close,
}

pub(super) struct Request {
    pub(super) key: Key,
    pub(super) expect: Expect,
    pub(super) write: Write,
    pub(super) reply: oneshot::Sender<Result<Stored, WriteError>>,
}

struct Staged {
    key: Key,
    kind: ChangeKind,
    stored: Stored,
    before: Option<Stored>,
}

pub(super) fn start(
    disk: Disk,
    state: Arc<RwLock<State>>,
    requests: Receiver<Message>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("pocket-store".into()).spawn(move || {
        let mut writer = Writer { disk, state, doubtful: Vec::new() };
        writer.run(&requests);
    })
}

struct Writer {
    disk: Disk,
    state: Arc<RwLock<State>>,
    /// A batch whose write failed at the last moment: it may be on disk.
    doubtful: Vec<Staged>,
}

impl Writer {
    fn run(&mut self, requests: &Receiver<Message>) {
        while let Ok(first) = requests.recv() {
            let mut batch = Vec::new();
            let mut close = false;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Write(request) => batch.push(*request),
                    Message::Close => close = true,
                }
                next = (!close && batch.len() < BATCH).then(|| requests.try_recv().ok()).flatten();
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
        if let Err(error) = self.settle() {
            for request in batch {
                let _ = request.reply.send(Err(WriteError::Disk(error.clone())));
            }
            return;
        }
        let (staged, replies) = self.stage(batch);
        if staged.is_empty() {
            return;
        }
        let entries: Vec<Entry<'_>> = staged
            .iter()
            .map(|s| Entry {
                key: &s.key,
                bytes: (s.kind != ChangeKind::Deleted).then(|| s.stored.value.to_string().into()),
            })
            .collect();
        let rv = staged.last().map_or(0, |s| s.stored.rv);
        match self.disk.write(rv, &entries) {
            Ok(()) => {
                drop(entries);
                let outcomes: Vec<Stored> = staged.iter().map(|s| s.stored.clone()).collect();
                self.publish(staged);
                for (reply, stored) in replies.into_iter().zip(outcomes) {
                    let _ = reply.send(Ok(stored));
                }
            }
            Err(error) => {
                drop(entries);
                tracing::error!(%error, "state not written");
                for reply in replies {
                    let _ = reply.send(Err(WriteError::Disk(error.to_string())));
                }
                self.doubtful = staged;
            }
        }
    }

    /// After a failed write: has it happened? Then it is shown, as it would be after a restart.
    fn settle(&mut self) -> Result<(), String> {
        let Some(last) = self.doubtful.last() else {
            return Ok(());
        };
        let expected = last.stored.rv;
        let rv = self.disk.version().map_err(|e| e.to_string())?;
        let staged = std::mem::take(&mut self.doubtful);
        if rv == expected {
            self.publish(staged);
        }
        Ok(())
    }

    /// Decides each request on what its forerunners in the batch leave behind; refusals are answered at once.
    fn stage(&self, batch: Vec<Request>) -> (Vec<Staged>, Vec<oneshot::Sender<Result<Stored, WriteError>>>) {
        let state = read(&self.state);
        let mut rv = state.rv;
        let mut pending: HashMap<Key, Option<Stored>> = HashMap::new();
        let mut staged = Vec::new();
        let mut replies = Vec::new();
        for request in batch {
            let current = match pending.get(&request.key) {
                Some(current) => current.clone(),
                None => state.shelves.get(&request.key.resource).and_then(|shelf| {
                    let at = (request.key.namespace.clone(), request.key.name.clone());
                    shelf.objects.get(&at).cloned()
                }),
            };
            let holds = match (request.expect, &current) {
                (Expect::Absent, None) => true,
                (Expect::Version(wanted), Some(stored)) => stored.rv == wanted,
                _ => false,
            };
            if !holds {
                let _ = request.reply.send(Err(WriteError::Conflict(current)));
                continue;
            }
            rv += 1;
            let (kind, mut value) = match request.write {
                Write::Put(value) if current.is_some() => (ChangeKind::Modified, value),
                Write::Put(value) => (ChangeKind::Added, value),
                Write::Remove(value) => (ChangeKind::Deleted, value),
            };
            value["metadata"]["resourceVersion"] = Value::String(rv.to_string());
            let stored = Stored { rv, value: Arc::new(value) };
            let after = (kind != ChangeKind::Deleted).then(|| stored.clone());
            pending.insert(request.key.clone(), after);
            staged.push(Staged { key: request.key, kind, stored, before: current });
            replies.push(request.reply);
        }
        (staged, replies)
    }

    fn publish(&self, staged: Vec<Staged>) {
        let mut state = write(&self.state);
        let mut touched: HashMap<Arc<str>, u64> = HashMap::new();
        for Staged { key, kind, stored, before } in staged {
            state.rv = stored.rv;
            touched.insert(key.resource.clone(), stored.rv);
            let shelf = state.shelf(&key.resource);
            shelf.history.push(Arc::new(Change {
                rv: stored.rv,
                kind,
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                object: stored.value.clone(),
                before: before.map(|b| b.value),
            }));
            let at = (key.namespace, key.name);
            match kind {
                ChangeKind::Deleted => shelf.objects.remove(&at),
                _ => shelf.objects.insert(at, stored),
            };
        }
        for (resource, rv) in touched {
            state.shelf(&resource).latest.send_replace(rv);
        }
    }
}
