//! A body as an object of its resource: the right kind, the right types, nothing unknown.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::error::{ApiError, Result};
use super::registry::{Definition, Resource};
use super::{Call, defaults, protobuf, schema};

/// What happens to fields that the kind does not have: they are dropped, and then?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Ignore,
    Warn,
    Refuse,
}

impl Unknown {
    pub(super) fn of(call: &Call) -> Result<Unknown> {
        match call.query.get("fieldValidation") {
            Some("Ignore") => Ok(Unknown::Ignore),
            None | Some("Warn") => Ok(Unknown::Warn),
            Some("Strict") => Ok(Unknown::Refuse),
            Some(other) => Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Warn\", \"Strict\""
            ))),
        }
    }
}

pub(super) fn parse(call: &Call) -> Result<Value> {
    match call.content_type.as_str() {
        "" | "application/json" => {
            serde_json::from_slice(&call.body).map_err(|e| ApiError::bad_request(format!("the body is no JSON: {e}")))
        }
        "application/yaml" | "application/apply-patch+yaml" => yaml(&call.body),
        protobuf::MEDIA_TYPE => protobuf::object(&call.body).map_err(|e| match e {
            protobuf::Error::Kind { .. } => {
                ApiError::new(http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", e.to_string())
            }
            other => ApiError::bad_request(format!("the body is no Kubernetes protobuf: {other}")),
        }),
        _ => Err(ApiError::unsupported_media_type(&["application/json", "application/yaml", protobuf::MEDIA_TYPE])),
    }
}

pub(super) fn yaml(body: &[u8]) -> Result<Value> {
    // JSON is YAML too, and read much faster as what it is.
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = std::str::from_utf8(body).map_err(|e| ApiError::bad_request(format!("the body is no UTF-8: {e}")))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|e| ApiError::bad_request(format!("the body is no YAML: {e}")))
}

/// Checks the kind, drops what it does not know and defaults what a custom schema defaults.
/// Answers with the warnings that the client asked for.
pub(super) fn decode(resource: &Resource, object: &mut Value, unknown: Unknown) -> Result<Vec<String>> {
    let Some(map) = object.as_object_mut() else {
        return Err(ApiError::bad_request("the body is no object"));
    };
    check_kind(resource, map)?;
    if !map.get("metadata").is_some_and(Value::is_object) {
        map.insert("metadata".into(), Value::Object(Map::new()));
    }
    let mut dropped = Vec::new();
    match &resource.definition {
        Definition::Builtin(builtin) => {
            let read = (builtin.typed)(object.clone()).map_err(|e| {
                let message = protobuf::message_of(&resource.group, &resource.version, &resource.kind);
                let path = protobuf::mistyped(object, &message);
                let why = path.as_ref().map_or_else(|| e.to_string(), |path| format!("{path}: {e}"));
                let mut refusal = ApiError::bad_request(format!(
                    "{} in version \"{}\" cannot be handled as a {}: {why}",
                    resource.kind, resource.version, resource.kind
                ));
                if let Some(path) = path {
                    refusal.details = causes(&[(path.as_str(), e.to_string())]);
                }
                refusal
            })?;
            if unknown != Unknown::Ignore {
                lost(object, &read, String::new(), &mut dropped);
            }
            *object = read;
            defaults::apply(resource, object);
        }
        Definition::Custom(custom) => {
            let read = |metadata: Value| -> std::result::Result<Value, serde_json::Error> {
                serde_json::to_value(serde_json::from_value::<ObjectMeta>(metadata)?)
            };
            let metadata = read(object["metadata"].clone())
                .map_err(|e| ApiError::bad_request(format!("metadata of the {}: {e}", resource.kind)))?;
            lost(&object["metadata"], &metadata, "metadata".into(), &mut dropped);
            object["metadata"] = metadata;
            schema::prune(&custom.schema, object, &mut dropped);
            dropped.sort();
            schema::apply_defaults(&custom.schema, object);
        }
    }
    let words: Vec<String> = dropped.iter().map(|field| format!("unknown field \"{field}\"")).collect();
    match unknown {
        Unknown::Refuse if !words.is_empty() => {
            let mut refusal = ApiError::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                resource.kind,
                resource.version,
                resource.kind,
                words.join(", ")
            ));
            let each: Vec<_> = dropped.iter().map(|field| (field.as_str(), "unknown field".to_owned())).collect();
            refusal.details = causes(&each);
            Err(refusal)
        }
        Unknown::Warn => Ok(words),
        _ => Ok(Vec::new()),
    }
}

/// Which field, and why: so that a client can show the place.
fn causes(each: &[(&str, String)]) -> Value {
    let cause = |(field, why): &(&str, String)| json!({"reason": "FieldValueInvalid", "message": why, "field": field});
    json!({"causes": each.iter().map(cause).collect::<Vec<_>>()})
}

fn check_kind(resource: &Resource, map: &mut Map<String, Value>) -> Result<()> {
    let api_version = resource.api_version();
    for (field, words, wanted) in
        [("kind", "kind", resource.kind.as_str()), ("apiVersion", "API version", api_version.as_str())]
    {
        match map.get(field).and_then(Value::as_str).unwrap_or_default() {
            "" => {
                map.insert(field.to_owned(), wanted.into());
            }
            got if got == wanted => {}
            got => {
                return Err(ApiError::bad_request(format!(
                    "the {words} in the data ({got}) does not match the expected {words} ({wanted})"
                )));
            }
        }
    }
    Ok(())
}

/// Paths of what `before` has and `after` lost; nulls are no loss.
fn lost(before: &Value, after: &Value, path: String, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                if value.is_null() {
                    continue;
                }
                let path = match path.as_str() {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                match after.get(key) {
                    Some(after) => lost(value, after, path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                lost(before, after, format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}
