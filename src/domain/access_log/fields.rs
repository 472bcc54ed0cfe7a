//! Field names of each log format: those of the formats' documentation and defaults, and those that
//! `docs/hops.md` recommends.

use super::default_unit;
use crate::{
    api::{AccessLog, LogFields, LogFormat, TimeUnit},
    domain::span::TagKeys,
};

/// All names that each field may have, the most likely first.
#[derive(Clone, Debug)]
pub(super) struct FieldNames {
    pub(super) start: Vec<String>,
    pub(super) end: Vec<String>,
    pub(super) duration: Vec<String>,
    pub(super) unit: TimeUnit,
    pub(super) trace: Vec<String>,
    pub(super) span: Vec<String>,
    pub(super) traceparent: Vec<String>,
    pub(super) sent_traceparent: Vec<String>,
    pub(super) request_id: Vec<String>,
    pub(super) tag: Vec<String>,
    /// For a format that logs the header as received, not as forwarded.
    pub(super) tag_came: Vec<String>,
    pub(super) baggage: Vec<String>,
    pub(super) upstream: Vec<String>,
    pub(super) peer: Vec<String>,
    pub(super) status: Vec<String>,
    pub(super) method: Vec<String>,
    pub(super) path: Vec<String>,
    pub(super) route: Vec<String>,
    pub(super) error: Vec<String>,
}

/// Default names of one format, with the fields of [`FieldNames`] except those of the tag.
struct DefaultNames {
    start: &'static [&'static str],
    end: &'static [&'static str],
    duration: &'static [&'static str],
    trace: &'static [&'static str],
    span: &'static [&'static str],
    traceparent: &'static [&'static str],
    sent_traceparent: &'static [&'static str],
    request_id: &'static [&'static str],
    baggage: &'static [&'static str],
    upstream: &'static [&'static str],
    peer: &'static [&'static str],
    status: &'static [&'static str],
    method: &'static [&'static str],
    path: &'static [&'static str],
    route: &'static [&'static str],
    error: &'static [&'static str],
}

const TRAEFIK: DefaultNames = DefaultNames {
    start: &["StartUTC"],
    end: &[],
    duration: &["Duration"],
    trace: &["TraceId", "trace_id"],
    span: &["SpanId", "span_id"],
    traceparent: &["request_Traceparent"],
    sent_traceparent: &[],
    request_id: &["request_X-Request-Id"],
    baggage: &["request_Baggage"],
    upstream: &["ServiceAddr"],
    // `ClientHost` is what X-Forwarded-For says.
    peer: &["ClientAddr"],
    status: &["DownstreamStatus", "OriginStatus"],
    method: &["RequestMethod"],
    path: &["RequestPath"],
    route: &["RouterName"],
    error: &[],
};

const ENVOY: DefaultNames = DefaultNames {
    start: &["start_time", "time"],
    end: &[],
    duration: &["duration"],
    trace: &["trace_id", "trace"],
    span: &["span_id", "span"],
    traceparent: &[],
    // Envoy logs the header as it was forwarded.
    sent_traceparent: &["traceparent"],
    request_id: &["x-request-id", "request_id"],
    baggage: &["baggage"],
    upstream: &["upstream_host", "upstream"],
    peer: &[
        "peer",
        "downstream_direct_remote_address",
        "downstream_remote_address",
        "remote",
    ],
    status: &["response_code", "code", "status"],
    method: &["method", ":method"],
    path: &["x-envoy-origin-path", "path", ":path"],
    route: &["route_name", "route"],
    error: &["response_flags"],
};

const NGINX: DefaultNames = DefaultNames {
    start: &[],
    end: &["msec", "time_iso8601", "time", "time_local", "@timestamp"],
    duration: &["request_time", "duration"],
    trace: &["trace_id", "otel_trace_id", "trace"],
    span: &["span_id", "otel_span_id", "span"],
    traceparent: &["http_traceparent", "traceparent"],
    sent_traceparent: &[],
    request_id: &["request_id", "req_id", "http_x_request_id"],
    baggage: &["http_baggage", "baggage"],
    upstream: &["upstream_addr", "upstream"],
    peer: &["remote_addr", "peer"],
    status: &["status"],
    method: &["request_method", "method"],
    path: &["request_uri", "path", "uri"],
    route: &["proxy_upstream_name", "route"],
    error: &[],
};

