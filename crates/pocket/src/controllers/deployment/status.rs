//! Replica counts and conditions, with the reasons that `kubectl rollout status` reads.

use super::model::{
    is_paused, max_unavailable, progress_deadline, replicas, rs_actual, rs_available, rs_ready,
    rs_replicas,
};
use super::plan::{SyncState, replica_set_name};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

const AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

fn new_condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> DeploymentCondition {
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(now),
    }
}

fn get_condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == kind)
}

fn remove_condition(status: &mut DeploymentStatus, kind: &str) {
    if let Some(all) = status.conditions.as_mut() {
        all.retain(|c| c.type_ != kind);
    }
}

/// Sets a condition. Equal status and reason change nothing; an equal status keeps its transition
/// time.
fn set_condition(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    if let Some(old) = get_condition(status, &new.type_) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time
                .clone_from(&old.last_transition_time);
        }
    }
    remove_condition(status, &new.type_);
    status.conditions.get_or_insert_default().push(new);
}

/// Reports a pause in the Progressing condition, since it is not a lack of progress, and restarts
/// the progress deadline when the Deployment is resumed.
pub(super) fn update_paused_condition(work: &mut SyncState) {
    if progress_deadline(work.d).is_none() {
        return;
    }
    let reason = get_condition(&work.status, "Progressing").and_then(|c| c.reason.clone());
    if reason.as_deref() == Some(TIMED_OUT) {
        return;
    }
    let said = reason.as_deref() == Some(PAUSED);
    if is_paused(work.d) && !said {
        set_condition(
            &mut work.status,
            new_condition(
                "Progressing",
                "Unknown",
                PAUSED,
                "Deployment is paused",
                work.now,
            ),
        );
    } else if !is_paused(work.d) && said {
        let resumed = new_condition(
            "Progressing",
            "Unknown",
            "DeploymentResumed",
            "Deployment is resumed",
            work.now,
        );
        set_condition(&mut work.status, resumed);
    }
}

pub(super) fn mark_first_seen(work: &mut SyncState, reason: &str, message: String) {
    if progress_deadline(work.d).is_some() && get_condition(&work.status, "Progressing").is_none() {
        set_condition(
            &mut work.status,
            new_condition("Progressing", "True", reason, &message, work.now),
        );
    }
}

pub(super) fn mark_created(work: &mut SyncState, message: String) {
    if progress_deadline(work.d).is_some() {
        set_condition(
            &mut work.status,
            new_condition(
                "Progressing",
                "True",
                "NewReplicaSetCreated",
                &message,
                work.now,
            ),
        );
    }
}

/// Computes the counts and the Available condition.
pub(super) fn calculate_status(work: &SyncState) -> DeploymentStatus {
    let d = work.d;
    let sum = |f: fn(&ReplicaSet) -> i32| work.all_sets().map(f).sum::<i32>();
    let available = sum(rs_available);
    let some = |n: i32| (n > 0).then_some(n);
    let mut status = DeploymentStatus {
        observed_generation: d.metadata.generation,
        replicas: some(sum(rs_actual)),
        updated_replicas: some(work.new.as_ref().map_or(0, rs_actual)),
        ready_replicas: some(sum(rs_ready)),
        available_replicas: some(available),
        unavailable_replicas: some(sum(rs_replicas) - available),
        collision_count: work.status.collision_count,
        conditions: work.status.conditions.clone(),
        terminating_replicas: work.status.terminating_replicas,
    };
    let enough = available >= replicas(d) - max_unavailable(d);
    let (state, reason, message) = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set_condition(
        &mut status,
        new_condition("Available", state, reason, message, work.now),
    );
    status
}

pub(super) fn is_complete(d: &Deployment, status: &DeploymentStatus) -> bool {
    let want = replicas(d);
    status.updated_replicas.unwrap_or(0) == want
        && status.replicas.unwrap_or(0) == want
        && status.available_replicas.unwrap_or(0) == want
        && status.observed_generation.unwrap_or(0) >= d.metadata.generation.unwrap_or(0)
}

