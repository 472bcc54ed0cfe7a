//! Garbage collection: an object whose owners are all gone is deleted; an object in foreground
//! deletion waits for its dependents, and one with the orphan finalizer releases them. Covers every
//! served kind, as Kubernetes' own garbage collector does.
//!
//! Dependents are known from the watches. Whether an owner exists is always asked live and never
//! taken from a cache that may be stale, because a deletion cannot be undone.

use super::write;
use futures::FutureExt;
use graph::{DeletionWait, FOREGROUND, Graph, Node, ORPHAN};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client};
use reconcile::runner::{self, KeySender, ReconcileResult};
use reconcile::store::NamespacedName;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod graph;
mod kinds;

/// How soon to retry while some kind has not been listed yet.
const LISTING_RETRY: Duration = Duration::from_millis(100);

#[derive(Default)]
struct State {
    graph: Graph,
    served: Option<Arc<Discovery>>,
    /// Kinds whose first list is not complete yet.
    listing: HashSet<kinds::KindId>,
}

struct GarbageCollector {
    client: Client,
    state: Mutex<State>,
    queue: KeySender<NamespacedName>,
}

/// State of an owner, as seen from a dependent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnerState {
    Exists,
    /// It is in foreground deletion and waits for its dependents.
    WaitsForDependents,
    Gone,
}

/// Runs the garbage collector until `stop` is cancelled.
pub(super) fn spawn(client: Client, tracker: &TaskTracker, stop: &CancellationToken) {
    let (queue, inbox) = runner::new_queue();
    let garbage = Arc::new(GarbageCollector {
        client,
        state: Mutex::default(),
        queue,
    });
    tracker.spawn(kinds::watch_definitions(
        garbage.clone(),
        tracker.clone(),
        stop.clone(),
    ));
    let stop = stop.clone();
    tracker.spawn(runner::run_queue("garbage", inbox, stop, move |key| {
        garbage.clone().reconcile_node(key).boxed()
    }));
}

/// Preconditions that hold only for this very object in this version.
fn as_seen(meta: &ObjectMeta) -> Preconditions {
    Preconditions {
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
    }
}

impl GarbageCollector {
    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue_nodes(&self, nodes: impl IntoIterator<Item = Arc<Node>>) {
        for node in nodes {
            let at = format!("{}/{}/{}", node.resource.plural, node.namespace, node.name);
            self.queue.add((at, node.uid.clone()));
        }
    }

