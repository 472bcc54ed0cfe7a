//! Adopts the pods and revisions of a StatefulSet: pods that match and carry its name, and
//! revisions that match. Releases all others.

use super::super::pods::{is_controlled_by, selector_matches};
use super::super::{ControllerContext, ownership};
use super::model;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

pub(super) async fn claim_pods_and_revisions(
    shared: &ControllerContext,
    set: &StatefulSet,
) -> Result<(), kube::Error> {
    let Some(spec) = set.spec.as_ref() else {
        return Ok(());
    };
    let namespace = set.namespace().unwrap_or_default();
    ownership::claim_objects(
        &shared.client,
        set,
        &shared.pods,
        shared.pods.list_namespace(&namespace),
        |pod: &Pod| {
            selector_matches(&spec.selector, &pod.metadata) && model::ordinal(set, pod).is_some()
        },
    )
    .await?;
    // A revision never stops matching: its labels come from its template, which contains the
    // selector's labels.
    let revisions = shared.revisions.list_namespace(&namespace);
    ownership::claim_objects(
        &shared.client,
        set,
        &shared.revisions,
        revisions,
        |revision: &ControllerRevision| {
            is_controlled_by(&revision.metadata, set.metadata.uid.as_deref())
                || selector_matches(&spec.selector, &revision.metadata)
        },
    )
    .await
}
