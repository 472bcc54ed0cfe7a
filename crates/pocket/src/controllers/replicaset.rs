//! ReplicaSets: keeps the desired number of pods, selects which pods to delete, and maintains the
//! counts that Deployments rely on.

use super::ControllerContext;
use super::events::object_reference;
use super::pods::{is_active, is_ready, selector_matches, time_until_available};
use super::{ownership, write};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Status;
use kube::{Api, ResourceExt};
use reconcile::runner::{KeySender, ReconcileResult};
use reconcile::store::{NamespacedName, namespaced_name};
use std::sync::Arc;
use std::time::Duration;

mod deletion_order;

pub(super) fn enqueue_changes(shared: &ControllerContext, queue: KeySender<NamespacedName>) {
    let q = queue.clone();
    shared.sets.on_change(move |old, new| {
        q.add(namespaced_name(
            &new.or(old).expect("a change has an object").metadata,
        ));
    });
    ownership::enqueue_owners(&shared.pods, &shared.sets, queue, |rs| {
        Some(&rs.spec.as_ref()?.selector)
    });
}

#[tracing::instrument(level = "debug", skip_all, fields(object = ?at))]
pub(super) async fn reconcile_replica_set(
    shared: Arc<ControllerContext>,
    at: NamespacedName,
) -> ReconcileResult {
    let Some(rs) = shared.sets.get(&at) else {
        return Ok(None);
    };
    let pods: Api<Pod> = Api::namespaced(shared.client.clone(), &at.0);
    let mut failed = None;
    if rs.metadata.deletion_timestamp.is_none() {
        claim_pods(&shared, &rs).await?;
        failed = manage_replicas(&shared, &rs, &pods).await;
    }
    let rs = shared.sets.get(&at).unwrap_or(rs);
    let requeue = update_status(&shared, &rs, failed.as_ref()).await?;
    match failed {
        Some(error) => Err(error),
        None => Ok(requeue),
    }
}

/// Adopts and releases pods. Finished pods keep their owner.
async fn claim_pods(shared: &ControllerContext, rs: &ReplicaSet) -> Result<(), kube::Error> {
    let Some(spec) = rs.spec.as_ref() else {
        return Ok(());
    };
    let mut pods = shared
        .pods
        .list_namespace(&rs.namespace().unwrap_or_default());
    pods.retain(|p| is_active(p));
    ownership::claim_objects(&shared.client, rs, &shared.pods, pods, |pod: &Pod| {
        selector_matches(&spec.selector, &pod.metadata)
    })
    .await
}

fn new_pod(rs: &ReplicaSet) -> Pod {
    let template = rs
        .spec
        .as_ref()
        .and_then(|s| s.template.clone())
        .unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", rs.name_any())),
            namespace: rs.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![ownership::controller_reference(rs)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.unwrap_or_default()),
        status: None,
    }
}

/// Creates missing pods and deletes excess ones; returns an error if one occurred.
async fn manage_replicas(
    shared: &ControllerContext,
    rs: &ReplicaSet,
    api: &Api<Pod>,
) -> Option<kube::Error> {
    let mut live = ownership::list_owned(rs, &shared.pods);
    live.retain(|p| is_active(p));
    let want = usize::try_from(rs.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)).unwrap_or(0);
    let mut failed = None;
    if live.len() < want {
        match ownership::is_alive(&shared.client, rs).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(error),
        }
        let new = new_pod(rs);
        let params = PostParams::default();
        let creating = (live.len()..want).map(|_| api.create(&params, &new));
        for result in join_all(creating).await {
            match result {
                Ok(pod) => {
                    shared.pods.record_write(&pod);
                    let text = format!("Created pod: {}", pod.name_any());
                    shared
                        .event_recorder("replicaset-controller")
                        .record_normal(object_reference(rs), "SuccessfulCreate", text);
                }
                Err(error) => {
                    // A terminating namespace accepts no new objects; this is expected.
                    if !is_namespace_terminating(&error) {
                        let text = format!("Error creating: {error}");
                        shared
                            .event_recorder("replicaset-controller")
                            .record_warning(object_reference(rs), "FailedCreate", text);
                        failed = Some(error);
                    }
                }
            }
        }
    } else {
        let excess = live.len() - want;
        let deleting = deletion_order::select_pods_to_delete(live, excess)
            .into_iter()
            .map(|pod| async move {
                let done = ownership::delete_pod(api, &shared.pods, &pod).await;
                (done, pod)
            });
        for (done, pod) in join_all(deleting).await {
            if let Err(error) = done {
                failed = Some(error);
                continue;
            }
            let text = format!("Deleted pod: {}", pod.name_any());
            shared
                .event_recorder("replicaset-controller")
                .record_normal(object_reference(rs), "SuccessfulDelete", text);
        }
    }
    failed
}

pub(super) fn is_namespace_terminating(error: &kube::Error) -> bool {
    let cause = |s: &Status| s.message.contains("being terminated") || s.code == 404;
    matches!(error, kube::Error::Api(s) if cause(s))
}

/// Writes counts and conditions; requeues for the time when the next pod becomes available.
async fn update_status(
    shared: &ControllerContext,
    rs: &ReplicaSet,
    failed: Option<&kube::Error>,
) -> ReconcileResult {
    let mut pods = ownership::list_owned(rs, &shared.pods);
    pods.retain(|p| is_active(p));
    let now = crate::clock::now();
    let wait = rs
        .spec
        .as_ref()
        .and_then(|s| s.min_ready_seconds)
        .unwrap_or(0);
    let labels = rs
        .spec
        .as_ref()
        .and_then(|s| s.template.as_ref())
        .and_then(|t| t.metadata.as_ref())
        .and_then(|m| m.labels.clone())
        .unwrap_or_default();
    let labeled = |p: &&Arc<Pod>| {
        let own = p.metadata.labels.as_ref();
        labels
            .iter()
            .all(|(k, v)| own.and_then(|l| l.get(k)) == Some(v))
    };
    let (mut available, mut next) = (0, None::<Duration>);
    for left in pods
        .iter()
        .filter_map(|p| time_until_available(p, wait, now))
    {
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
        ready_replicas: Some(count(pods.iter().filter(|p| is_ready(p)).count())),
        available_replicas: Some(available),
        observed_generation: rs.metadata.generation,
        conditions: failure_conditions(old, failed, now),
        terminating_replicas: None,
    };
    let api: Api<ReplicaSet> =
        Api::namespaced(shared.client.clone(), &rs.namespace().unwrap_or_default());
    let written =
        write::ignore_not_found(write::patch_status(&api, rs, old, &status).await)?.flatten();
    if let Some(rs) = written {
        shared.sets.record_write(&rs);
    }
    // A rollout latch of 68 years needs no timer.
    Ok(next
        .map(|n| n + Duration::from_millis(1))
        .filter(|n| *n < Duration::from_hours(24 * 30)))
}

fn failure_conditions(
    old: Option<&ReplicaSetStatus>,
    failed: Option<&kube::Error>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let before = old.and_then(|s| s.conditions.clone()).unwrap_or_default();
    let had = before.iter().find(|c| c.type_ == "ReplicaFailure").cloned();
    let mut rest: Vec<_> = before
        .into_iter()
        .filter(|c| c.type_ != "ReplicaFailure")
        .collect();
    if let Some(error) = failed {
        rest.push(had.unwrap_or_else(|| ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some("FailedCreate".into()),
            message: Some(error.to_string()),
            last_transition_time: Some(Time(
                Timestamp::from_second(now.as_second()).unwrap_or(now),
            )),
        }));
    }
    (!rest.is_empty()).then_some(rest)
}
