//! Garbage collection: an object whose owners are all gone is deleted; an object in foreground
//! deletion waits for its dependents, and one with the orphan finalizer releases them. Covers every
//! served kind, as Kubernetes' own garbage collector does.
//!
//! Dependents are known from the watches. Whether an owner exists is always asked live and never
//! taken from a cache that may be stale, because a deletion cannot be undone.

use super::cache::Key;
use super::queue::{self, Outcome, Queue};
use super::write;
use futures::FutureExt;
use graph::{FOREGROUND, Graph, Node, ORPHAN, Waits};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod graph;
mod kinds;

/// How soon to retry while some kind has not been listed yet.
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Default)]
struct State {
    graph: Graph,
    served: Option<Arc<Discovery>>,
    /// Kinds whose first list is not complete yet.
    listing: HashSet<kinds::Id>,
}

struct Garbage {
    client: Client,
    state: Mutex<State>,
    queue: Queue,
}

/// State of an owner, as seen from a dependent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Lives,
    /// It is in foreground deletion and waits for its dependents.
    Waits,
    Gone,
}

/// Runs the garbage collector until `stop` is cancelled.
pub(super) fn spawn(client: Client, tracker: &TaskTracker, stop: &CancellationToken) {
    let (queue, inbox) = queue::queue();
    let garbage = Arc::new(Garbage {
        client,
        state: Mutex::default(),
        queue,
    });
    tracker.spawn(kinds::follow(
        garbage.clone(),
        tracker.clone(),
        stop.clone(),
    ));
    let stop = stop.clone();
    tracker.spawn(queue::run("garbage", inbox, stop, move |key| {
        garbage.clone().look(key).boxed()
    }));
}

/// Preconditions that hold only for this very object in this version.
fn as_seen(meta: &ObjectMeta) -> Preconditions {
    Preconditions {
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
    }
}

