//! Messages in JSON. By the specification ids are hex, names are in camel case, 64-bit numbers are
//! strings and kinds are numbers
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>). Stores also write base64
//! ids, kinds by name and `null` for absent values; all of these are accepted.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de};

use super::{
    Decoded, Decoder, EmitterAttributes, MOST_ATTRIBUTES, Malformed, ReadLine, SpanAttributes,
    SpanIds, Timing, Unusable, Value, logs::AccessRecord, protobuf::span_side, value::MOST_LISTED,
};
use crate::domain::span::Span;

/// Objects in one message. A thousand spans with two dozen attributes have fifty thousand; an
/// object of three bytes may take a hundred times as much memory.
const MOST_OBJECTS: usize = 100_000;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    #[serde(
        deserialize_with = "or_nothing",
        alias = "resource_spans",
        alias = "batches",
        alias = "resourceLogs"
    )]
    resource_spans: Vec<OfResource>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OfResource {
    #[serde(deserialize_with = "or_nothing")]
    resource: Resource,
    #[serde(
        deserialize_with = "or_nothing",
        alias = "scope_spans",
        alias = "instrumentationLibrarySpans",
        alias = "scopeLogs"
    )]
    scope_spans: Vec<OfScope>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource {
    #[serde(deserialize_with = "or_nothing")]
    attributes: Vec<KeyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OfScope {
    #[serde(deserialize_with = "or_nothing")]
    spans: Vec<OneSpan>,
    #[serde(deserialize_with = "or_nothing")]
    log_records: Vec<LogRecord>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OneSpan {
    #[serde(alias = "trace_id")]
    trace_id: Id,
    #[serde(alias = "span_id")]
    span_id: Id,
    #[serde(alias = "parent_span_id")]
    parent_span_id: Id,
    kind: Kind,
    #[serde(alias = "start_time_unix_nano")]
    start_time_unix_nano: Number,
    #[serde(alias = "end_time_unix_nano")]
    end_time_unix_nano: Number,
    #[serde(deserialize_with = "or_nothing")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "or_nothing")]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "or_nothing")]
    message: String,
    code: StatusCode,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LogRecord {
    time_unix_nano: Number,
    observed_time_unix_nano: Number,
    trace_id: Id,
    span_id: Id,
    body: Option<AnyValue>,
    #[serde(deserialize_with = "or_nothing")]
    attributes: Vec<KeyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyValue {
    #[serde(deserialize_with = "or_nothing")]
    key: String,
    value: Option<AnyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AnyValue {
    #[serde(alias = "string_value")]
    string_value: Option<String>,
    #[serde(alias = "bool_value")]
    bool_value: Option<bool>,
    #[serde(alias = "int_value")]
    int_value: Option<Number>,
    #[serde(alias = "array_value")]
    array_value: Option<ArrayValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArrayValue {
    #[serde(deserialize_with = "or_nothing")]
    values: Vec<AnyValue>,
}

/// Reads `null` as the default value.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A 64-bit number, as a number or as a string.
#[derive(Clone, Copy, Default)]
struct Number(i128);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or one as text")
            }

            fn visit_u64<E>(self, n: u64) -> Result<Number, E> {
                Ok(Number(n.into()))
            }

            fn visit_i64<E>(self, n: i64) -> Result<Number, E> {
                Ok(Number(n.into()))
            }

            fn visit_f64<E>(self, n: f64) -> Result<Number, E> {
                Ok(Number(n as i128))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                text.trim()
                    .parse()
                    .map(Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_unit<E>(self) -> Result<Number, E> {
                Ok(Number(0))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Number {
    fn to_nanos(self) -> u64 {
        u64::try_from(self.0).unwrap_or_default()
    }
}

/// A number, or the name of one.
fn number_or_name<'de, D: Deserializer<'de>>(
    deserializer: D,
    names: &[&str],
) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Word {
        Number(Number),
        Name(String),
    }
    Ok(match Word::deserialize(deserializer)? {
        Word::Number(number) => number.to_nanos(),
        Word::Name(name) => names
            .iter()
            .position(|n| name.ends_with(n))
            .unwrap_or_default() as u64,
    })
}

#[derive(Default)]
struct Kind(u64);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_name(
            deserializer,
            &[
                "UNSPECIFIED",
                "INTERNAL",
                "SERVER",
                "CLIENT",
                "PRODUCER",
                "CONSUMER",
            ],
        )
        .map(Self)
    }
}

#[derive(Default)]
struct StatusCode(u64);

impl<'de> Deserialize<'de> for StatusCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_name(deserializer, &["UNSET", "OK", "ERROR"]).map(Self)
    }
}

/// An id in hex or else base64; anything else becomes an empty id.
#[derive(Default)]
struct Id(Vec<u8>);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Self(decode_id(&text).unwrap_or_default()))
    }
}

fn decode_id(text: &str) -> Option<Vec<u8>> {
    // Sixteen bytes take 24 characters in base64, eight bytes take 12.
    let is_hex = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex {
        return (text.len() <= 24)
            .then(|| STANDARD.decode(text).ok())
            .flatten();
    }
    let number = u128::from_str_radix(text, 16).ok()?;
    let bytes = number.to_be_bytes();
    bytes
        .get(bytes.len() - text.len().div_ceil(2)..)
        .map(<[u8]>::to_vec)
}

