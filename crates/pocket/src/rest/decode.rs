//! Decodes a body into an object of its resource: the right kind, the right types, no unknown
//! fields.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::error::{ApiError, FieldError, Result};
use super::registry::{Builtin, CustomVersion, Definition, Resource};
use super::tree::Tree;
use super::{Call, defaults, protobuf, schema, typed, types};
use kube_yaml::first_with_duplicates;

/// The type that Go decodes first from a body, as its errors show it.
const HEAD: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// What to do about fields that the kind does not have, besides dropping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownFields {
    Ignore,
    Warn,
    Refuse,
}

impl UnknownFields {
    pub(super) fn from_call(call: &Call) -> Result<UnknownFields> {
        match call.query.get("fieldValidation") {
            Some("Ignore") => Ok(UnknownFields::Ignore),
            None | Some("Warn") => Ok(UnknownFields::Warn),
            Some("Strict") => Ok(UnknownFields::Refuse),
            Some(other) => {
                let options = match call.method {
                    http::Method::POST => "CreateOptions",
                    http::Method::PUT => "UpdateOptions",
                    _ => "PatchOptions",
                };
                let known = ["", "Ignore", "Strict", "Warn"];
                let problem = FieldError::not_supported("fieldValidation", &other.into(), &known);
                Err(ApiError::bad_options(options, problem))
            }
        }
    }
}

/// Findings of strict validation in a text: `unknown field` or `duplicate field` with its path, or
/// [`YAML`] with its message.
pub(super) type StrictFindings = Vec<(&'static str, String)>;

/// Marks a finding in a YAML text.
const YAML: &str = "yaml";

pub(super) fn parse_body(call: &Call) -> Result<Value> {
    parse_tree(call).map(|(tree, _)| tree.into_json())
}

/// The body as it came, with the findings of strict validation in its text. Duplicates in JSON are
/// still in the tree.
pub(super) fn parse_tree(call: &Call) -> Result<(Tree, StrictFindings)> {
    let plain = |tree| (tree, Vec::new());
    match call.content_type.as_str() {
        "" | "application/json" => serde_json::from_slice(&call.body)
            .map(plain)
            .map_err(|e| unrecognized(call, &e.to_string())),
        "application/yaml" | "application/apply-patch+yaml" => parse_yaml(&call.body),
        protobuf::MEDIA_TYPE => protobuf::decode_object(&call.body)
            .map(Tree::from)
            .map(plain)
            .map_err(|e| match e {
                protobuf::Error::Kind { .. } => ApiError::new(
                    http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "UnsupportedMediaType",
                    e.to_string(),
                ),
                other => unrecognized(call, &other.to_string()),
            }),
        _ => Err(ApiError::unsupported_media_type(&[
            "application/json",
            "application/yaml",
            protobuf::MEDIA_TYPE,
        ])),
    }
}

fn unrecognized(call: &Call, why: &str) -> ApiError {
    let kind = &call.resource.kind;
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why}"
    ))
}

pub(super) fn parse_yaml(body: &[u8]) -> Result<(Tree, StrictFindings)> {
    // JSON is also YAML, and is parsed much faster as JSON.
    if let Ok(tree) = serde_json::from_slice(body) {
        return Ok((tree, Vec::new()));
    }
    let text = std::str::from_utf8(body)
        .map_err(|e| ApiError::bad_request(format!("error converting YAML to JSON: yaml: {e}")))?;
    let (value, doubled) = first_with_duplicates(text).map_err(|(line, column, why)| {
        ApiError::bad_request(format!(
            "error converting YAML to JSON: yaml: line {line}, column {column}: {why}"
        ))
    })?;
    let strict = doubled.iter().map(|d| {
        (
            YAML,
            format!("line {}: key {:?} already set in map", d.line, d.key),
        )
    });
    Ok((value.into(), strict.collect()))
}

/// Converts a tree to a value and collects its duplicate fields for strict validation.
pub(super) fn collect_duplicates(tree: Tree) -> (Value, StrictFindings) {
    let mut twice = Vec::new();
    let value = tree.into_value(&mut String::new(), &mut |path: &str| {
        twice.push(("duplicate field", path.to_owned()));
    });
    (value, twice)
}

