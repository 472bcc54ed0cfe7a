//! Columns of pods: ready containers, status, restarts.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Layout, age, array_items, column, int_or_zero, text_or, wide_column};

pub(super) fn pod_layout() -> Layout<'static> {
    Layout {
        columns: vec![
            column("Name", "string:name"),
            column("Ready", "string"),
            column("Status", "string"),
            column("Restarts", "string"),
            column("Age", "string"),
            wide_column("IP", "string"),
            wide_column("Node", "string"),
            wide_column("Nominated Node", "string"),
            wide_column("Readiness Gates", "string"),
        ],
        cells: Box::new(|pod, now| {
            let statuses = array_items(&pod["status"]["containerStatuses"]);
            let ready = statuses
                .iter()
                .filter(|s| s["ready"] == true && s["state"]["running"].is_object())
                .count();
            let total = array_items(&pod["spec"]["containers"]).len();
            vec![
                pod["metadata"]["name"].clone(),
                format!("{ready}/{total}").into(),
                pod_status(pod).into(),
                format_restarts(pod, now).into(),
                age::format_age(pod, now),
                text_or(&pod["status"]["podIP"], "<none>").into(),
                text_or(&pod["spec"]["nodeName"], "<none>").into(),
                text_or(&pod["status"]["nominatedNodeName"], "<none>").into(),
                json!("<none>"),
            ]
        }),
    }
}

fn format_restarts(pod: &Value, now: Timestamp) -> String {
    let init = array_items(&pod["status"]["initContainerStatuses"]);
    let main = array_items(&pod["status"]["containerStatuses"]);
    // During initialization the init containers are the ones that restart.
    let statuses = if init_status(pod).is_some() {
        init
    } else {
        main
    };
    let count: i64 = statuses
        .iter()
        .map(|s| int_or_zero(&s["restartCount"]))
        .sum();
    let last = statuses
        .iter()
        .filter_map(|s| s["lastState"]["terminated"]["finishedAt"].as_str())
        .max();
    match last.and_then(|last| age::seconds_between(last, now)) {
        Some(seconds) if count > 0 => format!("{count} ({} ago)", age::human_duration(seconds)),
        _ => count.to_string(),
    }
}

/// Status of the first init container that has not completed.
fn init_status(pod: &Value) -> Option<String> {
    let total = array_items(&pod["spec"]["initContainers"]).len();
    for (at, status) in array_items(&pod["status"]["initContainerStatuses"])
        .iter()
        .enumerate()
    {
        let state = &status["state"];
        let terminated = &state["terminated"];
        if terminated.is_object() && int_or_zero(&terminated["exitCode"]) == 0 {
            continue;
        }
        if terminated.is_object() {
            return Some(match terminated["reason"].as_str() {
                Some(reason) if !reason.is_empty() => format!("Init:{reason}"),
                _ => format!("Init:ExitCode:{}", int_or_zero(&terminated["exitCode"])),
            });
        }
        let waiting = text_or(&state["waiting"]["reason"], "PodInitializing");
        return Some(match waiting {
            "PodInitializing" => format!("Init:{at}/{total}"),
            reason => format!("Init:{reason}"),
        });
    }
    None
}

/// Status of a pod like Kubernetes' `printPod`: the most specific of phase, init containers,
/// containers and deletion.
pub(super) fn pod_status(pod: &Value) -> String {
    let phase = text_or(&pod["status"]["phase"], "Unknown");
    let mut word = text_or(&pod["status"]["reason"], phase).to_owned();
    if let Some(init) = init_status(pod) {
        word = init;
    } else {
        let mut running = false;
        for status in array_items(&pod["status"]["containerStatuses"])
            .iter()
            .rev()
        {
            let (waiting, terminated) =
                (&status["state"]["waiting"], &status["state"]["terminated"]);
            if let Some(reason) = waiting["reason"].as_str().filter(|r| !r.is_empty()) {
                reason.clone_into(&mut word);
            } else if terminated.is_object() {
                word = match (
                    terminated["reason"].as_str(),
                    int_or_zero(&terminated["signal"]),
                ) {
                    (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
                    (_, 0) => format!("ExitCode:{}", int_or_zero(&terminated["exitCode"])),
                    (_, signal) => format!("Signal:{signal}"),
                };
            } else if status["ready"] == true && status["state"]["running"].is_object() {
                running = true;
            }
        }
        if word == "Completed" && running {
            let conditions = array_items(&pod["status"]["conditions"]);
            let ready = conditions
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            word = if ready { "Running" } else { "NotReady" }.into();
        }
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        word = "Terminating".into();
    }
    word
}
