//! Decodes Kubernetes' protobuf form of built-in kinds into the equivalent JSON. Typed Go clients
//! (`kubectl create deployment` since 1.32) send only this form. Answers are JSON, which they
//! accept.

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::meta;
use super::types::{self, Cardinality, FieldKind, MessageField, message_name};

mod reader;
#[cfg(test)]
mod tests;

use reader::{WireReader, WireValue as Wire};

pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be decoded.
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

/// Decodes a whole body: the envelope that names the kind, and the object in it.
pub(super) fn decode_object(body: &[u8]) -> Result<Value> {
    let envelope = body.strip_prefix(MAGIC).ok_or(Error::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = WireReader(envelope);
    while let Some((number, wire)) = reader.next()? {
        match number {
            1 => {
                let mut reader = WireReader(wire.as_bytes("apiVersion and kind")?);
                while let Some((number, wire)) = reader.next()? {
                    match number {
                        1 => api_version = wire.to_text("apiVersion")?,
                        2 => kind = wire.to_text("kind")?,
                        _ => {}
                    }
                }
            }
            2 => raw = wire.as_bytes("the object")?,
            _ => {}
        }
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    let mut name = message_name(group, version, &kind);
    if kind == "DeleteOptions" {
        // Every group has DeleteOptions under its own name.
        name = "meta/v1.DeleteOptions".into();
    }
    if types::message_fields(&name).is_none() {
        return Err(Error::Kind { api_version, kind });
    }
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    decode_message(raw, &name, &mut object)?;
    Ok(Value::Object(object))
}

fn decode_message(bytes: &[u8], name: &str, into: &mut Map<String, Value>) -> Result<()> {
    let Some(fields) = types::message_fields(name) else {
        return Ok(());
    };
    let mut reader = WireReader(bytes);
    while let Some((number, wire)) = reader.next()? {
        // Fields that this version does not know are dropped, as in Kubernetes.
        let Some(field) = fields.iter().find(|f| f.number == number) else {
            continue;
        };
        if let (true, FieldKind::Message(name)) = (field.inline, field.kind) {
            decode_message(wire.as_bytes(field.name)?, name, into)?;
            continue;
        }
        match field.many {
            Cardinality::One => {
                let value = decode_value(&wire, field)?;
                if field.set || field.keep || !is_zero(&value) {
                    into.insert(field.name.into(), value);
                }
            }
            Cardinality::List => {
                let value = decode_value(&wire, field)?;
                let list = into
                    .entry(field.name)
                    .or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut()
                    .ok_or(Error::Type(field.name))?
                    .push(value);
            }
            Cardinality::Map => {
                let (mut key, mut item) = (String::new(), None);
                let mut reader = WireReader(wire.as_bytes(field.name)?);
                while let Some((number, wire)) = reader.next()? {
                    match number {
                        1 => key = wire.to_text(field.name)?,
                        2 => item = Some(decode_value(&wire, field)?),
                        _ => {}
                    }
                }
                let map = into
                    .entry(field.name)
                    .or_insert_with(|| Value::Object(Map::new()));
                let item = item.unwrap_or_else(|| Value::from(""));
                map.as_object_mut()
                    .ok_or(Error::Type(field.name))?
                    .insert(key, item);
            }
        }
    }
    Ok(())
}

fn decode_value(wire: &Wire<'_>, field: &MessageField) -> Result<Value> {
    let name = field.name;
    Ok(match field.kind {
        FieldKind::Text(_) => wire.to_text(name)?.into(),
        FieldKind::Bytes => base64::engine::general_purpose::STANDARD
            .encode(wire.as_bytes(name)?)
            .into(),
        FieldKind::Int32 | FieldKind::Int64 => wire.as_int(name)?.into(),
        FieldKind::Bool => (wire.as_int(name)? != 0).into(),
        FieldKind::Time => decode_time(wire.as_bytes(name)?, name)?
            .map_or(Value::Null, |t| meta::format_time(t).into()),
        FieldKind::MicroTime => decode_time(wire.as_bytes(name)?, name)?
            .map_or(Value::Null, |t| meta::format_micro_time(t).into()),
        FieldKind::Quantity => first_field(wire.as_bytes(name)?)?
            .map_or(Ok(Value::Null), |w| w.to_text(name).map(Value::from))?,
        FieldKind::Json => {
            let raw =
                first_field(wire.as_bytes(name)?)?.map_or(Ok(&[][..]), |w| w.as_bytes(name))?;
            serde_json::from_slice(raw).map_err(|_| Error::Type(name))?
        }
        FieldKind::IntOrString => {
            let (mut is_text, mut int, mut text) = (false, 0, String::new());
            let mut reader = WireReader(wire.as_bytes(name)?);
            while let Some((number, wire)) = reader.next()? {
                match number {
                    1 => is_text = wire.as_int(name)? == 1,
                    2 => int = wire.as_int(name)?,
                    3 => text = wire.to_text(name)?,
                    _ => {}
                }
            }
            if is_text { text.into() } else { int.into() }
        }
        FieldKind::List => {
            let mut list = Vec::new();
            let mut reader = WireReader(wire.as_bytes(name)?);
            while let Some((_, wire)) = reader.next()? {
                list.push(Value::from(wire.to_text(name)?));
            }
            list.into()
        }
        FieldKind::Message(of) => {
            let mut object = Map::new();
            decode_message(wire.as_bytes(name)?, of, &mut object)?;
            object.into()
        }
    })
}

/// Field number 1 of a message that has no other field.
fn first_field(bytes: &[u8]) -> Result<Option<Wire<'_>>> {
    Ok(WireReader(bytes)
        .next()?
        .filter(|(number, _)| *number == 1)
        .map(|(_, wire)| wire))
}

/// Seconds and nanoseconds; `None` for Go's zero time.
fn decode_time(bytes: &[u8], name: &'static str) -> Result<Option<Timestamp>> {
    let (mut seconds, mut nanos) = (None, 0);
    let mut reader = WireReader(bytes);
    while let Some((number, wire)) = reader.next()? {
        match number {
            1 => seconds = Some(wire.as_int(name)?),
            2 => nanos = i32::try_from(wire.as_int(name)?).map_err(|_| Error::Type(name))?,
            _ => {}
        }
    }
    seconds
        .map(|s| Timestamp::new(s, nanos).map_err(|_| Error::Type(name)))
        .transpose()
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
