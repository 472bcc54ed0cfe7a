//! Messages in protobuf, read in place. Encoding:
//! <https://protobuf.dev/programming-guides/encoding/>, field numbers:
//! <https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto>.

use std::borrow::Cow;

use super::{
    Decoded, Decoder, Dropped, EmitterAttributes, MOST_ATTRIBUTES, ReadLine, SpanAttributes,
    SpanIds, Timing, Unusable, Value, logs::AccessRecord, value::MOST_LISTED,
};
use crate::domain::span::{Side, Span};

/// Why a message cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end within a field, or the type of a field is unknown.
    #[error("it is no OTLP message in protobuf: {0}")]
    Protobuf(&'static str),
    /// The JSON parser's message.
    #[error("it is no OTLP message in JSON: {0}")]
    Json(String),
    /// The message has more objects than are read.
    #[error("it holds more than {0} JSON objects: send fewer spans at once")]
    TooManyObjects(usize),
}

const CUT: Malformed = Malformed::Protobuf("it is cut off");

/// The content of a field.
#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    /// A number of any width.
    Number(u64),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message; ends at the first error.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn read_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(CUT)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Protobuf("a number is longer than ten bytes"))
    }

    fn read_fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn read_field(&mut self) -> Result<(u64, Field<'a>), Malformed> {
        let key = self.read_varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.read_varint()?),
            1 => Field::Number(u64::from_le_bytes(self.read_fixed()?)),
            5 => Field::Number(u32::from_le_bytes(self.read_fixed()?).into()),
            2 => {
                let length = usize::try_from(self.read_varint()?).map_err(|_| CUT)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            _ => return Err(Malformed::Protobuf("a field is of no known type")),
        };
        match key >> 3 {
            0 => Err(Malformed::Protobuf("a field has the number 0")),
            number => Ok((number, field)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read_field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The messages (or strings) in the fields of that number.
fn nested_messages(message: &[u8], wanted: u64) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields(message).filter_map(move |field| match field {
        Ok((number, Field::Bytes(bytes))) if number == wanted => Some(Ok(bytes)),
        Ok(_) => None,
        Err(e) => Some(Err(e)),
    })
}

fn decode_text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// `AnyValue`.
fn decode_value(message: &[u8]) -> Result<Value<'_>, Malformed> {
    let mut found = Value::Other;
    for field in Fields(message) {
        found = match field? {
            (1, Field::Bytes(bytes)) => Value::Text(decode_text(bytes)),
            (2, Field::Number(n)) => Value::Flag(n != 0),
            (3, Field::Number(n)) => Value::Number(n.cast_signed()),
            (5, Field::Bytes(array)) => Value::List(decode_list(array)?),
            _ => found,
        };
    }
    Ok(found)
}

/// The first strings of an `ArrayValue`.
fn decode_list(message: &[u8]) -> Result<Vec<Cow<'_, str>>, Malformed> {
    let mut texts = vec![];
    for item in nested_messages(message, 1).take(MOST_LISTED) {
        texts.extend(
            nested_messages(item?, 1)
                .map(|bytes| bytes.map(decode_text))
                .collect::<Result<Vec<_>, _>>()?,
        );
    }
    Ok(texts)
}

/// `KeyValue`.
fn decode_attribute(message: &[u8]) -> Result<(Cow<'_, str>, Value<'_>), Malformed> {
    let (mut key, mut held) = (Cow::Borrowed(""), Value::Other);
    for field in Fields(message) {
        match field? {
            (1, Field::Bytes(bytes)) => key = decode_text(bytes),
            (2, Field::Bytes(bytes)) => held = decode_value(bytes)?,
            _ => {}
        }
    }
    Ok((key, held))
}

/// The emitter attributes in the resource of a `ResourceSpans` or `ResourceLogs`.
fn decode_resource<'a>(
    message: &'a [u8],
    dropped: &mut Dropped,
) -> Result<EmitterAttributes<'a>, Malformed> {
    let (mut own, mut count) = (EmitterAttributes::default(), 0);
    for resource in nested_messages(message, 1) {
        for found in nested_messages(resource?, 1) {
            count += 1;
            if count > MOST_ATTRIBUTES {
                dropped.attributes += 1;
                continue;
            }
            let (key, value) = decode_attribute(found?)?;
            own.take_attribute(&key, &value);
        }
    }
    Ok(own)
}

/// Calls `each` with every span or record and the attributes of its emitter.
fn for_each_item<'a>(
    bytes: &'a [u8],
    decoded: &mut Decoded,
    mut each: impl FnMut(&EmitterAttributes<'a>, &'a [u8], &mut Decoded) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for resource in nested_messages(bytes, 1) {
        let resource = resource?;
        let own = decode_resource(resource, &mut decoded.dropped)?;
        for scope in nested_messages(resource, 2) {
            for item in nested_messages(scope?, 2) {
                each(&own, item?, decoded)?;
            }
        }
    }
    Ok(())
}

