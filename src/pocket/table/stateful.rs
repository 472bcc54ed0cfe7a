//! Columns of StatefulSets and ControllerRevisions.

use serde_json::Value;

use super::{Layout, age, array, column, number, wide};

pub(super) fn sets() -> Layout<'static> {
    Layout {
        columns: vec![
            column("Name", "string:name"),
            column("Ready", "string"),
            column("Age", "string"),
            wide("Containers", "string"),
            wide("Images", "string"),
        ],
        cells: Box::new(|object, now| {
            let ready = (
                number(&object["status"]["readyReplicas"]),
                number(&object["spec"]["replicas"]),
            );
            let containers = array(&object["spec"]["template"]["spec"]["containers"]);
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
                age::of_object(object, now),
                each("name"),
                each("image"),
            ]
        }),
    }
}

pub(super) fn revisions() -> Layout<'static> {
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
                controller(object).into(),
                object["revision"].clone(),
                age::of_object(object, now),
            ]
        }),
    }
}

/// Formats the controller as `statefulset.apps/web`, or `<none>`.
fn controller(object: &Value) -> String {
    let Some(owner) = array(&object["metadata"]["ownerReferences"])
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