    fn cluster_api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), resource)
    }

    fn scoped_api(&self, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        match namespace {
            "" => self.cluster_api(resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, resource),
        }
    }

    #[tracing::instrument(level = "debug", skip_all, fields(uid))]
    async fn reconcile_node(self: Arc<Self>, (_, uid): NamespacedName) -> ReconcileResult {
        let Some(node) = self.lock_state().graph.node(&uid) else {
            return Ok(None);
        };
        match node.waits {
            Some(waits) => self.release_finalizer(&node, waits).await,
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
            match self.owner_state(owner, node).await? {
                OwnerState::Exists => living.push(owner),
                OwnerState::WaitsForDependents => waited_for = true,
                OwnerState::Gone => {}
            }
        }
        if living.len() == node.owners.len() {
            return Ok(());
        }
        let api = self.scoped_api(&node.resource, &node.namespace);
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
                .patch_metadata(&node.resource, &latest, json!({"ownerReferences": living}))
                .await;
        }
        let dependents = self.lock_state().graph.dependents(&node.uid);
        // Without this, a cycle of owners would wait for itself forever.
        if waited_for && has_blocked_cycle(node, &dependents) {
            let free = node.owners.iter().map(|o| OwnerReference {
                block_owner_deletion: None,
                ..o.clone()
            });
            return self
                .patch_metadata(
                    &node.resource,
                    &latest,
                    json!({"ownerReferences": free.collect::<Vec<_>>()}),
                )
                .await;
        }
        let policy = choose_policy(&latest, waited_for && !dependents.is_empty());
        let params = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        write::ignore_not_found(
            api.delete(&node.name, &params.preconditions(as_seen(&latest)))
                .await,
        )
        .map(drop)
    }

    async fn owner_state(&self, owner: &OwnerReference, of: &Node) -> kube::Result<OwnerState> {
        let served = {
            let state = self.lock_state();
            if state.graph.is_gone(&owner.uid) {
                return Ok(OwnerState::Gone);
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
            return Ok(OwnerState::Exists);
        };
        let namespace = if can.scope == Scope::Cluster {
            ""
        } else {
            &of.namespace
        };
        if can.scope == Scope::Namespaced && namespace.is_empty() {
            // A cluster-scoped object cannot have a namespaced owner; the object stays.
            return Ok(OwnerState::Exists);
        }
        let there = self
            .scoped_api(&resource, namespace)
            .get_metadata_opt(&owner.name)
            .await?;
        Ok(
            match there.filter(|o| o.metadata.uid.as_ref() == Some(&owner.uid)) {
                None => OwnerState::Gone,
                Some(o)
                    if DeletionWait::from_meta(&o.metadata) == Some(DeletionWait::Foreground) =>
                {
                    OwnerState::WaitsForDependents
                }
                Some(_) => OwnerState::Exists,
            },
        )
    }

    /// Removes the finalizer of an owner once its dependents are released (orphan) or gone
    /// (foreground).
    async fn release_finalizer(&self, node: &Node, waits: DeletionWait) -> ReconcileResult {
        match waits {
            DeletionWait::Orphaning => self.orphan_dependents(node).await?,
            DeletionWait::Foreground => {
                let dependents = {
                    let state = self.lock_state();
                    if !state.listing.is_empty() {
                        return Ok(Some(LISTING_RETRY));
                    }
                    state.graph.dependents(&node.uid)
                };
                let mut blocking = dependents
                    .into_iter()
                    .filter(|d| d.blocks(&node.uid))
                    .peekable();
                if blocking.peek().is_some() {
                    self.enqueue_nodes(blocking.filter(|d| !d.deleting));
                    // Reconciled again when a blocking dependent goes.
                    return Ok(None);
                }
            }
        }
        let api = self.scoped_api(&node.resource, &node.namespace);
        let Some(latest) = api.get_metadata_opt(&node.name).await?.map(|o| o.metadata) else {
            return Ok(None);
        };
        let mut finalizers = latest.finalizers.clone().unwrap_or_default();
        finalizers.retain(|f| f != waits.finalizer());
        if latest.uid.as_ref() == Some(&node.uid) {
            self.patch_metadata(&node.resource, &latest, json!({"finalizers": finalizers}))
                .await?;
        }
        Ok(None)
    }

    /// Removes an owner from all objects that reference it. They are listed live: a dependent that
    /// a watch reported too late would be deleted instead of orphaned. Runs only for deletions that
    /// ask to orphan.
    async fn orphan_dependents(&self, owner: &Node) -> kube::Result<()> {
        let served = self.lock_state().served.clone();
        let kinds = served
            .map(|s| kinds::watchable_kinds(&s))
            .unwrap_or_default();
        for resource in kinds.values() {
            let api = if owner.namespace.is_empty() {
                self.cluster_api(resource)
            } else {
                self.scoped_api(resource, &owner.namespace)
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
                    self.patch_metadata(
                        resource,
                        &one.metadata,
                        json!({"ownerReferences": owners}),
                    )
                    .await?;
                }
            }
        }
        Ok(())
    }

    async fn patch_metadata(
        &self,
        resource: &ApiResource,
        seen: &ObjectMeta,
        mut change: Value,
    ) -> kube::Result<()> {
        change["uid"] = json!(seen.uid);
        change["resourceVersion"] = json!(seen.resource_version);
        let api = self.scoped_api(resource, seen.namespace.as_deref().unwrap_or_default());
        let patch = Patch::Merge(json!({"metadata": change}));
        let name = seen.name.as_deref().unwrap_or_default();
        write::ignore_not_found(
            api.patch_metadata(name, &PatchParams::default(), &patch)
                .await,
        )
        .map(drop)
    }
}

/// Whether the owners of an object wait for dependents of it that wait for it in turn.
fn has_blocked_cycle(node: &Node, dependents: &[Arc<Node>]) -> bool {
    dependents
        .iter()
        .any(|d| d.waits == Some(DeletionWait::Foreground))
        && node.owners.iter().any(blocks_owner_deletion)
}

/// How to delete an object: as its finalizers say, unless its own owner waits for it.
fn choose_policy(latest: &ObjectMeta, waited_for: bool) -> PropagationPolicy {
    let has = |name: &str| latest.finalizers.iter().flatten().any(|f| f == name);
    if waited_for {
        PropagationPolicy::Foreground
    } else if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else if has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    }
}

fn blocks_owner_deletion(owner: &OwnerReference) -> bool {
    owner.block_owner_deletion == Some(true)
}