fn is_progressing(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let old = |s: &DeploymentStatus| {
        s.replicas
            .unwrap_or(0)
            .saturating_sub(s.updated_replicas.unwrap_or(0))
    };
    now.updated_replicas > before.updated_replicas
        || old(now) < old(before)
        || now.ready_replicas > before.ready_replicas
        || now.available_replicas > before.available_replicas
}

fn progress_deadline_at(status: &DeploymentStatus, seconds: i32) -> Option<Timestamp> {
    let since = get_condition(status, "Progressing")?
        .last_update_time
        .as_ref()?
        .0;
    since
        .checked_add(SignedDuration::from_secs(i64::from(seconds)))
        .ok()
}

/// Computes counts, progress and failures, and when the progress deadline must be checked again.
pub(super) fn sync_rollout_status(work: &SyncState) -> (DeploymentStatus, Option<Duration>) {
    let (d, now) = (work.d, work.now);
    let mut status = calculate_status(work);
    let limit = progress_deadline(d);
    if limit.is_none() {
        remove_condition(&mut status, "Progressing");
    }
    if let Some(seconds) = limit {
        update_progress(work, &mut status, seconds);
    }
    match replica_failure(work) {
        Some(failed) => set_condition(&mut status, failed),
        None => remove_condition(&mut status, "ReplicaFailure"),
    }
    let waiting = get_condition(&status, "Progressing")
        .is_some_and(|c| c.reason.as_deref() != Some(TIMED_OUT));
    let requeue = limit
        .filter(|_| waiting && !is_complete(d, &status))
        .and_then(|seconds| progress_deadline_at(&status, seconds))
        .map(|at| {
            let left = at.duration_since(now).as_secs().max(0);
            Duration::from_secs(u64::try_from(left).unwrap_or(0) + 1)
        });
    (status, requeue)
}

/// Sets the condition that tells how a rollout gets on, unless it is done.
fn update_progress(work: &SyncState, status: &mut DeploymentStatus, seconds: i32) {
    let (d, now) = (work.d, work.now);
    let current = get_condition(&work.status, "Progressing").cloned();
    let reason = current.as_ref().and_then(|c| c.reason.as_deref());
    if status.replicas == status.updated_replicas && reason == Some(AVAILABLE) {
        return;
    }
    let subject = work.new.as_ref().map_or(
        format!(
            "Deployment {:?}",
            d.metadata.name.as_deref().unwrap_or_default()
        ),
        |rs| format!("ReplicaSet {:?}", replica_set_name(rs)),
    );
    let before = d.status.clone().unwrap_or_default();
    if is_complete(d, status) {
        let message = format!("{subject} has successfully progressed.");
        set_condition(
            status,
            new_condition("Progressing", "True", AVAILABLE, &message, now),
        );
    } else if is_progressing(&before, status) {
        let message = format!("{subject} is progressing.");
        let mut new = new_condition("Progressing", "True", "ReplicaSetUpdated", &message, now);
        if let Some(old) = current.as_ref().filter(|c| c.status == "True") {
            new.last_transition_time
                .clone_from(&old.last_transition_time);
        }
        // Replaced even if the reason is the same: the deadline counts from the update time.
        remove_condition(status, "Progressing");
        set_condition(status, new);
    } else if reason != Some(AVAILABLE)
        && progress_deadline_at(status, seconds).is_some_and(|at| at < now)
    {
        let message = format!("{subject} has timed out progressing.");
        set_condition(
            status,
            new_condition("Progressing", "False", TIMED_OUT, &message, now),
        );
    }
}

fn replica_failure(work: &SyncState) -> Option<DeploymentCondition> {
    let sets = work.new.iter().chain(work.old.iter());
    let mut failures =
        sets.flat_map(|rs| rs.status.iter().flat_map(|s| s.conditions.iter().flatten()));
    failures
        .find(|c| c.type_ == "ReplicaFailure")
        .map(|c| DeploymentCondition {
            type_: "ReplicaFailure".into(),
            status: c.status.clone(),
            reason: c.reason.clone(),
            message: c.message.clone(),
            last_update_time: c.last_transition_time.clone(),
            last_transition_time: c.last_transition_time.clone(),
        })
}
