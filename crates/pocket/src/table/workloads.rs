//! Columns of Deployments, ReplicaSets and Jobs.

use jiff::Timestamp;
use serde_json::Value;

use super::{Layout, age, array_items, column, format_pairs, int_or_zero, wide_column};

pub(super) fn layout_for_kind(kind: &str) -> Option<Layout<'static>> {
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
    columns.extend(["Containers", "Images", "Selector"].map(|name| wide_column(name, "string")));
    let middle: fn(&Value, Timestamp) -> [Value; 3] = match kind {
        "Deployment" => deployment_cells,
        "ReplicaSet" => replica_set_cells,
        _ => job_cells,
    };
    Some(Layout {
        columns,
        cells: Box::new(move |object, now| {
            let mut cells = vec![object["metadata"]["name"].clone()];
            cells.extend(middle(object, now));
            let containers = array_items(&object["spec"]["template"]["spec"]["containers"]);
            let each = |field: &str| -> Value {
                let all: Vec<&str> = containers
                    .iter()
                    .filter_map(|c| c[field].as_str())
                    .collect();
                all.join(",").into()
            };
            cells.extend([
                age::format_age(object, now),
                each("name"),
                each("image"),
                format_pairs(&object["spec"]["selector"]["matchLabels"]).into(),
            ]);
            cells
        }),
    })
}

fn deployment_cells(object: &Value, _: Timestamp) -> [Value; 3] {
    let status = &object["status"];
    let ready = format!(
        "{}/{}",
        int_or_zero(&status["readyReplicas"]),
        int_or_zero(&object["spec"]["replicas"])
    );
    [
        ready.into(),
        int_or_zero(&status["updatedReplicas"]).into(),
        int_or_zero(&status["availableReplicas"]).into(),
    ]
}

fn replica_set_cells(object: &Value, _: Timestamp) -> [Value; 3] {
    let status = &object["status"];
    [
        &object["spec"]["replicas"],
        &status["replicas"],
        &status["readyReplicas"],
    ]
    .map(|n| int_or_zero(n).into())
}

fn job_cells(object: &Value, now: Timestamp) -> [Value; 3] {
    let status = &object["status"];
    let holds = |kind: &str| {
        array_items(&status["conditions"])
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
    let succeeded = int_or_zero(&status["succeeded"]);
    let completions = match (
        object["spec"]["completions"].as_i64(),
        int_or_zero(&object["spec"]["parallelism"]),
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
        age::seconds_between(start, end)
    });
    [
        word.into(),
        completions.into(),
        duration.map(age::human_duration).unwrap_or_default().into(),
    ]
}
