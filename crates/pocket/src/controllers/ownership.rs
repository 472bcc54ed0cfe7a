//! Ownership by controller references: adopts objects that match and have no controller, releases
//! those that no longer match.

use super::pods::{controller_of, is_controlled_by, selector_matches};
use super::write;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use reconcile::runner::KeySender;
use reconcile::store::{NamespacedKind, NamespacedName, Store, namespaced_name};
use serde_json::json;
use std::sync::Arc;

/// Returns `of` as a controller owner reference.
pub fn controller_reference<O: Resource<DynamicType = ()>>(of: &O) -> OwnerReference {
    OwnerReference {
        api_version: O::api_version(&()).into(),
        kind: O::kind(&()).into(),
        name: of.name_any(),
        uid: of.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Lists the objects that `of` controls.
pub fn list_owned<O: Resource, K: NamespacedKind>(of: &O, cache: &Store<K>) -> Vec<Arc<K>> {
    let mut all = cache.list_namespace(of.meta().namespace.as_deref().unwrap_or_default());
    all.retain(|k| is_controlled_by(k.meta(), of.meta().uid.as_deref()));
    all
}

/// Enqueues owners when one of their objects changes, or an object that they could adopt.
pub fn enqueue_owners<O: NamespacedKind, K: NamespacedKind>(
    cache: &Store<K>,
    owners: &Store<O>,
    queue: KeySender<NamespacedName>,
    selector: fn(&O) -> Option<&LabelSelector>,
) {
    let owners = owners.clone();
    cache.on_change(move |old, new| {
        for one in [old, new].into_iter().flatten() {
            let namespace = one.namespace().unwrap_or_default();
            match controller_of(one.meta()) {
                Some(owner) if owner.kind == O::kind(&()) => {
                    queue.add((namespace, owner.name.clone()));
                }
                Some(_) => {}
                None => owners
                    .list_namespace(&namespace)
                    .iter()
                    .filter(|o| selector(o).is_some_and(|s| selector_matches(s, one.meta())))
                    .for_each(|o| queue.add(namespaced_name(o.meta()))),
            }
        }
    });
}

/// Adopts the objects of `all` that are wanted and have no controller; releases those that `of`
/// controls and that are not wanted.
pub async fn claim_objects<O: NamespacedKind, K: NamespacedKind>(
    client: &Client,
    of: &O,
    cache: &Store<K>,
    all: Vec<Arc<K>>,
    wanted: impl Fn(&K) -> bool,
) -> Result<(), kube::Error> {
    let namespace = of.namespace().unwrap_or_default();
    let uid = of.meta().uid.as_deref();
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let mut adopts = None;
    for one in all {
        let (meta, wanted) = (one.meta(), wanted(&one));
        let mut owners = meta.owner_references.clone().unwrap_or_default();
        if wanted && controller_of(meta).is_none() && meta.deletion_timestamp.is_none() {
            let adopts = match adopts {
                Some(known) => known,
                None => *adopts.insert(is_alive(client, of).await?),
            };
            if !adopts {
                continue;
            }
            owners.push(controller_reference(of));
        } else if is_controlled_by(meta, uid) && !wanted {
            owners.retain(|o| Some(o.uid.as_str()) != uid);
        } else {
            continue;
        }
        let version = &meta.resource_version;
        let patch = json!({"metadata": {"ownerReferences": owners, "uid": one.uid(), "resourceVersion": version}});
        let done = api
            .patch(
                &one.name_any(),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await;
        if let Some(one) = write::ignore_not_found(done)? {
            cache.record_write(&one);
        }
    }
    Ok(())
}

/// Whether the object exists and is not being deleted. Asks the server instead of the cache, where
/// the deletion of an owner may arrive after that of what it owns: what is adopted or created then
/// would be deleted with it.
pub async fn is_alive<O: NamespacedKind>(client: &Client, of: &O) -> Result<bool, kube::Error> {
    let api: Api<O> = Api::namespaced(client.clone(), &of.namespace().unwrap_or_default());
    let live = api.get_metadata_opt(&of.name_any()).await?;
    Ok(live.is_some_and(|o| {
        o.metadata.uid == of.meta().uid && o.metadata.deletion_timestamp.is_none()
    }))
}

/// Deletes this very pod, checked by its uid.
pub async fn delete_pod(api: &Api<Pod>, cache: &Store<Pod>, pod: &Pod) -> Result<(), kube::Error> {
    let uid = Preconditions {
        uid: pod.uid(),
        resource_version: None,
    };
    let answer = api
        .delete(&pod.name_any(), &DeleteParams::default().preconditions(uid))
        .await;
    match write::ignore_not_found(answer.map(|answer| answer.left()))?.flatten() {
        Some(dying) if dying.metadata.deletion_timestamp.is_some() => cache.record_write(&dying),
        _ => cache.record_deletion(pod),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::ApiServer;
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use kube::api::PostParams;

    #[tokio::test]
    async fn only_what_still_stands_adopts() {
        let dir = tempfile::tempdir().unwrap();
        let client = ApiServer::open(dir.path()).unwrap().client();
        let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
        let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), "default");
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let set = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}});
        let set = sets
            .create(
                &PostParams::default(),
                &serde_json::from_value(set).unwrap(),
            )
            .await
            .unwrap();
        let mut pod = template.clone();
        pod["metadata"]["name"] = "web-1".into();
        let pod = pods
            .create(
                &PostParams::default(),
                &serde_json::from_value(pod).unwrap(),
            )
            .await
            .unwrap();
        let cache = Store::default();
        let claimed = async |of: &ReplicaSet| {
            claim_objects(
                &client,
                of,
                &cache,
                vec![Arc::new(pod.clone())],
                |_: &Pod| true,
            )
            .await
            .unwrap();
            pods.get("web-1")
                .await
                .unwrap()
                .metadata
                .owner_references
                .unwrap_or_default()
        };
        // The object in the cache is gone, and another one of the same name exists.
        let mut old = set.clone();
        old.metadata.uid = Some("another".into());
        assert_eq!(claimed(&old).await, []);
        assert_eq!(claimed(&set).await, [controller_reference(&set)]);
    }
}