impl Garbage {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, nodes: impl IntoIterator<Item = Arc<Node>>) {
        for node in nodes {
            let at = format!("{}/{}/{}", node.resource.plural, node.namespace, node.name);
            self.queue.add((at, node.uid.clone()));
        }
    }

    fn all(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), resource)
    }

    fn api(&self, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        match namespace {
            "" => self.all(resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, resource),
        }
    }

    async fn look(self: Arc<Self>, (_, uid): Key) -> Outcome {
        let Some(node) = self.state().graph.node(&uid) else {
            return Ok(None);
        };
        match node.waits {
            Some(waits) => self.release(&node, waits).await,
            None if node.deleting => Ok(None),
            None => self.collect(&node).await.map(|()| None),
        }
    }

    /// Deletes an object that has lost all owners; removes the missing owners from one that still
    /// has some.
    async fn collect(&self, node: &Node) -> kube::Result<()> {
        let mut living = vec![];
        let mut waited_for = false;
        for owner in &node.owners {
            match self.owner(owner, node).await? {
                Owner::Lives => living.push(owner),
                Owner::Waits => waited_for = true,
                Owner::Gone => {}
            }
        }
        if living.len() == node.owners.len() {
            return Ok(());
        }
        let api = self.api(&node.resource, &node.namespace);
        let Some(latest) = api.get_metadata_opt(&node.name).await?.map(|o| o.metadata) else {
            return Ok(());
        };
        let same = latest.uid.as_ref() == Some(&node.uid)
            && latest.owner_references.as_ref() == Some(&node.owners);
        if !same || latest.deletion_timestamp.is_some() {
            // The watch will report the change.
            return Ok(());
        }
        if !living.is_empty() {
            return self
                .patch(&node.resource, &latest, json!({"ownerReferences": living}))
                .await;
        }
        let dependents = self.state().graph.dependents(&node.uid);
        let has = |name: &str| latest.finalizers.iter().flatten().any(|f| f == name);
        let policy = if waited_for && !dependents.is_empty() {
            // Without this, a cycle of owners would wait for itself forever.
            if dependents
                .iter()
                .any(|d| d.waits == Some(Waits::Foreground))
                && node.owners.iter().any(blocks)
            {
                let free = node.owners.iter().map(|o| OwnerReference {
                    block_owner_deletion: None,
                    ..o.clone()
                });
                return self
                    .patch(
                        &node.resource,
                        &latest,
                        json!({"ownerReferences": free.collect::<Vec<_>>()}),
                    )
                    .await;
            }
            PropagationPolicy::Foreground
        } else if has(ORPHAN) {
            PropagationPolicy::Orphan
        } else if has(FOREGROUND) {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        };
        let params = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        write::gone_is_fine(
            api.delete(&node.name, &params.preconditions(as_seen(&latest)))
                .await,
        )
        .map(drop)
    }

    async fn owner(&self, owner: &OwnerReference, of: &Node) -> kube::Result<Owner> {
        let served = {
            let state = self.state();
            if state.graph.is_gone(&owner.uid) {
                return Ok(Owner::Gone);
            }
            state.served.clone()
        };
        let (group, version) = owner
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", &owner.api_version));
        let found =
            served.and_then(|s| s.resolve_gvk(&GroupVersionKind::gvk(group, version, &owner.kind)));
        // An owner of a kind that is not served cannot be known to be gone; it is checked again
        // once the kind is served.
        let Some((resource, can)) = found.filter(|(_, can)| can.supports_operation(verbs::GET))
        else {
            return Ok(Owner::Lives);
        };
        let namespace = if can.scope == Scope::Cluster {
            ""
        } else {
            &of.namespace
        };
        if can.scope == Scope::Namespaced && namespace.is_empty() {
            // A cluster-scoped object cannot have a namespaced owner; the object stays.
            return Ok(Owner::Lives);
        }
        let there = self
            .api(&resource, namespace)
            .get_metadata_opt(&owner.name)
            .await?;
        Ok(
            match there.filter(|o| o.metadata.uid.as_ref() == Some(&owner.uid)) {
                None => Owner::Gone,
                Some(o) if Waits::of(&o.metadata) == Some(Waits::Foreground) => Owner::Waits,
                Some(_) => Owner::Lives,
            },
        )
    }

    /// Removes the finalizer of an owner once its dependents are released (orphan) or gone
    /// (foreground).
    async fn release(&self, node: &Node, waits: Waits) -> Outcome {
        match waits {
            Waits::Orphaning => self.let_go(node).await?,
            Waits::Foreground => {
                let dependents = {
                    let state = self.state();
                    if !state.listing.is_empty() {
                        return Ok(Some(AGAIN));
                    }
                    state.graph.dependents(&node.uid)
                };
                let mut blocking = dependents
                    .into_iter()
                    .filter(|d| d.blocks(&node.uid))
                    .peekable();
                if blocking.peek().is_some() {
                    self.add(blocking.filter(|d| !d.deleting));
                    // Reconciled again when a blocking dependent goes.
                    return Ok(None);
                }
            }
        }
        let api = self.api(&node.resource, &node.namespace);
        let Some(latest) = api.get_metadata_opt(&node.name).await?.map(|o| o.metadata) else {
            return Ok(None);
        };
        let mut finalizers = latest.finalizers.clone().unwrap_or_default();
        finalizers.retain(|f| f != waits.finalizer());
        if latest.uid.as_ref() == Some(&node.uid) {
            self.patch(&node.resource, &latest, json!({"finalizers": finalizers}))
                .await?;
        }
        Ok(None)
    }

    /// Removes an owner from all objects that reference it. They are listed live: a dependent that
    /// a watch reported too late would be deleted instead of orphaned. Runs only for deletions that
    /// ask to orphan.
    async fn let_go(&self, owner: &Node) -> kube::Result<()> {
        let served = self.state().served.clone();
        let kinds = served.map(|s| kinds::watchable(&s)).unwrap_or_default();
        for resource in kinds.values() {
            let api = if owner.namespace.is_empty() {
                self.all(resource)
            } else {
                self.api(resource, &owner.namespace)
            };
            let all = match api.list_metadata(&ListParams::default()).await {
                // A different scope, or no longer served.
                Err(error) if write::is_code(&error, 404) => continue,
                all => all?,
            };
            for one in all.items {
                let mut owners = one.metadata.owner_references.clone().unwrap_or_default();
                let before = owners.len();
                owners.retain(|o| o.uid != owner.uid);
                if owners.len() < before {
                    self.patch(resource, &one.metadata, json!({"ownerReferences": owners}))
                        .await?;
                }
            }
        }
        Ok(())
    }

    async fn patch(
        &self,
        resource: &ApiResource,
        seen: &ObjectMeta,
        mut change: Value,
    ) -> kube::Result<()> {
        change["uid"] = json!(seen.uid);
        change["resourceVersion"] = json!(seen.resource_version);
        let api = self.api(resource, seen.namespace.as_deref().unwrap_or_default());
        let patch = Patch::Merge(json!({"metadata": change}));
        let name = seen.name.as_deref().unwrap_or_default();
        write::gone_is_fine(
            api.patch_metadata(name, &PatchParams::default(), &patch)
                .await,
        )
        .map(drop)
    }
}

fn blocks(owner: &OwnerReference) -> bool {
    owner.block_owner_deletion == Some(true)
}
