//! Log records that hold access log lines of a gateway: Traefik's, whose body is the line, and
//! Envoy's, whose attributes are the fields.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use super::{
    Decoded, EmitterAttributes, ReadLine, Unusable, Value, text::hex_id, time::valid_timestamp,
};
use crate::domain::span::Emitter;

/// One log record.
#[derive(Debug, Default)]
pub(super) struct AccessRecord<'a> {
    /// Nanoseconds since 1970; 0 when unknown.
    pub(super) time: u64,
    /// When a collector observed it, in nanoseconds since 1970.
    pub(super) observed: u64,
    pub(super) trace: Cow<'a, [u8]>,
    pub(super) span: Cow<'a, [u8]>,
    pub(super) body: Value<'a>,
    pub(super) attributes: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl AccessRecord<'_> {
    /// Adds the span of this record.
    pub(super) fn add_span_to(
        &self,
        own: &EmitterAttributes<'_>,
        line: &ReadLine<'_>,
        decoded: &mut Decoded,
    ) {
        let body = self
            .body
            .as_text()
            .map(str::trim)
            .filter(|text| text.starts_with('{'));
        let Some(mut span) = body
            .and_then(line)
            .or_else(|| line(&self.fields_as_json()?))
        else {
            decoded.dropped.no_access_log += 1;
            return;
        };
        if span.trace.is_empty() {
            span.trace = hex_id(&self.trace, 16).unwrap_or_default();
        }
        if span.by == Emitter::default() {
            span.by = own.to_emitter();
        }
        let can_be = valid_timestamp(span.time.as_nanosecond()).is_some();
        decoded.add_span(if can_be {
            Ok(span)
        } else {
            Err(Unusable::Time)
        });
    }

    /// The attributes as a line in JSON, with time and ids from the record.
    fn fields_as_json(&self) -> Option<String> {
        if self.attributes.is_empty() {
            return None;
        }
        let mut line = Map::new();
        for (key, value) in &self.attributes {
            let value = match value {
                Value::Number(n) => Json::from(*n),
                Value::Flag(flag) => Json::from(*flag),
                Value::Text(_) | Value::List(_) => Json::from(value.as_text()),
                Value::Other => continue,
            };
            line.insert(key.clone().into_owned(), value);
        }
        let time = [self.time, self.observed]
            .into_iter()
            .find_map(|nanos| valid_timestamp(nanos.into()));
        let known = [
            ("start_time", time.map(|t| t.to_string())),
            ("trace_id", hex_id(&self.trace, 16)),
            ("span_id", hex_id(&self.span, 8)),
        ];
        for (key, value) in known {
            if let (Some(value), false) = (value, line.contains_key(key)) {
                line.insert(key.into(), value.into());
            }
        }
        serde_json::to_string(&line).ok()
    }
}
