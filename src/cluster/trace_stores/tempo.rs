//! Grafana Tempo: a TraceQL search, then each trace by its id.
//! <https://grafana.com/docs/tempo/latest/api_docs/>
//!
//! A search returns only the spans that match, so whole traces are fetched afterwards. Leading
//! zeros of ids may be missing. SkyWalking's Tempo endpoint supports only `=` and `&&`: set a
//! single `tagAttribute` there.

use jiff::Timestamp;
use prost::Message;
use serde::Deserialize;
use serde_json::Value;

use super::{
    MOST_SPANS, StoreError, TraceStoreClient,
    endpoint::{AnswerError, quote_traceql},
    pad_trace_id,
};
use crate::{
    domain::span::{Source, Span},
    otlp::decode::Decoder,
};

const PROTOBUF: &str = "application/protobuf";

/// `TraceByIDResponse`; its trace has the fields of OTLP's `TracesData`.
#[derive(Clone, PartialEq, Message)]
struct TraceById {
    #[prost(bytes = "vec", optional, tag = "1")]
    trace: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    traces: Option<Vec<FoundTrace>>,
}

#[derive(Deserialize)]
struct FoundTrace {
    #[serde(rename = "traceID")]
    id: String,
}

fn traceql_query(attributes: &[String], tag: &str) -> String {
    let wanted =
        |attribute: &String| format!("span.{} = {}", quote_traceql(attribute), quote_traceql(tag));
    format!(
        "{{ {} }}",
        attributes
            .iter()
            .map(wanted)
            .collect::<Vec<_>>()
            .join(" || ")
    )
}

/// Ids of traces with this tag.
pub(super) async fn search_traces(
    store: &TraceStoreClient,
    tag: &str,
    since: Timestamp,
    until: Timestamp,
    most: usize,
) -> Result<Vec<String>, StoreError> {
    let query = traceql_query(&store.attributes, tag);
    let (start, end, limit) = (
        since.as_second().to_string(),
        (until.as_second() + 1).to_string(),
        most.to_string(),
    );
    let parameters = [
        ("q", &*query),
        ("start", &start),
        ("end", &end),
        ("limit", &limit),
        ("spss", "1"),
    ];
    let Some(answer) = store
        .endpoint
        .get("/api/search", &parameters, "application/json")
        .await?
    else {
        return Err(store.endpoint.unreadable_error("it has no /api/search"));
    };
    parse_search(&answer.bytes).map_err(|e| store.endpoint.unreadable_error(e))
}

fn parse_search(bytes: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let found: Found = serde_json::from_slice(bytes)?;
    Ok(found
        .traces
        .unwrap_or_default()
        .into_iter()
        .map(|trace| pad_trace_id(&trace.id))
        .collect())
}

pub(super) async fn fetch_trace(
    store: &TraceStoreClient,
    id: &str,
) -> Result<Vec<Span>, StoreError> {
    let id = pad_trace_id(id);
    if !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(vec![]);
    }
    // Tempo before 2.7 has only the older path. Both answer 404 when there is no such trace.
    for (path, wrapped) in [("/api/v2/traces", true), ("/api/traces", false)] {
        let Some(answer) = store
            .endpoint
            .get(&format!("{path}/{id}"), &[], PROTOBUF)
            .await?
        else {
            continue;
        };
        let decoder = Decoder::for_store(&store.keys, Source::Tempo, MOST_SPANS);
        let spans = if answer.is_json {
            decode_json(&decoder, &answer.bytes)
        } else {
            decode_protobuf(&decoder, &answer.bytes, wrapped)
        };
        return spans.map_err(|why| store.endpoint.unreadable_error(why));
    }
    Ok(vec![])
}

fn decode_protobuf(
    decoder: &Decoder<'_>,
    bytes: &[u8],
    wrapped: bool,
) -> Result<Vec<Span>, AnswerError> {
    let trace = if wrapped {
        TraceById::decode(bytes)?.trace.unwrap_or_default()
    } else {
        bytes.to_vec()
    };
    Ok(decoder.decode_traces(&trace)?.spans)
}

fn decode_json(decoder: &Decoder<'_>, bytes: &[u8]) -> Result<Vec<Span>, AnswerError> {
    let mut answer: Value = serde_json::from_slice(bytes)?;
    let trace = match answer.get_mut("trace") {
        Some(trace) => trace.take(),
        None => answer,
    };
    let decoded = decoder.decode_traces_json(trace.to_string().as_bytes())?;
    Ok(decoded.spans)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{
        ResourceSpans, ScopeSpans, Span as Told, TracesData,
    };

    use super::*;
    use crate::otlp::decode::AttributeKeys;

    #[test]
    fn a_query_names_every_attribute_and_escapes_the_tag() {
        let query = traceql_query(
            &["http.request.header.x-mse-tag".into(), "x-mse-tag".into()],
            "a\"b",
        );
        assert_eq!(
            query,
            r#"{ span."http.request.header.x-mse-tag" = "a\"b" || span."x-mse-tag" = "a\"b" }"#
        );
    }

    #[test]
    fn a_search_by_the_published_schema_gives_ids_with_their_zeros() {
        let text = r#"{"traces":[{"traceID":"2f3e0cee77ae5dc9c17ade3689eb2e54","rootServiceName":"gw","spanSets":[]},
            {"traceID":"1234567890abcdef"}],"metrics":{"inspectedBytes":"1"}}"#;
        assert_eq!(
            parse_search(text.as_bytes()).unwrap(),
            [
                "2f3e0cee77ae5dc9c17ade3689eb2e54",
                "00000000000000001234567890abcdef"
            ]
        );
        assert!(parse_search(b"{}").unwrap().is_empty());
        assert!(parse_search(b"{\"traces\":null}").unwrap().is_empty());
        assert!(parse_search(b"<html>").is_err());
    }

    #[test]
    fn a_trace_by_the_published_schema_is_read_in_both_forms() {
        let told = Told {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            kind: 3,
            start_time_unix_nano: 5,
            ..Told::default()
        };
        let scope = ScopeSpans {
            spans: vec![told],
            ..ScopeSpans::default()
        };
        let data = TracesData {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![scope],
                ..ResourceSpans::default()
            }],
        };
        let keys = AttributeKeys::default();
        let decoder = Decoder::for_store(&keys, Source::Tempo, 10);
        let answer = TraceById {
            trace: Some(data.encode_to_vec()),
        }
        .encode_to_vec();
        let spans = decode_protobuf(&decoder, &answer, true).unwrap();
        assert_eq!((spans.len(), spans[0].source), (1, Source::Tempo));
        assert_eq!(
            decode_protobuf(&decoder, &data.encode_to_vec(), false).unwrap(),
            spans
        );
        let json = serde_json::json!({"trace": data, "status": "COMPLETE"}).to_string();
        assert_eq!(decode_json(&decoder, json.as_bytes()).unwrap(), spans);
        assert!(decode_protobuf(&decoder, b"", true).unwrap().is_empty());
    }
}
