//! Decodes built-in objects from JSON as Go decodes them into its types, and puts them into the
//! form in which Go encodes them: the same fields in the same order, the same error texts.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::quantity::Quantity;
use super::tree::Tree;
use super::types::{self, Cardinality, FieldKind, MessageField};
use super::{meta, typed_time};

/// What does not fit its type, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypeMismatch {
    pub(super) field: String,
    pub(super) words: String,
}

/// An object, and the findings of strict validation in its text.
#[derive(Debug, PartialEq)]
pub(super) struct TypedObject {
    pub(super) object: Value,
    /// (`unknown field` or `duplicate field`, path)
    pub(super) strict: Vec<(&'static str, String)>,
}

/// Kubernetes collects no more findings than this.
const MAX_STRICT_FINDINGS: usize = 100;

pub(super) fn read_object(message: &'static str, tree: Tree) -> Result<TypedObject, TypeMismatch> {
    let mut reader = TypedReader::default();
    let mut object = Map::new();
    let Tree::Object(fields) = tree else {
        let words = format!(
            "json: cannot unmarshal {} into Go value of type v1.{}",
            tree.json_type(),
            go_name(message)
        );
        return Err(TypeMismatch {
            field: String::new(),
            words,
        });
    };
    let (mut own, mut rest) = (Map::new(), Vec::new());
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("kind" | "apiVersion", Tree::Text(text)) => {
                if own.insert(key.clone(), text.into()).is_some() {
                    reader.add_strict_finding("duplicate field", &key);
                }
            }
            (_, value) => rest.push((key, value)),
        }
    }
    reader.read_fields(message, rest, &mut object)?;
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
    Ok(TypedObject {
        object,
        strict: reader.found,
    })
}

/// `PodSpec` of `core/v1.PodSpec`.
fn go_name(message: &str) -> &str {
    message.rsplit('.').next().unwrap_or_default()
}

