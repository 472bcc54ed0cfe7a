//! `metadata` of objects: names, times, finalizers.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::error::FieldError;

/// RFC 3339 with seconds, as Kubernetes writes times.
pub fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// RFC 3339 with microseconds: a `MicroTime`.
pub fn format_micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

pub fn timestamp_now() -> String {
    format_time(Timestamp::now())
}

/// The object's metadata, added if missing. Decoding has checked that the body is an object.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    object["metadata"]
        .as_object_mut()
        .expect("made an object just above")
}

pub fn field_text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub fn list_finalizers(object: &Value) -> Vec<String> {
    to_string_list(&object["metadata"]["finalizers"])
}

pub fn to_string_list(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

/// Removes a field, keeping the order of the others.
pub fn remove_field(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.shift_remove(field)
}

/// `base` and five random characters; vowels and look-alikes are left out, as in Kubernetes.
pub fn generate_name(base: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut name: String = base.chars().take(58).collect();
    for byte in &uuid::Uuid::new_v4().as_bytes()[..5] {
        name.push(ALPHABET[*byte as usize % ALPHABET.len()] as char);
    }
    name
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

pub fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if *a != b'-' && *z != b'-')
        && bytes.iter().all(|c| inner(*c))
}

/// Rule that a name must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    Subdomain,
    Label,
}

pub fn check_name(field: &str, name: &str, rule: NameRule) -> Option<FieldError> {
    let value = Value::from(name);
    let most = if rule == NameRule::Subdomain { 253 } else { 63 };
    if name.len() > most {
        let words = format!("must be no more than {most} characters");
        return Some(FieldError::invalid(field, &value, words));
    }
    let (fits, words) = match rule {
        NameRule::Subdomain => (name.split('.').all(is_label), SUBDOMAIN),
        NameRule::Label if name.contains('.') && name.split('.').all(is_label) => {
            (false, "must not contain dots")
        }
        NameRule::Label => (is_label(name), LABEL),
    };
    (!fits).then(|| FieldError::invalid(field, &value, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let bad = |name: &str, rule| check_name("metadata.name", name, rule).is_some();
        assert!(!bad("a.b-c.1", NameRule::Subdomain));
        for name in ["", "A", "-a", "a-", "a..b", "a_b", ".a"] {
            assert!(bad(name, NameRule::Subdomain), "{name}");
        }
        assert!(bad("a.b", NameRule::Label));
        assert!(!bad("1a", NameRule::Label) && bad(&"a".repeat(64), NameRule::Label));
        let name = generate_name("web-");
        assert!(name.starts_with("web-") && name.len() == 9 && !bad(&name, NameRule::Subdomain));
    }
}
