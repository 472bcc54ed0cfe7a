//! Access logs of gateways other than graylane's own: one JSON line per request, parsed into a
//! [`Span`].
//!
//! Every format has a table of the names that a field may have; names that the lane group
//! configures for its own log come first. Lines that do not describe a request are skipped.
//!
//! Sources: Traefik 3.7 (docs, "Access Logs": JSON, durations in ns, header fields `request_NAME`
//! as Go writes header names), Envoy 1.40 (docs, "Access logging": command operators; durations in
//! ms), nginx (`ngx_http_log_module`, `ngx_http_upstream_module`: times in s, several upstreams
//! separated by commas).

mod fields;
mod values;

use serde_json::{Map, Value};

use super::{
    request::parse_traceparent,
    span::{Emitter, Side, Source, Span, Tag, TagKeys},
};
use crate::api::{AccessLog, LogFormat, TimeUnit};
use fields::FieldNames;

/// Parses the log lines of one gateway.
#[derive(Clone, Debug)]
pub struct AccessLogReader {
    source: Source,
    names: FieldNames,
    keys: TagKeys,
    by: Emitter,
}

impl AccessLogReader {
    /// Creates a reader for a log as the lane group describes it; `by` is the pod that writes the
    /// log.
    pub fn new(log: &AccessLog, keys: &TagKeys, by: Emitter) -> Self {
        let source = match log.format {
            LogFormat::Traefik => Source::Traefik,
            LogFormat::Envoy => Source::Envoy,
            LogFormat::Nginx => Source::Nginx,
            LogFormat::Json => Source::Json,
        };
        Self {
            source,
            names: FieldNames::from_config(log, keys),
            keys: keys.clone(),
            by,
        }
    }

    /// Parses a line; `None` when it does not describe a request.
    pub fn parse_line(&self, line: &str) -> Option<Span> {
        // Skip what a container runtime or another writer puts before the JSON.
        let line = line.get(line.find('{')?..)?;
        let Value::Object(line_fields) = serde_json::from_str(line).ok()? else {
            return None;
        };
        self.build_span(&line_fields, line).map(Span::into_cleaned)
    }

    fn build_span(&self, line: &Map<String, Value>, text: &str) -> Option<Span> {
        let names = &self.names;
        let get = |names: &[String]| names.iter().find_map(|name| find_field(line, name));
        let words = |names: &[String]| {
            names
                .iter()
                .filter_map(|name| find_field(line, name))
                .find_map(values::parse_text)
        };
        let status = get(&names.status).and_then(values::parse_status);
        let upstream = get(&names.upstream).and_then(values::parse_text);
        let path = words(&names.path);
        // Others write JSON to the same log, so some field of a request must be present.
        if status.is_none() && upstream.is_none() && path.is_none() {
            return None;
        }
        let micros = get(&names.duration)
            .map(|v| values::parse_micros(v, names.unit))
            .unwrap_or_default();
        let time = match get(&names.start).and_then(values::parse_time) {
            Some(start) => start,
            None => values::subtract_micros(get(&names.end).and_then(values::parse_time)?, micros),
        };
        let came = words(&names.traceparent).and_then(|text| parse_parent(&text));
        let sent = words(&names.sent_traceparent).and_then(|text| parse_parent(&text));
        let own = |names: &[String], digits| {
            words(names).and_then(|id| values::parse_hex_id(&id, digits))
        };
        let trace = own(&names.trace, 32)
            .or_else(|| {
                sent.as_ref()
                    .or(came.as_ref())
                    .map(|(trace, _)| trace.clone())
            })
            .or_else(|| words(&names.request_id))
            .unwrap_or_default();
        let span = sent.map(|(_, span)| span).or_else(|| own(&names.span, 16));
        let flags = get(&names.error)
            .and_then(values::parse_text)
            .filter(|f| f != "-");
        let gave_up = self.source == Source::Envoy
            && flags
                .as_deref()
                .is_some_and(|f| f.split(',').any(|f| f == "DC"));
        Some(Span {
            side: Side::Gateway,
            source: self.source,
            time,
            micros,
            trace,
            span: span
                .unwrap_or_else(|| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))),
            parent: came.map(|(_, span)| span),
            by: self.by.clone(),
            peer: upstream.as_deref().and_then(values::parse_last_address),
            caller: words(&names.peer)
                .as_deref()
                .and_then(values::parse_address),
            tag: self.find_tag(line),
            tag_came: tag_from_fields(line, &self.names.tag_came),
            route: words(&names.route),
            method: words(&names.method).unwrap_or_default(),
            path: path.map(|p| self.keys.filter_query(&p)).unwrap_or_default(),
            status: status.or(gave_up.then_some(499)),
            error: flags.map(|f| {
                if self.source == Source::Envoy {
                    values::describe_response_flags(&f)
                } else {
                    f
                }
            }),
        })
    }

    /// Lane tag from the tag header, or else from the baggage member.
    fn find_tag(&self, line: &Map<String, Value>) -> Tag {
        let tag = tag_from_fields(line, &self.names.tag);
        if tag.value().is_some() {
            return tag;
        }
        let baggage = self
            .names
            .baggage
            .iter()
            .find_map(|name| find_field(line, name))
            .and_then(values::parse_text);
        baggage
            .and_then(|b| self.keys.tag_in_baggage(&b))
            .map_or(tag, |member| Tag::from_reported(&member))
    }
}

/// Tag in the first of these fields that has one. A field that is present but empty means that
/// there was no tag; without any field, the tag is unknown.
fn tag_from_fields(line: &Map<String, Value>, names: &[String]) -> Tag {
    let mut tag = Tag::Unknown;
    for value in names.iter().filter_map(|name| find_field(line, name)) {
        match Tag::from_reported(&values::parse_text(value).unwrap_or_default()) {
            Tag::Value(value) => return Tag::Value(value),
            told => tag = tag.or(told),
        }
    }
    tag
}

/// Trace id and span id of a `traceparent` header.
fn parse_parent(header: &str) -> Option<(String, String)> {
    parse_traceparent(header).map(|(trace, span, _)| (trace.to_owned(), span.to_owned()))
}

/// Finds a field by its name, or else by reading the name as a path separated by dots.
fn find_field<'a>(line: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = line.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    find_field(line.get(first)?.as_object()?, rest)
}

/// Default unit of a format's durations.
const fn default_unit(format: LogFormat) -> TimeUnit {
    match format {
        LogFormat::Traefik => TimeUnit::Nanoseconds,
        LogFormat::Envoy => TimeUnit::Milliseconds,
        LogFormat::Nginx | LogFormat::Json => TimeUnit::Seconds,
    }
}

#[cfg(test)]
mod tests;
