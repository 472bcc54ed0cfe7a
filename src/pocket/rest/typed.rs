//! Decodes built-in objects from JSON as Go decodes them into its types, and puts them into the
//! form in which Go encodes them: the same fields in the same order, the same error texts.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::quantity::Quantity;
use super::tree::Tree;
use super::types::{self, Field, Kind, Many};
use super::{meta, typed_time};

/// What does not fit its type, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) field: String,
    pub(super) words: String,
}

/// An object, and the findings of strict validation in its text.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    pub(super) object: Value,
    /// (`unknown field` or `duplicate field`, path)
    pub(super) strict: Vec<(&'static str, String)>,
}

/// Kubernetes collects no more findings than this.
const MOST_STRICT: usize = 100;

pub(super) fn read(message: &'static str, tree: Tree) -> Result<Read, Mistake> {
    let mut reader = Reader::default();
    let mut object = Map::new();
    let Tree::Object(fields) = tree else {
        let words = format!(
            "json: cannot unmarshal {} into Go value of type v1.{}",
            tree.kind(),
            go_name(message)
        );
        return Err(Mistake {
            field: String::new(),
            words,
        });
    };
    let (mut own, mut rest) = (Map::new(), Vec::new());
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("kind" | "apiVersion", Tree::Text(text)) => {
                if own.insert(key.clone(), text.into()).is_some() {
                    reader.strict("duplicate field", &key);
                }
            }
            (_, value) => rest.push((key, value)),
        }
    }
    reader.fields(message, rest, &mut object)?;
    if let Some(mistake) = reader.saved {
        return Err(mistake);
    }
    for field in ["apiVersion", "kind"] {
        if let Some(value) = own.shift_remove(field) {
            object.insert(field.into(), value);
        }
    }
    let mut object = Value::Object(object);
    // Empty maps stay for now, because refusals show them; they are omitted when the object is
    // written.
    arrange_with(message, &mut object, true);
    Ok(Read {
        object,
        strict: reader.found,
    })
}

/// `PodSpec` of `core/v1.PodSpec`.
fn go_name(message: &str) -> &str {
    message.rsplit('.').next().unwrap_or_default()
}