impl AnyValue {
    fn to_value(&self) -> Value<'_> {
        if let Some(text) = &self.string_value {
            return Value::from(text.as_str());
        }
        if let Some(number) = self.int_value {
            return i64::try_from(number.0).map_or(Value::Other, Value::Number);
        }
        if let Some(flag) = self.bool_value {
            return Value::Flag(flag);
        }
        let Some(array) = &self.array_value else {
            return Value::Other;
        };
        let texts = array
            .values
            .iter()
            .take(MOST_LISTED)
            .filter_map(|value| value.string_value.as_deref());
        Value::List(texts.map(Cow::Borrowed).collect())
    }
}

impl KeyValue {
    fn to_pair(&self) -> (&str, Value<'_>) {
        (
            &self.key,
            self.value
                .as_ref()
                .map(AnyValue::to_value)
                .unwrap_or_default(),
        )
    }
}

fn parse_request(bytes: &[u8]) -> Result<Request, Malformed> {
    // This also counts braces in strings: no message of a thousand spans comes near the limit.
    if bytes.split(|b| *b == b'{').count() > MOST_OBJECTS + 1 {
        return Err(Malformed::TooManyObjects(MOST_OBJECTS));
    }
    serde_json::from_slice(bytes).map_err(|e| Malformed::Json(e.to_string()))
}

fn bounded_attributes<'a>(
    attributes: &'a [KeyValue],
    decoded: &mut Decoded,
) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
    decoded.dropped.attributes += attributes.len().saturating_sub(MOST_ATTRIBUTES) as u64;
    attributes
        .iter()
        .take(MOST_ATTRIBUTES)
        .map(KeyValue::to_pair)
}

impl OfResource {
    fn emitter_attributes(&self, decoded: &mut Decoded) -> EmitterAttributes<'_> {
        let mut own = EmitterAttributes::default();
        for (key, value) in bounded_attributes(&self.resource.attributes, decoded) {
            own.take_attribute(key, &value);
        }
        own
    }
}

pub(super) fn decode_traces(decoder: &Decoder<'_>, bytes: &[u8]) -> Result<Decoded, Malformed> {
    let request = parse_request(bytes)?;
    let mut decoded = Decoded::default();
    for resource in &request.resource_spans {
        let own = resource.emitter_attributes(&mut decoded);
        for one in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            if decoded.is_full(decoder) {
                decoded.dropped.too_many += 1;
                continue;
            }
            let span = decode_span(decoder, &own, one, &mut decoded);
            decoded.add_span(span);
        }
    }
    Ok(decoded)
}

fn decode_span<'a>(
    decoder: &Decoder<'_>,
    resource: &EmitterAttributes<'a>,
    one: &'a OneSpan,
    decoded: &mut Decoded,
) -> Result<Span, Unusable> {
    let (mut facts, mut own) = (SpanAttributes::default(), Cow::Borrowed(resource));
    for (key, value) in bounded_attributes(&one.attributes, decoded) {
        if EmitterAttributes::is_key(key) {
            own.to_mut().take_attribute(key, &value);
        }
        facts.take_attribute(decoder.keys, key, value);
    }
    if one.status.code.0 == 2 {
        facts.set_failed(Cow::Borrowed(&one.status.message));
    }
    let ids = SpanIds::from_bytes(&one.trace_id.0, &one.span_id.0, &one.parent_span_id.0)?;
    let lasted = Timing::from_nanos(
        one.start_time_unix_nano.to_nanos(),
        one.end_time_unix_nano.to_nanos(),
    )?;
    Ok(facts.into_span(
        decoder.keys,
        decoder.source,
        span_side(one.kind.0),
        own.to_emitter(),
        ids,
        lasted,
    ))
}

pub(super) fn decode_logs(
    decoder: &Decoder<'_>,
    bytes: &[u8],
    line: &ReadLine<'_>,
) -> Result<Decoded, Malformed> {
    let request = parse_request(bytes)?;
    let mut decoded = Decoded::default();
    for resource in &request.resource_spans {
        let own = resource.emitter_attributes(&mut decoded);
        for one in resource
            .scope_spans
            .iter()
            .flat_map(|scope| &scope.log_records)
        {
            if decoded.is_full(decoder) {
                decoded.dropped.too_many += 1;
                continue;
            }
            let attributes = bounded_attributes(&one.attributes, &mut decoded);
            let record = AccessRecord {
                time: one.time_unix_nano.to_nanos(),
                observed: one.observed_time_unix_nano.to_nanos(),
                trace: Cow::Borrowed(&one.trace_id.0),
                span: Cow::Borrowed(&one.span_id.0),
                body: one
                    .body
                    .as_ref()
                    .map(AnyValue::to_value)
                    .unwrap_or_default(),
                attributes: attributes
                    .map(|(key, value)| (Cow::Borrowed(key), value))
                    .collect(),
            };
            record.add_span_to(&own, line, &mut decoded);
        }
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hex_or_base64() {
        assert_eq!(
            decode_id("00f067aa0ba902b7"),
            Some(vec![0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7])
        );
        assert_eq!(
            decode_id("f067aa0ba902b7"),
            Some(vec![0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]),
            "zeros were lost"
        );
        assert_eq!(decode_id("APBnqgupArc="), decode_id("00f067aa0ba902b7"));
        assert_eq!(decode_id("FFFF"), Some(vec![0xff, 0xff]));
        for none in ["zz", "灰", &"f".repeat(33), &"Z".repeat(25)] {
            assert_eq!(decode_id(none), None, "{none}");
        }
        assert!(decode_id("").unwrap_or_default().is_empty());
    }
}
