//! Label and field selectors: parsed once, then matched against objects.

use serde_json::Value;

use super::error::{ApiError, Result};
use super::registry::Resource;

mod labels;

use labels::Requirement;

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    path: String,
    value: String,
    equal: bool,
}

/// Which objects a request selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

impl Selector {
    pub fn parse(
        resource: &Resource,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Selector> {
        Ok(Selector {
            labels: labels::parse_label_selector(labels.unwrap_or_default())
                .map_err(|why| ApiError::bad_request(why.to_string()))?,
            fields: parse_fields(resource, fields.unwrap_or_default())?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| {
            object["metadata"]["labels"]
                .get(key)
                .and_then(Value::as_str)
        };
        self.labels
            .iter()
            .all(|requirement| requirement.is_satisfied_by(label))
            && self
                .fields
                .iter()
                .all(|f| (field_text(object, &f.path) == f.value) == f.equal)
    }
}

/// The text of a field as a selector sees it; empty when the field is missing.
fn field_text(object: &Value, path: &str) -> String {
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

fn parse_fields(resource: &Resource, text: &str) -> Result<Vec<FieldRequirement>> {
    let mut fields = Vec::new();
    for term in split_terms(text).into_iter().filter(|t| !t.is_empty()) {
        let operator = ["!=", "==", "="]
            .into_iter()
            .filter_map(|operator| term.find(operator).map(|at| (at, operator)))
            .min_by_key(|(at, operator)| (*at, std::cmp::Reverse(operator.len())));
        let Some((at, operator)) = operator else {
            return Err(ApiError::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{term}'"
            )));
        };
        let (path, value) = (&term[..at], &term[at + operator.len()..]);
        let value = unescape_value(value).map_err(|why| ApiError::bad_request(why.to_string()))?;
        let known = matches!(path, "metadata.name" | "metadata.namespace")
            || resource.selectable_fields.iter().any(|f| f == path);
        if !known {
            // Kinds with selectable fields of their own have a different error text.
            let words = match (resource.as_builtin(), resource.selectable_fields.as_slice()) {
                (Some(_), []) => {
                    format!(
                        "{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )
                }
                _ => format!("field label not supported: {path}"),
            };
            return Err(ApiError::bad_request(words));
        }
        fields.push(FieldRequirement {
            path: path.to_owned(),
            value,
            equal: operator != "!=",
        });
    }
    Ok(fields)
}

/// Splits at the commas that no backslash escapes.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Why the value of a field selector cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum EscapeError {
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Sequence(String),
    #[error("invalid field selector: unescaped character in value: {}", u32::from(*.0))]
    Unescaped(char),
}

fn unescape_value(value: &str) -> std::result::Result<String, EscapeError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(EscapeError::Sequence(sequence));
                }
            },
            ',' | '=' => return Err(EscapeError::Unescaped(c)),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::registry::builtin;
    use super::*;

    #[test]
    fn field_selectors() {
        let pods = builtin::ALL
            .iter()
            .find(|b| b.kind == "Pod")
            .unwrap()
            .to_resource();
        let pod =
            serde_json::json!({"metadata": {"name": "a,b=c"}, "status": {"phase": "Running"}});
        let selects =
            |text: &str| Selector::parse(&pods, None, Some(text)).map(|s| s.matches(&pod));
        for yes in [
            "",
            ",",
            r"metadata.name=a\,b\=c",
            "status.phase==Running,status.phase!=Failed",
            "spec.nodeName=",
        ] {
            assert!(selects(yes).unwrap(), "{yes}");
        }
        for no in [
            "metadata.name=a",
            "status.phase!=Running",
            "status.phase= Running",
        ] {
            assert!(!selects(no).unwrap(), "{no}");
        }
        for bad in [
            "nothing",
            "data.k=v",
            "metadata.name=a=b",
            r"metadata.name=a\b",
            r"metadata.name=a\",
            " metadata.name=a",
        ] {
            assert!(selects(bad).is_err(), "{bad}");
        }
    }
}
