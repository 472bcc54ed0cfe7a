//! Computes a pod's status from its container statuses, without I/O: phase and conditions as in a
//! kubelet.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Converts to Kubernetes' time, which has whole seconds.
pub fn to_kube_time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// Computes phase and conditions of `status` from its container statuses.
pub fn compute_status(pod: &Pod, status: &mut PodStatus, now: Timestamp) {
    let policy = restart_policy(pod);
    let init = status.init_container_statuses.clone().unwrap_or_default();
    let all = status.container_statuses.clone().unwrap_or_default();
    let initialized = init.iter().all(|s| exit_code(s) == Some(0));
    let init_failed =
        policy == "Never" && init.iter().any(|s| exit_code(s).is_some_and(|c| c != 0));
    let phase = if init_failed {
        "Failed"
    } else if !initialized {
        "Pending"
    } else {
        compute_phase(policy, &all)
    };
    status.phase = Some(phase.into());
    let containers = containers_state(phase, &all, initialized);
    let closed = count_closed_gates(pod, status);
    let ready = match (&containers, closed) {
        ((true, ..), n) if n > 0 => (false, Some("ReadinessGatesNotReady"), None),
        (c, _) => c.clone(),
    };
    let completed = (phase == "Succeeded").then_some("PodCompleted");
    let waits = init
        .iter()
        .filter(|s| exit_code(s) != Some(0))
        .map(|s| s.name.as_str())
        .collect::<Vec<_>>();
    let initialized = if initialized {
        (true, completed, None)
    } else {
        let text = format!("containers with incomplete status: [{}]", waits.join(" "));
        (false, Some("ContainersNotInitialized"), Some(text))
    };
    set_condition(status, "PodScheduled", (true, None, None), now);
    set_condition(status, "Initialized", initialized, now);
    set_condition(status, "ContainersReady", containers, now);
    set_condition(status, "Ready", ready, now);
}

/// Status, reason and message of a condition.
type ConditionState = (bool, Option<&'static str>, Option<String>);

/// The condition `ContainersReady`.
fn containers_state(phase: &str, all: &[ContainerStatus], initialized: bool) -> ConditionState {
    let unready: Vec<&str> = all
        .iter()
        .filter(|s| !s.ready)
        .map(|s| s.name.as_str())
        .collect();
    let over = matches!(phase, "Succeeded" | "Failed");
    let completed = (phase == "Succeeded").then_some("PodCompleted");
    let not_ready = format!("containers with unready status: [{}]", unready.join(" "));
    if unready.is_empty() && !over && initialized {
        (true, None, None)
    } else {
        let told = (phase != "Succeeded").then(|| not_ready.clone());
        (
            false,
            Some(completed.unwrap_or(if phase == "Failed" {
                "PodFailed"
            } else {
                "ContainersNotReady"
            })),
            told,
        )
    }
}

/// How many of a pod's readiness gates are not open.
fn count_closed_gates(pod: &Pod, status: &PodStatus) -> usize {
    let gates = pod
        .spec
        .iter()
        .flat_map(|s| s.readiness_gates.iter().flatten());
    gates
        .filter(|g| {
            !status
                .conditions
                .iter()
                .flatten()
                .any(|c| c.type_ == g.condition_type && c.status == "True")
        })
        .count()
}

pub fn set_condition(
    status: &mut PodStatus,
    kind: &str,
    (yes, reason, message): (bool, Option<&str>, Option<String>),
    now: Timestamp,
) {
    let state = if yes { "True" } else { "False" };
    let all = status.conditions.get_or_insert_default();
    let reason = reason.map(str::to_owned);
    match all.iter_mut().find(|c| c.type_ == kind) {
        Some(old) => {
            if old.status != state {
                old.last_transition_time = Some(to_kube_time(now));
            }
            old.status = state.into();
            old.reason = reason;
            old.message = message;
        }
        None => all.push(PodCondition {
            type_: kind.into(),
            status: state.into(),
            reason,
            message,
            last_transition_time: Some(to_kube_time(now)),
            ..PodCondition::default()
        }),
    }
}

pub fn restart_policy(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|s| s.restart_policy.as_deref())
        .unwrap_or("Always")
}

/// Exit code of a terminated container; `None` in any other state.
pub fn exit_code(status: &ContainerStatus) -> Option<i32> {
    status
        .state
        .as_ref()?
        .terminated
        .as_ref()
        .map(|t| t.exit_code)
}

