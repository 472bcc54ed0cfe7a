//! A pod's STATUS and restart count, computed as kubectl's printer does.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use crate::domain::observe::cause;

/// What `kubectl get pods` shows of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSummary {
    /// The STATUS column.
    pub state: String,
    /// Sum over the containers that the column counts.
    pub restarts: u32,
    /// Whether the Ready condition holds.
    pub ready: bool,
    /// Why the pod is not ready, in its own words.
    pub message: Option<String>,
}

/// Follows `printPod` of `k8s.io/kubernetes/pkg/printers/internalversion`.
pub fn summarize_pod(pod: &Pod) -> PodSummary {
    let Some(status) = &pod.status else {
        return PodSummary {
            state: "Unknown".into(),
            ..PodSummary::default()
        };
    };
    let mut state = status
        .reason
        .clone()
        .or_else(|| status.phase.clone())
        .unwrap_or_else(|| "Unknown".into());
    let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind);
    if condition("PodScheduled").is_some_and(|c| c.reason.as_deref() == Some("SchedulingGated")) {
        state = "SchedulingGated".into();
    }
    let ready = condition("Ready").is_some_and(|c| c.status == "True");
    let (restarts, of_containers) = summarize_containers(status, &state, ready);
    state = of_containers.unwrap_or(state);
    if pod.metadata.deletion_timestamp.is_some() {
        state = if status.reason.as_deref() == Some("NodeLost") {
            "Unknown".into()
        } else {
            "Terminating".into()
        };
    }
    // STATUS already contains the reason.
    let message = cause::of_pod(pod)
        .and_then(|c| c.message)
        .map(|m| m.to_string());
    PodSummary {
        state,
        restarts,
        ready,
        message,
    }
}

/// Restarts of the containers, and the state that they give the pod instead of `state`.
fn summarize_containers(status: &PodStatus, state: &str, ready: bool) -> (u32, Option<String>) {
    let init = status
        .init_container_statuses
        .as_deref()
        .unwrap_or_default();
    let unfinished = init.iter().enumerate().find(|(_, c)| {
        c.state
            .as_ref()
            .and_then(|s| s.terminated.as_ref())
            .is_none_or(|t| t.exit_code != 0)
    });
    if let Some((done, container)) = unfinished {
        let restarts = init.iter().map(restart_count).fold(0, u32::saturating_add);
        let doing = container_state(container).unwrap_or_else(|| format!("{done}/{}", init.len()));
        return (restarts, Some(format!("Init:{doing}")));
    }
    let (mut restarts, mut running, mut found) = (0_u32, false, None);
    for container in status.container_statuses.iter().flatten().rev() {
        restarts = restarts.saturating_add(restart_count(container));
        if let Some(word) = container_state(container) {
            found = Some(word);
        } else if container.ready
            && container
                .state
                .as_ref()
                .is_some_and(|s| s.running.is_some())
        {
            running = true;
        }
    }
    if found.as_deref().unwrap_or(state) == "Completed" && running {
        found = Some(if ready { "Running" } else { "NotReady" }.into());
    }
    (restarts, found)
}

fn restart_count(container: &ContainerStatus) -> u32 {
    u32::try_from(container.restart_count).unwrap_or_default()
}

/// The container's part of the pod's STATUS; `None` when it runs.
fn container_state(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(reason) = state
        .waiting
        .as_ref()
        .and_then(|w| w.reason.clone())
        .filter(|r| !r.is_empty())
    {
        return (reason != "PodInitializing").then_some(reason);
    }
    let ended = state.terminated.as_ref()?;
    Some(
        match (
            ended.reason.as_deref().filter(|r| !r.is_empty()),
            ended.signal,
        ) {
            (Some(reason), _) => reason.to_owned(),
            (None, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
            (None, _) => format!("ExitCode:{}", ended.exit_code),
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn words(metadata: Value, status: Value) -> PodSummary {
        summarize_pod(
            &serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap(),
        )
    }

    fn container(state: Value, restarts: u32, ready: bool) -> Value {
        json!({"name": "c", "image": "i", "imageID": "", "ready": ready, "restartCount": restarts, "state": state})
    }

    #[test]
    fn words_are_kubectls() {
        let running = container(json!({"running": {}}), 2, true);
        let crash = container(
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
            5,
            false,
        );
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let not = json!([{"type": "Ready", "status": "False", "message": "containers not ready"}]);
        let say = |status: Value| words(json!({"name": "p"}), status);

        let fine =
            say(json!({"phase": "Running", "conditions": ready, "containerStatuses": [running]}));
        assert_eq!(
            fine,
            PodSummary {
                state: "Running".into(),
                restarts: 2,
                ready: true,
                message: None
            }
        );

        let burning = say(
            json!({"phase": "Running", "conditions": not, "containerStatuses": [running, crash]}),
        );
        assert_eq!(
            (burning.state.as_str(), burning.restarts),
            ("CrashLoopBackOff", 7)
        );
        assert_eq!(burning.message.as_deref(), Some("back-off 10s"));

        let killed = container(
            json!({"terminated": {"exitCode": 137, "signal": 9}}),
            0,
            false,
        );
        assert_eq!(
            say(json!({"phase": "Failed", "containerStatuses": [killed]})).state,
            "Signal:9"
        );
        let failed = container(json!({"terminated": {"exitCode": 3}}), 0, false);
        assert_eq!(
            say(json!({"phase": "Failed", "containerStatuses": [failed]})).state,
            "ExitCode:3"
        );
        let init = say(json!({"phase": "Pending", "initContainerStatuses": [failed]}));
        assert_eq!(init.state, "Init:ExitCode:3");
        assert_eq!(
            say(json!({"phase": "Failed", "reason": "Evicted"})).state,
            "Evicted"
        );
        assert_eq!(
            say(json!({"phase": "Pending", "conditions": not}))
                .message
                .as_deref(),
            Some("containers not ready")
        );

        let going = words(
            json!({"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}),
            json!({"phase": "Running", "conditions": ready, "containerStatuses": [running]}),
        );
        assert_eq!(going.state, "Terminating");
    }
}
