//! StatefulSets: pods with stable names, created and replaced one after the other.
//!
//! The history resolves the current and the update revision, the pure plan decides about the pods,
//! and this file reads and writes.

use super::ControllerContext;
use super::events::object_reference;
use super::{ownership, write};
use futures::future::join_all;
use history::{RevisionPair, RevisionStep};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use plan::{Action, ReconcileInput};
use reconcile::runner::{KeySender, ReconcileResult};
use reconcile::store::{NamespacedName, namespaced_name};
use serde_json::json;
use std::sync::Arc;

mod claim;
mod history;
mod model;
mod plan;

#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;

const COMPONENT: &str = "statefulset-controller";
/// Limit per reconcile; each name collision takes one try.
const MAX_TRIES: usize = 10;

pub(super) fn enqueue_changes(shared: &ControllerContext, queue: KeySender<NamespacedName>) {
    let q = queue.clone();
    shared.stateful.on_change(move |old, new| {
        q.add(namespaced_name(
            &new.or(old).expect("a change has an object").metadata,
        ));
    });
    ownership::enqueue_owners(&shared.pods, &shared.stateful, queue, |set| {
        Some(&set.spec.as_ref()?.selector)
    });
}

#[tracing::instrument(level = "debug", skip_all, fields(object = ?at))]
pub(super) async fn reconcile_stateful_set(
    shared: Arc<ControllerContext>,
    at: NamespacedName,
) -> ReconcileResult {
    let Some(set) = shared.stateful.get(&at) else {
        return Ok(None);
    };
    if set.metadata.deletion_timestamp.is_none() {
        claim::claim_pods_and_revisions(&shared, &set).await?;
    }
    let mut collisions = set
        .status
        .as_ref()
        .and_then(|s| s.collision_count)
        .unwrap_or(0);
    let Some(pair) = resolve_revisions(&shared, &set, &mut collisions).await? else {
        return Ok(None);
    };
    let pods = ownership::list_owned(&*set, &shared.pods);
    let plan = plan::plan_reconcile(&ReconcileInput {
        set: &set,
        pair: &pair,
        collisions,
        pods: &pods,
        now: crate::clock::now(),
    });
    let creates = plan.actions.iter().any(|a| matches!(a, Action::Create(_)));
    if creates && !ownership::is_alive(&shared.client, &*set).await? {
        return Ok(None);
    }
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), &at.0);
    let done = join_all(
        plan.actions
            .into_iter()
            .map(|action| apply_action(&shared, &set, &api, action)),
    )
    .await;
    let failed = done.into_iter().find_map(Result::err);
    let sets: Api<StatefulSet> = Api::namespaced(shared.client.clone(), &at.0);
    let written = write::patch_status(&sets, &*set, set.status.as_ref(), &plan.status).await;
    if let Some(set) = write::ignore_not_found(written)?.flatten() {
        shared.stateful.record_write(&set);
    }
    if let Some(error) = failed {
        return Err(error);
    }
    truncate_history(&shared, &set, &pair, &pods).await?;
    Ok(plan.requeue)
}

fn list_revisions(shared: &ControllerContext, set: &StatefulSet) -> Vec<ControllerRevision> {
    let mut own: Vec<ControllerRevision> = ownership::list_owned(set, &shared.revisions)
        .iter()
        .map(|r| (**r).clone())
        .collect();
    history::sort_revisions(&mut own);
    own
}

