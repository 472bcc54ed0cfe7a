//! What belongs to a set: pods that match and bear its name, revisions that match; all else is let go.

use super::super::Shared;
use super::super::cache::Cache;
use super::super::pods::{controlled_by, controller, selects};
use super::super::write;
use super::model;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;

pub(super) async fn all(shared: &Shared, set: &StatefulSet) -> Result<(), kube::Error> {
    let Some(spec) = set.spec.as_ref() else {
        return Ok(());
    };
    claim(shared, set, &shared.pods, |pod: &Pod| {
        selects(&spec.selector, &pod.metadata) && model::ordinal(set, pod).is_some()
    })
    .await?;
    // A revision never stops matching: its labels are its template's, of which the selector is a part.
    claim(shared, set, &shared.revisions, |revision: &ControllerRevision| {
        controlled_by(&revision.metadata, set.metadata.uid.as_deref()) || selects(&spec.selector, &revision.metadata)
    })
    .await
}

async fn claim<K>(
    shared: &Shared,
    set: &StatefulSet,
    cache: &Cache<K>,
    wanted: impl Fn(&K) -> bool,
) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let namespace = set.namespace().unwrap_or_default();
    let uid = set.metadata.uid.as_deref();
    let api: Api<K> = Api::namespaced(shared.client.clone(), &namespace);
    for one in cache.list(&namespace) {
        let (meta, wanted) = (one.meta(), wanted(&one));
        let mut owners = meta.owner_references.clone().unwrap_or_default();
        if wanted && controller(meta).is_none() && meta.deletion_timestamp.is_none() {
            owners.push(model::owner(set));
        } else if controlled_by(meta, uid) && !wanted {
            owners.retain(|o| Some(o.uid.as_str()) != uid);
        } else {
            continue;
        }
        let version = &meta.resource_version;
        let patch = json!({"metadata": {"ownerReferences": owners, "uid": one.uid(), "resourceVersion": version}});
        let done = api.patch(&one.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        if let Some(one) = write::gone_is_fine(done)? {
            cache.remember(&one);
        }
    }
    Ok(())
}
