//! What the attributes of a span say about its request, whatever system reported it.

use std::borrow::Cow;

use jiff::Timestamp;

use super::{
    AttributeKeys, Unusable, Value,
    peer::parse_ip,
    status::{describe_flags, grpc_status},
    tags::TagLocation,
    target::path_and_query,
    text::{clean_bounded, clean_non_empty, hex_id},
    time::{micros_between, valid_timestamp},
};
use crate::domain::span::{Emitter, Side, Source, Span, Tag};

/// The ids of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanIds {
    /// 32 hex digits.
    pub trace: String,
    /// 16 hex digits.
    pub span: String,
    /// Id of the caller's span, 16 hex digits.
    pub parent: Option<String>,
}

impl SpanIds {
    /// Creates ids from bytes; short ones are padded with leading zeros.
    ///
    /// # Errors
    ///
    /// When the trace id or the span id is missing, zero or too long.
    pub fn from_bytes(trace: &[u8], span: &[u8], parent: &[u8]) -> Result<Self, Unusable> {
        let trace = hex_id(trace, 16).ok_or(Unusable::Id)?;
        let span = hex_id(span, 8).ok_or(Unusable::Id)?;
        let parent = hex_id(parent, 8).filter(|parent| *parent != span);
        Ok(Self {
            trace,
            span,
            parent,
        })
    }

    /// Creates ids from hex digits.
    ///
    /// # Errors
    ///
    /// When the trace id or the span id is missing, zero, too long or no hex.
    pub fn from_hex(trace: &str, span: &str, parent: &str) -> Result<Self, Unusable> {
        let bytes = |text: &str| Some(u128::from_str_radix(text, 16).ok()?.to_be_bytes());
        let short = |text: &str| {
            let bytes = bytes(text)?;
            let (zeros, id) = bytes.split_at(8);
            zeros.iter().all(|b| *b == 0).then(|| id.to_vec())
        };
        let (trace, span) = (
            bytes(trace).ok_or(Unusable::Id)?,
            short(span).ok_or(Unusable::Id)?,
        );
        let parent = short(parent).unwrap_or_default();
        Self::from_bytes(&trace, &span, &parent)
    }
}

/// Start and duration of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Start time.
    pub time: Timestamp,
    /// Duration in microseconds.
    pub micros: u64,
}

impl Timing {
    /// From start and end, in nanoseconds since 1970.
    ///
    /// # Errors
    ///
    /// When the start time is impossible.
    pub fn from_nanos(start: u64, end: u64) -> Result<Self, Unusable> {
        let time = valid_timestamp(start.into()).ok_or(Unusable::Time)?;
        Ok(Self {
            time,
            micros: micros_between(start, end),
        })
    }
}

type Text<'a> = Option<Cow<'a, str>>;

/// What the attributes of a span say. Attributes may come in any order.
#[derive(Clone, Debug, Default)]
pub struct SpanAttributes<'a> {
    /// Envoy: the address of the pod that it called.
    upstream_address: Text<'a>,
    network_peer: Text<'a>,
    /// Envoy: the pod's address on spans of outgoing requests, the caller's on spans of incoming
    /// ones.
    peer_address: Text<'a>,
    server_address: Text<'a>,
    socket_peer: Text<'a>,
    net_peer: Text<'a>,
    /// Set by an attribute that Envoy adds only to spans of incoming requests.
    of_downstream: bool,
    tag: Option<(TagLocation, Tag)>,
    status: Option<u16>,
    grpc: Option<(u16, &'static str)>,
    flags: Text<'a>,
    error_type: Text<'a>,
    error_flag: bool,
    failed: Text<'a>,
    method: Text<'a>,
    url_path: Text<'a>,
    url_query: Text<'a>,
    http_target: Text<'a>,
    http_url: Text<'a>,
    url_full: Text<'a>,
    route: Text<'a>,
}

impl<'a> SpanAttributes<'a> {
    /// Reads an attribute.
    pub fn take_attribute(&mut self, keys: &AttributeKeys, key: &str, value: Value<'a>) {
        if let Some(way) = keys.tag_location(key)
            && self.tag.as_ref().is_none_or(|(known, _)| way < *known)
        {
            let tag = keys.read_tag(way, &value);
            if !tag.is_unknown() {
                self.tag = Some((way, tag));
            }
        }
        let place = match key {
            "upstream_address" => &mut self.upstream_address,
            "network.peer.address" => &mut self.network_peer,
            "peer.address" => &mut self.peer_address,
            "server.address" => &mut self.server_address,
            "net.sock.peer.addr" => &mut self.socket_peer,
            "net.peer.ip" => &mut self.net_peer,
            "response_flags" => &mut self.flags,
            "error.type" => &mut self.error_type,
            "http.request.method" | "http.method" => &mut self.method,
            "url.path" => &mut self.url_path,
            "url.query" => &mut self.url_query,
            "http.target" => &mut self.http_target,
            "http.url" => &mut self.http_url,
            "url.full" => &mut self.url_full,
            "traefik.router.name" => &mut self.route,
            "downstream_cluster" => {
                self.of_downstream = true;
                return;
            }
            "error" => {
                self.error_flag = value.is_true();
                return;
            }
            "http.response.status_code" | "http.status_code" => {
                let status = value.as_number().and_then(|n| u16::try_from(n).ok());
                self.status = status.filter(|n| (100..=999).contains(n)).or(self.status);
                return;
            }
            "rpc.grpc.status_code" | "grpc.status_code" | "rpc.response.status_code" => {
                let number = value.as_number().map(|n| n.to_string());
                self.grpc = number
                    .as_deref()
                    .or_else(|| value.as_text())
                    .and_then(grpc_status);
                return;
            }
            _ => return,
        };
        if let Value::Text(text) = value {
            *place = Some(text);
        }
    }

