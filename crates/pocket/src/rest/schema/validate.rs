//! Validates values against a schema, with the texts of Kubernetes' validator.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::Value;

use super::super::error::FieldError;
use super::{is_set, join_path};

pub(in super::super) fn validate_object(schema: &Value, object: &Value) -> Vec<FieldError> {
    let mut problems = Vec::new();
    if schema.is_object() {
        check_value(schema, object, "", &mut problems);
    }
    problems
}

fn is_valid(schema: &Value, value: &Value, path: &str) -> bool {
    let mut problems = Vec::new();
    check_value(schema, value, path, &mut problems);
    problems.is_empty()
}

fn check_value(schema: &Value, value: &Value, path: &str, problems: &mut Vec<FieldError>) {
    if value.is_null() && (is_set(schema, "nullable") || schema.get("type").is_none()) {
        return;
    }
    if let Some(wanted) = wrong_type(schema, value) {
        let got = type_of(value);
        let words = format!("{path} in body must be of type {wanted}: \"{got}\"");
        problems.push(FieldError::type_invalid(path, &Value::from(got), words));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        problems.push(FieldError::not_supported(path, value, &allowed));
    }
    match value {
        Value::String(text) => check_string(schema, text, path, problems),
        Value::Number(_) => check_number(schema, value, path, problems),
        Value::Array(list) => check_array(schema, value, list, path, problems),
        Value::Object(_) => check_object(schema, value, path, problems),
        _ => {}
    }
    check_composition(schema, value, path, problems);
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The type that the schema wants, if the value has a different one.
fn wrong_type<'a>(schema: &'a Value, value: &Value) -> Option<&'a str> {
    if is_set(schema, "x-kubernetes-int-or-string") {
        let fits = value.is_string() || value.is_i64() || value.is_u64();
        return (!fits).then_some("integer,string");
    }
    let wanted = schema.get("type")?.as_str()?;
    let fits = match wanted {
        // 3.0 is an integer, as in JSON Schema.
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        wanted => type_of(value) == wanted,
    };
    (!fits).then_some(wanted)
}

fn check_string(schema: &Value, text: &str, path: &str, problems: &mut Vec<FieldError>) {
    let value = Value::from(text);
    let length = text.chars().count() as u64;
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        problems.push(FieldError::too_long(path, most));
    }
    if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        let words = format!("{path} in body should be at least {least} chars long");
        problems.push(FieldError::invalid(path, &value, words));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !pattern_matches(pattern, text)
    {
        problems.push(FieldError::invalid(
            path,
            &value,
            format!("{path} in body should match '{pattern}'"),
        ));
    }
    let format = schema["format"].as_str().unwrap_or_default();
    let fits = match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "uuid" => text.parse::<uuid::Uuid>().is_ok(),
        _ => true,
    };
    if !fits {
        problems.push(FieldError::invalid(
            path,
            &value,
            format!("{path} in body must be of type {format}: \"{text}\""),
        ));
    }
}

/// Patterns are compiled once per process. A pattern that Rust's regex does not support matches
/// everything: its definition was accepted, so its objects are accepted too.
fn pattern_matches(pattern: &str, text: &str) -> bool {
    static KNOWN: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let compiled = known
        .entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).ok());
    compiled.as_ref().is_none_or(|regex| regex.is_match(text))
}

fn check_number(schema: &Value, value: &Value, path: &str, problems: &mut Vec<FieldError>) {
    let n = value.as_f64().unwrap_or(0.0);
    let mut refuse = |words: String| problems.push(FieldError::invalid(path, value, words));
    if let Some(least) = schema["minimum"].as_f64() {
        if is_set(schema, "exclusiveMinimum") && n <= least {
            refuse(format!("{path} in body should be greater than {least}"));
        } else if n < least {
            refuse(format!(
                "{path} in body should be greater than or equal to {least}"
            ));
        }
    }
    if let Some(most) = schema["maximum"].as_f64() {
        if is_set(schema, "exclusiveMaximum") && n >= most {
            refuse(format!("{path} in body should be less than {most}"));
        } else if n > most {
            refuse(format!(
                "{path} in body should be less than or equal to {most}"
            ));
        }
    }
    if let Some(of) = schema["multipleOf"]
        .as_f64()
        .filter(|of| *of > 0.0 && n % of != 0.0)
    {
        refuse(format!("{path} in body should be a multiple of {of}"));
    }
    if schema["format"] == "int32" && !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&n) {
        refuse(format!("{path} in body must be of type int32"));
    }
}

