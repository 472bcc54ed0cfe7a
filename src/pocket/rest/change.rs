//! The loop of every change: read, decide, write, and start again if another write came first.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::MutexGuard;

use super::ApiServer;
use super::error::{ApiError, Result};
use super::registry::Resource;
use crate::pocket::store::{Expect, Key, Stored, Write, WriteError};

/// Guards against a livelock; Kubernetes gives up after the same number.
const TRIES: usize = 100;

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

/// Permission to write; see [`ApiServer::turn`].
pub(super) type Turn<'a> = Option<MutexGuard<'a, ()>>;

impl ApiServer {
    /// `decide` gets the stored object, if there is one. It is called again when another write came
    /// first.
    pub(super) async fn change(
        &self,
        resource: &Resource,
        key: &Key,
        dry_run: bool,
        decide: impl FnMut(Option<&Stored>) -> Result<Decision>,
    ) -> Result<Outcome> {
        let turn = self.turn(resource).await;
        self.change_in_turn(&turn, resource, key, dry_run, decide)
            .await
    }

    /// Serializes writes to resources whose objects have unique values (addresses and node ports of
    /// Services): the values of one object are stored before the next object gets any.
    pub(super) async fn turn(&self, resource: &Resource) -> Turn<'_> {
        let shares = resource.is("", "Service");
        if shares {
            Some(self.inner.addresses.turn.lock().await)
        } else {
            None
        }
    }

    /// Like [`ApiServer::change`], for a caller that already holds the turn.
    pub(super) async fn change_in_turn(
        &self,
        _turn: &Turn<'_>,
        resource: &Resource,
        key: &Key,
        dry_run: bool,
        mut decide: impl FnMut(Option<&Stored>) -> Result<Decision>,
    ) -> Result<Outcome> {
        for _ in 0..TRIES {
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
                Decision::Put(value) => (Write::Put(value), false),
                Decision::Remove(value) => (Write::Remove(value), true),
            };
            let created = current.is_none();
            if dry_run {
                let (Write::Put(value) | Write::Remove(value)) = write;
                return Ok(Outcome {
                    object: Arc::new(value),
                    created,
                    removed,
                });
            }
            let expect = current.map_or(Expect::Absent, |c| Expect::Version(c.rv));
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