    /// Records that the span reports a failure.
    pub fn set_failed(&mut self, words: Cow<'a, str>) {
        self.failed = Some(words);
    }

    /// Builds the span.
    pub fn into_span(
        self,
        keys: &AttributeKeys,
        source: Source,
        side: Side,
        by: Emitter,
        ids: SpanIds,
        lasted: Timing,
    ) -> Span {
        let (peer, caller) = self.peer_addresses(side);
        let (status, error) = self.status_and_error();
        let SpanIds {
            trace,
            span,
            parent,
        } = ids;
        let Timing { time, micros } = lasted;
        let path = self.request_path(keys);
        let text = |text: Text<'_>| text.as_deref().and_then(clean_non_empty);
        let tag = self.tag.map(|(_, tag)| tag).unwrap_or_default();
        let (method, route) = (text(self.method).unwrap_or_default(), text(self.route));
        Span {
            side,
            source,
            time,
            micros,
            trace,
            span,
            parent,
            by,
            peer,
            caller,
            tag,
            // The gateway's own span tells that.
            tag_came: Tag::Unknown,
            route,
            method,
            path,
            status,
            error,
        }
    }

    /// The addresses of the called pod and of the caller.
    fn peer_addresses(&self, side: Side) -> (Option<String>, Option<String>) {
        let first = |all: &[&Text<'_>]| all.iter().find_map(|text| parse_ip(text.as_deref()?));
        let near = if self.of_downstream {
            &self.peer_address
        } else {
            &None
        };
        let far = if self.of_downstream {
            &None
        } else {
            &self.peer_address
        };
        match side {
            Side::Client | Side::Gateway => {
                let asked = [
                    &self.upstream_address,
                    &self.network_peer,
                    far,
                    &self.server_address,
                    &self.socket_peer,
                    &self.net_peer,
                ];
                (first(&asked), first(&[near]))
            }
            Side::Server => (
                None,
                first(&[
                    &self.network_peer,
                    &self.peer_address,
                    &self.socket_peer,
                    &self.net_peer,
                ]),
            ),
            Side::Inner => (None, None),
        }
    }

    /// The HTTP status, and the error if the request failed.
    fn status_and_error(&self) -> (Option<u16>, Option<String>) {
        // gRPC answers with HTTP 200, whatever the result.
        let grpc = self.grpc.filter(|(status, _)| *status != 200);
        let status = grpc.or(self.grpc).map(|(status, _)| status);
        let status = match (self.status, status) {
            (Some(http), Some(_)) if http >= 300 => Some(http),
            (http, grpc) => grpc.or(http),
        };
        if let Some(words) = self.flags.as_deref().and_then(describe_flags) {
            return (status, Some(words));
        }
        // By OpenTelemetry's conventions a client span with a 404 is an error; here it is an
        // answer.
        let answered = status.is_some_and(|status| status < 500);
        if answered || !(self.error_flag || self.failed.is_some()) {
            let words = grpc
                .filter(|(status, _)| *status >= 500)
                .map(|(_, name)| format!("gRPC {name}"));
            return (status, words);
        }
        let words = [&self.failed, &self.error_type]
            .into_iter()
            .find_map(|text| clean_non_empty(text.as_deref()?));
        let grpc = || grpc.map(|(_, name)| format!("gRPC {name}"));
        (
            status,
            Some(
                words
                    .or_else(grpc)
                    .unwrap_or_else(|| "its span says that it failed".into()),
            ),
        )
    }

    fn request_path(&self, keys: &AttributeKeys) -> String {
        let of = |target: &Text<'_>| {
            let (path, query) = path_and_query(target.as_deref()?);
            Some(clean_bounded(&keys.cut_query(path, query)))
        };
        let by_parts = || {
            let (path, _) = path_and_query(self.url_path.as_deref()?);
            Some(clean_bounded(
                &keys.cut_query(
                    path,
                    self.url_query
                        .as_deref()
                        .unwrap_or_default()
                        .trim_start_matches('?'),
                ),
            ))
        };
        let found = by_parts()
            .or_else(|| of(&self.http_target))
            .or_else(|| of(&self.http_url));
        found.or_else(|| of(&self.url_full)).unwrap_or_default()
    }
}
