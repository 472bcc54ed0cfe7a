//! Manifests as files hold them: several YAML or JSON documents, each with the line it starts on, all errors at once.
//!
//! Values are read as kubectl reads them (YAML 1.1 booleans, `0644` is octal), duplicate keys are refused.

use serde_json::Value;
use std::fmt;

/// A document, and the line (from 1) where its content starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub line: usize,
    pub value: Value,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// The file as the user named it.
    pub label: String,
    /// From 1.
    pub line: usize,
    /// From 1; 0 when the whole document is meant.
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

/// Every document of a YAML or JSON text that is not empty.
pub fn documents(label: &str, text: &str) -> Result<Vec<Document>, Vec<YamlError>> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.trim_start().starts_with('{')
        && let Some(documents) = json(text)
    {
        return Ok(documents);
    }
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for (first, piece) in pieces(text) {
        match parse(piece) {
            Ok(Value::Null) => {}
            Ok(value) => found.push(Document { line: first + leading(piece), value }),
            Err((line, column, message)) => {
                errors.push(YamlError { label: label.to_owned(), line: first + line - 1, column, message });
            }
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Every Kubernetes object of a text: [`documents`] with `List`s taken apart, each with apiVersion, kind and a name.
pub fn objects(label: &str, text: &str) -> Result<Vec<Document>, Vec<YamlError>> {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for document in documents(label, text)? {
        let Document { line, value } = document;
        let is_list = value["kind"].as_str().is_some_and(|k| k.ends_with("List")) && value["items"].is_array();
        let items = match value {
            Value::Object(mut map) if is_list => match map.shift_remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            },
            other => vec![other],
        };
        for value in items {
            match problem(&value) {
                None => found.push(Document { line, value }),
                Some(message) => errors.push(YamlError { label: label.to_owned(), line, column: 0, message }),
            }
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Why a value is no Kubernetes object.
pub(super) fn problem(value: &Value) -> Option<String> {
    let Some(map) = value.as_object() else {
        return Some(format!("a Kubernetes object is a map, this document is {}", kind_of(value)));
    };
    let text = |v: Option<&Value>| v.and_then(Value::as_str).is_some_and(|s| !s.is_empty());
    let meta = map.get("metadata");
    let missing: Vec<&str> = [
        ("apiVersion", text(map.get("apiVersion"))),
        ("kind", text(map.get("kind"))),
        ("metadata.name", text(meta.and_then(|m| m.get("name"))) || text(meta.and_then(|m| m.get("generateName")))),
    ]
    .into_iter()
    .filter(|(_, there)| !there)
    .map(|(name, _)| name)
    .collect();
    if missing.is_empty() {
        return None;
    }
    let which = match (map.get("kind").and_then(Value::as_str), meta.and_then(|m| m["name"].as_str())) {
        (Some(kind), Some(name)) => format!("{kind} {name}"),
        (Some(kind), None) => kind.to_owned(),
        (None, Some(name)) => format!("the object {name}"),
        (None, None) => "this document".to_owned(),
    };
    Some(format!("{which} has no {} (a non-empty text)", missing.join(", no ")))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// JSON documents one after the other; `None` when it is not JSON (then YAML, whose errors say where).
fn json(text: &str) -> Option<Vec<Document>> {
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
            out.push(Document { line: text[..start].matches('\n').count() + 1, value });
        }
    }
}

/// The texts between `---` and `...` lines, each with the number of its first line. A `---` at the start of a line ends a
/// document even inside a block scalar, by YAML's own rule.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    let (mut start, mut first) = (0, 1);
    let mut at = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let marker = line.trim_end();
        let cuts = matches!(marker, "---" | "...") || marker.starts_with("--- ") || marker.starts_with("---\t");
        if cuts {
            out.push((first, &text[start..at]));
            // What stands behind the dashes belongs to the next document: same line.
            (start, first) = if marker.len() > 3 { (at + 3, i + 1) } else { (at + line.len(), i + 2) };
        }
        at += line.len();
    }
    out.push((first, &text[start..]));
    // A piece of directives (`%YAML 1.2`) and comments only is no document.
    out.retain(|(_, piece)| piece.lines().any(|l| !matches!(l.trim_start().chars().next(), None | Some('#' | '%'))));
    out
}

/// Lines before the first one with content.
fn leading(piece: &str) -> usize {
    piece.lines().take_while(|l| matches!(l.trim_start().chars().next(), None | Some('#'))).count()
}

fn parse(piece: &str) -> Result<Value, (usize, usize, String)> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    serde_saphyr::from_str_with_options(piece, options).map_err(|e| {
        let (line, column) = e.location().map_or((1, 0), |l| (l.line() as usize, l.column() as usize));
        let plain = e.render_with_options(serde_saphyr::render_options! {
            formatter: &serde_saphyr::UserMessageFormatter,
            snippets: serde_saphyr::SnippetMode::Off
        });
        // The place is told by us, in the lines of the whole file.
        let message = plain.split(" at line ").next().unwrap_or_default();
        let message = message.split(" (line ").next().unwrap_or_default().trim_end_matches([':', ',']);
        (line.max(1), column, message.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn lines(text: &str) -> Vec<(usize, Value)> {
        documents("f.yaml", text).unwrap().into_iter().map(|d| (d.line, d.value)).collect()
    }

    #[test]
    fn documents_know_their_lines() {
        let text = "# first\n\na: 1\n---\n---\n# only a comment\n---\nb: 2\n--- {c: 3}\n...\nd: 4\n";
        assert_eq!(
            lines(text),
            [(3, json!({"a": 1})), (8, json!({"b": 2})), (9, json!({"c": 3})), (11, json!({"d": 4}))]
        );
    }

    #[test]
    fn values_read_as_kubectl_reads_them() {
        assert_eq!(
            lines("mode: 0644\non: 'on'\nyes: on\ntext: \"012\"\nn: 1.5\nlast: |\n  a\n  ---\n"),
            [(1, json!({"mode": 420, "on": "on", "yes": true, "text": "012", "n": 1.5, "last": "a\n---\n"}))]
        );
        assert_eq!(lines("%YAML 1.2\n---\na: 1\n"), [(3, json!({"a": 1}))]);
        assert_eq!(lines(""), []);
        assert_eq!(lines("---\n"), []);
    }

    #[test]
    fn json_documents_follow_each_other() {
        assert_eq!(lines("{\"a\":\t1}\n\n{\"b\": [2]}"), [(1, json!({"a": 1})), (3, json!({"b": [2]}))]);
        assert_eq!(lines("{a: 1}"), [(1, json!({"a": 1}))], "YAML's flow form is no JSON");
    }

    #[test]
    fn all_errors_come_at_once_with_their_place() {
        let errors = documents("f.yaml", "a: 1\na: 2\n---\nb: 1\n---\nc: [1\nd: 2\n---\n- e\nf: 1\n").unwrap_err();
        let places: Vec<(usize, String)> = errors.iter().map(|e| (e.line, e.to_string())).collect();
        assert_eq!(errors.len(), 3, "{places:#?}");
        assert_eq!(errors[0].line, 2);
        assert!(errors[0].to_string().starts_with("f.yaml:2:1: duplicate"), "{}", errors[0]);
        assert!((6..=8).contains(&errors[1].line), "{}", errors[1]);
        assert_eq!(errors[2].line, 10, "{}", errors[2]);
        assert!(errors.iter().all(|e| !e.message.contains("line ")), "{places:#?}");
    }

    #[test]
    fn objects_have_identity_and_lists_are_taken_apart() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
            - {apiVersion: v1, kind: Pod, metadata: {name: b}}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: c}\n";
        let names: Vec<String> =
            objects("f", text).unwrap().iter().map(|d| d.value["metadata"]["name"].to_string()).collect();
        assert_eq!(names, ["\"a\"", "\"b\"", "\"c\""]);
        let errors = objects("f", "kind: Pod\nmetadata: {name: a}\n---\njust text\n---\napiVersion: v1\nkind: Pod\n");
        let errors: Vec<String> = errors.unwrap_err().iter().map(YamlError::to_string).collect();
        assert_eq!(
            errors,
            [
                "f:1: Pod a has no apiVersion (a non-empty text)",
                "f:4: a Kubernetes object is a map, this document is a text",
                "f:6: Pod has no metadata.name (a non-empty text)",
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_gives_documents_or_places(text in "([a-c]: [0-9]|---|\\.\\.\\.|\\{|\\}|\"|- |\\||%|&a|\\*a|\t|#|\n|\n  ){0,30}") {
            let lines = text.matches('\n').count() + 2;
            match documents("f", &text) {
                Ok(all) => prop_assert!(all.iter().all(|d| (1..=lines).contains(&d.line))),
                Err(all) => prop_assert!(!all.is_empty() && all.iter().all(|e| (1..=lines).contains(&e.line))),
            }
        }

        #[test]
        fn written_objects_read_back(names in prop::collection::vec("[a-z]{1,5}", 0..4)) {
            let objects: Vec<Value> = names.iter().map(|n| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": n}})).collect();
            let yaml: Vec<String> = objects.iter().map(|o| serde_saphyr::to_string(o).unwrap()).collect();
            let read = super::objects("f", &yaml.join("---\n")).unwrap();
            prop_assert_eq!(read.into_iter().map(|d| d.value).collect::<Vec<_>>(), objects);
        }
    }
}
