//! Garbage: an object whose owners are all gone goes too; one that is being deleted with its dependents waits for
//! them, or lets go of them.
//!
//! Owners are looked up live, never by a cache that may be late: to delete is not to be taken back.

use super::cache::Key;
use super::queue::{Outcome, Queue};
use super::{Shared, write};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// How soon to look again at an owner that waits for its dependents.
const AGAIN: Duration = Duration::from_millis(100);

/// One object that is or has a dependent, as text: kind, namespace, name.
struct Item {
    kind: &'static str,
    meta: ObjectMeta,
}

fn api(shared: &Shared, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let group = match kind {
        "Pod" | "Service" => ("", "v1"),
        "EndpointSlice" => ("discovery.k8s.io", "v1"),
        "Job" => ("batch", "v1"),
        _ => ("apps", "v1"),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group.0, group.1, kind));
    Api::namespaced_with(shared.client.clone(), namespace, &resource)
}

pub(super) fn watch(shared: &Shared, queue: Queue) {
    fn listen<K>(cache: &super::cache::Cache<K>, queue: &Queue)
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        let queue = queue.clone();
        cache.on_change(move |old, new| {
            let meta = new.or(old).expect("a change has an object").meta();
            let add = |kind: &str, name: &str| {
                queue.add((format!("{kind}/{}", meta.namespace.clone().unwrap_or_default()), name.to_owned()));
            };
            match new {
                // Its dependents have lost an owner.
                None => add(&format!("gone:{}", K::kind(&())), meta.uid.as_deref().unwrap_or_default()),
                Some(_) => {
                    let waits = meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().next().is_some();
                    if waits || meta.owner_references.iter().flatten().next().is_some() && old.is_none() {
                        add(&K::kind(&()), meta.name.as_deref().unwrap_or_default());
                    }
                }
            }
        });
    }
    listen(&shared.deployments, &queue);
    listen(&shared.sets, &queue);
    listen(&shared.pods, &queue);
    listen(&shared.services, &queue);
    listen(&shared.slices, &queue);
    listen(&shared.jobs, &queue);
}

/// All objects of a namespace that this controller looks after.
fn items(shared: &Shared, namespace: &str) -> Vec<Item> {
    let mut all = vec![];
    let mut add = |kind: &'static str, meta: &ObjectMeta| all.push(Item { kind, meta: meta.clone() });
    shared.deployments.list(namespace).iter().for_each(|o| add("Deployment", &o.metadata));
    shared.sets.list(namespace).iter().for_each(|o| add("ReplicaSet", &o.metadata));
    shared.pods.list(namespace).iter().for_each(|o| add("Pod", &o.metadata));
    shared.services.list(namespace).iter().for_each(|o| add("Service", &o.metadata));
    shared.slices.list(namespace).iter().for_each(|o| add("EndpointSlice", &o.metadata));
    shared.jobs.list(namespace).iter().for_each(|o| add("Job", &o.metadata));
    all
}

fn owns(meta: &ObjectMeta, uid: &str) -> bool {
    meta.owner_references.iter().flatten().any(|o| o.uid == uid)
}

pub(super) async fn look(shared: Arc<Shared>, at: Key) -> Outcome {
    let (kind, namespace) = at.0.split_once('/').unwrap_or((&at.0, ""));
    if kind.starts_with("gone:") {
        for item in items(&shared, namespace).iter().filter(|i| owns(&i.meta, &at.1)) {
            collect(&shared, item).await?;
        }
        return Ok(None);
    }
    let Some(item) =
        items(&shared, namespace).into_iter().find(|i| i.kind == kind && i.meta.name.as_deref() == Some(&at.1))
    else {
        return Ok(None);
    };
    if item.meta.deletion_timestamp.is_some() {
        return release(&shared, &item).await;
    }
    collect(&shared, &item).await.map(|()| None)
}

/// Deletes an object that had owners and has none any more.
async fn collect(shared: &Shared, item: &Item) -> Result<(), kube::Error> {
    let namespace = item.meta.namespace.clone().unwrap_or_default();
    let owners = item.meta.owner_references.clone().unwrap_or_default();
    if owners.is_empty() || item.meta.deletion_timestamp.is_some() {
        return Ok(());
    }
    for owner in &owners {
        if lives(shared, owner, &namespace).await? {
            return Ok(());
        }
    }
    let uid = Preconditions { uid: item.meta.uid.clone(), resource_version: None };
    let params = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
    let name = item.meta.name.clone().unwrap_or_default();
    let deleted = api(shared, item.kind, &namespace).delete(&name, &params.preconditions(uid)).await;
    match write::gone_is_fine(deleted) {
        // A namesake stands there now.
        Err(error) if write::is_code(&error, 409) => Ok(()),
        done => done.map(drop),
    }
}

async fn lives(shared: &Shared, owner: &OwnerReference, namespace: &str) -> Result<bool, kube::Error> {
    let (group, version) = owner.api_version.rsplit_once('/').unwrap_or(("", &owner.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &owner.kind));
    let api: Api<DynamicObject> = Api::namespaced_with(shared.client.clone(), namespace, &resource);
    Ok(api.get_metadata_opt(&owner.name).await?.is_some_and(|o| o.uid().as_deref() == Some(&owner.uid)))
}

/// What an owner's finalizers wait for: dependents let go of, or gone.
async fn release(shared: &Shared, owner: &Item) -> Outcome {
    let finalizers = owner.meta.finalizers.clone().unwrap_or_default();
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    let uid = owner.meta.uid.clone().unwrap_or_default();
    let namespace = owner.meta.namespace.clone().unwrap_or_default();
    let dependents: Vec<Item> = items(shared, &namespace).into_iter().filter(|i| owns(&i.meta, &uid)).collect();
    let done = if has(ORPHAN) {
        for item in &dependents {
            let mut owners = item.meta.owner_references.clone().unwrap_or_default();
            owners.retain(|o| o.uid != uid);
            let patch = json!({"metadata": {"uid": item.meta.uid, "ownerReferences": owners}});
            let name = item.meta.name.clone().unwrap_or_default();
            let api = api(shared, item.kind, &namespace);
            write::gone_is_fine(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        }
        ORPHAN
    } else if has(FOREGROUND) {
        for item in dependents.iter().filter(|i| i.meta.deletion_timestamp.is_none()) {
            let uid = Preconditions { uid: item.meta.uid.clone(), resource_version: None };
            let params =
                DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
            let name = item.meta.name.clone().unwrap_or_default();
            write::gone_is_fine(api(shared, item.kind, &namespace).delete(&name, &params.preconditions(uid)).await)?;
        }
        if !dependents.is_empty() {
            return Ok(Some(AGAIN));
        }
        FOREGROUND
    } else {
        return Ok(None);
    };
    let left: Vec<&String> = finalizers.iter().filter(|f| *f != done).collect();
    let patch = json!({"metadata": {"uid": uid, "finalizers": left}});
    let name = owner.meta.name.clone().unwrap_or_default();
    let api = api(shared, owner.kind, &namespace);
    write::gone_is_fine(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
    Ok(None)
}
