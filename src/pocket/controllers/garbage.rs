//! Garbage: an object whose owners are all gone goes too; one that is being deleted with its dependents waits for
//! them, or lets go of them. Of every kind that is served, as Kubernetes' own collector does it.
//!
//! Who depends on whom comes from the watches. Whether an owner lives is asked live, never of a picture that may be
//! late: to delete is not to be taken back.

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

/// How soon to look again while some kind is not listed yet.
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Default)]
struct State {
    graph: Graph,
    served: Option<Arc<Discovery>>,
    /// Kinds of which not all objects are known yet.
    listing: HashSet<kinds::Id>,
}

struct Garbage {
    client: Client,
    state: Mutex<State>,
    queue: Queue,
}

/// How an owner stands to what it owns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Lives,
    /// It is being deleted and waits for what it owns.
    Waits,
    Gone,
}

/// Collects until `stop`.
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

/// What may be changed: this very object, as it is.
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

    /// Deletes what had owners and has none any more; takes the lost ones off what still has one.
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
            // The watch will tell.
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
            // Else a circle of owners would wait for itself.
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
        // Of what is not served nobody can say that it is gone; it is asked again when it is.
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
            // Such an owner cannot be, and what names it stays.
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

    /// What an owner's finalizer waits for: dependents let go of, or gone.
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
                    // When one goes this is looked at again.
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

    /// Takes an owner off all that names it, as a live look finds them: one that a watch told of too late would be
    /// deleted instead. It happens only where somebody asks to orphan.
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
                // Another scope, or served no longer.
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