#[derive(Default)]
struct Reader {
    /// Path with list indices, for people.
    path: String,
    /// The innermost Go struct and the names of the fields down to here, for Go's error texts.
    within: &'static str,
    names: Vec<String>,
    saved: Option<Mistake>,
    found: Vec<(&'static str, String)>,
}

impl Reader {
    fn strict(&mut self, what: &'static str, key: &str) {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        let found = (what, path);
        if self.found.len() < MOST_STRICT && !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    /// Only the first mistake is reported, after everything is read.
    fn save(&mut self, words: String) {
        if self.saved.is_none() {
            self.saved = Some(Mistake {
                field: self.path.clone(),
                words,
            });
        }
    }

    /// A mistake that ends reading.
    fn stop(&self, words: impl Into<String>) -> Mistake {
        Mistake {
            field: self.path.clone(),
            words: words.into(),
        }
    }

    fn mistyped(&mut self, value: &str, kind: &str) {
        let words = self.misfit(value, kind);
        self.save(words);
    }

    fn misfit(&self, value: &str, kind: &str) -> String {
        let place = match self.names.as_slice() {
            [] => format!("Go value of type {kind}"),
            names => format!(
                "Go struct field {}.{} of type {kind}",
                self.within,
                names.join(".")
            ),
        };
        format!("json: cannot unmarshal {value} into {place}")
    }

    fn fields(
        &mut self,
        message: &'static str,
        fields: Vec<(String, Tree)>,
        out: &mut Map<String, Value>,
    ) -> Result<(), Mistake> {
        let mut seen: Vec<&'static str> = Vec::new();
        for (key, value) in fields {
            let Some((field, through)) = find(message, &key) else {
                self.strict("unknown field", &key);
                continue;
            };
            if seen.contains(&field.name) {
                self.strict("duplicate field", &key);
            }
            seen.push(field.name);
            let (length, depth, within) = (self.path.len(), self.names.len(), self.within);
            self.step(&key);
            self.within = go_name(message);
            self.names.extend(through);
            self.names.push(key);
            self.field(field, value, out)?;
            self.path.truncate(length);
            self.names.truncate(depth);
            self.within = within;
        }
        Ok(())
    }

    fn step(&mut self, key: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
    }

    fn field(
        &mut self,
        field: &'static Field,
        tree: Tree,
        out: &mut Map<String, Value>,
    ) -> Result<(), Mistake> {
        let length = self.path.len();
        match (field.many, tree) {
            (many, Tree::Null) => {
                // A field that is not a pointer stays as it was.
                if field.set || many != Many::One {
                    out.shift_remove(field.name);
                } else if field.kind == Kind::Quantity {
                    out.insert(field.name.into(), "0".into());
                }
            }
            (Many::One, tree) => {
                let before = out.shift_remove(field.name);
                if let Some(value) = self.value(field.kind, tree, before)? {
                    out.insert(field.name.into(), value);
                }
            }
            (Many::List, Tree::List(items)) => {
                let mut list = Vec::with_capacity(items.len());
                for (at, item) in items.into_iter().enumerate() {
                    self.path.push_str(&format!("[{at}]"));
                    list.push(
                        self.value(field.kind, item, None)?
                            .unwrap_or_else(|| zero(field.kind)),
                    );
                    self.path.truncate(length);
                }
                out.insert(field.name.into(), list.into());
            }
            (Many::Map, Tree::Object(entries)) => {
                let mut map = match out.shift_remove(field.name) {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                let mut seen: Vec<String> = Vec::new();
                for (key, item) in entries {
                    if seen.contains(&key) {
                        self.strict("duplicate field", &key);
                    }
                    self.step(&key);
                    let item = self
                        .value(field.kind, item, None)?
                        .unwrap_or_else(|| zero(field.kind));
                    self.path.truncate(length);
                    map.insert(key.clone(), item);
                    seen.push(key);
                }
                out.insert(field.name.into(), map.into());
            }
            (many, other) => {
                let item = go_type(field.kind);
                let kind = match (many, field.kind) {
                    (Many::List, _) => format!("[]{item}"),
                    (_, Kind::Quantity) => "v1.ResourceList".into(),
                    _ => format!("map[string]{item}"),
                };
                self.mistyped(other.kind(), &kind);
            }
        }
        Ok(())
    }

    /// Returns `None` where no value is given, or a mistake was noted.
    fn value(
        &mut self,
        kind: Kind,
        tree: Tree,
        before: Option<Value>,
    ) -> Result<Option<Value>, Mistake> {
        Ok(Some(match (kind, tree) {
            (Kind::Quantity, Tree::Null) => "0".into(),
            (_, Tree::Null) => return Ok(before),
            (Kind::Text(_), Tree::Text(text)) => text.into(),
            (Kind::Bool, Tree::Bool(truth)) => truth.into(),
            (Kind::Int32 | Kind::Int64, Tree::Number(number)) => match number.as_i64() {
                Some(n) if kind == Kind::Int64 || i32::try_from(n).is_ok() => n.into(),
                _ => {
                    self.mistyped(&format!("number {number}"), &go_type(kind));
                    return Ok(None);
                }
            },
            (Kind::Bytes, Tree::Text(text)) => match decode_base64(&text) {
                Ok(bytes) => encode_base64(&bytes).into(),
                Err(at) => {
                    self.save(format!("illegal base64 data at input byte {at}"));
                    return Ok(None);
                }
            },
            (Kind::Quantity, tree) => {
                let text = match &tree {
                    Tree::Text(text) => text.trim().to_owned(),
                    Tree::Number(number) => number.to_string(),
                    _ => "?".into(),
                };
                Quantity::parse(&text)
                    .map_err(|words| self.stop(words))?
                    .to_string()
                    .into()
            }
            (Kind::Time | Kind::MicroTime, Tree::Text(text)) => {
                let micro = kind == Kind::MicroTime;
                typed_time::parse(&text, micro)
                    .map(|time| stamp(time, micro))
                    .map_err(|words| self.stop(words))?
            }
            (Kind::Time | Kind::MicroTime, other) => {
                return Err(self.stop(self.misfit(other.kind(), "string")));
            }
            (Kind::IntOrString, Tree::Text(text)) => text.into(),
            (Kind::IntOrString, Tree::Number(number)) => match number.as_i64() {
                Some(n) if i32::try_from(n).is_ok() => n.into(),
                _ => {
                    return Err(self.stop(self.misfit(&format!("number {number}"), "int32")));
                }
            },
            (Kind::IntOrString, other) => {
                return Err(self.stop(self.misfit(other.kind(), "int32")));
            }
            (Kind::Json, tree) => tree.value(),
            (Kind::List, Tree::List(items)) => {
                let mut list = Vec::new();
                for item in items {
                    list.push(
                        self.value(Kind::Text("string"), item, None)?
                            .unwrap_or_else(|| "".into()),
                    );
                }
                list.into()
            }
            (Kind::Message(message), Tree::Object(fields)) => {
                let mut object = match before {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                self.fields(message, fields, &mut object)?;
                object.into()
            }
            (_, other) => {
                self.mistyped(other.kind(), &go_type(kind));
                return Ok(None);
            }
        }))
    }
}

/// Finds a field by its JSON name, with the Go names of the structs in between.
fn find(message: &'static str, name: &str) -> Option<(&'static Field, Vec<String>)> {
    let fields = types::fields(message)?;
    if let Some(field) = fields.iter().find(|f| !f.inline && f.name == name) {
        return Some((field, Vec::new()));
    }
    fields.iter().filter(|f| f.inline).find_map(|field| {
        let Kind::Message(inner) = field.kind else {
            return None;
        };
        let (found, mut through) = find(inner, name)?;
        let (first, rest) = field.name.split_at(1);
        through.insert(0, first.to_ascii_uppercase() + rest);
        Some((found, through))
    })
}

fn go_type(kind: Kind) -> String {
    match kind {
        Kind::Text(name) => name.into(),
        Kind::Bytes => "[]uint8".into(),
        Kind::Int32 => "int32".into(),
        Kind::Int64 => "int64".into(),
        Kind::Bool => "bool".into(),
        Kind::Time => "v1.Time".into(),
        Kind::MicroTime => "v1.MicroTime".into(),
        Kind::Quantity => "resource.Quantity".into(),
        Kind::IntOrString => "intstr.IntOrString".into(),
        Kind::Json => "runtime.RawExtension".into(),
        Kind::List => "v1.ExtraValue".into(),
        Kind::Message(message) => format!("v1.{}", go_name(message)),
    }
}

fn zero(kind: Kind) -> Value {
    match kind {
        Kind::Text(_) | Kind::Bytes => "".into(),
        Kind::Int32 | Kind::Int64 | Kind::IntOrString => 0.into(),
        Kind::Bool => false.into(),
        Kind::Time | Kind::MicroTime | Kind::Json => Value::Null,
        Kind::Quantity => "0".into(),
        Kind::List => Value::Array(Vec::new()),
        Kind::Message(_) => Value::Object(Map::new()),
    }
}

fn stamp(time: Timestamp, micro: bool) -> Value {
    if micro {
        meta::stamp_micro(time).into()
    } else {
        meta::stamp(time).into()
    }
}

/// The bytes, or the position of the first byte that is not base64. Line breaks are ignored.
fn decode_base64(text: &str) -> Result<Vec<u8>, usize> {
    use base64::Engine as _;
    let bare: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    base64::engine::general_purpose::STANDARD
        .decode(&bare)
        .map_err(|error| match error {
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                bare.len() / 4 * 4
            }
        })
}

fn encode_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Puts an object into the form in which Go encodes it: in its order, without zero values, and with
/// every struct that is not a pointer.
pub(super) fn arrange(message: &str, object: &mut Value) {
    arrange_with(message, object, false);
}

fn arrange_with(message: &str, object: &mut Value, empty_maps: bool) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    let mut out = Map::with_capacity(map.len());
    for field in ["kind", "apiVersion"] {
        if let Some(value) = map.shift_remove(field) {
            out.insert(field.into(), value);
        }
    }
    arrange_fields(message, map, &mut out, empty_maps);
    *map = out;
}

fn arrange_fields(
    message: &str,
    map: &mut Map<String, Value>,
    out: &mut Map<String, Value>,
    empty_maps: bool,
) {
    for field in types::fields(message).into_iter().flatten() {
        if let (true, Kind::Message(inner)) = (field.inline, field.kind) {
            arrange_fields(inner, map, out, empty_maps);
            continue;
        }
        let value = map.swap_remove(field.name).filter(|v| !v.is_null());
        let value = match (field.many, value) {
            (Many::List, Some(Value::Array(mut list))) => {
                for item in &mut list {
                    arrange_item(field.kind, item, empty_maps);
                }
                (field.keep || !list.is_empty()).then(|| list.into())
            }
            (Many::Map, Some(Value::Object(mut items))) => {
                for item in items.values_mut() {
                    arrange_item(field.kind, item, empty_maps);
                }
                (field.keep || empty_maps || !items.is_empty()).then(|| items.into())
            }
            (Many::One, Some(mut value)) => {
                arrange_item(field.kind, &mut value, empty_maps);
                let told = field.set || field.keep || !is_zero(&value, field);
                told.then_some(value)
            }
            (Many::One, None) if !field.set => absent(field),
            (_, _) => field.keep.then_some(Value::Null),
        };
        if let Some(value) = value {
            out.insert(field.name.into(), value);
        }
    }
}

fn arrange_item(kind: Kind, value: &mut Value, empty_maps: bool) {
    if let Kind::Message(message) = kind
        && let Some(map) = value.as_object_mut()
    {
        let mut out = Map::with_capacity(map.len());
        arrange_fields(message, map, &mut out, empty_maps);
        *map = out;
    }
}

/// Whether Go omits the value under `omitempty`; for a struct, only if its `omit` is set too.
fn is_zero(value: &Value, field: &Field) -> bool {
    match field.kind {
        Kind::Message(_) => field.omit && value.as_object().is_some_and(Map::is_empty),
        Kind::Quantity | Kind::IntOrString => false,
        _ => match value {
            Value::Null => true,
            Value::Bool(truth) => !truth,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(_) => false,
        },
    }
}

/// What is written for a field that is not set and is not a pointer.
fn absent(field: &Field) -> Option<Value> {
    match field.kind {
        Kind::Message(message) => {
            let mut value = Value::Object(Map::new());
            arrange_item(Kind::Message(message), &mut value, false);
            (!is_zero(&value, field)).then_some(value)
        }
        Kind::Time | Kind::MicroTime | Kind::Json => (!field.omit).then_some(Value::Null),
        Kind::Quantity | Kind::IntOrString => Some(zero(field.kind)),
        kind => field.keep.then(|| zero(kind)),
    }
}

#[cfg(test)]
mod tests;