fn compute_phase(policy: &str, all: &[ContainerStatus]) -> &'static str {
    let (mut waiting, mut running, mut stopped, mut failed) = (0, 0, 0, 0);
    for status in all {
        let state = status.state.as_ref();
        let last = status
            .last_state
            .as_ref()
            .and_then(|s| s.terminated.as_ref());
        if state.is_some_and(|s| s.running.is_some()) {
            running += 1;
        } else if let Some(ended) = state.and_then(|s| s.terminated.as_ref()).or(last) {
            stopped += 1;
            failed += i32::from(ended.exit_code != 0);
        } else {
            waiting += 1;
        }
    }
    match (policy, waiting, running, stopped) {
        (_, 1.., _, _) => "Pending",
        (_, _, 1.., _) | ("Always", _, _, 1..) => "Running",
        (_, _, _, 1..) if failed == 0 => "Succeeded",
        ("Never", _, _, 1..) => "Failed",
        (_, _, _, 1..) => "Running",
        _ => "Pending",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn running(ready: bool) -> Value {
        json!({"name": "c", "image": "", "imageID": "", "restartCount": 0, "ready": ready, "state": {"running": {}}})
    }

    fn ended(code: i32) -> Value {
        json!({"name": "c", "image": "", "imageID": "", "restartCount": 0, "ready": false,
            "state": {"terminated": {"exitCode": code}}})
    }

    fn backing_off() -> Value {
        json!({"name": "c", "image": "", "imageID": "", "restartCount": 3, "ready": false,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}})
    }

    fn fresh() -> Value {
        json!({"name": "c", "image": "", "imageID": "", "restartCount": 0, "ready": false,
            "state": {"waiting": {"reason": "ContainerCreating"}}})
    }

    #[test]
    fn phases_and_readiness() {
        for (policy, init, containers, phase, ready) in [
            ("Always", vec![], vec![fresh()], "Pending", "False"),
            ("Always", vec![], vec![running(true)], "Running", "True"),
            (
                "Always",
                vec![],
                vec![running(true), running(false)],
                "Running",
                "False",
            ),
            ("Always", vec![], vec![backing_off()], "Running", "False"),
            ("Always", vec![], vec![ended(0)], "Running", "False"),
            ("Never", vec![], vec![ended(0)], "Succeeded", "False"),
            ("Never", vec![], vec![ended(0), ended(2)], "Failed", "False"),
            (
                "Never",
                vec![],
                vec![ended(1), running(true)],
                "Running",
                "False",
            ),
            ("OnFailure", vec![], vec![ended(1)], "Running", "False"),
            ("OnFailure", vec![], vec![ended(0)], "Succeeded", "False"),
            (
                "Always",
                vec![running(false)],
                vec![fresh()],
                "Pending",
                "False",
            ),
            (
                "Always",
                vec![ended(0)],
                vec![running(true)],
                "Running",
                "True",
            ),
            ("Never", vec![ended(1)], vec![fresh()], "Failed", "False"),
        ] {
            let pod: Pod = serde_json::from_value(
                json!({"spec": {"containers": [], "restartPolicy": policy}}),
            )
            .unwrap();
            let mut status: PodStatus = serde_json::from_value(
                json!({"initContainerStatuses": init, "containerStatuses": containers}),
            )
            .unwrap();
            compute_status(&pod, &mut status, Timestamp::UNIX_EPOCH);
            let got = status
                .conditions
                .as_ref()
                .unwrap()
                .iter()
                .find(|c| c.type_ == "Ready")
                .unwrap();
            assert_eq!(
                (status.phase.as_deref(), got.status.as_str()),
                (Some(phase), ready),
                "{policy} {containers:?}"
            );
        }
    }

    #[test]
    fn a_transition_keeps_its_time_until_the_next() {
        let pod = Pod::default();
        let mut status: PodStatus =
            serde_json::from_value(json!({"containerStatuses": [running(true)]})).unwrap();
        compute_status(&pod, &mut status, Timestamp::from_second(10).unwrap());
        let first = status.conditions.clone();
        compute_status(&pod, &mut status, Timestamp::from_second(20).unwrap());
        assert_eq!(status.conditions, first);
        status.container_statuses.as_mut().unwrap()[0].ready = false;
        compute_status(&pod, &mut status, Timestamp::from_second(30).unwrap());
        let ready = status
            .conditions
            .unwrap()
            .into_iter()
            .find(|c| c.type_ == "Ready")
            .unwrap();
        assert_eq!(ready.last_transition_time.unwrap().0.as_second(), 30);
    }
}
