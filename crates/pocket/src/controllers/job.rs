//! Jobs: runs pods until enough have succeeded or too many have failed.

use super::events::object_reference;
use super::pods::{controller_of, is_active, is_controlled_by, phase};
use super::{ControllerContext, ownership, write};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, ObjectMeta, PostParams, PropagationPolicy};
use kube::{Api, ResourceExt};
use reconcile::runner::{KeySender, ReconcileResult};
use reconcile::store::{NamespacedName, namespaced_name};
use std::sync::Arc;
use std::time::Duration;

/// Delay of the next pod after the first failure; doubles with every further failure.
const BACK_OFF: Duration = Duration::from_secs(10);
const MAX_BACK_OFF: Duration = Duration::from_mins(6);

pub(super) fn enqueue_changes(shared: &ControllerContext, queue: KeySender<NamespacedName>) {
    let q = queue.clone();
    shared.jobs.on_change(move |old, new| {
        q.add(namespaced_name(
            &new.or(old).expect("a change has an object").metadata,
        ));
    });
    shared.pods.on_change(move |old, new| {
        let pod = new.or(old).expect("a change has an object");
        if let Some(owner) = controller_of(&pod.metadata).filter(|o| o.kind == "Job") {
            queue.add((pod.namespace().unwrap_or_default(), owner.name.clone()));
        }
    });
}

/// What must be done now.
#[derive(Debug, Default, PartialEq, Eq)]
struct JobPlan {
    create: usize,
    /// Whether to delete all running pods.
    stop: bool,
    /// `Complete` or `Failed`, with reason and message.
    end: Option<(&'static str, &'static str, String)>,
    again: Option<Duration>,
}

/// Counts of the Job's pods.
struct PodCounts {
    active: usize,
    succeeded: usize,
    failed: usize,
    last_failure: Option<Timestamp>,
}

fn plan_job(job: &Job, seen: &PodCounts, now: Timestamp) -> JobPlan {
    let spec = job.spec.clone().unwrap_or_default();
    let parallel = count_or(spec.parallelism, 1);
    // Without `completions` one success is enough, and no pod starts after it.
    let wanted = spec.completions.map_or(1, |n| count_or(Some(n), 1));
    let since = job
        .status
        .as_ref()
        .and_then(|s| s.start_time.as_ref())
        .map_or(now, |t| t.0.min(now));
    let deadline = spec
        .active_deadline_seconds
        .and_then(|s| since.checked_add(SignedDuration::from_secs(s)).ok());
    let until =
        |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    if let Some(plan) = plan_end(&spec, seen, wanted) {
        return plan;
    }
    if deadline.is_some_and(|d| d <= now) {
        let message = "Job was active longer than specified deadline".to_owned();
        return JobPlan {
            stop: true,
            end: Some(("Failed", "DeadlineExceeded", message)),
            ..JobPlan::default()
        };
    }
    if spec.suspend == Some(true) {
        return JobPlan {
            stop: true,
            ..JobPlan::default()
        };
    }
    let due = deadline.map(until);
    let missing = (wanted - seen.succeeded)
        .min(parallel)
        .saturating_sub(seen.active);
    let pause = seen
        .last_failure
        .map(|at| until(back_off_end(at, seen.failed)));
    match pause.filter(|p| !p.is_zero() && missing > 0) {
        Some(pause) => JobPlan {
            again: Some(due.map_or(pause, |d| d.min(pause))),
            ..JobPlan::default()
        },
        None => JobPlan {
            create: missing,
            again: due,
            ..JobPlan::default()
        },
    }
}

fn count_or(given: Option<i32>, default: i32) -> usize {
    usize::try_from(given.unwrap_or(default)).unwrap_or(0)
}

/// The end of a Job whose pods have succeeded, or failed too often.
fn plan_end(spec: &JobSpec, seen: &PodCounts, wanted: usize) -> Option<JobPlan> {
    if seen.succeeded >= wanted {
        let message = format!("{wanted} of {wanted} pods succeeded");
        return Some(JobPlan {
            stop: spec.completions.is_some(),
            end: Some(("Complete", "CompletionsReached", message)),
            ..JobPlan::default()
        });
    }
    if seen.failed > count_or(spec.backoff_limit, 6) {
        let message = "Job has reached the specified backoff limit".to_owned();
        return Some(JobPlan {
            stop: true,
            end: Some(("Failed", "BackoffLimitExceeded", message)),
            ..JobPlan::default()
        });
    }
    None
}

