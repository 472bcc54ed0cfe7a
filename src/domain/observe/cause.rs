//! Why a workload or a pod is not as wanted: one reading of conditions and container states for the
//! engine's messages, the panes and the tables.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ContainerStatus, Event, Pod, PodStatus},
};

use crate::{
    api::label,
    domain::{batches::is_latch_on, text::Clean},
};

/// Longest text shown, in characters.
const MAX_TEXT_CHARS: usize = 300;

/// A reason as Kubernetes names it, and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// One word, such as `FailedCreate` or `ImagePullBackOff`.
    pub reason: Clean,
    /// Details, if any.
    pub message: Option<Clean>,
}

impl Cause {
    fn new(reason: Option<&str>, or: &str, message: Option<&str>) -> Self {
        let reason = reason.filter(|r| !r.is_empty()).unwrap_or(or);
        let message = message
            .map(|m| Clean::bounded(m, MAX_TEXT_CHARS))
            .filter(|m| !m.is_empty());
        Self {
            reason: Clean::bounded(reason, 60),
            message,
        }
    }

    /// Reason and message, such as `FailedCreate: pods "web-1" is forbidden: exceeded quota`.
    pub fn to_text(&self) -> Clean {
        match &self.message {
            Some(message) => Clean::bounded(&format!("{}: {message}", self.reason), MAX_TEXT_CHARS),
            None => self.reason.clone(),
        }
    }
}

/// Why a Deployment lacks pods. While the latch is on, nothing is ever available and no deadline
/// runs, so those two conditions mean nothing.
pub fn of_deployment(live: &Deployment) -> Option<Cause> {
    let latched = live
        .metadata
        .annotations
        .as_ref()
        .is_some_and(|a| a.contains_key(label::LATCH))
        || is_latch_on(live);
    let all = || {
        live.status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten())
    };
    let found = |kind: &str, status: &str| all().find(|c| c.type_ == kind && c.status == status);
    let told = found("ReplicaFailure", "True")
        .or_else(|| found("Progressing", "False").filter(|_| !latched))
        .or_else(|| found("Available", "False").filter(|_| !latched))?;
    Some(Cause::new(
        told.reason.as_deref(),
        &told.type_,
        told.message.as_deref(),
    ))
}

/// Why its pods cannot be created or deleted: quota, LimitRange, admission.
pub fn of_set(set: &ReplicaSet) -> Option<Cause> {
    let mut all = set
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    let told = all.find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
    Some(Cause::new(
        told.reason.as_deref(),
        &told.type_,
        told.message.as_deref(),
    ))
}

/// Why a pod is not Ready; `None` when it is, or when nothing is known except that it is starting.
pub fn of_pod(pod: &Pod) -> Option<Cause> {
    let status = pod.status.as_ref()?;
    let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind);
    if condition("Ready").is_some_and(|c| c.status == "True") {
        return None;
    }
    // Applies to the pod as a whole: Evicted, NodeLost, UnexpectedAdmissionError, Preempting.
    if let Some(reason) = status.reason.as_deref().filter(|r| !r.is_empty()) {
        return Some(Cause::new(Some(reason), "", status.message.as_deref()));
    }
    if let Some(not) = condition("PodScheduled").filter(|c| c.status == "False") {
        return Some(Cause::new(
            not.reason.as_deref(),
            "Unschedulable",
            not.message.as_deref(),
        ));
    }
    container_statuses(status)
        .find_map(of_container)
        .or_else(|| of_conditions(status))
}

fn container_statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten()
}

/// Whether the kubelet reports a failure that it retries again and again.
pub fn is_crashing(pod: &Pod) -> bool {
    const WAITING_ERRORS: [&str; 4] = [
        "ErrImagePull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
    ];
    let mut containers = pod.status.iter().flat_map(container_statuses);
    containers.any(|c| {
        let reason = c
            .state
            .as_ref()
            .and_then(|s| s.waiting.as_ref()?.reason.as_deref())
            .unwrap_or_default();
        reason.ends_with("BackOff") || WAITING_ERRORS.contains(&reason)
    })
}

/// Why a container does not run.
fn of_container(container: &ContainerStatus) -> Option<Cause> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        let message = waiting.message.as_deref().filter(|m| !m.is_empty());
        if matches!(reason, "ContainerCreating" | "PodInitializing") && message.is_none() {
            return None;
        }
        // Why it last terminated says more than that it will be restarted.
        let last = container
            .last_state
            .as_ref()
            .and_then(|s| s.terminated.as_ref())
            .map(|last| {
                let message = last.message.as_deref().filter(|m| !m.is_empty());
                message.map_or_else(
                    || describe_exit(last),
                    |message| format!("{} ({message})", describe_exit(last)),
                )
            });
        let words: Vec<String> = message
            .map(str::to_owned)
            .into_iter()
            .chain(last.map(|l| format!("last: {l}")))
            .collect();
        return Some(Cause::new(
            Some(reason),
            "",
            Some(words.join("; ").as_str()),
        ));
    }
    let terminated = state.terminated.as_ref()?;
    if terminated.exit_code == 0 && terminated.signal.unwrap_or(0) == 0 {
        return None;
    }
    Some(Cause::new(
        Some(&describe_exit(terminated)),
        "",
        terminated.message.as_deref(),
    ))
}

