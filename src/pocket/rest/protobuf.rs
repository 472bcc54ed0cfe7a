//! Kubernetes' protobuf of the built-in kinds, read as the JSON it stands for: Go's typed clients (`kubectl create
//! deployment`, from 1.32 on) send nothing else. Answers are JSON, which they take.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::meta;

mod reader;
#[cfg(test)]
mod tests;

use reader::{Field as Wire, Reader};

pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("it does not begin with \"k8s\\0\"")]
    Magic,
    #[error("it breaks off")]
    Short,
    #[error("{0} is no value of its type")]
    Type(&'static str),
    #[error("it is text that is no UTF-8")]
    Text,
    #[error("pocket reads no {kind} of {api_version} in this form; send JSON or YAML")]
    Kind { api_version: String, kind: String },
}

type Result<T> = std::result::Result<T, Error>;

#[derive(Clone, Copy)]
pub(crate) enum Many {
    One,
    List,
    Map,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Bytes,
    Int,
    Bool,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    Json,
    List,
    Message(&'static str),
}

/// One field of a message, by its name in JSON.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// Its own fields stand in the object itself.
    pub(crate) inline: bool,
    /// Zero is a value and not the absence of one.
    set: bool,
    pub(crate) many: Many,
    pub(crate) kind: Kind,
}

type Messages = HashMap<String, HashMap<u64, Field>>;

static MESSAGES: LazyLock<Messages> = LazyLock::new(|| parse(include_str!("protobuf/types.txt")));

fn parse(text: &'static str) -> Messages {
    let mut messages = Messages::new();
    let mut message = "";
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some(line) = line.strip_prefix(' ') else {
            message = line;
            messages.entry(line.to_owned()).or_default();
            continue;
        };
        let words: Vec<&str> = line.split(' ').collect();
        let [number, name, flags @ .., kind] = words.as_slice() else { unreachable!("types.txt: {line}") };
        let field = Field {
            name,
            inline: flags.contains(&"inline"),
            set: flags.contains(&"set"),
            many: match flags.first() {
                Some(&"list") => Many::List,
                Some(&"map") => Many::Map,
                _ => Many::One,
            },
            kind: match *kind {
                "text" => Kind::Text,
                "bytes" => Kind::Bytes,
                "int" => Kind::Int,
                "bool" => Kind::Bool,
                "Time" => Kind::Time,
                "MicroTime" => Kind::MicroTime,
                "Quantity" => Kind::Quantity,
                "IntOrString" => Kind::IntOrString,
                "Json" => Kind::Json,
                "List" => Kind::List,
                message => Kind::Message(message),
            },
        };
        let number = number.parse().unwrap_or_else(|_| unreachable!("types.txt: {line}"));
        messages.entry(message.to_owned()).or_default().insert(number, field);
    }
    messages
}

/// The name in the table of a kind: `apps/v1.Deployment`, `discovery/v1.EndpointSlice`.
pub(crate) fn message_of(group: &str, version: &str, kind: &str) -> String {
    let package = group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
    format!("{package}/{version}.{kind}")
}

/// The fields of a message, as they are numbered.
pub(crate) fn fields(message: &str) -> Option<Vec<&'static Field>> {
    let mut fields: Vec<_> = MESSAGES.get(message)?.iter().collect();
    fields.sort_by_key(|(number, _)| **number);
    Some(fields.into_iter().map(|(_, field)| field).collect())
}

/// The path of the first value that is not of its field's type, which serde does not tell.
pub(super) fn mistyped(object: &Value, message: &str) -> Option<String> {
    fields(message)?.into_iter().find_map(|field| {
        if let (true, Kind::Message(inner)) = (field.inline, field.kind) {
            return mistyped(object, inner);
        }
        let value = object.get(field.name).filter(|v| !v.is_null())?;
        let here = |rest: String| format!("{}{rest}", field.name);
        match (field.many, value) {
            (Many::One, value) => misfit(value, field.kind).map(here),
            (Many::List, Value::Array(list)) => {
                list.iter().enumerate().find_map(|(at, v)| Some(here(format!("[{at}]{}", misfit(v, field.kind)?))))
            }
            (Many::Map, Value::Object(map)) => {
                map.iter().find_map(|(key, v)| Some(here(format!(".{key}{}", misfit(v, field.kind)?))))
            }
            _ => Some(here(String::new())),
        }
    })
}

/// Where in a value it is not of a type: "" for all of it.
fn misfit(value: &Value, kind: Kind) -> Option<String> {
    let fits = match kind {
        Kind::Text | Kind::Bytes | Kind::Time | Kind::MicroTime => value.is_string(),
        Kind::Int => value.is_i64(),
        Kind::Bool => value.is_boolean(),
        Kind::Quantity | Kind::IntOrString => value.is_string() || value.is_number(),
        Kind::Json => true,
        Kind::List => value.is_array(),
        Kind::Message(of) if value.is_object() => return mistyped(value, of).map(|path| format!(".{path}")),
        Kind::Message(_) => false,
    };
    (!fits).then(String::new)
}