/// Resolves the current and the update revision, and writes missing ones. `None` if the set is
/// being deleted and has none.
async fn resolve_revisions(
    shared: &ControllerContext,
    set: &StatefulSet,
    collisions: &mut i32,
) -> Result<Option<RevisionPair>, kube::Error> {
    let api: Api<ControllerRevision> =
        Api::namespaced(shared.client.clone(), &set.namespace().unwrap_or_default());
    let mut last = None;
    for _ in 0..MAX_TRIES {
        let known = list_revisions(shared, set);
        match history::next_step(set, &known, *collisions) {
            RevisionStep::Resolved(pair) => return Ok(Some(*pair)),
            _ if set.metadata.deletion_timestamp.is_some() => return Ok(None),
            RevisionStep::Create(new) => match api.create(&PostParams::default(), &new).await {
                Ok(made) => shared.revisions.record_write(&made),
                Err(error) if write::is_code(&error, 409) => {
                    match api.get_opt(&new.name_any()).await? {
                        // As in Kubernetes, the owner does not matter: a StatefulSet that was
                        // re-created at once finds its predecessor's revision and uses it until it
                        // has its own.
                        Some(other) if history::is_same_data(&other, &new) => {
                            return Ok(Some(history::pair_revisions(set, &known, &other)));
                        }
                        // Another template with the same name: the hash needs a new salt.
                        Some(_) => *collisions += 1,
                        None => {}
                    }
                    last = Some(error);
                }
                Err(error) => return Err(error),
            },
            RevisionStep::Renumber {
                name,
                resource_version,
                revision,
            } => {
                let patch = json!({"metadata": {"resourceVersion": resource_version}, "revision": revision});
                let changed = api
                    .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                    .await?;
                shared.revisions.record_write(&changed);
            }
        }
    }
    last.map_or(Ok(None), Err)
}

/// Deletes unused revisions beyond the history limit, lowest first.
async fn truncate_history(
    shared: &ControllerContext,
    set: &StatefulSet,
    pair: &RevisionPair,
    pods: &[Arc<Pod>],
) -> Result<(), kube::Error> {
    if set.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let api: Api<ControllerRevision> =
        Api::namespaced(shared.client.clone(), &set.namespace().unwrap_or_default());
    for old in history::superfluous_revisions(set, list_revisions(shared, set), pair, pods) {
        let uid = Preconditions {
            uid: old.uid(),
            resource_version: None,
        };
        let params = DeleteParams::default().preconditions(uid);
        write::ignore_not_found(api.delete(&old.name_any(), &params).await)?;
        shared.revisions.record_deletion(&old);
    }
    Ok(())
}

async fn apply_action(
    shared: &ControllerContext,
    set: &StatefulSet,
    api: &Api<Pod>,
    action: Action,
) -> Result<(), kube::Error> {
    let (verb, name, done) = match action {
        Action::Create(pod) => {
            let made = api.create(&PostParams::default(), &pod).await;
            (
                Some("Create"),
                pod.name_any(),
                made.map(|pod| shared.pods.record_write(&pod)),
            )
        }
        Action::Delete(pod) => {
            let done = ownership::delete_pod(api, &shared.pods, &pod).await;
            (Some("Delete"), pod.name_any(), done)
        }
        Action::Relabel { pod, labels } => {
            let patch = json!({"metadata": {"uid": pod.uid(), "labels": labels}});
            let done = api
                .patch(
                    &pod.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(patch),
                )
                .await;
            let done = write::ignore_not_found(done).map(|pod| {
                pod.into_iter()
                    .for_each(|pod| shared.pods.record_write(&pod));
            });
            (None, pod.name_any(), done)
        }
    };
    let events = shared.event_recorder(COMPONENT);
    match (&done, verb) {
        (Ok(()), Some(verb)) => {
            let text = format!(
                "{verb} Pod {name} in StatefulSet {} successful",
                set.name_any()
            );
            events.record_normal(object_reference(set), &format!("Successful{verb}"), text);
        }
        // A terminating namespace accepts no new objects; this is expected.
        (Err(error), _) if super::replicaset::is_namespace_terminating(error) => return Ok(()),
        (Err(error), Some(verb)) if !write::is_code(error, 409) => {
            let text = format!(
                "{verb} Pod {name} in StatefulSet {} failed error: {error}",
                set.name_any()
            );
            events.record_warning(object_reference(set), &format!("Failed{verb}"), text);
        }
        _ => {}
    }
    done
}
