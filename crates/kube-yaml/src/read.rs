//! Converts one YAML document to the JSON that kubectl would send for it.

use super::scalar::{Scalar, choose_notation, resolve_scalar};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Limit on nested lists and maps, lower than the limit of the JSON parser.
const MAX_DEPTH: usize = 100;
/// Limit on the values in a document; values repeated by aliases count each time.
const MAX_NODES: usize = 500_000;
/// The prefix of YAML's own tags.
const CORE: &str = "tag:yaml.org,2002:";

/// An error with its position: line and column from 1.
#[derive(Debug)]
pub(super) struct ReadError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl ReadError {
    fn new(span: Span, message: impl Into<String>) -> ReadError {
        ReadError {
            line: span.start.line(),
            column: span.start.col() + 1,
            message: message.into(),
        }
    }
}

/// A document as written, including duplicate keys.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    /// A text, number, boolean or null.
    Leaf(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    key: String,
    value: Node,
    /// Line and column of the key, from 1.
    at: (usize, usize),
    /// Comes from a merge (`<<`).
    merged: bool,
}

impl Node {
    /// Number of values in the node, including itself.
    fn size(&self) -> usize {
        match self {
            Node::Leaf(_) => 1,
            Node::List(items) => items.iter().map(Node::size).sum::<usize>() + 1,
            Node::Map(entries) => entries.iter().map(|e| e.value.size()).sum::<usize>() + 1,
        }
    }

    /// Converts to JSON. The last of duplicate keys wins; every repetition is added to `twice`.
    fn into_value(self, twice: &mut Vec<DuplicateKey>) -> Value {
        match self {
            Node::Leaf(value) => value,
            Node::List(items) => items
                .into_iter()
                .map(|node| node.into_value(twice))
                .collect(),
            Node::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for Entry {
                    key,
                    value,
                    at: (line, column),
                    ..
                } in entries
                {
                    let value = value.into_value(twice);
                    if map.contains_key(&key) {
                        twice.push(DuplicateKey {
                            line,
                            column,
                            key: key.clone(),
                        });
                    }
                    map.insert(key, value);
                }
                Value::Object(map)
            }
        }
    }
}

/// A repeated key in a map, with its position: line and column from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateKey {
    pub line: usize,
    pub column: usize,
    pub key: String,
}

/// Reads a document; also returns the keys that occur twice in one map.
pub(super) fn read_document(text: &str) -> Result<(Value, Vec<DuplicateKey>), ReadError> {
    let mut twice = Vec::new();
    let value = read_root(text)?.into_value(&mut twice);
    Ok((value, twice))
}

fn read_root(text: &str) -> Result<Node, ReadError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        last: Span::default(),
        nodes: 0,
        depth: 0,
    };
    let mut found = None;
    loop {
        let (event, span) = reader.next_event()?;
        match event {
            Event::StreamEnd => return Ok(found.unwrap_or(Node::Leaf(Value::Null))),
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            _ if found.is_some() => {
                return Err(ReadError::new(
                    span,
                    "a second document begins here without `---`",
                ));
            }
            event => found = Some(reader.read_node(event, span)?),
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    last: Span,
    nodes: usize,
    depth: usize,
}

type Tagged<'a> = Option<Cow<'a, Tag>>;

impl<'t> Reader<'t> {
    fn next_event(&mut self) -> Result<(Event<'t>, Span), ReadError> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => {
                    self.last = span;
                    return Ok((event, span));
                }
                Some(Err(error)) => {
                    let (line, column) = (error.marker().line(), error.marker().col() + 1);
                    return Err(ReadError {
                        line,
                        column,
                        message: error.info(),
                    });
                }
                None => return Ok((Event::StreamEnd, self.last)),
            }
        }
    }

    fn count_nodes(&mut self, span: Span, nodes: usize) -> Result<(), ReadError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(ReadError::new(
                span,
                format!("the document holds more than {MAX_NODES} values"),
            ));
        }
        Ok(())
    }

    fn read_node(&mut self, event: Event<'t>, span: Span) -> Result<Node, ReadError> {
        self.count_nodes(span, 1)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ReadError::new(
                span,
                format!("lists and maps nest in a depth of more than {MAX_DEPTH}"),
            ));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (Node::Leaf(read_scalar(&text, style, tag, span)?), anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.read_list()?, anchor),
            Event::MappingStart(_, anchor, _) => (self.read_map()?, anchor),
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor).cloned() else {
                    return Err(ReadError::new(
                        span,
                        "this alias stands within what it names",
                    ));
                };
                self.count_nodes(span, value.size())?;
                (value, 0)
            }
            _ => return Err(ReadError::new(span, "a value is expected here")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        self.depth -= 1;
        Ok(value)
    }

    fn read_list(&mut self) -> Result<Node, ReadError> {
        let mut items = Vec::new();
        loop {
            match self.next_event()? {
                (Event::SequenceEnd, _) => return Ok(Node::List(items)),
                (event, span) => items.push(self.read_node(event, span)?),
            }
        }
    }

    fn read_map(&mut self) -> Result<Node, ReadError> {
        let mut map = Entries::default();
        loop {
            let (event, at) = self.next_event()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Node::Map(map.all));
            }
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = if merges {
                String::new()
            } else {
                self.read_key(event, at)?
            };
            let (event, span) = self.next_event()?;
            let value = self.read_node(event, span)?;
            if merges {
                map.merge_entries(value, span)?;
            } else {
                map.add_entry(Entry {
                    key,
                    value,
                    at: (at.start.line(), at.start.col() + 1),
                    merged: false,
                });
            }
        }
    }

    /// Reads a map key. JSON keys are texts, so numbers and booleans are converted to text.
    fn read_key(&mut self, event: Event<'t>, span: Span) -> Result<String, ReadError> {
        if let Event::Scalar(text, ScalarStyle::Plain, 0, None) = &event
            && let Scalar::Float(number) = resolve_scalar(text)
        {
            return Ok(float_key(number as f32));
        }
        match self.read_node(event, span)? {
            Node::Leaf(Value::String(text)) => Ok(text),
            Node::Leaf(Value::Bool(b)) => Ok(b.to_string()),
            Node::Leaf(Value::Number(number)) => Ok(number.to_string()),
            Node::Leaf(Value::Null) => Err(ReadError::new(
                span,
                "a key that is nothing; write it in quotes",
            )),
            _ => Err(ReadError::new(span, "a list or a map cannot be a key")),
        }
    }
}

