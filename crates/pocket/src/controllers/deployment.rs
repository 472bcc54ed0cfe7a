//! The Deployment reconciler: reads the objects, lets the pure plan decide, and writes the result.

use super::ControllerContext;
use super::events::object_reference;
use super::pods::{controller_of, is_finished, selector_matches};
use super::{ownership, write};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use plan::{Action, SyncInput};
use reconcile::runner::{KeySender, ReconcileResult};
use reconcile::store::{NamespacedName, namespaced_name};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub mod model;
pub mod plan;
mod rolling;
mod status;

#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;

const COMPONENT: &str = "deployment-controller";

pub(super) fn enqueue_changes(shared: &ControllerContext, queue: KeySender<NamespacedName>) {
    let q = queue.clone();
    shared.deployments.on_change(move |old, new| {
        q.add(namespaced_name(
            &new.or(old).expect("a change has an object").metadata,
        ));
    });
    ownership::enqueue_owners(&shared.sets, &shared.deployments, queue.clone(), |d| {
        Some(&d.spec.as_ref()?.selector)
    });
    // With the Recreate strategy a Deployment waits until its last old pod is gone.
    let (sets, deployments) = (shared.sets.clone(), shared.deployments.clone());
    shared.pods.on_change(move |old, new| {
        let (Some(pod), None) = (old, new) else {
            return;
        };
        let namespace = pod.namespace().unwrap_or_default();
        let Some(owner) = controller_of(&pod.metadata) else {
            return;
        };
        let set = sets.get(&(namespace.clone(), owner.name.clone()));
        let Some(owner) = set.as_ref().and_then(|rs| controller_of(&rs.metadata)) else {
            return;
        };
        let at = (namespace, owner.name.clone());
        if deployments.get(&at).is_some_and(|d| model::is_recreate(&d)) {
            queue.add(at);
        }
    });
}

#[tracing::instrument(level = "debug", skip_all, fields(object = ?at))]
pub(super) async fn reconcile_deployment(
    shared: Arc<ControllerContext>,
    at: NamespacedName,
) -> ReconcileResult {
    let Some(d) = shared.deployments.get(&at) else {
        return Ok(None);
    };
    let sets_api: Api<ReplicaSet> = Api::namespaced(shared.client.clone(), &at.0);
    if d.metadata.deletion_timestamp.is_none() {
        let matches = |rs: &ReplicaSet| {
            d.spec
                .as_ref()
                .is_some_and(|s| selector_matches(&s.selector, &rs.metadata))
        };
        ownership::claim_objects(
            &shared.client,
            &*d,
            &shared.sets,
            shared.sets.list_namespace(&at.0),
            matches,
        )
        .await?;
    }
    let own: Vec<ReplicaSet> = ownership::list_owned(&*d, &shared.sets)
        .iter()
        .map(|rs| (**rs).clone())
        .collect();
    let pods = if model::is_recreate(&d) {
        count_pods(&shared.pods.list_namespace(&at.0))
    } else {
        BTreeMap::new()
    };
    let input = SyncInput {
        deployment: &d,
        sets: &own,
        pods: &pods,
        now: crate::clock::now(),
    };
    let mut plan = plan::plan_sync(&input);
    let creates = plan.actions.iter().any(|a| matches!(a, Action::Create(_)));
    if creates && !ownership::is_alive(&shared.client, &*d).await? {
        return Ok(None);
    }
    for action in plan.actions {
        if let ActionOutcome::Collision(n) = apply_action(&shared, &sets_api, action).await? {
            let before = d.status.as_ref().and_then(|s| s.collision_count);
            plan.status.collision_count = Some(n.saturating_add(before.unwrap_or(0)));
        }
    }
    for note in plan.notes {
        shared.event_recorder(COMPONENT).record_normal(
            object_reference(&*d),
            "ScalingReplicaSet",
            note,
        );
    }
    let api: Api<Deployment> = Api::namespaced(shared.client.clone(), &at.0);
    if let Some(revision) = plan.revision {
        let patch =
            json!({"metadata": {"uid": d.uid(), "annotations": {model::REVISION: revision}}});
        let done = api
            .patch(&at.1, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        if let Some(d) = write::ignore_not_found(done)? {
            shared.deployments.record_write(&d);
        }
    }
    let written = write::patch_status(&api, &*d, d.status.as_ref(), &plan.status).await;
    if let Some(d) = write::ignore_not_found(written)?.flatten() {
        shared.deployments.record_write(&d);
    }
    Ok(plan.requeue)
}

/// Unfinished pods by the uid of their controller.
fn count_pods(all: &[Arc<Pod>]) -> BTreeMap<String, i32> {
    let mut pods = BTreeMap::new();
    for pod in all.iter().filter(|p| !is_finished(p)) {
        if let Some(owner) = controller_of(&pod.metadata) {
            *pods.entry(owner.uid.clone()).or_insert(0) += 1;
        }
    }
    pods
}

enum ActionOutcome {
    Done,
    /// Another ReplicaSet of the same name has a different template: the hash needs a new salt.
    Collision(i32),
}

async fn apply_action(
    shared: &ControllerContext,
    api: &Api<ReplicaSet>,
    action: Action,
) -> Result<ActionOutcome, kube::Error> {
    match action {
        Action::Create(rs) => match api.create(&PostParams::default(), &rs).await {
            Ok(made) => shared.sets.record_write(&made),
            Err(error) if write::is_code(&error, 409) => {
                let there = api.get_opt(&rs.name_any()).await?;
                let template = |rs: &ReplicaSet| {
                    rs.spec
                        .as_ref()
                        .and_then(|s| s.template.clone())
                        .unwrap_or_default()
                };
                return match there {
                    Some(other) if !model::same_template(&template(&other), &template(&rs)) => {
                        Ok(ActionOutcome::Collision(1))
                    }
                    _ => Err(error),
                };
            }
            Err(error) => return Err(error),
        },
        Action::Update {
            name,
            resource_version,
            replicas,
            min_ready_seconds,
            annotations,
        } => {
            let mut spec = Map::new();
            if let Some(n) = replicas {
                spec.insert("replicas".into(), n.into());
            }
            if let Some(n) = min_ready_seconds {
                spec.insert("minReadySeconds".into(), n.into());
            }
            let meta = json!({"resourceVersion": resource_version, "annotations": annotations});
            let patch = Patch::Merge(json!({"metadata": meta, "spec": spec}));
            let rs = api.patch(&name, &PatchParams::default(), &patch).await?;
            shared.sets.record_write(&rs);
        }
        Action::Delete { name, uid } => {
            let params = DeleteParams::background().preconditions(Preconditions {
                uid,
                resource_version: None,
            });
            write::ignore_not_found(api.delete(&name, &params).await)?;
        }
    }
    Ok(ActionOutcome::Done)
}
