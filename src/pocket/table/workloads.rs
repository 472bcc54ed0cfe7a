//! Columns of Deployments, ReplicaSets and Jobs.

use jiff::Timestamp;
use serde_json::Value;

use super::{Layout, age, array, column, number, pairs, wide};

pub(super) fn layout(kind: &str) -> Option<Layout<'static>> {
    let mut columns = vec![column("Name", "string:name")];
    let middle: &[(&str, &'static str)] = match kind {
        "Deployment" => &[
            ("Ready", "string"),
            ("Up-to-date", "string"),
            ("Available", "string"),
            ("Age", "string"),
        ],
        "ReplicaSet" => &[
            ("Desired", "integer"),
            ("Current", "integer"),
            ("Ready", "integer"),
            ("Age", "string"),
        ],
        "Job" => &[
            ("Status", "string"),
            ("Completions", "string"),
            ("Duration", "string"),
            ("Age", "string"),
        ],
        _ => return None,
    };
    columns.extend(middle.iter().map(|(name, kind)| column(name, kind)));
    columns.extend(["Containers", "Images", "Selector"].map(|name| wide(name, "string")));
    let middle: fn(&Value, Timestamp) -> [Value; 3] = match kind {
        "Deployment" => deployment,
        "ReplicaSet" => replica_set,
        _ => job,
    };
    Some(Layout {
        columns,
        cells: Box::new(move |object, now| {
            let mut cells = vec![object["metadata"]["name"].clone()];
            cells.extend(middle(object, now));
            let containers = array(&object["spec"]["template"]["spec"]["containers"]);
            let each = |field: &str| -> Value {
                let all: Vec<&str> = containers
                    .iter()
                    .filter_map(|c| c[field].as_str())
                    .collect();
                all.join(",").into()
            };
            cells.extend([
                age::of_object(object, now),
                each("name"),
                each("image"),
                pairs(&object["spec"]["selector"]["matchLabels"]).into(),
            ]);
            cells
        }),
    })
}

fn deployment(object: &Value, _: Timestamp) -> [Value; 3] {
    let status = &object["status"];
    let ready = format!(
        "{}/{}",
        number(&status["readyReplicas"]),
        number(&object["spec"]["replicas"])
    );
    [
        ready.into(),
        number(&status["updatedReplicas"]).into(),
        number(&status["availableReplicas"]).into(),
    ]
}

fn replica_set(object: &Value, _: Timestamp) -> [Value; 3] {
    let status = &object["status"];
    [
        &object["spec"]["replicas"],
        &status["replicas"],
        &status["readyReplicas"],
    ]
    .map(|n| number(n).into())
}

fn job(object: &Value, now: Timestamp) -> [Value; 3] {
    let status = &object["status"];
    let holds = |kind: &str| {
        array(&status["conditions"])
            .iter()
            .any(|c| c["type"] == kind && c["status"] == "True")
    };
    let word = if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else {
        "Running"
    };
    let succeeded = number(&status["succeeded"]);
    let completions = match (
        object["spec"]["completions"].as_i64(),
        number(&object["spec"]["parallelism"]),
    ) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        _ => format!("{succeeded}/1"),
    };
    let duration = status["startTime"].as_str().and_then(|start| {
        let end = status["completionTime"]
            .as_str()
            .and_then(|t| t.parse().ok())
            .unwrap_or(now);
        age::between(start, end)
    });
    [
        word.into(),
        completions.into(),
        duration.map(age::short).unwrap_or_default().into(),
    ]
}
