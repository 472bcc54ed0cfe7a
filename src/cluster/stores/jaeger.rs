//! Jaeger, API v3: OTLP in JSON. <https://www.jaegertracing.io/docs/latest/apis/#query-json-over-http>
//!
//! Nothing found is a 404. Times and, by most of its stores, the service must be named. An attribute that is an array matches
//! as JSON text, and several attributes must all match: each name and form is a question of its own.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MOST_SPANS, Store, StoreError, padded};
use crate::{
    domain::span::{Source, Span},
    otlp::decode::Decoder,
};

/// One message of a streamed answer.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    result: Value,
}

/// What to ask for: each attribute, as text and as an array.
fn wanted(attributes: &[String], tag: &str) -> Vec<String> {
    let forms = |name: &String| {
        let list = json!([tag]).to_string();
        [
            json!({name: tag}).to_string(),
            json!({name: list}).to_string(),
        ]
    };
    attributes.iter().flat_map(forms).collect()
}

pub(super) async fn recent(
    store: &Store,
    tag: &str,
    since: Timestamp,
    until: Timestamp,
    most: usize,
) -> Result<Vec<Span>, StoreError> {
    let Some(gateway) = &store.gateway else {
        return Err(store.asked.setting(
            "it asks for a service: say in gatewayName under which name the gateway reports",
        ));
    };
    let (start, end, most) = (since.to_string(), until.to_string(), most.to_string());
    let mut spans = vec![];
    for attributes in wanted(&store.attributes, tag) {
        let parameters = [
            ("query.service_name", gateway.as_str()),
            ("query.start_time_min", &start),
            ("query.start_time_max", &end),
            ("query.attributes", &attributes),
            ("query.num_traces", &most),
        ];
        spans.extend(ask(store, "/api/v3/traces", &parameters).await?);
    }
    spans.truncate(MOST_SPANS);
    Ok(spans)
}

pub(super) async fn trace(store: &Store, id: &str) -> Result<Vec<Span>, StoreError> {
    let id = padded(id);
    if !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(vec![]);
    }
    ask(store, &format!("/api/v3/traces/{id}"), &[]).await
}

async fn ask(
    store: &Store,
    path: &str,
    parameters: &[(&str, &str)],
) -> Result<Vec<Span>, StoreError> {
    let Some(answer) = store
        .asked
        .get(path, parameters, "application/json")
        .await?
    else {
        return Ok(vec![]);
    };
    let decoder = Decoder::of_store(&store.keys, Source::Jaeger, MOST_SPANS);
    read(&decoder, &answer.bytes).map_err(|why| store.asked.unreadable(why))
}

fn read(decoder: &Decoder<'_>, bytes: &[u8]) -> Result<Vec<Span>, String> {
    let mut spans = vec![];
    // Long answers come in parts, one JSON object after another.
    for part in serde_json::Deserializer::from_slice(bytes).into_iter::<Part>() {
        let part = part.map_err(|e| e.to_string())?;
        let decoded = decoder
            .traces_json(part.result.to_string().as_bytes())
            .map_err(|e| e.to_string())?;
        spans.extend(decoded.spans);
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::span::Tag, otlp::decode::AttributeKeys};

    #[test]
    fn a_tag_is_asked_for_as_text_and_as_an_array() {
        let asked = wanted(&["x-mse-tag".into()], "gr\"ay");
        assert_eq!(
            asked,
            [
                r#"{"x-mse-tag":"gr\"ay"}"#,
                r#"{"x-mse-tag":"[\"gr\\\"ay\"]"}"#
            ]
        );
    }

    #[test]
    fn an_answer_by_the_published_schema_is_read() {
        let part = |span: &str| {
            json!({"result": {"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "gw"}}]},
                "scopeSpans": [{"scope": {}, "spans": [{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": span,
                "parentSpanId": "", "name": "ReverseProxy", "kind": 3, "startTimeUnixNano": "1795919714000000000",
                "endTimeUnixNano": "1795919714001000000", "attributes": [
                    {"key": "http.request.header.x-mse-tag", "value": {"stringValue": "[\"gray\"]"}},
                    {"key": "network.peer.address", "value": {"stringValue": "10.0.0.7"}}], "status": {}}]}]}]}})
            .to_string()
        };
        let keys = AttributeKeys::default().and_attribute("http.request.header.x-mse-tag");
        let decoder = Decoder::of_store(&keys, Source::Jaeger, 10);
        let spans = read(
            &decoder,
            format!("{}\n{}", part("b7ad6b7169203331"), part("APBnqgupArc=")).as_bytes(),
        )
        .unwrap();
        assert_eq!(
            (spans.len(), &spans[0].tag),
            (2, &Tag::Value("gray".into()))
        );
        assert_eq!(
            (spans[1].span.as_str(), spans[1].peer.as_deref()),
            ("00f067aa0ba902b7", Some("10.0.0.7"))
        );
        assert!(read(&decoder, b"{\"result\":{}}").unwrap().is_empty());
        assert!(read(&decoder, b"").unwrap().is_empty());
        assert!(read(&decoder, b"<html>").is_err());
    }
}