/// Checks the kind, drops unknown fields and fills in the defaults of Kubernetes or of a custom
/// schema. Returns the object and the warnings that the client asked for.
pub(super) fn decode_tree(
    resource: &Resource,
    tree: Tree,
    unknown: UnknownFields,
) -> Result<(Value, Vec<String>)> {
    decode_with_findings(resource, tree, unknown, Vec::new())
}

/// Parses and decodes the body of a request.
pub(super) fn decode_body(call: &Call) -> Result<(Value, Vec<String>)> {
    let (tree, strict) = parse_tree(call)?;
    decode_with_findings(
        &call.resource,
        tree,
        UnknownFields::from_call(call)?,
        strict,
    )
}

/// `strict` contains the findings in the text from which the tree was parsed.
pub(super) fn decode_with_findings(
    resource: &Resource,
    tree: Tree,
    unknown: UnknownFields,
    mut strict: StrictFindings,
) -> Result<(Value, Vec<String>)> {
    let tree = if tree == Tree::Null {
        Tree::Object(Vec::new())
    } else {
        tree
    };
    let tree = check_type_meta(resource, tree)?;
    check_kind(resource, &tree)?;
    let mut object = match &resource.definition {
        Definition::Builtin(builtin) => decode_builtin(resource, builtin, tree, &mut strict)?,
        Definition::Custom(custom) => decode_custom(resource, custom, tree, &mut strict)?,
        // Objects of unserved resources are never accepted.
        Definition::Unserved => collect_duplicates(tree).0,
    };
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    report_findings(resource, object, &strict, unknown)
}

/// Refuses a tree whose version and kind cannot be read.
fn check_type_meta(resource: &Resource, tree: Tree) -> Result<Tree> {
    let wrong = match &tree {
        Tree::Object(_) => {
            ["apiVersion", "kind"]
                .into_iter()
                .find_map(|field| match tree.get(field) {
                    None | Some(Tree::Null | Tree::Text(_)) => None,
                    Some(other) => Some((
                        other.json_type(),
                        format!("Go struct field .{field} of type string"),
                    )),
                })
        }
        other => Some((other.json_type(), format!("Go value of type {HEAD}"))),
    };
    let Some((kind, place)) = wrong else {
        return Ok(tree);
    };
    let text = tree.into_json().to_string();
    let shown = match text.as_bytes() {
        [b'{', ..] if text.len() > 30 => {
            format!("{} ...", &text[..text.floor_char_boundary(30)])
        }
        [b'{', ..] => text,
        bytes => bytes
            .iter()
            .take(30)
            .fold(String::new(), |shown, byte| format!("{shown}{byte:02x}")),
    };
    Err(ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: json: cannot unmarshal {kind} into {place} ({shown})",
        resource.kind
    )))
}

fn decode_builtin(
    resource: &Resource,
    builtin: &Builtin,
    tree: Tree,
    strict: &mut StrictFindings,
) -> Result<Value> {
    let mut object = if let Some(message) =
        types::find_message(&resource.group, &resource.version, &resource.kind)
    {
        let read = typed::read_object(message, tree).map_err(|mistake| {
            let words = format_decode_error(resource, &mistake.words);
            let mut refusal = ApiError::bad_request(words);
            refusal.details = build_causes(&[(mistake.field.as_str(), mistake.words)]);
            refusal
        })?;
        strict.extend(read.strict);
        read.object
    } else {
        let (before, twice) = collect_duplicates(tree);
        let read = (builtin.typed)(before.clone())
            .map_err(|e| ApiError::bad_request(format_decode_error(resource, &e.to_string())))?;
        strict.extend(twice);
        let mut dropped = Vec::new();
        collect_lost_fields(&before, &read, String::new(), &mut dropped);
        strict.extend(dropped.into_iter().map(|path| ("unknown field", path)));
        read
    };
    set_type_meta(resource, &mut object);
    defaults::apply_defaults(resource, &mut object);
    Ok(object)
}

