//! Access logs of gateways that are not ours: one JSON line a request, read into a [`Span`].
//!
//! Every format is a table of the names that a field may have; what the lane group says of its own log comes first.
//! Lines that are no request are passed over. Sources: Traefik 3.7 (docs, "Access Logs": JSON, durations in ns, header
//! fields `request_NAME` as Go writes header names), Envoy 1.40 (docs, "Access logging": command operators; durations in
//! ms), nginx (`ngx_http_log_module`, `ngx_http_upstream_module`: times in s, several upstreams separated by commas).

mod fields;
mod values;

use serde_json::{Map, Value};

use super::{
    request::parse_traceparent,
    span::{Emitter, Side, Source, Span, Tag, TagKeys},
};
use crate::api::{AccessLog, LogFormat, TimeUnit};
use fields::Names;

/// Reads the lines of one gateway.
#[derive(Clone, Debug)]
pub struct Reader {
    source: Source,
    names: Names,
    keys: TagKeys,
    by: Emitter,
}

impl Reader {
    /// Of a log as the lane group tells it; `by` is the pod that writes it.
    pub fn new(log: &AccessLog, keys: &TagKeys, by: Emitter) -> Self {
        let source = match log.format {
            LogFormat::Traefik => Source::Traefik,
            LogFormat::Envoy => Source::Envoy,
            LogFormat::Nginx => Source::Nginx,
            LogFormat::Json => Source::Json,
        };
        Self {
            source,
            names: Names::of(log, keys),
            keys: keys.clone(),
            by,
        }
    }

    /// The request of a line; none where the line tells of no request.
    pub fn read(&self, line: &str) -> Option<Span> {
        // What a container runtime or another writer puts before the JSON is passed over.
        let line = line.get(line.find('{')?..)?;
        let Value::Object(line_fields) = serde_json::from_str(line).ok()? else {
            return None;
        };
        self.span(&line_fields, line).map(Span::cleaned)
    }

    fn span(&self, line: &Map<String, Value>, text: &str) -> Option<Span> {
        let names = &self.names;
        let get = |names: &[String]| names.iter().find_map(|name| find(line, name));
        let words = |names: &[String]| {
            names
                .iter()
                .filter_map(|name| find(line, name))
                .find_map(values::text)
        };
        let status = get(&names.status).and_then(values::status);
        let upstream = get(&names.upstream).and_then(values::text);
        let path = words(&names.path);
        // Something of a request must be there: others write JSON to the same log.
        if status.is_none() && upstream.is_none() && path.is_none() {
            return None;
        }
        let micros = get(&names.duration)
            .map(|v| values::micros(v, names.unit))
            .unwrap_or_default();
        let time = match get(&names.start).and_then(values::time) {
            Some(start) => start,
            None => values::before(get(&names.end).and_then(values::time)?, micros),
        };
        let came = words(&names.traceparent).and_then(|text| parent_of(&text));
        let sent = words(&names.sent_traceparent).and_then(|text| parent_of(&text));
        let own = |names: &[String], digits| words(names).and_then(|id| values::id(&id, digits));
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
            .and_then(values::text)
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
            peer: upstream.as_deref().and_then(values::last_address),
            caller: words(&names.peer).as_deref().and_then(values::address),
            tag: self.tag(line),
            tag_came: tag_of(line, &self.names.tag_came),
            route: words(&names.route),
            method: words(&names.method).unwrap_or_default(),
            path: path.map(|p| self.keys.cut_query(&p)).unwrap_or_default(),
            status: status.or(gave_up.then_some(499)),
            error: flags.map(|f| {
                if self.source == Source::Envoy {
                    values::response_flags(&f)
                } else {
                    f
                }
            }),
        })
    }

    /// The tag header, else the baggage member.
    fn tag(&self, line: &Map<String, Value>) -> Tag {
        let tag = tag_of(line, &self.names.tag);
        if tag.value().is_some() {
            return tag;
        }
        let baggage = self
            .names
            .baggage
            .iter()
            .find_map(|name| find(line, name))
            .and_then(values::text);
        baggage
            .and_then(|b| self.keys.member_of(&b))
            .map_or(tag, |member| Tag::told(&member))
    }
}

/// The first of these fields that holds a tag. A field that is there and holds nothing says that there was none.
fn tag_of(line: &Map<String, Value>, names: &[String]) -> Tag {
    let mut tag = Tag::Unknown;
    for value in names.iter().filter_map(|name| find(line, name)) {
        match Tag::told(&values::text(value).unwrap_or_default()) {
            Tag::Value(value) => return Tag::Value(value),
            told => tag = tag.or(told),
        }
    }
    tag
}

/// Trace id and span id of a `traceparent` header.
fn parent_of(header: &str) -> Option<(String, String)> {
    parse_traceparent(header).map(|(trace, span, _)| (trace.to_owned(), span.to_owned()))
}

/// A field by its name; where there is none, the name is a path of names with dots.
fn find<'a>(line: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = line.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    find(line.get(first)?.as_object()?, rest)
}

/// The unit of a format's durations.
const fn usual_unit(format: LogFormat) -> TimeUnit {
    match format {
        LogFormat::Traefik => TimeUnit::Nanoseconds,
        LogFormat::Envoy => TimeUnit::Milliseconds,
        LogFormat::Nginx | LogFormat::Json => TimeUnit::Seconds,
    }
}

#[cfg(test)]
mod tests;
