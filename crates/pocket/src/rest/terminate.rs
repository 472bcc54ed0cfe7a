//! Empties what is being deleted: a namespace of its contents, a definition of its objects.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::change::Decision;
use super::delete::{self, CRD_CLEANUP, DeleteOptions};
use super::error::{ApiError, Result};
use super::registry::CRDS;
use super::{ApiServer, Inner, meta};
use crate::store::ObjectKey;

/// How soon to try again while something waits for others (pods to stop, finalizers to be removed).
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Starts a task that runs until the server closes or its last handle is dropped.
pub(super) fn start_terminator(server: &ApiServer) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        tracing::warn!("no tokio runtime: deleted namespaces will not be emptied");
        return;
    };
    let closing = server.inner.closing.clone();
    let weak = Arc::downgrade(&server.inner);
    runtime.spawn(run_terminator(weak, closing));
}

async fn run_terminator(weak: Weak<Inner>, closing: CancellationToken) {
    let Some((mut namespaces, mut definitions)) = weak.upgrade().map(|inner| {
        (
            inner.store.subscribe(&"namespaces".into()),
            inner.store.subscribe(&CRDS.into()),
        )
    }) else {
        return;
    };
    loop {
        let Some(inner) = weak.upgrade() else { return };
        let server = ApiServer { inner };
        let waiting = server.empty_terminating().await;
        drop(server);
        let again = async {
            if waiting {
                tokio::time::sleep(RETRY_INTERVAL).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            changed = namespaces.changed() => if changed.is_err() { return },
            changed = definitions.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

impl ApiServer {
    /// One pass over everything that is being deleted; true if something is not empty yet.
    async fn empty_terminating(&self) -> bool {
        let mut waiting = false;
        for storage in ["namespaces", CRDS] {
            for object in self.store().list(storage, None).values() {
                if !meta::is_deleting(&object) {
                    continue;
                }
                let done = match storage {
                    CRDS => self.empty_definition(&object).await,
                    _ => self.empty_namespace(&object).await,
                };
                match done {
                    Ok(true) => {}
                    Ok(false) => waiting = true,
                    Err(error) => {
                        tracing::warn!(name = meta::field_text(&object, "name"), message = %error.message, "not emptied");
                        waiting = true;
                    }
                }
            }
        }
        waiting
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn empty_namespace(&self, namespace: &Value) -> Result<bool> {
        let name = meta::field_text(namespace, "name").to_owned();
        let mut empty = true;
        for storage in self.store().resources_in(&name) {
            empty &= self.empty_resource(&storage, Some(&name)).await?;
        }
        if empty {
            self.release_finalizer("namespaces", &name, |object| {
                object["spec"]["finalizers"] = json!([]);
            })
            .await?;
        }
        Ok(empty)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn empty_definition(&self, definition: &Value) -> Result<bool> {
        let name = meta::field_text(definition, "name").to_owned();
        let empty = self.empty_resource(&name, None).await?;
        if empty {
            self.release_finalizer(CRDS, &name, |object| {
                let mut finalizers = meta::list_finalizers(object);
                finalizers.retain(|f| f != CRD_CLEANUP);
                object["metadata"]["finalizers"] = json!(finalizers);
            })
            .await?;
        }
        Ok(empty)
    }

    /// Requests the deletion of every object; true if there was none.
    async fn empty_resource(&self, storage: &str, namespace: Option<&str>) -> Result<bool> {
        let registry = self.registry();
        let listing = self.store().list(storage, namespace);
        for object in listing.values() {
            if meta::is_deleting(&object) {
                continue;
            }
            let Some(resource) = registry.find_by_storage(storage) else {
                return Err(ApiError::internal(format!(
                    "{storage} are no longer served"
                )));
            };
            let key = delete::object_key(resource, &object);
            match self
                .remove_object(resource, &key, &DeleteOptions::default())
                .await
            {
                Ok(_) => {}
                Err(error) if error.reason == "NotFound" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listing.items.is_empty())
    }

    /// Removes pocket's own finalizer; the object is removed unless it has another one.
    async fn release_finalizer(
        &self,
        storage: &str,
        name: &str,
        unhold: impl Fn(&mut Value),
    ) -> Result<()> {
        let registry = self.registry();
        let Some(resource) = registry.find_by_storage(storage) else {
            return Ok(());
        };
        let key = ObjectKey {
            resource: resource.storage.clone(),
            namespace: String::new(),
            name: name.to_owned(),
        };
        let outcome = self
            .change_object(resource, &key, false, |current| {
                let old = current.ok_or_else(|| ApiError::not_found(resource, name))?;
                let mut object = (*old.value).clone();
                unhold(&mut object);
                if !meta::list_finalizers(&object).is_empty() {
                    return Ok(Decision::Put(object));
                }
                Ok(Decision::Remove(object))
            })
            .await;
        match outcome {
            Err(error) if error.reason != "NotFound" => Err(error),
            _ => Ok(()),
        }
    }
}