#[derive(Default)]
struct TypedReader {
    /// Path with list indices, for people.
    path: String,
    /// The innermost Go struct and the names of the fields down to here, for Go's error texts.
    within: &'static str,
    names: Vec<String>,
    saved: Option<TypeMismatch>,
    found: Vec<(&'static str, String)>,
}

impl TypedReader {
    fn add_strict_finding(&mut self, what: &'static str, key: &str) {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        let found = (what, path);
        if self.found.len() < MAX_STRICT_FINDINGS && !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    /// Only the first mistake is reported, after everything is read.
    fn save_mismatch(&mut self, words: String) {
        if self.saved.is_none() {
            self.saved = Some(TypeMismatch {
                field: self.path.clone(),
                words,
            });
        }
    }

    /// A mistake that ends reading.
    fn mismatch_here(&self, words: impl Into<String>) -> TypeMismatch {
        TypeMismatch {
            field: self.path.clone(),
            words: words.into(),
        }
    }

    fn save_type_mismatch(&mut self, value: &str, kind: &str) {
        let words = self.format_type_mismatch(value, kind);
        self.save_mismatch(words);
    }

    fn format_type_mismatch(&self, value: &str, kind: &str) -> String {
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

    fn read_fields(
        &mut self,
        message: &'static str,
        fields: Vec<(String, Tree)>,
        out: &mut Map<String, Value>,
    ) -> Result<(), TypeMismatch> {
        let mut seen: Vec<&'static str> = Vec::new();
        for (key, value) in fields {
            let Some((field, through)) = find_field(message, &key) else {
                self.add_strict_finding("unknown field", &key);
                continue;
            };
            if seen.contains(&field.name) {
                self.add_strict_finding("duplicate field", &key);
            }
            seen.push(field.name);
            let (length, depth, within) = (self.path.len(), self.names.len(), self.within);
            self.push_step(&key);
            self.within = go_name(message);
            self.names.extend(through);
            self.names.push(key);
            self.read_field(field, value, out)?;
            self.path.truncate(length);
            self.names.truncate(depth);
            self.within = within;
        }
        Ok(())
    }

    fn push_step(&mut self, key: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
    }

    fn read_field(
        &mut self,
        field: &'static MessageField,
        tree: Tree,
        out: &mut Map<String, Value>,
    ) -> Result<(), TypeMismatch> {
        match (field.many, tree) {
            (many, Tree::Null) => {
                // A field that is not a pointer stays as it was.
                if field.set || many != Cardinality::One {
                    out.shift_remove(field.name);
                } else if field.kind == FieldKind::Quantity {
                    out.insert(field.name.into(), "0".into());
                }
            }
            (Cardinality::One, tree) => {
                let before = out.shift_remove(field.name);
                if let Some(value) = self.read_value(field.kind, tree, before)? {
                    out.insert(field.name.into(), value);
                }
            }
            (Cardinality::List, Tree::List(items)) => {
                let list = self.read_items(field.kind, items)?;
                out.insert(field.name.into(), list.into());
            }
            (Cardinality::Map, Tree::Object(entries)) => {
                let map = match out.shift_remove(field.name) {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                let map = self.read_entries(field.kind, entries, map)?;
                out.insert(field.name.into(), map.into());
            }
            (many, other) => {
                let item = go_type(field.kind);
                let kind = match (many, field.kind) {
                    (Cardinality::List, _) => format!("[]{item}"),
                    (_, FieldKind::Quantity) => "v1.ResourceList".into(),
                    _ => format!("map[string]{item}"),
                };
                self.save_type_mismatch(other.json_type(), &kind);
            }
        }
        Ok(())
    }

    fn read_items(
        &mut self,
        kind: FieldKind,
        items: Vec<Tree>,
    ) -> Result<Vec<Value>, TypeMismatch> {
        let length = self.path.len();
        let mut list = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            self.path.push_str(&format!("[{at}]"));
            list.push(
                self.read_value(kind, item, None)?
                    .unwrap_or_else(|| zero_value(kind)),
            );
            self.path.truncate(length);
        }
        Ok(list)
    }

    /// Reads the entries of a map over those that it has.
    fn read_entries(
        &mut self,
        kind: FieldKind,
        entries: Vec<(String, Tree)>,
        mut map: Map<String, Value>,
    ) -> Result<Map<String, Value>, TypeMismatch> {
        let length = self.path.len();
        let mut seen: Vec<String> = Vec::new();
        for (key, item) in entries {
            if seen.contains(&key) {
                self.add_strict_finding("duplicate field", &key);
            }
            self.push_step(&key);
            let item = self
                .read_value(kind, item, None)?
                .unwrap_or_else(|| zero_value(kind));
            self.path.truncate(length);
            map.insert(key.clone(), item);
            seen.push(key);
        }
        Ok(map)
    }

    /// Returns `None` where no value is given, or a mistake was noted.
    fn read_value(
        &mut self,
        kind: FieldKind,
        tree: Tree,
        before: Option<Value>,
    ) -> Result<Option<Value>, TypeMismatch> {
        Ok(Some(match (kind, tree) {
            (FieldKind::Quantity, Tree::Null) => "0".into(),
            (_, Tree::Null) => return Ok(before),
            (FieldKind::Text(_), Tree::Text(text)) => text.into(),
            (FieldKind::Bool, Tree::Bool(truth)) => truth.into(),
            (FieldKind::Int32 | FieldKind::Int64, Tree::Number(number)) => match number.as_i64() {
                Some(n) if kind == FieldKind::Int64 || i32::try_from(n).is_ok() => n.into(),
                _ => {
                    self.save_type_mismatch(&format!("number {number}"), &go_type(kind));
                    return Ok(None);
                }
            },
            (FieldKind::Bytes, Tree::Text(text)) => match decode_base64(&text) {
                Ok(bytes) => encode_base64(&bytes).into(),
                Err(at) => {
                    self.save_mismatch(format!("illegal base64 data at input byte {at}"));
                    return Ok(None);
                }
            },
            (FieldKind::Quantity, tree) => self.read_quantity(&tree)?,
            (FieldKind::Time | FieldKind::MicroTime, tree) => {
                self.read_time(kind == FieldKind::MicroTime, &tree)?
            }
            (FieldKind::IntOrString, tree) => self.read_int_or_string(tree)?,
            (FieldKind::Json, tree) => tree.into_json(),
            (FieldKind::List, Tree::List(items)) => {
                let mut list = Vec::new();
                for item in items {
                    list.push(
                        self.read_value(FieldKind::Text("string"), item, None)?
                            .unwrap_or_else(|| "".into()),
                    );
                }
                list.into()
            }
            (FieldKind::Message(message), Tree::Object(fields)) => {
                let mut object = match before {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                self.read_fields(message, fields, &mut object)?;
                object.into()
            }
            (_, other) => {
                self.save_type_mismatch(other.json_type(), &go_type(kind));
                return Ok(None);
            }
        }))
    }

    fn read_quantity(&self, tree: &Tree) -> Result<Value, TypeMismatch> {
        let text = match tree {
            Tree::Text(text) => text.trim().to_owned(),
            Tree::Number(number) => number.to_string(),
            _ => "?".into(),
        };
        Quantity::parse(&text)
            .map(|quantity| quantity.to_string().into())
            .map_err(|words| self.mismatch_here(words))
    }

    fn read_time(&self, micro: bool, tree: &Tree) -> Result<Value, TypeMismatch> {
        let Tree::Text(text) = tree else {
            return Err(self.mismatch_here(self.format_type_mismatch(tree.json_type(), "string")));
        };
        typed_time::parse_time(text, micro)
            .map(|time| format_timestamp(time, micro))
            .map_err(|why| self.mismatch_here(why.to_string()))
    }

    fn read_int_or_string(&self, tree: Tree) -> Result<Value, TypeMismatch> {
        let given = match tree {
            Tree::Text(text) => return Ok(text.into()),
            Tree::Number(number) => match number.as_i64() {
                Some(n) if i32::try_from(n).is_ok() => return Ok(n.into()),
                _ => format!("number {number}"),
            },
            other => other.json_type().to_owned(),
        };
        Err(self.mismatch_here(self.format_type_mismatch(&given, "int32")))
    }
}

/// Finds a field by its JSON name, with the Go names of the structs in between.
fn find_field(message: &'static str, name: &str) -> Option<(&'static MessageField, Vec<String>)> {
    let fields = types::message_fields(message)?;
    if let Some(field) = fields.iter().find(|f| !f.inline && f.name == name) {
        return Some((field, Vec::new()));
    }
    fields.iter().filter(|f| f.inline).find_map(|field| {
        let FieldKind::Message(inner) = field.kind else {
            return None;
        };
        let (found, mut through) = find_field(inner, name)?;
        let (first, rest) = field.name.split_at(1);
        through.insert(0, first.to_ascii_uppercase() + rest);
        Some((found, through))
    })
}

fn go_type(kind: FieldKind) -> String {
    match kind {
        FieldKind::Text(name) => name.into(),
        FieldKind::Bytes => "[]uint8".into(),
        FieldKind::Int32 => "int32".into(),
        FieldKind::Int64 => "int64".into(),
        FieldKind::Bool => "bool".into(),
        FieldKind::Time => "v1.Time".into(),
        FieldKind::MicroTime => "v1.MicroTime".into(),
        FieldKind::Quantity => "resource.Quantity".into(),
        FieldKind::IntOrString => "intstr.IntOrString".into(),
        FieldKind::Json => "runtime.RawExtension".into(),
        FieldKind::List => "v1.ExtraValue".into(),
        FieldKind::Message(message) => format!("v1.{}", go_name(message)),
    }
}

fn zero_value(kind: FieldKind) -> Value {
    match kind {
        FieldKind::Text(_) | FieldKind::Bytes => "".into(),
        FieldKind::Int32 | FieldKind::Int64 | FieldKind::IntOrString => 0.into(),
        FieldKind::Bool => false.into(),
        FieldKind::Time | FieldKind::MicroTime | FieldKind::Json => Value::Null,
        FieldKind::Quantity => "0".into(),
        FieldKind::List => Value::Array(Vec::new()),
        FieldKind::Message(_) => Value::Object(Map::new()),
    }
}

fn format_timestamp(time: Timestamp, micro: bool) -> Value {
    if micro {
        meta::format_micro_time(time).into()
    } else {
        meta::format_time(time).into()
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
pub(super) fn arrange_message(message: &str, object: &mut Value) {
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
    for field in types::message_fields(message).into_iter().flatten() {
        if let (true, FieldKind::Message(inner)) = (field.inline, field.kind) {
            arrange_fields(inner, map, out, empty_maps);
            continue;
        }
        let value = map.swap_remove(field.name).filter(|v| !v.is_null());
        let value = match (field.many, value) {
            (Cardinality::List, Some(Value::Array(mut list))) => {
                for item in &mut list {
                    arrange_item(field.kind, item, empty_maps);
                }
                (field.keep || !list.is_empty()).then(|| list.into())
            }
            (Cardinality::Map, Some(Value::Object(mut items))) => {
                for item in items.values_mut() {
                    arrange_item(field.kind, item, empty_maps);
                }
                (field.keep || empty_maps || !items.is_empty()).then(|| items.into())
            }
            (Cardinality::One, Some(mut value)) => {
                arrange_item(field.kind, &mut value, empty_maps);
                let told = field.set || field.keep || !is_zero(&value, field);
                told.then_some(value)
            }
            (Cardinality::One, None) if !field.set => absent_value(field),
            (_, _) => field.keep.then_some(Value::Null),
        };
        if let Some(value) = value {
            out.insert(field.name.into(), value);
        }
    }
}

fn arrange_item(kind: FieldKind, value: &mut Value, empty_maps: bool) {
    if let FieldKind::Message(message) = kind
        && let Some(map) = value.as_object_mut()
    {
        let mut out = Map::with_capacity(map.len());
        arrange_fields(message, map, &mut out, empty_maps);
        *map = out;
    }
}

/// Whether Go omits the value under `omitempty`; for a struct, only if its `omit` is set too.
fn is_zero(value: &Value, field: &MessageField) -> bool {
    match field.kind {
        FieldKind::Message(_) => field.omit && value.as_object().is_some_and(Map::is_empty),
        FieldKind::Quantity | FieldKind::IntOrString => false,
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
fn absent_value(field: &MessageField) -> Option<Value> {
    match field.kind {
        FieldKind::Message(message) => {
            let mut value = Value::Object(Map::new());
            arrange_item(FieldKind::Message(message), &mut value, false);
            (!is_zero(&value, field)).then_some(value)
        }
        FieldKind::Time | FieldKind::MicroTime | FieldKind::Json => {
            (!field.omit).then_some(Value::Null)
        }
        FieldKind::Quantity | FieldKind::IntOrString => Some(zero_value(field.kind)),
        kind => field.keep.then(|| zero_value(kind)),
    }
}

#[cfg(test)]
mod tests;