fn decode_custom(
    resource: &Resource,
    custom: &CustomVersion,
    tree: Tree,
    strict: &mut StrictFindings,
) -> Result<Value> {
    let (mut object, twice) = collect_duplicates(tree);
    strict.extend(twice);
    set_type_meta(resource, &mut object);
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    let read = |metadata: Value| -> std::result::Result<Value, serde_json::Error> {
        serde_json::to_value(serde_json::from_value::<ObjectMeta>(metadata)?)
    };
    let metadata = read(object["metadata"].clone())
        .map_err(|e| ApiError::bad_request(format!("metadata of the {}: {e}", resource.kind)))?;
    let mut dropped = Vec::new();
    collect_lost_fields(
        &object["metadata"],
        &metadata,
        "metadata".into(),
        &mut dropped,
    );
    object["metadata"] = metadata;
    schema::prune_unknown_fields(&custom.schema, &mut object, &mut dropped);
    dropped.sort();
    strict.extend(dropped.into_iter().map(|path| ("unknown field", path)));
    schema::apply_defaults(&custom.schema, &mut object);
    Ok(object)
}

/// Refuses an object with findings, warns of them, or passes them over.
fn report_findings(
    resource: &Resource,
    object: Value,
    strict: &StrictFindings,
    unknown: UnknownFields,
) -> Result<(Value, Vec<String>)> {
    let (of_yaml, of_fields): (Vec<_>, Vec<_>) = strict.iter().partition(|(what, _)| *what == YAML);
    let mut words: Vec<String> = of_yaml.iter().map(|(_, words)| words.clone()).collect();
    words.extend(
        of_fields
            .iter()
            .map(|(what, field)| format!("{what} \"{field}\"")),
    );
    match unknown {
        UnknownFields::Refuse if !words.is_empty() => {
            // go-yaml reports its findings as one error of several lines.
            let rest = words.split_off(of_yaml.len());
            let lines: String = words.iter().map(|line| format!("\n  {line}")).collect();
            let yaml = (!lines.is_empty()).then(|| format!("yaml: unmarshal errors:{lines}"));
            let all: Vec<String> = yaml.into_iter().chain(rest).collect();
            let strict_words = format!("strict decoding error: {}", all.join(", "));
            let mut refusal = ApiError::bad_request(format_decode_error(resource, &strict_words));
            let each: Vec<_> = strict
                .iter()
                .map(|(what, field)| (field.as_str(), (*what).to_owned()))
                .collect();
            refusal.details = build_causes(&each);
            Err(refusal)
        }
        UnknownFields::Warn => Ok((object, words)),
        _ => Ok((object, Vec::new())),
    }
}

fn format_decode_error(resource: &Resource, why: &str) -> String {
    format!(
        "{0} in version \"{1}\" cannot be handled as a {0}: {why}",
        resource.kind, resource.version
    )
}

/// Field and reason of each problem, so that a client can point to the field.
fn build_causes(each: &[(&str, String)]) -> Value {
    let cause = |(field, why): &(&str, String)| json!({"reason": "FieldValueInvalid", "message": why, "field": field});
    json!({"causes": each.iter().map(cause).collect::<Vec<_>>()})
}

/// Sets the kind and version of the path, which a body may omit.
fn set_type_meta(resource: &Resource, object: &mut Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    map.shift_insert(0, "kind".into(), resource.kind.as_str().into());
    map.shift_insert(1, "apiVersion".into(), resource.api_version().into());
}

fn check_kind(resource: &Resource, tree: &Tree) -> Result<()> {
    let api_version = resource.api_version();
    for (field, words, wanted) in [
        ("kind", "kind", resource.kind.as_str()),
        ("apiVersion", "API version", api_version.as_str()),
    ] {
        match tree.get_text(field).unwrap_or_default() {
            "" => {}
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

/// Collects the paths of values in `before` that `after` lacks; nulls do not count.
fn collect_lost_fields(before: &Value, after: &Value, path: String, found: &mut Vec<String>) {
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
                    Some(after) => collect_lost_fields(value, after, path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                collect_lost_fields(before, after, format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}
