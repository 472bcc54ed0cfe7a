//! Tables as `kubectl get` shows them: columns and rows, computed by the server.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::rest::registry::Resource;
use crate::rest::{Include, to_partial_metadata};

mod age;
mod json_path;
mod other_kinds;
mod pods;
mod stateful;
mod workloads;

/// A column: name, type (with the format after a colon), and whether only `-o wide` shows it.
struct Column {
    name: String,
    kind: &'static str,
    wide: bool,
}

fn column(name: &str, kind: &'static str) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        wide: false,
    }
}

fn wide_column(name: &str, kind: &'static str) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        wide: true,
    }
}

/// Computes the cells of an object at the given time.
type CellsFn<'a> = dyn Fn(&Value, Timestamp) -> Vec<Value> + 'a;

/// Columns of a kind, and how they are computed.
struct Layout<'a> {
    columns: Vec<Column>,
    cells: Box<CellsFn<'a>>,
}

fn layout_for_resource(resource: &Resource) -> Layout<'_> {
    if let Some(custom) = resource.as_custom() {
        return custom_layout(&custom.columns);
    }
    let builtin = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => Some(pods::pod_layout()),
        ("apps", "StatefulSet") => Some(stateful::stateful_set_layout()),
        ("apps", "ControllerRevision") => Some(stateful::revision_layout()),
        ("apps" | "batch", kind) => workloads::layout_for_kind(kind),
        (_, kind) => other_kinds::layout_for_kind(kind),
    };
    builtin.unwrap_or_else(|| Layout {
        columns: vec![column("Name", "string:name"), column("Created At", "date")],
        cells: Box::new(|o, _| {
            vec![
                o["metadata"]["name"].clone(),
                o["metadata"]["creationTimestamp"].clone(),
            ]
        }),
    })
}

/// Columns from `additionalPrinterColumns`; without any, the age.
fn custom_layout(given: &[Value]) -> Layout<'_> {
    let mut columns = vec![column("Name", "string:name")];
    if given.is_empty() {
        columns.push(column("Age", "date"));
        return Layout {
            columns,
            cells: Box::new(|o, now| vec![o["metadata"]["name"].clone(), age::format_age(o, now)]),
        };
    }
    for one in given {
        let kind = match one["type"].as_str() {
            Some("integer") => "integer",
            Some("number") => "number",
            Some("boolean") => "boolean",
            Some("date") => "date",
            _ => "string",
        };
        let name = one["name"].as_str().unwrap_or_default().to_owned();
        columns.push(Column {
            name,
            kind,
            wide: one["priority"].as_i64().unwrap_or(0) > 0,
        });
    }
    Layout {
        columns,
        cells: Box::new(move |object, now| {
            let mut cells = vec![object["metadata"]["name"].clone()];
            for one in given {
                let path = one["jsonPath"].as_str().unwrap_or_default();
                cells.push(custom_cell(
                    json_path::find_path(object, path).first(),
                    one["type"].as_str(),
                    now,
                ));
            }
            cells
        }),
    }
}

/// If a path finds several values, the first one is shown, as by a real API server.
fn custom_cell(found: Option<&&Value>, kind: Option<&str>, now: Timestamp) -> Value {
    match (found, kind) {
        (None, _) => Value::Null,
        (Some(one), Some("date")) => age::format_since(one.as_str().unwrap_or_default(), now),
        (Some(one), Some("integer" | "number" | "boolean")) => (*one).clone(),
        (Some(Value::String(text)), _) => text.clone().into(),
        (Some(one), _) => {
            let mut shown = (*one).clone();
            shown.sort_all_objects();
            shown.to_string().into()
        }
    }
}

pub(crate) fn build_table<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    include: Include,
    metadata: Value,
    columns: bool,
) -> Value {
    let layout = layout_for_resource(resource);
    let now = Timestamp::now();
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let mut row = json!({"cells": (layout.cells)(object, now)});
            match include {
                Include::Nothing => {}
                Include::Metadata => row["object"] = to_partial_metadata(object),
                Include::Object => row["object"] = object.clone(),
            }
            row
        })
        .collect();
    let columns: Vec<Value> = layout
        .columns
        .iter()
        .filter(|_| columns)
        .map(|c| {
            let (kind, format) = c.kind.split_once(':').unwrap_or((c.kind, ""));
            json!({"name": c.name, "type": kind, "format": format, "description": "", "priority": i32::from(c.wide)})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// Formats a map as `a=b,c=d`, or `<none>`.
fn format_pairs(map: &Value) -> String {
    let pair = |(k, v): (&String, &Value)| format!("{k}={}", v.as_str().unwrap_or_default());
    let mut all: Vec<String> = map.as_object().into_iter().flatten().map(pair).collect();
    all.sort();
    if all.is_empty() {
        "<none>".into()
    } else {
        all.join(",")
    }
}

fn array_items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text_or<'a>(value: &'a Value, other: &'a str) -> &'a str {
    value.as_str().filter(|t| !t.is_empty()).unwrap_or(other)
}

fn int_or_zero(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

#[cfg(test)]
mod tests;