/// How a container ended, such as `OOMKilled, exit code 137`.
fn describe_exit(state: &k8s_openapi::api::core::v1::ContainerStateTerminated) -> String {
    format!(
        "{}, exit code {}",
        state
            .reason
            .as_deref()
            .filter(|r| !r.is_empty())
            .unwrap_or("ended"),
        state.exit_code
    )
}

/// What the pod's own conditions say, when no container gives a reason.
fn of_conditions(status: &PodStatus) -> Option<Cause> {
    let not = |c: &&k8s_openapi::api::core::v1::PodCondition| c.status == "False";
    let all = || status.conditions.iter().flatten();
    // A container that runs but is not ready: its probe has not passed.
    let lame = container_statuses(status)
        .find(|c| !c.ready && c.state.as_ref().is_some_and(|s| s.running.is_some()));
    if let Some(lame) = lame {
        let probe = if lame.started == Some(false) {
            "startup"
        } else {
            "readiness"
        };
        let words = format!(
            "container {} runs, and its {probe} probe has not passed",
            lame.name
        );
        return Some(Cause::new(Some("ContainersNotReady"), "", Some(&words)));
    }
    let ready = status.container_statuses.iter().flatten().count() > 0
        && status.container_statuses.iter().flatten().all(|c| c.ready);
    let told = all().find(|c| not(c) && c.message.as_deref().is_some_and(|m| !m.is_empty()));
    match told {
        Some(told) => Some(Cause::new(
            told.reason.as_deref(),
            &told.type_,
            told.message.as_deref(),
        )),
        // The kubelet reported ready, but the cluster disagrees: the node no longer reports.
        None if ready && all().any(|c| c.type_ == "Ready" && not(&c)) => Some(Cause::new(
            Some("NodeNotReady"),
            "",
            Some("all its containers were ready when its node last reported"),
        )),
        None => None,
    }
}

/// Causes that only events report: failing probes, volumes that cannot be mounted, pods that a
/// StatefulSet cannot create.
pub fn of_events<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<Cause> {
    let time = |e: &Event| {
        let series = e
            .series
            .as_ref()
            .and_then(|s| s.last_observed_time.as_ref())
            .map(|t| t.0);
        series
            .or_else(|| e.last_timestamp.as_ref().map(|t| t.0))
            .or_else(|| e.event_time.as_ref().map(|t| t.0))
    };
    let bad = events
        .into_iter()
        .filter(|e| e.type_.as_deref() == Some("Warning"));
    let newest = bad.max_by_key(|e| time(e))?;
    Some(Cause::new(
        newest.reason.as_deref(),
        "Warning",
        newest.message.as_deref(),
    ))
}

/// Whether it only says that too few pods are available, which every wait says anyway.
pub fn is_noise(cause: &Cause) -> bool {
    &*cause.reason == "MinimumReplicasUnavailable"
}

