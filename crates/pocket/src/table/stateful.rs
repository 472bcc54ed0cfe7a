//! Columns of StatefulSets and ControllerRevisions.

use serde_json::Value;

use super::{Layout, age, array_items, column, int_or_zero, wide_column};

pub(super) fn stateful_set_layout() -> Layout<'static> {
    Layout {
        columns: vec![
            column("Name", "string:name"),
            column("Ready", "string"),
            column("Age", "string"),
            wide_column("Containers", "string"),
            wide_column("Images", "string"),
        ],
        cells: Box::new(|object, now| {
            let ready = (
                int_or_zero(&object["status"]["readyReplicas"]),
                int_or_zero(&object["spec"]["replicas"]),
            );
            let containers = array_items(&object["spec"]["template"]["spec"]["containers"]);
            let each = |field: &str| -> Value {
                let all: Vec<&str> = containers
                    .iter()
                    .filter_map(|c| c[field].as_str())
                    .collect();
                all.join(",").into()
            };
            vec![
                object["metadata"]["name"].clone(),
                format!("{}/{}", ready.0, ready.1).into(),
                age::format_age(object, now),
                each("name"),
                each("image"),
            ]
        }),
    }
}

pub(super) fn revision_layout() -> Layout<'static> {
    Layout {
        columns: vec![
            column("Name", "string:name"),
            column("Controller", "string"),
            column("Revision", "string"),
            column("Age", "string"),
        ],
        cells: Box::new(|object, now| {
            let name = object["metadata"]["name"].clone();
            vec![
                name,
                format_controller(object).into(),
                object["revision"].clone(),
                age::format_age(object, now),
            ]
        }),
    }
}

/// Formats the controller as `statefulset.apps/web`, or `<none>`.
fn format_controller(object: &Value) -> String {
    let Some(owner) = array_items(&object["metadata"]["ownerReferences"])
        .iter()
        .find(|o| o["controller"] == true)
    else {
        return "<none>".into();
    };
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let kind = text("kind").to_lowercase();
    match text("apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text("name")),
        None => format!("{kind}/{}", text("name")),
    }
}
