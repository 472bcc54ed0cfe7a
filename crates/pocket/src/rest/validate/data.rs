//! ConfigMaps and Secrets.

use serde_json::Value;

use super::super::error::FieldError;
use super::rules::{IMMUTABLE, Problems, as_text, data_key_errors, push_messages};

const MAX_DATA_BYTES: usize = 1 << 20;

pub(super) fn check_config_map(object: &Value, old: Option<&Value>, problems: &mut Problems) {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            let path = format!("{field}[{key}]");
            push_messages(&path, &key.as_str().into(), data_key_errors(key), problems);
            if field == "data" && object["binaryData"].get(key).is_some() {
                let words = "duplicate of key present in binaryData";
                problems.push(FieldError::invalid(path, &key.as_str().into(), words));
            }
            size += if field == "data" {
                as_text(value).len()
            } else {
                decoded_length(value)
            };
        }
    }
    if size > MAX_DATA_BYTES {
        problems.push(FieldError::too_long("[]", MAX_DATA_BYTES as u64));
    }
    check_immutable(object, old, &["data", "binaryData"], problems);
}

/// Also checks the keys that each type of Secret must have.
pub(super) fn check_secret(object: &Value, old: Option<&Value>, problems: &mut Problems) {
    let data = &object["data"];
    let mut size = 0;
    for (key, value) in data.as_object().into_iter().flatten() {
        push_messages(
            &format!("data[{key}]"),
            &key.as_str().into(),
            data_key_errors(key),
            problems,
        );
        size += decoded_length(value);
    }
    if size > MAX_DATA_BYTES {
        problems.push(FieldError::too_long("data", MAX_DATA_BYTES as u64));
    }
    let has = |key: &str| data.get(key).is_some();
    let mut need = |key: &str| problems.push(FieldError::required(format!("data[{key}]"), ""));
    match as_text(&object["type"]) {
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            if as_text(&object["metadata"]["annotations"][NAME]).is_empty() {
                problems.push(FieldError::required(
                    format!("metadata.annotations[{NAME}]"),
                    "",
                ));
            }
        }
        "kubernetes.io/dockercfg" => check_docker_config(data, ".dockercfg", problems),
        "kubernetes.io/dockerconfigjson" => {
            check_docker_config(data, ".dockerconfigjson", problems);
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" if decoded_length(&data["ssh-privatekey"]) == 0 => {
            need("ssh-privatekey");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !has(key) {
                    need(key);
                }
            }
        }
        _ => {}
    }
    if let Some(old) = old
        && old["type"] != object["type"]
    {
        problems.push(FieldError::invalid("type", &object["type"], IMMUTABLE));
    }
    check_immutable(object, old, &["data"], problems);
}

fn check_docker_config(data: &Value, key: &str, problems: &mut Problems) {
    use base64::Engine as _;
    let path = format!("data[{key}]");
    let Some(text) = data[key].as_str() else {
        return problems.push(FieldError::required(path, ""));
    };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        let words = if bytes.is_empty() {
            "unexpected end of JSON input".to_owned()
        } else {
            error.to_string()
        };
        problems.push(FieldError::invalid(
            path,
            &"<secret contents redacted>".into(),
            words,
        ));
    }
}

fn decoded_length(value: &Value) -> usize {
    let text = as_text(value);
    text.len() / 4 * 3 - text.bytes().rev().take_while(|b| *b == b'=').count()
}

/// An immutable object can be neither changed nor made mutable again.
fn check_immutable(object: &Value, old: Option<&Value>, fields: &[&str], problems: &mut Problems) {
    let Some(old) = old.filter(|old| old["immutable"] == true) else {
        return;
    };
    let words = "field is immutable when `immutable` is set";
    if object["immutable"] != true {
        problems.push(FieldError::forbidden("immutable", words));
    }
    for field in fields {
        if old.get(field) != object.get(field) {
            problems.push(FieldError::forbidden(*field, words));
        }
    }
}