/// Whether it says no more than that something waits; an event may know why.
pub fn is_vague(cause: Option<&Cause>) -> bool {
    cause.is_none_or(|c| {
        matches!(
            &*c.reason,
            "ContainersNotReady" | "ContainerCreating" | "PodInitializing"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> String {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap();
        of_pod(&pod).map_or_else(String::new, |c| c.to_text().to_string())
    }

    fn container(state: Value, more: Value) -> Value {
        let mut c = json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        json_patch::merge(&mut c, &more);
        json!([c])
    }

    /// Every cause that keeps a pod from serving, and its text.
    #[test]
    fn a_pod_says_why_it_is_not_ready() {
        let waiting = |reason: &str, message: &str| {
            container(
                json!({"waiting": {"reason": reason, "message": message}}),
                json!({}),
            )
        };
        let condition = |kind: &str, reason: &str, message: &str| json!([{"type": kind, "status": "False", "reason": reason, "message": message}]);
        let oom = json!({"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
        let table = [
            (
                "ready",
                json!({"conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": waiting("x", "y")}),
                "",
            ),
            (
                "on its way",
                json!({"containerStatuses": container(json!({"waiting": {"reason": "ContainerCreating"}}), json!({}))}),
                "",
            ),
            (
                "image",
                json!({"containerStatuses": waiting("ImagePullBackOff", "Back-off pulling image \"x\"")}),
                "ImagePullBackOff: Back-off pulling image \"x\"",
            ),
            (
                "config",
                json!({"containerStatuses": waiting("CreateContainerConfigError", "configmap \"c\" not found")}),
                "CreateContainerConfigError: configmap \"c\" not found",
            ),
            (
                "crash",
                json!({"containerStatuses": container(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}), oom)}),
                "CrashLoopBackOff: back-off 10s; last: OOMKilled, exit code 137",
            ),
            (
                "crash with words",
                json!({"containerStatuses": container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), json!({"lastState":
                    {"terminated": {"exitCode": 1, "reason": "Error", "message": "user 7 listens at 127.0.0.1:80 in its place"}}}))}),
                "CrashLoopBackOff: last: Error, exit code 1 (user 7 listens at 127.0.0.1:80 in its place)",
            ),
            (
                "ended",
                json!({"containerStatuses": container(json!({"terminated": {"exitCode": 3, "reason": "Error"}}), json!({}))}),
                "Error, exit code 3",
            ),
            (
                "init done",
                json!({"initContainerStatuses": container(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}), json!({"ready": true}))}),
                "",
            ),
            (
                "init",
                json!({"initContainerStatuses": waiting("ErrImagePull", "no such host"), "containerStatuses": waiting("PodInitializing", "")}),
                "ErrImagePull: no such host",
            ),
            (
                "no node",
                json!({"conditions": condition("PodScheduled", "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")}),
                "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.",
            ),
            (
                "no volume",
                json!({"conditions": condition("PodScheduled", "Unschedulable", "pod has unbound immediate PersistentVolumeClaims")}),
                "Unschedulable: pod has unbound immediate PersistentVolumeClaims",
            ),
            (
                "gated",
                json!({"conditions": condition("PodScheduled", "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")}),
                "SchedulingGated: Scheduling is blocked due to non-empty scheduling gates",
            ),
            (
                "readiness",
                json!({"conditions": condition("Ready", "ContainersNotReady", "containers with unready status: [c]"),
                "containerStatuses": container(json!({"running": {}}), json!({"started": true}))}),
                "ContainersNotReady: container c runs, and its readiness probe has not passed",
            ),
            (
                "startup",
                json!({"containerStatuses": container(json!({"running": {}}), json!({"started": false}))}),
                "ContainersNotReady: container c runs, and its startup probe has not passed",
            ),
            (
                "gates",
                json!({"conditions": condition("Ready", "ReadinessGatesNotReady", "corresponding condition of pod readiness gate \"g\" does not exist."),
                "containerStatuses": container(json!({"running": {}}), json!({"ready": true}))}),
                "ReadinessGatesNotReady: corresponding condition of pod readiness gate \"g\" does not exist.",
            ),
            (
                "evicted",
                json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
                "Evicted: The node was low on resource: memory.",
            ),
            (
                "node lost",
                json!({"reason": "NodeLost", "message": "Node n which was running pod p is unresponsive"}),
                "NodeLost: Node n which was running pod p is unresponsive",
            ),
            (
                "node silent",
                json!({"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": container(json!({"running": {}}), json!({"ready": true}))}),
                "NodeNotReady: all its containers were ready when its node last reported",
            ),
        ];
        for (case, status, want) in table {
            assert_eq!(pod(status), want, "{case}");
        }
    }

    #[test]
    fn a_workload_says_why_it_has_no_pods() {
        let forbidden = "pods \"w-1\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=4";
        let conditions = json!([
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "no minimum availability"},
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"},
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": forbidden}]);
        let of = |count: usize, latched: bool| {
            let annotations = if latched {
                json!({label::LATCH: "{}"})
            } else {
                json!({})
            };
            let conditions: Vec<Value> = conditions.as_array().unwrap()[..count].to_vec();
            let live = json!({"metadata": {"annotations": annotations}, "status": {"conditions": conditions}});
            of_deployment(&serde_json::from_value(live).unwrap()).map(|c| c.to_text().to_string())
        };
        assert_eq!(of(3, true), Some(format!("FailedCreate: {forbidden}")));
        assert_eq!(
            of(2, false).as_deref(),
            Some("ProgressDeadlineExceeded: timed out")
        );
        assert_eq!(
            of(1, false).as_deref(),
            Some("MinimumReplicasUnavailable: no minimum availability")
        );
        assert_eq!(
            (of(2, true), of(0, false)),
            (None, None),
            "what the latch does is no trouble"
        );
        let set = json!({"metadata": {}, "status": {"replicas": 0, "conditions": [conditions[2]]}});
        let set: ReplicaSet = serde_json::from_value(set).unwrap();
        assert!(of_set(&set).unwrap().to_text().contains("exceeded quota"));
    }

    #[test]
    fn the_newest_warning_is_told() {
        let event = |kind: &str, at: &str, message: &str| -> Event {
            serde_json::from_value(json!({"metadata": {}, "involvedObject": {}, "type": kind, "reason": "Unhealthy", "message": message, "lastTimestamp": at}))
                .unwrap()
        };
        let all = [
            event(
                "Warning",
                "2026-01-01T00:00:02Z",
                "Readiness probe failed: HTTP probe failed with statuscode: 503",
            ),
            event("Warning", "2026-01-01T00:00:01Z", "old"),
            event("Normal", "2026-01-01T00:00:03Z", "pulled"),
        ];
        let told = of_events(&all).unwrap().to_text().to_string();
        assert_eq!(
            told,
            "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503"
        );
        assert!(of_events(&all[2..]).is_none() && is_vague(None));
    }
}