fn check_array(
    schema: &Value,
    value: &Value,
    list: &[Value],
    path: &str,
    problems: &mut Vec<FieldError>,
) {
    if let Some(most) = schema["maxItems"]
        .as_u64()
        .filter(|most| list.len() as u64 > *most)
    {
        problems.push(FieldError::too_many(path, list.len(), most));
    }
    if let Some(least) = schema["minItems"]
        .as_u64()
        .filter(|least| (list.len() as u64) < *least)
    {
        let words = format!("{path} in body should have at least {least} items");
        problems.push(FieldError::invalid(path, value, words));
    }
    let keys: Option<Vec<&str>> = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(Vec::new()),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            Some(
                keys.into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect(),
            )
        }
        _ => None,
    };
    let identity = |item: &Value| -> Value {
        match keys.as_deref() {
            Some(keys) if !keys.is_empty() => keys
                .iter()
                .map(|k| ((*k).to_owned(), item[*k].clone()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            _ => item.clone(),
        }
    };
    for (at, item) in list.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if keys.is_some()
            && list[..at]
                .iter()
                .any(|other| identity(other) == identity(item))
        {
            problems.push(FieldError::duplicate(path.clone(), &identity(item)));
        }
        if schema["items"].is_object() {
            check_value(&schema["items"], item, &path, problems);
        }
    }
}

fn check_object(schema: &Value, value: &Value, path: &str, problems: &mut Vec<FieldError>) {
    let Some(map) = value.as_object() else { return };
    for field in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !map.contains_key(field) {
            problems.push(FieldError::required(join_path(path, field), ""));
        }
    }
    if let Some(most) = schema["maxProperties"]
        .as_u64()
        .filter(|most| map.len() as u64 > *most)
    {
        problems.push(FieldError::too_many(path, map.len(), most));
    }
    if let Some(least) = schema["minProperties"]
        .as_u64()
        .filter(|least| (map.len() as u64) < *least)
    {
        let words = format!("{path} in body should have at least {least} properties");
        problems.push(FieldError::invalid(path, value, words));
    }
    for (field, inner) in map {
        let schema = schema["properties"]
            .get(field)
            .or_else(|| schema.get("additionalProperties"));
        if let Some(schema) = schema.filter(|s| s.is_object()) {
            check_value(schema, inner, &join_path(path, field), problems);
        }
    }
}

/// Checks allOf, anyOf, oneOf and not.
fn check_composition(schema: &Value, value: &Value, path: &str, problems: &mut Vec<FieldError>) {
    let branches = |name: &str| {
        schema[name]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    for branch in branches("allOf") {
        check_value(branch, value, path, problems);
    }
    let mut refuse = |words: String| problems.push(FieldError::invalid(path, value, words));
    let fitting = |all: &[Value]| {
        all.iter()
            .filter(|branch| is_valid(branch, value, path))
            .count()
    };
    let any = branches("anyOf");
    if !any.is_empty() && fitting(any) == 0 {
        refuse(format!(
            "\"{path}\" must validate at least one schema (anyOf)"
        ));
    }
    let one = branches("oneOf");
    match fitting(one) {
        _ if one.is_empty() => {}
        0 => refuse(format!(
            "\"{path}\" must validate one and only one schema (oneOf). Found none valid"
        )),
        1 => {}
        n => refuse(format!(
            "\"{path}\" must validate one and only one schema (oneOf). Found {n} valid alternatives"
        )),
    }
    if schema["not"].is_object() && is_valid(&schema["not"], value, path) {
        refuse(format!("\"{path}\" must not validate the schema (not)"));
    }
}
