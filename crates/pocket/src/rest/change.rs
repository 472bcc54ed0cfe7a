//! The loop of every change: read, decide, write, and start again if another write came first.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::MutexGuard;

use super::ApiServer;
use super::error::{ApiError, Result};
use super::registry::Resource;
use crate::store::{ObjectKey, Precondition, StoredObject, WriteError, WriteOp};

/// Guards against a livelock; Kubernetes gives up after the same number.
const MAX_TRIES: usize = 100;

/// What to do with the stored object.
pub(super) enum Decision {
    /// Nothing to write; the answer is this object.
    Keep(Arc<Value>),
    Put(Value),
    Remove(Value),
}

/// Outcome of a change.
pub(super) struct Outcome {
    pub(super) object: Arc<Value>,
    pub(super) created: bool,
    pub(super) removed: bool,
}

/// Permission to write; see [`ApiServer::lock_writes`].
pub(super) type WriteGuard<'a> = Option<MutexGuard<'a, ()>>;

impl ApiServer {
    /// `decide` gets the stored object, if there is one. It is called again when another write came
    /// first.
    pub(super) async fn change_object(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        dry_run: bool,
        decide: impl FnMut(Option<&StoredObject>) -> Result<Decision>,
    ) -> Result<Outcome> {
        let turn = self.lock_writes(resource).await;
        self.change_object_locked(&turn, resource, key, dry_run, decide)
            .await
    }

    /// Serializes writes to resources whose objects have unique values (addresses and node ports of
    /// Services): the values of one object are stored before the next object gets any.
    pub(super) async fn lock_writes(&self, resource: &Resource) -> WriteGuard<'_> {
        let shares = resource.is_kind("", "Service");
        if shares {
            Some(self.inner.addresses.write_lock.lock().await)
        } else {
            None
        }
    }

    /// Like [`ApiServer::change_object`], for a caller that already holds the turn.
    pub(super) async fn change_object_locked(
        &self,
        _turn: &WriteGuard<'_>,
        resource: &Resource,
        key: &ObjectKey,
        dry_run: bool,
        mut decide: impl FnMut(Option<&StoredObject>) -> Result<Decision>,
    ) -> Result<Outcome> {
        for _ in 0..MAX_TRIES {
            let current = self.store().get(key);
            let decision = decide(current.as_ref())?;
            let (write, removed) = match decision {
                Decision::Keep(object) => {
                    return Ok(Outcome {
                        object,
                        created: false,
                        removed: false,
                    });
                }
                Decision::Put(value) => (WriteOp::Put(value), false),
                Decision::Remove(value) => (WriteOp::Remove(value), true),
            };
            let created = current.is_none();
            if dry_run {
                let (WriteOp::Put(value) | WriteOp::Remove(value)) = write;
                return Ok(Outcome {
                    object: Arc::new(value),
                    created,
                    removed,
                });
            }
            let expect = current.map_or(Precondition::Absent, |c| Precondition::Version(c.rv));
            match self.store().write(key.clone(), expect, write).await {
                Ok(stored) => {
                    return Ok(Outcome {
                        object: stored.value,
                        created,
                        removed,
                    });
                }
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ApiError::modified(resource, &key.name))
    }
}