/// When the next pod may start after a failure.
fn back_off_end(at: Timestamp, failed: usize) -> Timestamp {
    let doublings = u32::try_from(failed.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(16);
    let pause = (BACK_OFF * 2_u32.pow(doublings)).min(MAX_BACK_OFF);
    at.checked_add(pause).unwrap_or(at)
}

#[tracing::instrument(level = "debug", skip_all, fields(object = ?at))]
pub(super) async fn reconcile_job(
    shared: Arc<ControllerContext>,
    at: NamespacedName,
) -> ReconcileResult {
    let Some(job) = shared
        .jobs
        .get(&at)
        .filter(|j| j.metadata.deletion_timestamp.is_none())
    else {
        return Ok(None);
    };
    let now = crate::clock::now();
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    if let Some(end) = job_end_time(&job) {
        return delete_after_ttl(&shared, &job, end, now).await;
    }
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), &at.0);
    let mut pods = shared.pods.list_namespace(&at.0);
    pods.retain(|p| is_controlled_by(&p.metadata, job.metadata.uid.as_deref()));
    let running: Vec<&Arc<Pod>> = pods.iter().filter(|p| is_active(p)).collect();
    let seen = count_pods(&pods, running.len());
    let plan = plan_job(&job, &seen, now);
    if plan.create > 0 && !ownership::is_alive(&shared.client, job.as_ref()).await? {
        return Ok(None);
    }
    for _ in 0..plan.create {
        let pod = api.create(&PostParams::default(), &new_pod(&job)).await?;
        shared.pods.record_write(&pod);
        let text = format!("Created pod: {}", pod.name_any());
        shared.event_recorder("job-controller").record_normal(
            object_reference(job.as_ref()),
            "SuccessfulCreate",
            text,
        );
    }
    if plan.stop {
        for pod in &running {
            write::ignore_not_found(api.delete(&pod.name_any(), &DeleteParams::default()).await)?;
            shared.pods.record_deletion(pod);
        }
    }
    let mut status = job.status.clone().unwrap_or_default();
    status.start_time.get_or_insert(Time(whole));
    set_counts(&mut status, &seen, &plan, &running);
    if let Some((kind, reason, message)) = plan.end {
        set_finished(&mut status, kind, reason, &message, whole);
        record_end(&shared, &job, kind, reason, message);
    }
    let jobs: Api<Job> = Api::namespaced(shared.client.clone(), &at.0);
    let written = write::ignore_not_found(
        write::patch_status(&jobs, job.as_ref(), job.status.as_ref(), &status).await,
    )?;
    if let Some(job) = written.flatten() {
        shared.jobs.record_write(&job);
    }
    Ok(plan.again)
}

fn count_pods(pods: &[Arc<Pod>], active: usize) -> PodCounts {
    let count = |want: &str| pods.iter().filter(|p| phase(p) == want).count();
    PodCounts {
        active,
        succeeded: count("Succeeded"),
        failed: count("Failed"),
        last_failure: pods
            .iter()
            .filter(|p| phase(p) == "Failed")
            .filter_map(|p| pod_end_time(p))
            .max(),
    }
}

/// The counts of a status after the plan; as in Kubernetes, zeros are omitted.
fn set_counts(status: &mut JobStatus, seen: &PodCounts, plan: &JobPlan, running: &[&Arc<Pod>]) {
    let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let left = if plan.stop {
        0
    } else {
        seen.active + plan.create
    };
    let some = |n: usize| (n > 0).then(|| number(n));
    (status.active, status.succeeded, status.failed) =
        (some(left), some(seen.succeeded), some(seen.failed));
    status.ready = Some(number(
        running
            .iter()
            .filter(|p| !plan.stop && super::pods::is_ready(p))
            .count(),
    ));
}

fn record_end(
    shared: &ControllerContext,
    job: &Job,
    kind: &str,
    reason: &'static str,
    message: String,
) {
    let recorder = shared.event_recorder("job-controller");
    match kind {
        "Complete" => recorder.record_normal(object_reference(job), "Completed", "Job completed"),
        _ => recorder.record_warning(object_reference(job), reason, message),
    }
}

fn set_finished(status: &mut JobStatus, kind: &str, reason: &str, message: &str, now: Timestamp) {
    if kind == "Complete" {
        status.completion_time = Some(Time(now));
    }
    let condition = |type_: &str| JobCondition {
        type_: type_.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    // The condition that newer clients wait for comes first.
    let first = if kind == "Complete" {
        "SuccessCriteriaMet"
    } else {
        "FailureTarget"
    };
    status
        .conditions
        .get_or_insert_default()
        .extend([condition(first), condition(kind)]);
}

/// When the Job ended; `None` while it runs.
fn job_end_time(job: &Job) -> Option<Timestamp> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end = conditions
        .iter()
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")?;
    Some(
        end.last_transition_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |t| t.0),
    )
}

