//! Rules that many fields share, with the texts of k8s.io/apimachinery.

use serde_json::Value;

use super::super::error::FieldError;
use super::super::meta::{NameRule, check_name, is_label};
use super::as_list;

pub(super) const IMMUTABLE: &str = "field is immutable";
pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PREFIX: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) type Problems = Vec<FieldError>;

pub(super) fn as_text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Adds one problem for each message.
pub(super) fn push_messages(
    path: &str,
    value: &Value,
    messages: Vec<String>,
    problems: &mut Problems,
) {
    problems.extend(
        messages
            .into_iter()
            .map(|words| FieldError::invalid(path, value, words)),
    );
}

pub(super) fn check_field_not_negative(object: &Value, path: &str, problems: &mut Problems) {
    let value = path.split('.').fold(object, |at, step| &at[step]);
    check_not_negative(value, path, problems);
}

pub(super) fn check_not_negative(value: &Value, path: &str, problems: &mut Problems) {
    if value.as_i64().is_some_and(|n| n < 0) {
        problems.push(FieldError::invalid(path, value, NOT_NEGATIVE));
    }
}

/// Checks a value against a closed list; a missing value is for other rules to refuse.
pub(super) fn check_one_of(
    value: &Value,
    known: &[&str],
    path: impl Into<String>,
    problems: &mut Problems,
) {
    match value.as_str() {
        None => {}
        Some("") => problems.push(FieldError::required(path, "")),
        Some(text) if known.contains(&text) => {}
        Some(_) => problems.push(FieldError::not_supported(path, value, known)),
    }
}

pub(super) fn check_required(
    value: &Value,
    path: impl Into<String>,
    problems: &mut Problems,
) -> bool {
    let there = !as_text(value).is_empty();
    if !there {
        problems.push(FieldError::required(path, ""));
    }
    there
}

pub(super) fn check_dns_label(value: &Value, path: &str, problems: &mut Problems) {
    problems.extend(check_name(path, as_text(value), NameRule::Label));
}

pub(super) fn check_subdomain(value: &Value, path: &str, problems: &mut Problems) {
    problems.extend(check_name(path, as_text(value), NameRule::Subdomain));
}

pub(super) fn check_port_number(port: &Value, path: &str, problems: &mut Problems) {
    if !port.as_i64().is_some_and(|n| (1..=65535).contains(&n)) {
        let shown = if port.is_null() {
            &Value::from(0)
        } else {
            port
        };
        problems.push(FieldError::invalid(
            path,
            shown,
            "must be between 1 and 65535, inclusive",
        ));
    }
}

pub(super) fn port_name_errors(name: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let mut add = |wrong: bool, words: &str| {
        if wrong {
            messages.push(words.to_owned());
        }
    };
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    add(name.len() > 15, "must be no more than 15 characters");
    let words = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
    add(name.is_empty() || !name.chars().all(known), words);
    add(
        !name.chars().any(|c| c.is_ascii_lowercase()),
        "must contain at least one letter (a-z)",
    );
    add(name.contains("--"), "must not contain consecutive hyphens");
    add(
        name.starts_with('-') || name.ends_with('-'),
        "must not begin or end with a hyphen",
    );
    messages
}

pub(super) fn check_port_number_or_name(port: &Value, path: &str, problems: &mut Problems) {
    match port.as_str() {
        Some(name) => push_messages(path, port, port_name_errors(name), problems),
        None => check_port_number(port, path, problems),
    }
}

pub(super) fn check_protocol(value: &Value, path: impl Into<String>, problems: &mut Problems) {
    check_one_of(value, &PROTOCOLS, path, problems);
}