/// A whole body: the envelope that names the kind, and the object in it.
pub(super) fn object(body: &[u8]) -> Result<Value> {
    let envelope = body.strip_prefix(MAGIC).ok_or(Error::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader(envelope);
    while let Some((number, wire)) = reader.next()? {
        match number {
            1 => {
                let mut reader = Reader(wire.bytes("apiVersion and kind")?);
                while let Some((number, wire)) = reader.next()? {
                    match number {
                        1 => api_version = wire.text("apiVersion")?,
                        2 => kind = wire.text("kind")?,
                        _ => {}
                    }
                }
            }
            2 => raw = wire.bytes("the object")?,
            _ => {}
        }
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    let mut name = message_of(group, version, &kind);
    if kind == "DeleteOptions" {
        // Every group has it under its own name.
        name = "meta/v1.DeleteOptions".into();
    }
    if !MESSAGES.contains_key(&name) {
        return Err(Error::Kind { api_version, kind });
    }
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    message(raw, &name, &mut object)?;
    Ok(Value::Object(object))
}

fn message(bytes: &[u8], name: &str, into: &mut Map<String, Value>) -> Result<()> {
    let Some(fields) = MESSAGES.get(name) else { return Ok(()) };
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        // What this version does not know yet is dropped, as Kubernetes does.
        let Some(field) = fields.get(&number) else { continue };
        if let (true, Kind::Message(name)) = (field.inline, field.kind) {
            message(wire.bytes(field.name)?, name, into)?;
            continue;
        }
        match field.many {
            Many::One => {
                let value = value(&wire, field)?;
                if field.set || !is_zero(&value) {
                    into.insert(field.name.into(), value);
                }
            }
            Many::List => {
                let value = value(&wire, field)?;
                let list = into.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut().ok_or(Error::Type(field.name))?.push(value);
            }
            Many::Map => {
                let (mut key, mut item) = (String::new(), None);
                let mut reader = Reader(wire.bytes(field.name)?);
                while let Some((number, wire)) = reader.next()? {
                    match number {
                        1 => key = wire.text(field.name)?,
                        2 => item = Some(value(&wire, field)?),
                        _ => {}
                    }
                }
                let map = into.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                let item = item.unwrap_or_else(|| Value::from(""));
                map.as_object_mut().ok_or(Error::Type(field.name))?.insert(key, item);
            }
        }
    }
    Ok(())
}

fn value(wire: &Wire<'_>, field: &Field) -> Result<Value> {
    let name = field.name;
    Ok(match field.kind {
        Kind::Text => wire.text(name)?.into(),
        Kind::Bytes => base64::engine::general_purpose::STANDARD.encode(wire.bytes(name)?).into(),
        Kind::Int => wire.int(name)?.into(),
        Kind::Bool => (wire.int(name)? != 0).into(),
        Kind::Time => time(wire.bytes(name)?, name)?.map_or(Value::Null, |t| meta::stamp(t).into()),
        Kind::MicroTime => time(wire.bytes(name)?, name)?.map_or(Value::Null, |t| meta::stamp_micro(t).into()),
        Kind::Quantity => first(wire.bytes(name)?)?.map_or(Ok(Value::Null), |w| w.text(name).map(Value::from))?,
        Kind::Json => {
            let raw = first(wire.bytes(name)?)?.map_or(Ok(&[][..]), |w| w.bytes(name))?;
            serde_json::from_slice(raw).map_err(|_| Error::Type(name))?
        }
        Kind::IntOrString => {
            let (mut is_text, mut int, mut text) = (false, 0, String::new());
            let mut reader = Reader(wire.bytes(name)?);
            while let Some((number, wire)) = reader.next()? {
                match number {
                    1 => is_text = wire.int(name)? == 1,
                    2 => int = wire.int(name)?,
                    3 => text = wire.text(name)?,
                    _ => {}
                }
            }
            if is_text { text.into() } else { int.into() }
        }
        Kind::List => {
            let mut list = Vec::new();
            let mut reader = Reader(wire.bytes(name)?);
            while let Some((_, wire)) = reader.next()? {
                list.push(Value::from(wire.text(name)?));
            }
            list.into()
        }
        Kind::Message(of) => {
            let mut object = Map::new();
            message(wire.bytes(name)?, of, &mut object)?;
            object.into()
        }
    })
}

/// The field number 1 of a message that has no other.
fn first(bytes: &[u8]) -> Result<Option<Wire<'_>>> {
    Ok(Reader(bytes).next()?.filter(|(number, _)| *number == 1).map(|(_, wire)| wire))
}

/// Seconds and nanoseconds; none for Go's zero time.
fn time(bytes: &[u8], name: &'static str) -> Result<Option<Timestamp>> {
    let (mut seconds, mut nanos) = (None, 0);
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        match number {
            1 => seconds = Some(wire.int(name)?),
            2 => nanos = i32::try_from(wire.int(name)?).map_err(|_| Error::Type(name))?,
            _ => {}
        }
    }
    seconds.map(|s| Timestamp::new(s, nanos).map_err(|_| Error::Type(name))).transpose()
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Array(_) => false,
    }
}
