//! Template values with the types that Go would give them: values from JSON and YAML, and results
//! of functions. A list or map knows its size and depth, so that values built in a loop cannot
//! exhaust the stack or the memory.

use serde_json::{Map, Number, Value as Json};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Limit on nested lists and maps.
const MAX_DEPTH: u32 = 150;
/// Limit on the values in a list or map, including nested ones.
const MAX_SIZE: usize = 1_000_000;

/// A list or map is larger or deeper than any manifest needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueLimit {
    #[error("lists and maps nest in a depth of more than {MAX_DEPTH}")]
    Depth,
    #[error("that list or map would hold more than {MAX_SIZE} values")]
    Size,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Nil,
    /// Result of a problem that is already recorded. Anything computed from it is unknown too,
    /// without another problem.
    Unknown,
    Bool(bool),
    /// Go's `int`: literals, and the integers of an environment's values.
    Int(i64),
    /// Go's `int64`: results of Sprig's arithmetic.
    Int64(i64),
    /// Go's `uint8`: a byte of a text, from `index`.
    Byte(u8),
    /// Go's `uint64`: integers above `i64::MAX`.
    Uint(u64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<List>),
    Map(Rc<Dict>),
}

/// Go's element type of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListType {
    Any,
    Texts,
    Ints,
}

#[derive(Debug)]
pub(super) struct List {
    pub kind: ListType,
    pub items: Vec<Value>,
    depth: u32,
    size: usize,
}

#[derive(Debug)]
pub(super) struct Dict {
    pub entries: BTreeMap<Rc<str>, Value>,
    depth: u32,
    size: usize,
}

impl Value {
    pub fn from_text(text: impl AsRef<str>) -> Value {
        Value::Text(text.as_ref().into())
    }

    pub fn from_list(items: Vec<Value>) -> Result<Value, ValueLimit> {
        Value::from_typed_list(ListType::Any, items)
    }

    pub fn from_typed_list(kind: ListType, items: Vec<Value>) -> Result<Value, ValueLimit> {
        let (depth, size) = measure_items(items.iter())?;
        Ok(Value::List(Rc::new(List {
            kind,
            items,
            depth,
            size,
        })))
    }

    pub fn from_map(entries: BTreeMap<Rc<str>, Value>) -> Result<Value, ValueLimit> {
        let (depth, size) = measure_items(entries.values())?;
        Ok(Value::Map(Rc::new(Dict {
            entries,
            depth,
            size,
        })))
    }

    /// Cost of walking the value once: the values in it, where 16 bytes of text count as one.
    pub fn size(&self) -> usize {
        match self {
            Value::Text(text) => text.len() / 16,
            Value::List(list) => list.size,
            Value::Map(map) => map.size,
            _ => 0,
        }
    }

    fn depth(&self) -> u32 {
        match self {
            Value::List(list) => list.depth,
            Value::Map(map) => map.depth,
            _ => 0,
        }
    }

    /// Go's truth for `if`: nil, zero and empty values are false.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil | Value::Unknown => false,
            Value::Bool(b) => *b,
            Value::Int(i) | Value::Int64(i) => *i != 0,
            Value::Byte(b) => *b != 0,
            Value::Uint(u) => *u != 0,
            Value::Float(f) => *f != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) => !list.items.is_empty(),
            Value::Map(map) => !map.entries.is_empty(),
        }
    }

    pub fn is_unknown(&self) -> bool {
        matches!(self, Value::Unknown)
    }

    /// The value as `i64`, if it is an integer that fits.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(i) | Value::Int64(i) => Some(*i),
            Value::Byte(b) => Some(i64::from(*b)),
            Value::Uint(u) => i64::try_from(*u).ok(),
            _ => None,
        }
    }

    /// Name of the type as printed by Go's `%T`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil | Value::Unknown => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Int64(_) => "int64",
            Value::Byte(_) => "uint8",
            Value::Uint(_) => "uint64",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::List(list) => match list.kind {
                ListType::Any => "[]interface {}",
                ListType::Texts => "[]string",
                ListType::Ints => "[]int",
            },
            Value::Map(_) => "map[string]interface {}",
        }
    }

    /// The type with its article, for error messages.
    pub fn describe_type(&self) -> &'static str {
        match self {
            Value::Nil | Value::Unknown => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Int64(_) | Value::Byte(_) | Value::Uint(_) | Value::Float(_) => {
                "a number"
            }
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    pub fn from_json(value: &Json) -> Result<Value, ValueLimit> {
        Ok(match value {
            Json::Null => Value::Nil,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Value::Int(i),
                (_, Some(u)) => Value::Uint(u),
                _ => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => Value::from_text(s),
            Json::Array(items) => Value::from_list(
                items
                    .iter()
                    .map(Value::from_json)
                    .collect::<Result<_, _>>()?,
            )?,
            Json::Object(map) => {
                let entry =
                    |(k, v): (&String, &Json)| Ok((k.as_str().into(), Value::from_json(v)?));
                Value::from_map(map.iter().map(entry).collect::<Result<_, ValueLimit>>()?)?
            }
        })
    }

    pub fn to_json(&self) -> Json {
        match self {
            Value::Nil | Value::Unknown => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) | Value::Int64(i) => Json::from(*i),
            Value::Byte(b) => Json::from(*b),
            Value::Uint(u) => Json::from(*u),
            Value::Float(f) => Number::from_f64(*f).map_or(Json::Null, Json::Number),
            Value::Text(text) => Json::from(&**text),
            Value::List(list) => list.items.iter().map(Value::to_json).collect(),
            Value::Map(map) => Json::Object(
                map.entries
                    .iter()
                    .map(|(k, v)| (k.to_string(), v.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

/// Deep equality; integers of different types are equal when their values are.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Nil, Value::Nil) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::List(a), Value::List(b)) => a.items == b.items,
            (Value::Map(a), Value::Map(b)) => a.entries == b.entries,
            (Value::Uint(a), Value::Uint(b)) => a == b,
            (a, b) => a.as_int().is_some_and(|a| b.as_int() == Some(a)),
        }
    }
}

fn measure_items<'a>(items: impl Iterator<Item = &'a Value>) -> Result<(u32, usize), ValueLimit> {
    let (mut depth, mut size) = (0, 0usize);
    for item in items {
        depth = depth.max(item.depth());
        size = size.saturating_add(1 + item.size());
    }
    if depth >= MAX_DEPTH {
        return Err(ValueLimit::Depth);
    }
    if size > MAX_SIZE {
        return Err(ValueLimit::Size);
    }
    Ok((depth + 1, size))
}
