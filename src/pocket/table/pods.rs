//! Columns of pods: ready containers, status, restarts.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Layout, age, array, column, number, text_or, wide};

pub(super) fn layout() -> Layout<'static> {
    Layout {
        columns: vec![
            column("Name", "string:name"),
            column("Ready", "string"),
            column("Status", "string"),
            column("Restarts", "string"),
            column("Age", "string"),
            wide("IP", "string"),
            wide("Node", "string"),
            wide("Nominated Node", "string"),
            wide("Readiness Gates", "string"),
        ],
        cells: Box::new(|pod, now| {
            let statuses = array(&pod["status"]["containerStatuses"]);
            let ready = statuses
                .iter()
                .filter(|s| s["ready"] == true && s["state"]["running"].is_object())
                .count();
            let total = array(&pod["spec"]["containers"]).len();
            vec![
                pod["metadata"]["name"].clone(),
                format!("{ready}/{total}").into(),
                status(pod).into(),
                restarts(pod, now).into(),
                age::of_object(pod, now),
                text_or(&pod["status"]["podIP"], "<none>").into(),
                text_or(&pod["spec"]["nodeName"], "<none>").into(),
                text_or(&pod["status"]["nominatedNodeName"], "<none>").into(),
                json!("<none>"),
            ]
        }),
    }
}

fn restarts(pod: &Value, now: Timestamp) -> String {
    let init = array(&pod["status"]["initContainerStatuses"]);
    let main = array(&pod["status"]["containerStatuses"]);
    // During initialization the init containers are the ones that restart.
    let statuses = if initialising(pod).is_some() {
        init
    } else {
        main
    };
    let count: i64 = statuses.iter().map(|s| number(&s["restartCount"])).sum();
    let last = statuses
        .iter()
        .filter_map(|s| s["lastState"]["terminated"]["finishedAt"].as_str())
        .max();
    match last.and_then(|last| age::between(last, now)) {
        Some(seconds) if count > 0 => format!("{count} ({} ago)", age::short(seconds)),
        _ => count.to_string(),
    }
}

/// Status of the first init container that has not completed.
fn initialising(pod: &Value) -> Option<String> {
    let total = array(&pod["spec"]["initContainers"]).len();
    for (at, status) in array(&pod["status"]["initContainerStatuses"])
        .iter()
        .enumerate()
    {
        let state = &status["state"];
        let terminated = &state["terminated"];
        if terminated.is_object() && number(&terminated["exitCode"]) == 0 {
            continue;
        }
        if terminated.is_object() {
            return Some(match terminated["reason"].as_str() {
                Some(reason) if !reason.is_empty() => format!("Init:{reason}"),
                _ => format!("Init:ExitCode:{}", number(&terminated["exitCode"])),
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
pub(super) fn status(pod: &Value) -> String {
    let phase = text_or(&pod["status"]["phase"], "Unknown");
    let mut word = text_or(&pod["status"]["reason"], phase).to_owned();
    match initialising(pod) {
        Some(init) => word = init,
        None => {
            let mut running = false;
            for status in array(&pod["status"]["containerStatuses"]).iter().rev() {
                let (waiting, terminated) =
                    (&status["state"]["waiting"], &status["state"]["terminated"]);
                if let Some(reason) = waiting["reason"].as_str().filter(|r| !r.is_empty()) {
                    word = reason.to_owned();
                } else if terminated.is_object() {
                    word = match (terminated["reason"].as_str(), number(&terminated["signal"])) {
                        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
                        (_, 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
                        (_, signal) => format!("Signal:{signal}"),
                    };
                } else if status["ready"] == true && status["state"]["running"].is_object() {
                    running = true;
                }
            }
            if word == "Completed" && running {
                let conditions = array(&pod["status"]["conditions"]);
                let ready = conditions
                    .iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True");
                word = if ready { "Running" } else { "NotReady" }.into();
            }
        }
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        word = "Terminating".into();
    }
    word
}
