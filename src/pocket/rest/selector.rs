//! Label and field selectors: parsed once, then matched against objects.

use serde_json::Value;

use super::error::{ApiError, Result};
use super::registry::Resource;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Label {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    NotExists(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    path: String,
    value: String,
    equal: bool,
}

/// Which objects a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Label>,
    fields: Vec<Field>,
}

impl Selector {
    pub fn parse(resource: &Resource, labels: Option<&str>, fields: Option<&str>) -> Result<Selector> {
        Ok(Selector {
            labels: parse_labels(labels.unwrap_or_default())?,
            fields: parse_fields(resource, fields.unwrap_or_default())?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|label| {
            let get = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
            match label {
                Label::In(key, values) => get(key).is_some_and(|v| values.iter().any(|x| x == v)),
                Label::NotIn(key, values) => get(key).is_none_or(|v| !values.iter().any(|x| x == v)),
                Label::Exists(key) => get(key).is_some(),
                Label::NotExists(key) => get(key).is_none(),
            }
        }) && self.fields.iter().all(|f| (field(object, &f.path) == f.value) == f.equal)
    }
}

/// A field as a selector sees it: text, and empty when it is not there.
fn field(object: &Value, path: &str) -> String {
    let mut at = object;
    for step in path.split('.') {
        at = &at[step];
    }
    match at {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

fn parse_fields(resource: &Resource, text: &str) -> Result<Vec<Field>> {
    let mut fields = Vec::new();
    for term in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let (path, value, equal) = if let Some((path, value)) = term.split_once("!=") {
            (path, value, false)
        } else if let Some((path, value)) = term.split_once("==") {
            (path, value, true)
        } else if let Some((path, value)) = term.split_once('=') {
            (path, value, true)
        } else {
            return Err(ApiError::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'")));
        };
        let path = path.trim();
        let known = matches!(path, "metadata.name" | "metadata.namespace")
            || resource.selectable_fields.iter().any(|f| f == path);
        if !known {
            return Err(ApiError::bad_request(format!("field label not supported: {path}")));
        }
        fields.push(Field { path: path.to_owned(), value: value.trim().to_owned(), equal });
    }
    Ok(fields)
}

fn parse_labels(text: &str) -> Result<Vec<Label>> {
    let bad =
        |why: &str| ApiError::bad_request(format!("unable to parse requirement: {why} in label selector {text:?}"));
    let mut labels = Vec::new();
    for term in split_outside_parentheses(text) {
        let term = term.trim();
        if term.is_empty() {
            continue;
        }
        if let Some((head, list)) = term.split_once('(') {
            let list = list.strip_suffix(')').ok_or_else(|| bad("a '(' without its ')'"))?;
            let values: Vec<String> = list.split(',').map(|v| v.trim().to_owned()).collect();
            let mut words = head.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(key), Some("in"), None) => labels.push(Label::In(key.into(), values)),
                (Some(key), Some("notin"), None) => labels.push(Label::NotIn(key.into(), values)),
                _ => return Err(bad("expected KEY in (...) or KEY notin (...)")),
            }
        } else if let Some((key, value)) = term.split_once("!=") {
            labels.push(Label::NotIn(key.trim().into(), vec![value.trim().into()]));
        } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            labels.push(Label::In(key.trim().into(), vec![value.trim().into()]));
        } else if let Some(key) = term.strip_prefix('!') {
            labels.push(Label::NotExists(key.trim().into()));
        } else {
            labels.push(Label::Exists(term.into()));
        }
    }
    for label in &labels {
        let (Label::In(key, _) | Label::NotIn(key, _) | Label::Exists(key) | Label::NotExists(key)) = label;
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if key.is_empty() || !key.chars().all(fits) {
            return Err(bad(&format!("{key:?} is no label key")));
        }
    }
    Ok(labels)
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(labels: &str, object: &Value) -> bool {
        let selector = Selector { labels: parse_labels(labels).unwrap(), fields: vec![] };
        selector.matches(object)
    }

    #[test]
    fn label_selectors() {
        let pod = json!({"metadata": {"labels": {"app": "a", "tier": "web", "x/y.z": ""}}});
        for yes in [
            "",
            "app=a",
            "app==a",
            "app = a , tier=web",
            "app!=b",
            "nope!=b",
            "app in (a,b)",
            "app in (b, a),tier",
            "app notin (b,c)",
            "nope notin (a)",
            "tier",
            "!nope",
            "x/y.z",
            "x/y.z=",
        ] {
            assert!(selects(yes, &pod), "{yes}");
        }
        for no in ["app=b", "app!=a", "app in (b)", "app notin (a)", "nope", "!app", "app=a,nope"] {
            assert!(!selects(no, &pod), "{no}");
        }
        for bad in ["app in (a", "=a", "app like (b)", "a b"] {
            assert!(parse_labels(bad).is_err(), "{bad}");
        }
    }
}