/// Checks that a relative path stays within its directory.
pub(super) fn check_local_path(value: &Value, path: &str, reserved: bool, problems: &mut Problems) {
    let given = as_text(value);
    if given.starts_with('/') {
        problems.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    check_no_backsteps(value, path, problems);
    if reserved && given.starts_with("..") && !given.starts_with("../") {
        problems.push(FieldError::invalid(path, value, "must not start with '..'"));
    }
}

pub(super) fn check_no_backsteps(value: &Value, path: &str, problems: &mut Problems) {
    if as_text(value).split('/').any(|step| step == "..") {
        problems.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}

pub(super) fn check_file_mode(mode: &Value, path: String, problems: &mut Problems) {
    if mode.as_i64().is_some_and(|m| !(0..=0o777).contains(&m)) {
        let words = "must be a number between 0 and 0777 (octal), both inclusive";
        problems.push(FieldError::invalid(path, mode, words));
    }
}

/// Kubernetes' rule for names of environment variables since 1.34: printable ASCII without `=`.
pub(super) fn check_variable_name(value: &Value, path: &str, problems: &mut Problems) {
    if !as_text(value)
        .chars()
        .all(|c| (' '..='~').contains(&c) && c != '=')
    {
        let words = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        problems.push(FieldError::invalid(path, value, words));
    }
}

/// What is wrong with a key of a ConfigMap or Secret.
pub(super) fn data_key_errors(key: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if key.len() > 253 {
        messages.push("must be no more than 253 characters".to_owned());
    }
    if key.is_empty()
        || !key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    {
        messages.push("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".to_owned());
    }
    match key {
        "." => messages.push("must not be '.'".to_owned()),
        ".." => messages.push("must not be '..'".to_owned()),
        key if key.starts_with("..") => messages.push("must not start with '..'".to_owned()),
        _ => {}
    }
    messages
}

/// What is wrong with a `[prefix/]name`: keys of labels and annotations, names of resources and
/// finalizers.
pub(in crate::rest) fn qualified_name_errors(key: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > 253 {
                    messages.push("prefix part must be no more than 253 characters".to_owned());
                }
                if !prefix.split('.').all(is_label) {
                    messages.push(PREFIX.to_owned());
                }
            }
            name
        }
        _ => {
            let words = QUALIFIED.replacen("name part must", "a valid label key must", 1);
            messages.push(format!(
                "{words} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return messages;
        }
    };
    if name.is_empty() {
        messages.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        messages.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_name_part(name) {
        messages.push(QUALIFIED.to_owned());
    }
    messages
}

pub(in crate::rest) fn label_value_errors(value: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if value.len() > 63 {
        messages.push("must be no more than 63 characters".to_owned());
    }
    if !value.is_empty() && !is_name_part(value) {
        messages.push(LABEL_VALUE.to_owned());
    }
    messages
}

fn is_name_part(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Returns whether this is an operator that every selector has, and checks its number of values.
pub(super) fn check_set_operator(
    operator: &str,
    values: &[Value],
    path: &str,
    problems: &mut Problems,
) -> bool {
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let words = "must be specified when `operator` is 'In' or 'NotIn'";
            problems.push(FieldError::required(format!("{path}.values"), words));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            problems.push(FieldError::forbidden(format!("{path}.values"), words));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => return false,
    }
    true
}

pub(super) fn refuse_operator(operator: &Value, path: &str, problems: &mut Problems) {
    problems.push(FieldError::invalid(
        format!("{path}.operator"),
        operator,
        "not a valid selector operator",
    ));
}

/// Checks a label selector as workloads have it.
pub(super) fn check_label_selector(selector: &Value, path: &str, problems: &mut Problems) {
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        let path = format!("{path}.matchLabels");
        push_messages(
            &path,
            &Value::from(key.as_str()),
            qualified_name_errors(key),
            problems,
        );
        push_messages(&path, value, label_value_errors(as_text(value)), problems);
    }
    for (at, term) in as_list(&selector["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        let values = as_list(&term["values"]);
        if !check_set_operator(as_text(&term["operator"]), values, &path, problems) {
            refuse_operator(&term["operator"], &path, problems);
        }
        push_messages(
            &format!("{path}.key"),
            &term["key"],
            qualified_name_errors(as_text(&term["key"])),
            problems,
        );
        for (at, value) in values.iter().enumerate() {
            push_messages(
                &format!("{path}.values[{at}]"),
                value,
                label_value_errors(as_text(value)),
                problems,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_how_many_things_are_wrong_with_them() {
        let count = |rule: fn(&str) -> Vec<String>, cases: &[(&str, usize)]| {
            for (name, wrong) in cases {
                assert_eq!(rule(name).len(), *wrong, "{name:?}: {:?}", rule(name));
            }
        };
        let long = "a".repeat(64);
        count(
            port_name_errors,
            &[
                ("http", 0),
                ("h2-c", 0),
                ("80", 1),
                ("this-name-is-too-long", 1),
                ("A", 2),
                ("a--b-", 2),
                ("", 2),
            ],
        );
        count(
            qualified_name_errors,
            &[
                ("a", 0),
                ("x.y/A_b", 0),
                ("a/b/c", 1),
                ("", 2),
                ("/a", 1),
                ("A/b", 1),
                ("-", 1),
                (&long, 1),
                ("a/", 2),
            ],
        );
        count(
            label_value_errors,
            &[("", 0), ("1.0", 0), ("-a", 1), ("a b", 1), (&long, 1)],
        );
        count(
            data_key_errors,
            &[
                ("a.b", 0),
                ("", 1),
                (".", 1),
                ("..a", 1),
                ("a b", 1),
                (".a", 0),
            ],
        );
    }
}
