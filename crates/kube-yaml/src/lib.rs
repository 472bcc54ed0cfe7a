//! Reads manifest files: several YAML or JSON documents, each with the line it starts on. All
//! errors are reported at once.
//!
//! Values are read as kubectl reads them (YAML 1.1 booleans, `0644` is octal; see `scalar` for the
//! rules). Duplicate keys are rejected.

#![forbid(unsafe_code)]

pub mod numbers;
mod read;
mod scalar;
mod write;

pub use read::DuplicateKey;
pub use write::to_yaml;

use serde_json::Value;
use std::fmt;

/// A document and the line (from 1) where its content starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub line: usize,
    pub value: Value,
}

/// An error in a file, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// The file as the user named it.
    pub label: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1; 0 when the error concerns the whole document.
    pub column: usize,
    pub message: String,
}

impl std::error::Error for YamlError {}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            0 => write!(f, "{}:{}: {}", self.label, self.line, self.message),
            column => write!(f, "{}:{}:{column}: {}", self.label, self.line, self.message),
        }
    }
}

/// Reads every non-empty document of a YAML or JSON text.
pub fn read_documents(label: &str, text: &str) -> Result<Vec<Document>, Vec<YamlError>> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.trim_start().starts_with('{')
        && let Some(documents) = read_json_documents(text)
    {
        return Ok(documents);
    }
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for (first, piece) in split_documents(text) {
        match read::read_document(piece) {
            Ok((_, twice)) if !twice.is_empty() => {
                errors.extend(twice.into_iter().map(|DuplicateKey { line, column, key }| {
                    let (line, message) = (
                        first + line.saturating_sub(1),
                        format!("duplicate key {key:?}"),
                    );
                    YamlError {
                        label: label.to_owned(),
                        line,
                        column,
                        message,
                    }
                }));
            }
            Ok((Value::Null, _)) => {}
            Ok((value, _)) => found.push(Document {
                line: first + count_leading_lines(piece),
                value,
            }),
            Err(read::ReadError {
                line,
                column,
                message,
            }) => {
                let line = first + line.saturating_sub(1);
                errors.push(YamlError {
                    label: label.to_owned(),
                    line,
                    column,
                    message,
                });
            }
        }
    }
    if errors.is_empty() {
        Ok(found)
    } else {
        Err(errors)
    }
}

/// Reads the first document of a text as Go's decoder does: later documents are ignored, and the
/// last of duplicate keys wins. An error holds line, column and message.
pub fn first_document(text: &str) -> Result<Value, (usize, usize, String)> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    first_with_duplicates(text).map(|(value, _)| value)
}

/// Like [`first_document`], for YAML; also returns the duplicate keys.
pub fn first_with_duplicates(
    text: &str,
) -> Result<(Value, Vec<DuplicateKey>), (usize, usize, String)> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let Some((first, piece)) = split_documents(text).into_iter().next() else {
        return Ok((Value::Null, Vec::new()));
    };
    let of_text = |line: usize| first + line.saturating_sub(1);
    match read::read_document(piece) {
        Ok((value, mut twice)) => {
            twice
                .iter_mut()
                .for_each(|doubled| doubled.line = of_text(doubled.line));
            Ok((value, twice))
        }
        Err(read::ReadError {
            line,
            column,
            message,
        }) => Err((of_text(line), column, message)),
    }
}

/// Reads every Kubernetes object of a text: as [`read_documents`], but with `List`s expanded. Each
/// object must have apiVersion, kind and a name.
pub fn read_objects(label: &str, text: &str) -> Result<Vec<Document>, Vec<YamlError>> {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for document in read_documents(label, text)? {
        let Document { line, value } = document;
        let is_list = value["kind"].as_str().is_some_and(|k| k.ends_with("List"))
            && value["items"].is_array();
        let items = match value {
            Value::Object(mut map) if is_list => match map.shift_remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            },
            other => vec![other],
        };
        for value in items {
            match explain_non_object(&value) {
                None => found.push(Document { line, value }),
                Some(message) => errors.push(YamlError {
                    label: label.to_owned(),
                    line,
                    column: 0,
                    message,
                }),
            }
        }
    }
    if errors.is_empty() {
        Ok(found)
    } else {
        Err(errors)
    }
}

