//! Zipkin, API v2: complete traces in one answer. <https://zipkin.io/zipkin-api/>

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::{MOST_SPANS, StoreError, TraceStoreClient, pad_trace_id};
use crate::{
    domain::span::{Side, Source, Span},
    otlp::decode::{
        AttributeKeys, EmitterAttributes, SpanAttributes, SpanIds, Timing, Unusable, Value,
        valid_timestamp,
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    trace_id: String,
    id: String,
    #[serde(default)]
    parent_id: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    /// Microseconds since 1970.
    #[serde(default)]
    timestamp: Option<u64>,
    /// Microseconds.
    #[serde(default)]
    duration: Option<u64>,
    #[serde(default)]
    local_endpoint: Option<Endpoint>,
    #[serde(default)]
    remote_endpoint: Option<Endpoint>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    /// The callee reported the span under the caller's id.
    #[serde(default)]
    shared: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    service_name: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
}

impl Endpoint {
    fn address(&self) -> Option<&str> {
        self.ipv4.as_deref().or(self.ipv6.as_deref())
    }
}

pub(super) async fn recent_traces(
    store: &TraceStoreClient,
    tag: &str,
    since: Timestamp,
    until: Timestamp,
    most: usize,
) -> Result<Vec<Span>, StoreError> {
    let end = until.as_millisecond();
    let (lookback, end) = (
        (end - since.as_millisecond()).max(1).to_string(),
        end.to_string(),
    );
    let most = most.to_string();
    let mut spans = vec![];
    for attribute in &store.attributes {
        let wanted = format!("{attribute}={tag}");
        let mut parameters = vec![
            ("annotationQuery", &*wanted),
            ("endTs", &end),
            ("lookback", &lookback),
            ("limit", &most),
        ];
        parameters.extend(
            store
                .gateway
                .as_deref()
                .map(|gateway| ("serviceName", gateway)),
        );
        let Some(answer) = store
            .endpoint
            .get("/api/v2/traces", &parameters, "application/json")
            .await?
        else {
            return Err(store.endpoint.unreadable_error("it has no /api/v2/traces"));
        };
        let traces: Vec<Vec<Told>> = serde_json::from_slice(&answer.bytes)
            .map_err(|e| store.endpoint.unreadable_error(e))?;
        spans.extend(convert_spans(&store.keys, traces.into_iter().flatten()));
    }
    spans.truncate(MOST_SPANS);
    Ok(spans)
}

pub(super) async fn fetch_trace(
    store: &TraceStoreClient,
    id: &str,
) -> Result<Vec<Span>, StoreError> {
    let id = pad_trace_id(id);
    if !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(vec![]);
    }
    let found = store
        .endpoint
        .get(&format!("/api/v2/trace/{id}"), &[], "application/json")
        .await?;
    let Some(answer) = found else {
        return Ok(vec![]);
    };
    let told: Vec<Told> =
        serde_json::from_slice(&answer.bytes).map_err(|e| store.endpoint.unreadable_error(e))?;
    Ok(convert_spans(&store.keys, told))
}

fn convert_spans(keys: &AttributeKeys, told: impl IntoIterator<Item = Told>) -> Vec<Span> {
    told.into_iter()
        .take(MOST_SPANS)
        .filter_map(|told| convert_span(keys, &told).ok())
        .collect()
}

fn convert_span(keys: &AttributeKeys, told: &Told) -> Result<Span, Unusable> {
    let side = match told.kind.as_deref() {
        Some("SERVER") => Side::Server,
        Some("CLIENT") => Side::Client,
        _ => Side::Inner,
    };
    let (mut facts, mut own) = (SpanAttributes::default(), EmitterAttributes::default());
    for (key, text) in told.tags.iter().flatten() {
        let value = Value::from(text.as_str());
        own.take_attribute(key, &value);
        match key.as_str() {
            // The tag exists only on failed spans, and holds the message.
            "error" => facts.set_failed(Cow::Borrowed(text)),
            "http.path" => facts.take_attribute(keys, "url.path", value),
            key => facts.take_attribute(keys, key, value),
        }
    }
    let (local, remote) = (told.local_endpoint.as_ref(), told.remote_endpoint.as_ref());
    for (key, text) in [
        (
            "service.name",
            local.and_then(|e| e.service_name.as_deref()),
        ),
        ("k8s.pod.ip", local.and_then(Endpoint::address)),
    ] {
        if let Some(text) = text {
            own.take_attribute(key, &text.into());
        }
    }
    if let Some(address) = remote.and_then(Endpoint::address) {
        // Addresses in the tags come first.
        facts.take_attribute(keys, "net.peer.ip", address.into());
    }
    let ids = span_ids(told, side)?;
    let nanos = told
        .timestamp
        .and_then(|micros| micros.checked_mul(1000))
        .ok_or(Unusable::Time)?;
    let time = valid_timestamp(nanos.into()).ok_or(Unusable::Time)?;
    let lasted = Timing {
        time,
        micros: told.duration.unwrap_or_default(),
    };
    Ok(facts.into_span(keys, Source::Zipkin, side, own.to_emitter(), ids, lasted))
}