/// `ExportTraceServiceRequest`.
pub(super) fn decode_traces(decoder: &Decoder<'_>, bytes: &[u8]) -> Result<Decoded, Malformed> {
    let mut decoded = Decoded::default();
    for_each_item(bytes, &mut decoded, |own, message, decoded| {
        if decoded.is_full(decoder) {
            decoded.dropped.too_many += 1;
            return Ok(());
        }
        let span = decode_span(decoder, own, message, &mut decoded.dropped)?;
        decoded.add_span(span);
        Ok(())
    })?;
    Ok(decoded)
}

fn decode_span(
    decoder: &Decoder<'_>,
    resource: &EmitterAttributes<'_>,
    message: &[u8],
    dropped: &mut Dropped,
) -> Result<Result<Span, Unusable>, Malformed> {
    let (mut trace, mut span, mut parent) = (&[][..], &[][..], &[][..]);
    let (mut kind, mut start, mut end, mut count) = (0, 0, 0, 0);
    let (mut facts, mut own) = (SpanAttributes::default(), Cow::Borrowed(resource));
    for field in Fields(message) {
        match field? {
            (1, Field::Bytes(id)) => trace = id,
            (2, Field::Bytes(id)) => span = id,
            (4, Field::Bytes(id)) => parent = id,
            (6, Field::Number(n)) => kind = n,
            (7, Field::Number(n)) => start = n,
            (8, Field::Number(n)) => end = n,
            (9, Field::Bytes(_)) if count >= MOST_ATTRIBUTES => dropped.attributes += 1,
            (9, Field::Bytes(bytes)) => {
                count += 1;
                let (key, value) = decode_attribute(bytes)?;
                if EmitterAttributes::is_key(&key) {
                    own.to_mut().take_attribute(&key, &value);
                }
                facts.take_attribute(decoder.keys, &key, value);
            }
            (15, Field::Bytes(status)) => {
                if let Some(words) = decode_failure(status)? {
                    facts.set_failed(words);
                }
            }
            _ => {}
        }
    }
    let ids = SpanIds::from_bytes(trace, span, parent);
    let made = ids.and_then(|ids| Ok((ids, Timing::from_nanos(start, end)?)));
    Ok(made.map(|(ids, lasted)| {
        facts.into_span(
            decoder.keys,
            decoder.source,
            span_side(kind),
            own.to_emitter(),
            ids,
            lasted,
        )
    }))
}

/// The message of a `Status`; `None` when it is no error.
fn decode_failure(message: &[u8]) -> Result<Option<Cow<'_, str>>, Malformed> {
    let (mut words, mut failed) = (Cow::Borrowed(""), false);
    for field in Fields(message) {
        match field? {
            (2, Field::Bytes(bytes)) => words = decode_text(bytes),
            (3, Field::Number(code)) => failed = code == 2,
            _ => {}
        }
    }
    Ok(failed.then_some(words))
}

/// The side of a `SpanKind`. Producers and consumers of messages are not followed.
pub(super) const fn span_side(kind: u64) -> Side {
    match kind {
        2 => Side::Server,
        3 => Side::Client,
        _ => Side::Inner,
    }
}

/// `ExportLogsServiceRequest`.
pub(super) fn decode_logs(
    decoder: &Decoder<'_>,
    bytes: &[u8],
    line: &ReadLine<'_>,
) -> Result<Decoded, Malformed> {
    let mut decoded = Decoded::default();
    for_each_item(bytes, &mut decoded, |own, message, decoded| {
        if decoded.is_full(decoder) {
            decoded.dropped.too_many += 1;
            return Ok(());
        }
        let record = decode_record(message, &mut decoded.dropped)?;
        record.add_span_to(own, line, decoded);
        Ok(())
    })?;
    Ok(decoded)
}

/// `LogRecord`.
fn decode_record<'a>(
    message: &'a [u8],
    dropped: &mut Dropped,
) -> Result<AccessRecord<'a>, Malformed> {
    let mut record = AccessRecord::default();
    for field in Fields(message) {
        match field? {
            (1, Field::Number(n)) => record.time = n,
            (11, Field::Number(n)) => record.observed = n,
            (5, Field::Bytes(bytes)) => record.body = decode_value(bytes)?,
            (6, Field::Bytes(_)) if record.attributes.len() >= MOST_ATTRIBUTES => {
                dropped.attributes += 1;
            }
            (6, Field::Bytes(bytes)) => record.attributes.push(decode_attribute(bytes)?),
            (9, Field::Bytes(id)) => record.trace = Cow::Borrowed(id),
            (10, Field::Bytes(id)) => record.span = Cow::Borrowed(id),
            _ => {}
        }
    }
    Ok(record)
}