/// Explains why a value is not a Kubernetes object; `None` if it is one.
fn explain_non_object(value: &Value) -> Option<String> {
    let Some(map) = value.as_object() else {
        return Some(format!(
            "a Kubernetes object is a map, this document is {}",
            describe_kind(value)
        ));
    };
    let text = |v: Option<&Value>| v.and_then(Value::as_str).is_some_and(|s| !s.is_empty());
    let meta = map.get("metadata");
    let missing: Vec<&str> = [
        ("apiVersion", text(map.get("apiVersion"))),
        ("kind", text(map.get("kind"))),
        (
            "metadata.name",
            text(meta.and_then(|m| m.get("name")))
                || text(meta.and_then(|m| m.get("generateName"))),
        ),
    ]
    .into_iter()
    .filter(|(_, there)| !there)
    .map(|(name, _)| name)
    .collect();
    if missing.is_empty() {
        return None;
    }
    let which = match (
        map.get("kind").and_then(Value::as_str),
        meta.and_then(|m| m["name"].as_str()),
    ) {
        (Some(kind), Some(name)) => format!("{kind} {name}"),
        (Some(kind), None) => kind.to_owned(),
        (None, Some(name)) => format!("the object {name}"),
        (None, None) => "this document".to_owned(),
    };
    Some(format!(
        "{which} has no {} (a non-empty text)",
        missing.join(", no ")
    ))
}

fn describe_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Reads consecutive JSON documents; `None` when the text is not JSON. It is then read as YAML,
/// whose errors have positions.
fn read_json_documents(text: &str) -> Option<Vec<Document>> {
    let mut out = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let at = stream.byte_offset();
        let value = match stream.next() {
            Some(value) => value.ok()?,
            None => return Some(out),
        };
        let start = at + text[at..].len() - text[at..].trim_start().len();
        if !value.is_null() {
            out.push(Document {
                line: text[..start].matches('\n').count() + 1,
                value,
            });
        }
    }
}

/// Splits a text at `---` and `...` lines; each piece has the number of its first line. By YAML's
/// rules, `---` at the start of a line ends a document even inside a block scalar.
fn split_documents(text: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    let (mut start, mut first) = (0, 1);
    let mut at = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let marker = line.trim_end();
        let cuts = matches!(marker, "---" | "...")
            || marker.starts_with("--- ")
            || marker.starts_with("---\t");
        if cuts {
            out.push((first, &text[start..at]));
            // Content after the dashes is on the same line and belongs to the next document.
            (start, first) = if marker.len() > 3 {
                (at + 3, i + 1)
            } else {
                (at + line.len(), i + 2)
            };
        }
        at += line.len();
    }
    out.push((first, &text[start..]));
    // A piece with only directives (`%YAML 1.2`) and comments is not a document.
    out.retain(|(_, piece)| {
        piece.lines().any(|l| {
            !matches!(
                l.trim_start_matches([' ', '\t', '\r']).chars().next(),
                None | Some('#' | '%')
            )
        })
    });
    out
}

