//! Structural schemas of custom resources: unknown fields are dropped, defaults are filled in,
//! invalid values are refused.

use serde_json::{Map, Value};

mod cel;
mod rules;
mod validate;

pub(super) use cel::check_rules;
pub(super) use rules::{ValidationRules, has_rules};
pub(super) use validate::validate_object;

/// Drops fields that the schema does not know and adds their paths to `dropped`.
pub(super) fn prune_unknown_fields(schema: &Value, object: &mut Value, dropped: &mut Vec<String>) {
    if schema.is_object() {
        prune_at(schema, object, true, String::new(), dropped);
    }
}

fn is_set(schema: &Value, extension: &str) -> bool {
    schema.get(extension) == Some(&Value::Bool(true))
}

fn join_path(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

/// `root`: the object itself or an embedded one, whose kind and metadata are not in the schema.
fn prune_at(
    schema: &Value,
    value: &mut Value,
    root: bool,
    path: String,
    dropped: &mut Vec<String>,
) {
    let root = root || is_set(schema, "x-kubernetes-embedded-resource");
    match value {
        Value::Object(map) => {
            let keep = is_set(schema, "x-kubernetes-preserve-unknown-fields");
            let mut unknown = Vec::new();
            for (field, value) in map.iter_mut() {
                let path = join_path(&path, field);
                if root && matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
                    continue;
                }
                match schema["properties"]
                    .get(field)
                    .or_else(|| schema.get("additionalProperties"))
                {
                    Some(Value::Bool(true)) => {}
                    Some(inner) if inner.is_object() => {
                        prune_at(inner, value, false, path, dropped);
                    }
                    _ if keep => {}
                    _ => unknown.push((field.clone(), path)),
                }
            }
            for (field, path) in unknown {
                map.shift_remove(&field);
                dropped.push(path);
            }
        }
        Value::Array(list) if schema["items"].is_object() => {
            for (at, item) in list.iter_mut().enumerate() {
                prune_at(
                    &schema["items"],
                    item,
                    false,
                    format!("{path}[{at}]"),
                    dropped,
                );
            }
        }
        _ => {}
    }
}

/// Fills in the defaults of missing fields; a null that is not allowed counts as missing.
pub(super) fn apply_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
                default_field(map, field, inner);
            }
            let extra = &schema["additionalProperties"];
            if extra.is_object() {
                for (field, value) in map.iter_mut() {
                    if schema["properties"].get(field).is_none() {
                        apply_defaults(extra, value);
                    }
                }
            }
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|item| apply_defaults(&schema["items"], item)),
        _ => {}
    }
}

fn default_field(map: &mut Map<String, Value>, field: &str, schema: &Value) {
    let nullable = is_set(schema, "nullable");
    if map.get(field).is_some_and(Value::is_null) && !nullable {
        map.shift_remove(field);
    }
    if let (None, Some(default)) = (map.get(field), schema.get("default")) {
        map.insert(field.to_owned(), default.clone());
    }
    if let Some(value) = map.get_mut(field) {
        apply_defaults(schema, value);
    }
}

#[cfg(test)]
mod tests;
