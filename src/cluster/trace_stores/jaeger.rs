//! Jaeger, API v3: OTLP in JSON.
//! <https://www.jaegertracing.io/docs/latest/apis/#query-json-over-http>
//!
//! When nothing is found, it answers 404. A time range is required, and most of its storage
//! backends also require a service. An array attribute matches as JSON text, and several attributes
//! must all match, so each name and form is a separate query. Jaeger up to 1.76 (2.13) ignores the
//! attributes of a query over HTTP (`cmd/query/app/apiv3/http_gateway.go`), so the traces of other
//! tags are left out here.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MOST_SPANS, StoreError, TraceStoreClient, endpoint::AnswerError, pad_trace_id};
use crate::{
    domain::span::{Source, Span, Tag},
    otlp::decode::Decoder,
};

/// Traces that are asked for at least: some answers also hold traces of other tags.
const MIN_TRACES: usize = 200;

/// One message of a streamed answer.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    result: Value,
}

/// The queries: each attribute as text and as an array.
fn attribute_queries(attributes: &[String], tag: &str) -> Vec<String> {
    let forms = |name: &String| {
        let list = json!([tag]).to_string();
        [
            json!({name: tag}).to_string(),
            json!({name: list}).to_string(),
        ]
    };
    attributes.iter().flat_map(forms).collect()
}

pub(super) async fn recent_traces(
    store: &TraceStoreClient,
    tag: &str,
    since: Timestamp,
    until: Timestamp,
    most: usize,
) -> Result<Vec<Span>, StoreError> {
    let Some(gateway) = &store.gateway else {
        return Err(store.endpoint.setting_error(
            "it asks for a service: say in gatewayName under which name the gateway reports",
        ));
    };
    let (start, end) = (since.to_string(), until.to_string());
    let asked_for = most.max(MIN_TRACES).to_string();
    let mut spans = vec![];
    for attributes in attribute_queries(&store.attributes, tag) {
        let parameters = [
            ("query.service_name", gateway.as_str()),
            ("query.start_time_min", &start),
            ("query.start_time_max", &end),
            ("query.attributes", &attributes),
            ("query.num_traces", &asked_for),
        ];
        let found = query_spans(store, "/api/v3/traces", &parameters).await?;
        let (tagged, others) = partition_traces(found, tag);
        spans.extend(tagged);
        if !others.is_empty() {
            // It ignores the attributes: every other query would get the same answer.
            break;
        }
    }
    let mut spans = keep_newest_traces(spans, most);
    spans.truncate(MOST_SPANS);
    Ok(spans)
}

/// The spans of the traces in which a span has that tag, and those of all other traces.
fn partition_traces(spans: Vec<Span>, tag: &str) -> (Vec<Span>, Vec<Span>) {
    let has_tag = |span: &&Span| matches!(&span.tag, Tag::Value(value) if value == tag);
    let tagged: HashSet<String> = spans
        .iter()
        .filter(has_tag)
        .map(|span| span.trace.clone())
        .collect();
    spans
        .into_iter()
        .partition(|span| tagged.contains(&span.trace))
}

/// The spans of the `most` traces that began last.
fn keep_newest_traces(spans: Vec<Span>, most: usize) -> Vec<Span> {
    let mut begun: HashMap<&str, Timestamp> = HashMap::new();
    for span in &spans {
        let first = begun.entry(&span.trace).or_insert(span.time);
        *first = span.time.min(*first);
    }
    let mut traces: Vec<(Timestamp, &str)> = begun.into_iter().map(|(id, at)| (at, id)).collect();
    traces.sort_unstable_by(|a, b| b.cmp(a));
    let kept: HashSet<String> = traces
        .into_iter()
        .take(most)
        .map(|(_, id)| id.to_owned())
        .collect();
    spans
        .into_iter()
        .filter(|span| kept.contains(&span.trace))
        .collect()
}

pub(super) async fn fetch_trace(
    store: &TraceStoreClient,
    id: &str,
) -> Result<Vec<Span>, StoreError> {
    let id = pad_trace_id(id);
    if !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(vec![]);
    }
    query_spans(store, &format!("/api/v3/traces/{id}"), &[]).await
}

async fn query_spans(
    store: &TraceStoreClient,
    path: &str,
    parameters: &[(&str, &str)],
) -> Result<Vec<Span>, StoreError> {
    let Some(answer) = store
        .endpoint
        .get(path, parameters, "application/json")
        .await?
    else {
        return Ok(vec![]);
    };
    let decoder = Decoder::for_store(&store.keys, Source::Jaeger, MOST_SPANS);
    parse_answer(&decoder, &answer.bytes).map_err(|why| store.endpoint.unreadable_error(why))
}

fn parse_answer(decoder: &Decoder<'_>, bytes: &[u8]) -> Result<Vec<Span>, AnswerError> {
    let mut spans = vec![];
    // Long answers come as several JSON objects, one after another.
    for part in serde_json::Deserializer::from_slice(bytes).into_iter::<Part>() {
        let part = part?;
        let decoded = decoder.decode_traces_json(part.result.to_string().as_bytes())?;
        spans.extend(decoded.spans);
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::decode::AttributeKeys;

    #[test]
    fn a_tag_is_asked_for_as_text_and_as_an_array() {
        let asked = attribute_queries(&["x-mse-tag".into()], "gr\"ay");
        assert_eq!(
            asked,
            [
                r#"{"x-mse-tag":"gr\"ay"}"#,
                r#"{"x-mse-tag":"[\"gr\\\"ay\"]"}"#
            ]
        );
    }

    #[test]
    fn traces_of_other_tags_are_left_out_and_the_newest_are_kept() {
        let span = |trace: &str, at: i64, tag: Tag| Span {
            trace: trace.into(),
            time: Timestamp::from_second(at).unwrap(),
            tag,
            ..Span::default()
        };
        let gray = || Tag::Value("gray".into());
        let spans = vec![
            span("old", 1, gray()),
            span("other", 2, Tag::Value("blue".into())),
            span("new", 3, Tag::Absent),
            span("new", 4, gray()),
            span("untagged", 5, Tag::Absent),
            span("old", 9, Tag::Unknown),
        ];
        let traces = |spans: &[Span]| spans.iter().map(|s| s.trace.clone()).collect::<Vec<_>>();
        let (tagged, others) = partition_traces(spans, "gray");
        assert_eq!(traces(&tagged), ["old", "new", "new", "old"]);
        assert_eq!(traces(&others), ["other", "untagged"]);
        assert_eq!(traces(&keep_newest_traces(tagged, 1)), ["new", "new"]);
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
        let decoder = Decoder::for_store(&keys, Source::Jaeger, 10);
        let spans = parse_answer(
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
        assert!(
            parse_answer(&decoder, b"{\"result\":{}}")
                .unwrap()
                .is_empty()
        );
        assert!(parse_answer(&decoder, b"").unwrap().is_empty());
        assert!(parse_answer(&decoder, b"<html>").is_err());
    }
}
