//! The Deployment reconciler: reads the objects, lets the pure plan decide, and writes the result.

use super::Shared;
use super::cache::{Key, key};
use super::events::about;
use super::pods::{controller, finished, selects};
use super::queue::{Outcome, Queue};
use super::{own, write};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use plan::{Action, Input};
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

pub(super) fn watch(shared: &Shared, queue: Queue) {
    let q = queue.clone();
    shared.deployments.on_change(move |old, new| {
        q.add(key(&new.or(old).expect("a change has an object").metadata))
    });
    own::watch(&shared.sets, &shared.deployments, queue.clone(), |d| {
        Some(&d.spec.as_ref()?.selector)
    });
    // With the Recreate strategy a Deployment waits until its last old pod is gone.
    let (sets, deployments) = (shared.sets.clone(), shared.deployments.clone());
    shared.pods.on_change(move |old, new| {
        let (Some(pod), None) = (old, new) else {
            return;
        };
        let namespace = pod.namespace().unwrap_or_default();
        let Some(owner) = controller(&pod.metadata) else {
            return;
        };
        let set = sets.get(&(namespace.clone(), owner.name.clone()));
        let Some(owner) = set.as_ref().and_then(|rs| controller(&rs.metadata)) else {
            return;
        };
        let at = (namespace, owner.name.clone());
        if deployments.get(&at).is_some_and(|d| model::recreate(&d)) {
            queue.add(at);
        }
    });
}

pub(super) async fn look(shared: Arc<Shared>, at: Key) -> Outcome {
    let Some(d) = shared.deployments.get(&at) else {
        return Ok(None);
    };
    let sets_api: Api<ReplicaSet> = Api::namespaced(shared.client.clone(), &at.0);
    if d.metadata.deletion_timestamp.is_none() {
        let matches = |rs: &ReplicaSet| {
            d.spec
                .as_ref()
                .is_some_and(|s| selects(&s.selector, &rs.metadata))
        };
        own::claim(
            &shared.client,
            &*d,
            &shared.sets,
            shared.sets.list(&at.0),
            matches,
        )
        .await?;
    }
    let own: Vec<ReplicaSet> = own::own(&*d, &shared.sets)
        .iter()
        .map(|rs| (**rs).clone())
        .collect();
    let mut pods = BTreeMap::new();
    if model::recreate(&d) {
        for pod in shared.pods.list(&at.0).iter().filter(|p| !finished(p)) {
            if let Some(owner) = controller(&pod.metadata) {
                *pods.entry(owner.uid.clone()).or_insert(0) += 1;
            }
        }
    }
    let input = Input {
        deployment: &d,
        sets: &own,
        pods: &pods,
        now: crate::pocket::clock::now(),
    };
    let mut plan = plan::plan(&input);
    for action in plan.actions {
        if let Step::Collision(n) = act(&shared, &sets_api, action).await? {
            plan.status.collision_count = Some(
                n.saturating_add(
                    d.status
                        .as_ref()
                        .and_then(|s| s.collision_count)
                        .unwrap_or(0),
                ),
            );
        }
    }
    for note in plan.notes {
        shared
            .events(COMPONENT)
            .normal(about(&*d), "ScalingReplicaSet", note);
    }
    let api: Api<Deployment> = Api::namespaced(shared.client.clone(), &at.0);
    if let Some(revision) = plan.revision {
        let patch =
            json!({"metadata": {"uid": d.uid(), "annotations": {model::REVISION: revision}}});
        let done = api
            .patch(&at.1, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        if let Some(d) = write::gone_is_fine(done)? {
            shared.deployments.remember(&d);
        }
    }
    let written = write::status(&api, &*d, d.status.as_ref(), &plan.status).await;
    if let Some(d) = write::gone_is_fine(written)?.flatten() {
        shared.deployments.remember(&d);
    }
    Ok(plan.requeue)
}

enum Step {
    Done,
    /// Another ReplicaSet of the same name has a different template: the hash needs a new salt.
    Collision(i32),
}

async fn act(shared: &Shared, api: &Api<ReplicaSet>, action: Action) -> Result<Step, kube::Error> {
    match action {
        Action::Create(rs) => match api.create(&PostParams::default(), &rs).await {
            Ok(made) => shared.sets.remember(&made),
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
                        Ok(Step::Collision(1))
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
            shared.sets.remember(&rs);
        }
        Action::Delete { name, uid } => {
            let params = DeleteParams::background().preconditions(Preconditions {
                uid,
                resource_version: None,
            });
            write::gone_is_fine(api.delete(&name, &params).await)?;
        }
    }
    Ok(Step::Done)
}