/// Counts the lines before the first one with content.
fn count_leading_lines(piece: &str) -> usize {
    piece
        .lines()
        .take_while(|l| {
            matches!(
                l.trim_start_matches([' ', '\t', '\r']).chars().next(),
                None | Some('#')
            )
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn lines(text: &str) -> Vec<(usize, Value)> {
        read_documents("f.yaml", text)
            .unwrap()
            .into_iter()
            .map(|d| (d.line, d.value))
            .collect()
    }

    #[test]
    fn documents_know_their_lines() {
        let text =
            "# first\n\na: 1\n---\n---\n# only a comment\n---\nb: 2\n--- {c: 3}\n...\nd: 4\n";
        assert_eq!(
            lines(text),
            [
                (3, json!({"a": 1})),
                (8, json!({"b": 2})),
                (9, json!({"c": 3})),
                (11, json!({"d": 4}))
            ]
        );
    }

    #[test]
    fn values_read_as_kubectl_reads_them() {
        assert_eq!(
            lines(
                "mode: 0644\n\"on\": 'on'\nis: on\nno: yes\ntext: \"012\"\nsize: 1.5\nlast: |\n  a\n  ---\n"
            ),
            [(
                1,
                json!({"mode": 420, "on": "on", "is": true, "false": true, "text": "012", "size": 1.5, "last": "a\n---\n"})
            )]
        );
        assert_eq!(lines("%YAML 1.2\n---\na: 1\n"), [(3, json!({"a": 1}))]);
        assert_eq!(lines(""), []);
        assert_eq!(lines("---\n"), []);
    }

    #[test]
    fn json_documents_follow_each_other() {
        assert_eq!(
            lines("{\"a\":\t1}\n\n{\"b\": [2]}"),
            [(1, json!({"a": 1})), (3, json!({"b": [2]}))]
        );
        assert_eq!(
            lines("{a: 1}"),
            [(1, json!({"a": 1}))],
            "YAML's flow form is no JSON"
        );
    }

    #[test]
    fn all_errors_come_at_once_with_their_place() {
        let errors = read_documents(
            "f.yaml",
            "a: 1\na: 2\n---\nb: 1\n---\nc: [1\nd: 2\n---\n- e\nf: 1\n",
        )
        .unwrap_err();
        let places: Vec<(usize, String)> = errors.iter().map(|e| (e.line, e.to_string())).collect();
        assert_eq!(errors.len(), 3, "{places:#?}");
        assert_eq!(errors[0].line, 2);
        assert!(
            errors[0].to_string().starts_with("f.yaml:2:1: duplicate"),
            "{}",
            errors[0]
        );
        assert!((6..=8).contains(&errors[1].line), "{}", errors[1]);
        assert_eq!(errors[2].line, 10, "{}", errors[2]);
        assert!(
            errors.iter().all(|e| !e.message.contains("line ")),
            "{places:#?}"
        );
    }

    #[test]
    fn objects_have_identity_and_lists_are_taken_apart() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
            - {apiVersion: v1, kind: Pod, metadata: {name: b}}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: c}\n";
        let names: Vec<String> = read_objects("f", text)
            .unwrap()
            .iter()
            .map(|d| d.value["metadata"]["name"].to_string())
            .collect();
        assert_eq!(names, ["\"a\"", "\"b\"", "\"c\""]);
        let errors = read_objects(
            "f",
            "kind: Pod\nmetadata: {name: a}\n---\njust text\n---\napiVersion: v1\nkind: Pod\n",
        );
        let errors: Vec<String> = errors
            .unwrap_err()
            .iter()
            .map(YamlError::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "f:1: Pod a has no apiVersion (a non-empty text)",
                "f:4: a Kubernetes object is a map, this document is a text",
                "f:6: Pod has no metadata.name (a non-empty text)",
            ]
        );
    }

    /// Makes all numbers floats, so that they compare by value.
    fn normal(value: &Value) -> Value {
        match value {
            Value::Number(n) => n.as_f64().map_or(Value::Null, |f| Value::from(f + 0.0)),
            Value::Array(items) => items.iter().map(normal).collect(),
            Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), normal(v))).collect(),
            other => other.clone(),
        }
    }

    /// `kubectl.json` holds what `sigs.k8s.io/yaml` reads from each text: every form of a plain
    /// scalar, as a value and as a key, tags, merges, aliases and block scalars; null for an error
    /// or an empty value.
    #[test]
    fn every_scalar_is_what_kubectl_takes_it_for() {
        let rows: Vec<(String, Value)> =
            serde_json::from_str(include_str!("kubectl.json")).unwrap();
        assert!(rows.len() > 500);
        for (text, wanted) in rows {
            let ours = read_documents("f", &text).map_or(Value::Null, |all| {
                all.into_iter().next().map_or(Value::Null, |d| d.value)
            });
            assert_eq!(normal(&ours), normal(&wanted), "{text:?}");
        }
    }

    #[test]
    fn a_digest_that_looks_like_a_number_is_text() {
        let read = |text: &str| read_documents("f", text).unwrap()[0].value.clone();
        assert_eq!(
            read("a: 123e4567\nb: 12e3\nc: 1e3\nd: 3.0"),
            json!({"a": "123e4567", "b": 12000, "c": 1000, "d": 3})
        );
        assert!(
            read_documents("f", "a: .inf").unwrap_err()[0]
                .message
                .contains("JSON has no number")
        );
    }

    #[test]
    fn duplicate_keys_and_what_goes_on_without_end_are_refused() {
        for (text, says) in [
            ("a: {b: 1, b: 2}", "f:1:11: duplicate key \"b\""),
            ("1: a\n\"1\": b", "f:2:1: duplicate key \"1\""),
            (
                "a: &a [*a]",
                "f:1:8: this alias stands within what it names",
            ),
        ] {
            assert_eq!(read_documents("f", text).unwrap_err()[0].to_string(), says);
        }
        let bomb: String = (1..9)
            .map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{}, ", n - 1).repeat(10)))
            .collect();
        let errors = read_documents("f", &format!("a0: &a0 x\n{bomb}")).unwrap_err();
        assert!(
            errors[0].message.contains("holds more than"),
            "{}",
            errors[0]
        );
        let deep = "[".repeat(5000);
        assert!(read_documents("f", &deep).unwrap_err()[0].line == 1);
    }

    /// `written.json` holds what `sigs.k8s.io/yaml` writes for each value.
    #[test]
    fn values_are_written_as_kubectl_writes_them() {
        let rows: Vec<(Value, String)> =
            serde_json::from_str(include_str!("written.json")).unwrap();
        assert!(rows.len() > 300);
        for (value, wanted) in rows {
            assert_eq!(to_yaml(&value), wanted, "{value}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = || prop_oneof![any::<String>(), "[-a:# \n'\"?0-9.eE~|>\\[\\]{}\t]{0,8}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text(), inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_value()) {
            let written = to_yaml(&value);
            let read = super::read::read_document(&written);
            let (read, doubled) = read.map_err(|e| TestCaseError::fail(format!("{written:?}: {}", e.message)))?;
            prop_assert_eq!(normal(&read), normal(&value), "{:?}", written);
            prop_assert_eq!(doubled, []);
        }

        #[test]
        fn any_text_gives_documents_or_places(text in "([a-c]: [0-9]|---|\\.\\.\\.|\\{|\\}|\"|- |\\||%|&a|\\*a|\t|#|\n|\n  ){0,30}") {
            let lines = text.matches('\n').count() + 2;
            match read_documents("f", &text) {
                Ok(all) => prop_assert!(all.iter().all(|d| (1..=lines).contains(&d.line))),
                Err(all) => prop_assert!(!all.is_empty() && all.iter().all(|e| (1..=lines).contains(&e.line))),
            }
        }

        #[test]
        fn written_objects_read_back(names in prop::collection::vec("[a-z]{1,5}", 0..4)) {
            let objects: Vec<Value> = names.iter().map(|n| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": n}})).collect();
            let yaml: Vec<String> = objects.iter().map(|o| serde_saphyr::to_string(o).unwrap()).collect();
            let read = super::read_objects("f", &yaml.join("---\n")).unwrap();
            prop_assert_eq!(read.into_iter().map(|d| d.value).collect::<Vec<_>>(), objects);
        }
    }
}