/// The ids of a span. A shared span gets its own id, with the caller's as its parent.
fn span_ids(told: &Told, side: Side) -> Result<SpanIds, Unusable> {
    let trace = SpanIds::from_hex(
        &told.trace_id,
        &told.id,
        told.parent_id.as_deref().unwrap_or_default(),
    )?;
    if told.shared != Some(true) || side != Side::Server {
        return Ok(trace);
    }
    let own = format!("{:016x}", xxh3_64(trace.span.as_bytes()));
    Ok(SpanIds {
        parent: Some(trace.span),
        span: own,
        trace: trace.trace,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::span::Tag;

    fn of(told: serde_json::Value) -> Vec<Span> {
        let keys = AttributeKeys::default().and_attribute("x-mse-tag");
        convert_spans(&keys, serde_json::from_value::<Vec<Told>>(told).unwrap())
    }

    #[test]
    fn spans_by_the_published_schema_are_read() {
        let client = json!({"traceId": "5af7183fb1d4cf5f", "parentId": "6b221d5bc9e6496c", "id": "352bff9a74ca9ad2",
            "kind": "CLIENT", "name": "get /api", "timestamp": 1_795_919_714_000_000_u64, "duration": 1431,
            "localEndpoint": {"serviceName": "gw", "ipv4": "10.0.0.1", "port": 3306},
            "remoteEndpoint": {"ipv4": "10.0.0.7", "port": 8080},
            "tags": {"x-mse-tag": "gray", "http.path": "/A/a", "http.method": "GET", "http.status_code": "503", "error": "503"}});
        let server = json!({"traceId": "5af7183fb1d4cf5f", "parentId": "6b221d5bc9e6496c", "id": "352bff9a74ca9ad2",
            "kind": "SERVER", "shared": true, "timestamp": 1_795_919_714_000_100_u64, "remoteEndpoint": {"ipv4": "10.0.0.1"}});
        let spans = of(json!([client, server]));
        let (client, server) = (&spans[0], &spans[1]);
        assert_eq!(
            (client.trace.as_str(), client.span.as_str()),
            ("00000000000000005af7183fb1d4cf5f", "352bff9a74ca9ad2")
        );
        assert_eq!(
            (client.peer.as_deref(), client.by.address.as_deref()),
            (Some("10.0.0.7"), Some("10.0.0.1"))
        );
        assert_eq!(
            (&client.tag, client.status, client.micros),
            (&Tag::Value("gray".into()), Some(503), 1431)
        );
        assert_eq!(
            (client.path.as_str(), client.error.as_deref()),
            ("/A/a", Some("503"))
        );
        assert_eq!(
            (server.parent.as_deref(), server.caller.as_deref()),
            (Some("352bff9a74ca9ad2"), Some("10.0.0.1"))
        );
        assert_ne!(server.span, client.span);
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        let good = json!({"traceId": "1", "id": "2", "timestamp": 1});
        let with = |key: &str, value: serde_json::Value| {
            let mut told = good.clone();
            told[key] = value;
            told
        };
        assert_eq!(of(json!([good])).len(), 1);
        for wrong in [
            with("timestamp", json!(0)),
            with("timestamp", json!(u64::MAX)),
            with("id", json!("灰")),
            with("traceId", json!("")),
        ] {
            assert!(of(json!([wrong])).is_empty(), "{wrong}");
        }
    }
}
