//! Objects as `kubectl get` shows them: columns and rows, made by the server.

use serde_json::{Value, json};

use crate::pocket::rest::registry::Resource;
use crate::pocket::rest::{Include, partial};

pub(crate) fn table<'a>(
    _resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    include: Include,
    metadata: Value,
    columns: bool,
) -> Value {
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let metadata = &object["metadata"];
            let mut row = json!({"cells": [metadata["name"], metadata["creationTimestamp"]]});
            match include {
                Include::Nothing => {}
                Include::Metadata => row["object"] = partial(object),
                Include::Object => row["object"] = object.clone(),
            }
            row
        })
        .collect();
    let columns = if columns {
        json!([
            {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
            {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0},
        ])
    } else {
        json!([])
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}
