//! ReplicaSets: as many pods as asked for; the right ones go first; counts that Deployments stand on.

use super::Shared;
use super::cache::{Key, key};
use super::events::about;
use super::pods::{active, available_in, controlled_by, controller, ready, selects};
use super::queue::{Outcome, Queue};
use super::write;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

mod victims;

pub(super) fn watch(shared: &Shared, queue: Queue) {
    let q = queue.clone();
    shared.sets.on_change(move |old, new| q.add(key(&new.or(old).expect("a change has an object").metadata)));
    let sets = shared.sets.clone();
    shared.pods.on_change(move |old, new| {
        for pod in [old, new].into_iter().flatten() {
            let namespace = pod.namespace().unwrap_or_default();
            match controller(&pod.metadata) {
                Some(owner) if owner.kind == "ReplicaSet" => queue.add((namespace, owner.name.clone())),
                Some(_) => {}
                None => sets
                    .list(&namespace)
                    .iter()
                    .filter(|rs| rs.spec.as_ref().is_some_and(|s| selects(&s.selector, &pod.metadata)))
                    .for_each(|rs| queue.add(key(&rs.metadata))),
            }
        }
    });
}

fn owner(rs: &ReplicaSet) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        name: rs.name_any(),
        uid: rs.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn own_pods(shared: &Shared, rs: &ReplicaSet) -> Vec<Arc<Pod>> {
    let mut pods = shared.pods.list(&rs.namespace().unwrap_or_default());
    pods.retain(|p| controlled_by(&p.metadata, rs.metadata.uid.as_deref()));
    pods
}

pub(super) async fn look(shared: Arc<Shared>, at: Key) -> Outcome {
    let Some(rs) = shared.sets.get(&at) else {
        return Ok(None);
    };
    let pods: Api<Pod> = Api::namespaced(shared.client.clone(), &at.0);
    let mut failed = None;
    if rs.metadata.deletion_timestamp.is_none() {
        claim(&shared, &rs, &pods).await?;
        failed = manage(&shared, &rs, &pods).await;
    }
    let rs = shared.sets.get(&at).unwrap_or(rs);
    let requeue = report(&shared, &rs, failed.as_ref()).await?;
    match failed {
        Some(error) => Err(error),
        None => Ok(requeue),
    }
}

/// Adopt pods that match and belong to nobody; let go of those that no longer match.
async fn claim(shared: &Shared, rs: &ReplicaSet, api: &Api<Pod>) -> Result<(), kube::Error> {
    let Some(spec) = rs.spec.as_ref() else {
        return Ok(());
    };
    let uid = rs.metadata.uid.as_deref();
    for pod in shared.pods.list(&rs.namespace().unwrap_or_default()) {
        let matches = selects(&spec.selector, &pod.metadata);
        let ours = controlled_by(&pod.metadata, uid);
        let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
        if matches && controller(&pod.metadata).is_none() && active(&pod) {
            owners.push(owner(rs));
        } else if ours && !matches {
            owners.retain(|o| Some(o.uid.as_str()) != uid);
        } else {
            continue;
        }
        let version = &pod.metadata.resource_version;
        let patch = json!({"metadata": {"ownerReferences": owners, "uid": pod.uid(), "resourceVersion": version}});
        let done = api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        if let Some(pod) = write::gone_is_fine(done)? {
            shared.pods.remember(&pod);
        }
    }
    Ok(())
}

fn new_pod(rs: &ReplicaSet) -> Pod {
    let template = rs.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", rs.name_any())),
            namespace: rs.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner(rs)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.unwrap_or_default()),
        status: None,
    }
}