/// Deletes an ended Job when its TTL is over.
async fn delete_after_ttl(
    shared: &ControllerContext,
    job: &Job,
    end: Timestamp,
    now: Timestamp,
) -> ReconcileResult {
    let Some(ttl) = job.spec.as_ref().and_then(|s| s.ttl_seconds_after_finished) else {
        return Ok(None);
    };
    let left = end
        .checked_add(SignedDuration::from_secs(i64::from(ttl)))
        .unwrap_or(Timestamp::MAX)
        .duration_since(now);
    if let Ok(left) = Duration::try_from(left)
        && !left.is_zero()
    {
        return Ok(Some(left));
    }
    let api: Api<Job> =
        Api::namespaced(shared.client.clone(), &job.namespace().unwrap_or_default());
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    write::ignore_not_found(api.delete(&job.name_any(), &params).await)?;
    Ok(None)
}

/// When a pod's last container ended.
fn pod_end_time(pod: &Pod) -> Option<Timestamp> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended = containers
        .iter()
        .filter_map(|c| c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    ended.map(|t| t.0).max()
}

fn new_pod(job: &Job) -> Pod {
    let template = job.spec.clone().unwrap_or_default().template;
    let meta = template.metadata.unwrap_or_default();
    let (name, uid) = (job.name_any(), job.uid().unwrap_or_default());
    let mut labels = meta.labels.unwrap_or_default();
    for (key, value) in [("job-name", &name), ("controller-uid", &uid)] {
        labels.insert(key.into(), value.clone());
        labels.insert(format!("batch.kubernetes.io/{key}"), value.clone());
    }
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: job.namespace(),
            labels: Some(labels),
            annotations: meta.annotations,
            owner_references: Some(vec![ownership::controller_reference(job)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(spec: Value) -> Job {
        serde_json::from_value(
            json!({"metadata": {"name": "j"}, "spec": spec, "status": {"startTime": "2026-01-01T00:00:00Z"}}),
        )
        .unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:01:00Z".parse().unwrap()
    }

    fn seen(active: usize, succeeded: usize, failed: usize) -> PodCounts {
        PodCounts {
            active,
            succeeded,
            failed,
            last_failure: (failed > 0).then(now),
        }
    }

    #[test]
    fn as_many_pods_as_are_missing_and_no_more_than_at_once() {
        let j = job(json!({"template": {}, "completions": 5, "parallelism": 2}));
        assert_eq!(plan_job(&j, &seen(0, 0, 0), now()).create, 2);
        assert_eq!(plan_job(&j, &seen(1, 3, 0), now()).create, 1);
        assert_eq!(plan_job(&j, &seen(1, 4, 0), now()).create, 0);
        assert_eq!(
            plan_job(&j, &seen(0, 5, 0), now()).end.unwrap().0,
            "Complete"
        );
    }

    #[test]
    fn failures_back_off_and_end_it() {
        let j = job(json!({"template": {}, "backoffLimit": 1}));
        let first = plan_job(&j, &seen(0, 0, 1), now());
        assert_eq!((first.create, first.again), (0, Some(BACK_OFF)));
        let later = now() + SignedDuration::from_secs(10);
        assert_eq!(plan_job(&j, &seen(0, 0, 1), later).create, 1);
        let over = plan_job(&j, &seen(1, 0, 2), now());
        assert_eq!(
            (over.stop, over.end.unwrap().1),
            (true, "BackoffLimitExceeded")
        );
        let none = job(json!({"template": {}, "backoffLimit": 0}));
        assert_eq!(
            plan_job(&none, &seen(0, 0, 1), now()).end.unwrap().0,
            "Failed"
        );
    }

    #[test]
    fn no_number_is_too_large_for_a_clock() {
        for n in [i64::MIN, -1, 0, i64::MAX] {
            let small = i32::try_from(n).unwrap_or(i32::MAX);
            let spec = json!({"template": {}, "activeDeadlineSeconds": n, "completions": small, "parallelism": small,
                "backoffLimit": small});
            let failed = PodCounts {
                last_failure: Some(Timestamp::MAX),
                ..seen(1, 0, 1)
            };
            for seen in [seen(0, 0, 0), failed] {
                plan_job(&job(spec.clone()), &seen, now());
            }
        }
    }

    #[test]
    fn a_deadline_ends_what_still_runs() {
        let j = job(json!({"template": {}, "activeDeadlineSeconds": 90}));
        assert_eq!(
            plan_job(&j, &seen(1, 0, 0), now()).again,
            Some(Duration::from_secs(30))
        );
        let late = plan_job(&j, &seen(1, 0, 0), now() + SignedDuration::from_secs(30));
        assert_eq!((late.stop, late.end.unwrap().1), (true, "DeadlineExceeded"));
    }
}