/// Formats a float key with 32-bit precision, as kubectl does.
fn float_key(number: f32) -> String {
    match number {
        n if n.is_nan() => ".nan".into(),
        f32::INFINITY => ".inf".into(),
        f32::NEG_INFINITY => "-.inf".into(),
        n => choose_notation(&format!("{n:e}"), n.to_string()),
    }
}

/// The entries of a map while it is read.
#[derive(Default)]
struct Entries {
    all: Vec<Entry>,
    /// Index of the last entry for each key.
    places: HashMap<String, usize>,
}

impl Entries {
    /// Adds an entry. It replaces an entry of the same key if either of them is merged; two written
    /// entries of the same key are both kept.
    fn add_entry(&mut self, entry: Entry) {
        match self.places.get(&entry.key).map(|at| &mut self.all[*at]) {
            Some(there) if there.merged || entry.merged => {
                let merged = there.merged && entry.merged;
                *there = Entry { merged, ..entry };
            }
            _ => {
                self.places.insert(entry.key.clone(), self.all.len());
                self.all.push(entry);
            }
        }
    }

    /// Merges the keys of a map, or of a list of maps, where the first map wins.
    fn merge_entries(&mut self, node: Node, span: Span) -> Result<(), ReadError> {
        match node {
            Node::Map(entries) => {
                entries.into_iter().for_each(|entry| {
                    self.add_entry(Entry {
                        merged: true,
                        ..entry
                    });
                });
                Ok(())
            }
            Node::List(maps) if maps.iter().all(|n| matches!(n, Node::Map(_))) => maps
                .into_iter()
                .rev()
                .try_for_each(|map| self.merge_entries(map, span)),
            _ => Err(ReadError::new(span, "`<<` merges a map, or a list of maps")),
        }
    }
}

fn read_scalar(
    text: &str,
    style: ScalarStyle,
    tag: Tagged<'_>,
    span: Span,
) -> Result<Value, ReadError> {
    let tag = tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
    let wanted = tag.as_deref().and_then(|tag| tag.strip_prefix(CORE));
    let is = match (&tag, wanted) {
        (None, _) if style != ScalarStyle::Plain => Scalar::Text,
        (None, _) | (_, Some("bool" | "int" | "float" | "null" | "timestamp")) => {
            resolve_scalar(text)
        }
        (_, Some("binary")) => {
            let bytes = BASE64_STANDARD
                .decode(text.replace(['\n', '\r', ' '], ""))
                .ok();
            let inside = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            let wrong = || ReadError::new(span, "`!!binary` holds no text in base64");
            return inside.map(Value::String).ok_or_else(wrong);
        }
        _ => Scalar::Text,
    };
    let fits = match (wanted, is) {
        (Some("bool"), is) => matches!(is, Scalar::Bool(_)),
        (Some("int"), is) => matches!(is, Scalar::Int(_) | Scalar::Uint(_)),
        (Some("float"), is) => matches!(is, Scalar::Float(_) | Scalar::Int(_)),
        (Some("null"), is) => is == Scalar::Null,
        (Some("timestamp"), is) => is == Scalar::Timestamp,
        _ => true,
    };
    if !fits {
        return Err(ReadError::new(
            span,
            format!("`{text}` is no !!{}", wanted.unwrap_or_default()),
        ));
    }
    Ok(match is {
        Scalar::Null => Value::Null,
        Scalar::Bool(b) => Value::Bool(b),
        Scalar::Int(i) => Value::from(i),
        Scalar::Uint(u) => Value::from(u),
        Scalar::Float(f) => float_to_json(f)
            .ok_or_else(|| ReadError::new(span, format!("JSON has no number like {text}")))?,
        Scalar::Timestamp | Scalar::Text => Value::from(text),
    })
}

/// Converts a float to JSON; integers become integers however they are written: 1e3 becomes 1000.
fn float_to_json(number: f64) -> Option<Value> {
    if number.fract() == 0.0 && number.abs() < 9.2e18 {
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}