/// Create what is missing, delete what is too much; the first failure, if any.
async fn manage(shared: &Shared, rs: &ReplicaSet, api: &Api<Pod>) -> Option<kube::Error> {
    let mut live = own_pods(shared, rs);
    live.retain(|p| active(p));
    let want = usize::try_from(rs.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)).unwrap_or(0);
    let mut failed = None;
    if live.len() < want {
        let new = new_pod(rs);
        let params = PostParams::default();
        let creating = (live.len()..want).map(|_| api.create(&params, &new));
        for result in join_all(creating).await {
            match result {
                Ok(pod) => {
                    shared.pods.remember(&pod);
                    let text = format!("Created pod: {}", pod.name_any());
                    shared.events("replicaset-controller").normal(about(rs), "SuccessfulCreate", text);
                }
                Err(error) => {
                    // A namespace on its way out takes nothing new, and that is no news.
                    if !ending(&error) {
                        let text = format!("Error creating: {error}");
                        shared.events("replicaset-controller").warning(about(rs), "FailedCreate", text);
                        failed = Some(error);
                    }
                }
            }
        }
    } else {
        let excess = live.len() - want;
        let deleting = victims::choose(live, excess).into_iter().map(|pod| async move {
            let uid = Preconditions { uid: pod.uid(), resource_version: None };
            let params = DeleteParams::default().preconditions(uid);
            (api.delete(&pod.name_any(), &params).await, pod)
        });
        for (result, pod) in join_all(deleting).await {
            match write::gone_is_fine(result.map(|answer| answer.left())) {
                Ok(Some(Some(dying))) if dying.metadata.deletion_timestamp.is_some() => {
                    shared.pods.remember(&dying);
                }
                Ok(_) => shared.pods.forget(&pod),
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            }
            let text = format!("Deleted pod: {}", pod.name_any());
            shared.events("replicaset-controller").normal(about(rs), "SuccessfulDelete", text);
        }
    }
    failed
}

pub(super) fn ending(error: &kube::Error) -> bool {
    let cause = |s: &Status| s.message.contains("being terminated") || s.code == 404;
    matches!(error, kube::Error::Api(s) if cause(s))
}

/// Write counts and conditions; look again when the next pod becomes available.
async fn report(shared: &Shared, rs: &ReplicaSet, failed: Option<&kube::Error>) -> Outcome {
    let mut pods = own_pods(shared, rs);
    pods.retain(|p| active(p));
    let now = Timestamp::now();
    let wait = rs.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0);
    let labels = rs
        .spec
        .as_ref()
        .and_then(|s| s.template.as_ref())
        .and_then(|t| t.metadata.as_ref())
        .and_then(|m| m.labels.clone())
        .unwrap_or_default();
    let labeled = |p: &&Arc<Pod>| {
        let own = p.metadata.labels.as_ref();
        labels.iter().all(|(k, v)| own.and_then(|l| l.get(k)) == Some(v))
    };
    let (mut available, mut next) = (0, None::<Duration>);
    for left in pods.iter().filter_map(|p| available_in(p, wait, now)) {
        if left.is_zero() {
            available += 1;
        } else {
            next = Some(next.map_or(left, |n| n.min(left)));
        }
    }
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let old = rs.status.as_ref();
    let status = ReplicaSetStatus {
        replicas: count(pods.len()),
        fully_labeled_replicas: Some(count(pods.iter().filter(labeled).count())),
        ready_replicas: Some(count(pods.iter().filter(|p| ready(p)).count())),
        available_replicas: Some(available),
        observed_generation: rs.metadata.generation,
        conditions: conditions(old, failed, now),
        terminating_replicas: None,
    };
    let api: Api<ReplicaSet> = Api::namespaced(shared.client.clone(), &rs.namespace().unwrap_or_default());
    let written = write::gone_is_fine(write::status(&api, rs, old, &status).await)?.flatten();
    if let Some(rs) = written {
        shared.sets.remember(&rs);
    }
    // A latch of 68 years needs no alarm.
    Ok(next.map(|n| n + Duration::from_millis(1)).filter(|n| *n < Duration::from_secs(86_400 * 30)))
}

fn conditions(
    old: Option<&ReplicaSetStatus>,
    failed: Option<&kube::Error>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let before = old.and_then(|s| s.conditions.clone()).unwrap_or_default();
    let had = before.iter().find(|c| c.type_ == "ReplicaFailure").cloned();
    let mut rest: Vec<_> = before.into_iter().filter(|c| c.type_ != "ReplicaFailure").collect();
    if let Some(error) = failed {
        rest.push(had.unwrap_or_else(|| ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some("FailedCreate".into()),
            message: Some(error.to_string()),
            last_transition_time: Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
        }));
    }
    (!rest.is_empty()).then_some(rest)
}