const JSON: DefaultNames = DefaultNames {
    start: &["start", "start_time"],
    end: &["end", "time", "timestamp", "@timestamp"],
    duration: &["duration"],
    trace: &["trace", "trace_id"],
    span: &["span", "span_id"],
    traceparent: &["traceparent"],
    sent_traceparent: &[],
    request_id: &["request_id", "x-request-id"],
    baggage: &["baggage"],
    upstream: &["upstream", "upstream_addr", "upstream_host"],
    peer: &["peer", "remote_addr"],
    status: &["status"],
    method: &["method"],
    path: &["path", "uri"],
    route: &["route"],
    error: &["error"],
};

impl FieldNames {
    pub(super) fn from_config(log: &AccessLog, keys: &TagKeys) -> Self {
        let usual = match log.format {
            LogFormat::Traefik => &TRAEFIK,
            LogFormat::Envoy => &ENVOY,
            LogFormat::Nginx => &NGINX,
            LogFormat::Json => &JSON,
        };
        let own: &LogFields = &log.fields;
        let all = |own: &Option<String>, usual: &[&str]| {
            // A configured name replaces all default names.
            own.clone().map_or_else(
                || usual.iter().map(ToString::to_string).collect(),
                |name| vec![name],
            )
        };
        Self {
            start: all(
                &own.start,
                if own.end.is_some() { &[] } else { usual.start },
            ),
            end: all(&own.end, usual.end),
            duration: all(&own.duration, usual.duration),
            unit: own.duration_unit.unwrap_or(default_unit(log.format)),
            trace: all(&own.trace, usual.trace),
            span: all(&own.span, usual.span),
            traceparent: all(&own.traceparent, usual.traceparent),
            sent_traceparent: all(&own.sent_traceparent, usual.sent_traceparent),
            request_id: all(&own.request_id, usual.request_id),
            tag: own
                .tag
                .clone()
                .map_or_else(|| tag_names(log.format, keys), |name| vec![name]),
            tag_came: if own.tag.is_none() && log.format == LogFormat::Nginx {
                received_tag_names(keys)
            } else {
                vec![]
            },
            baggage: usual.baggage.iter().map(ToString::to_string).collect(),
            upstream: all(&own.upstream, usual.upstream),
            peer: all(&own.peer, usual.peer),
            status: all(&own.status, usual.status),
            method: all(&own.method, usual.method),
            path: all(&own.path, usual.path),
            route: all(&own.route, usual.route),
            error: all(&own.error, usual.error),
        }
    }
}

/// Names that each format gives to the tag headers of a request.
fn tag_names(format: LogFormat, keys: &TagKeys) -> Vec<String> {
    let of_header = |header: &String| match format {
        LogFormat::Traefik => format!("request_{}", canonical_header_name(header)),
        LogFormat::Envoy | LogFormat::Json | LogFormat::Nginx => header.to_lowercase(),
    };
    let named = keys.headers.iter().map(of_header);
    let short = (format != LogFormat::Traefik).then(|| "tag".to_owned());
    named.chain(short).collect()
}

/// nginx's variables for received request headers, which `proxy_set_header` does not change.
fn received_tag_names(keys: &TagKeys) -> Vec<String> {
    keys.headers
        .iter()
        .map(|header| format!("http_{}", header.to_lowercase().replace('-', "_")))
        .collect()
}

/// Writes a header name as Go's `textproto.CanonicalMIMEHeaderKey` does.
fn canonical_header_name(header: &str) -> String {
    let part = |part: &str| {
        let mut chars = part.chars();
        chars
            .next()
            .map(|c| c.to_ascii_uppercase())
            .into_iter()
            .chain(chars.map(|c| c.to_ascii_lowercase()))
            .collect()
    };
    header
        .split('-')
        .map(part)
        .collect::<Vec<String>>()
        .join("-")
}
