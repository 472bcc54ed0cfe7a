//! Apache SkyWalking: GraphQL.
//! <https://skywalking.apache.org/docs/main/latest/en/api/query-protocol/>
//!
//! Times are in the time zone of the OAP, which has to be queried for it. A tag is found only if
//! the OAP's `SW_SEARCHABLE_TAG_KEYS` contains its key. A span is identified by its segment and its
//! number in it; `refs` holds the caller in another segment.

use std::borrow::Cow;

use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{MOST_SPANS, StoreError, TraceStoreClient, endpoint::AnswerError};
use crate::{
    domain::{
        hop::truncate_text,
        span::{Side, Source, Span},
        text::Clean,
    },
    otlp::decode::{
        AttributeKeys, EmitterAttributes, SpanAttributes, SpanIds, Timing, Unusable, Value,
        valid_timestamp,
    },
};

const ZONE: &str = "query { time: getTimeInfo { timezone } }";
const SEARCH: &str = "query ($condition: TraceQueryCondition) { found: queryBasicTraces(condition: $condition) \
                      { traces { traceIds } } }";
const TRACE: &str = "query ($id: ID!) { trace: queryTrace(traceId: $id) { spans { traceId segmentId spanId parentSpanId \
                     refs { traceId parentSegmentId parentSpanId } serviceCode serviceInstanceName startTime endTime \
                     endpointName type peer isError tags { key value } } } }";

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Response<T> {
    data: Option<T>,
    errors: Option<Vec<Problem>>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Zone {
    time: Option<TimeInfo>,
}

#[derive(Deserialize)]
struct TimeInfo {
    timezone: Option<String>,
}

#[derive(Deserialize)]
struct Search {
    found: Option<Found>,
}

#[derive(Deserialize)]
struct Found {
    traces: Vec<FoundTrace>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundTrace {
    trace_ids: Vec<String>,
}

#[derive(Deserialize)]
struct OneTrace {
    trace: Option<Spans>,
}

#[derive(Deserialize)]
struct Spans {
    spans: Option<Vec<Told>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    trace_id: String,
    segment_id: String,
    span_id: i64,
    parent_span_id: i64,
    #[serde(default)]
    refs: Option<Vec<Ref>>,
    #[serde(default)]
    service_code: Option<String>,
    #[serde(default)]
    service_instance_name: Option<String>,
    /// Milliseconds since 1970.
    start_time: i64,
    end_time: i64,
    #[serde(default)]
    endpoint_name: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    peer: Option<String>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(default)]
    tags: Option<Vec<TagOf>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ref {
    parent_segment_id: String,
    parent_span_id: i64,
}

#[derive(Deserialize)]
struct TagOf {
    key: String,
    #[serde(default)]
    value: Option<String>,
}

async fn query_graphql<T: DeserializeOwned>(
    store: &TraceStoreClient,
    query: &str,
    variables: Json,
) -> Result<T, StoreError> {
    let question = json!({"query": query, "variables": variables});
    let Some(answer) = store.endpoint.post("/graphql", &question).await? else {
        return Err(store.endpoint.unreadable_error("it has no /graphql"));
    };
    parse_data(&answer.bytes).map_err(|why| store.endpoint.unreadable_error(why))
}

fn parse_data<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AnswerError> {
    let response: Response<T> = serde_json::from_slice(bytes)?;
    let problem = response
        .errors
        .and_then(|errors| errors.into_iter().next())
        .map(|problem| problem.message);
    response
        .data
        .ok_or_else(|| problem.map_or(AnswerError::NoData, |told| AnswerError::Told(told.into())))
}

/// Ids of traces with this tag.
pub(super) async fn search_traces(
    store: &TraceStoreClient,
    tag: &str,
    since: Timestamp,
    until: Timestamp,
    most: usize,
) -> Result<Vec<String>, StoreError> {
    let zone: Zone = query_graphql(store, ZONE, json!({})).await?;
    let zone = zone
        .time
        .and_then(|time| parse_zone(&time.timezone?))
        .unwrap_or(TimeZone::UTC);
    let mut ids = vec![];
    for key in &store.attributes {
        let condition = trace_condition(key, tag, (since, until), &zone, most);
        let found: Search = query_graphql(store, SEARCH, json!({"condition": condition})).await?;
        let traces = found.found.map(|found| found.traces).unwrap_or_default();
        for id in traces.into_iter().flat_map(|trace| trace.trace_ids) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    Ok(ids)
}

fn trace_condition(
    key: &str,
    tag: &str,
    (since, until): (Timestamp, Timestamp),
    zone: &TimeZone,
    most: usize,
) -> Json {
    let written = |time: Timestamp| {
        time.to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H%M%S")
            .to_string()
    };
    json!({
        "queryDuration": {"start": written(since), "end": written(until), "step": "SECOND"},
        "tags": [{"key": key, "value": tag}],
        "traceState": "ALL",
        "queryOrder": "BY_START_TIME",
        "paging": {"pageNum": 1, "pageSize": most},
    })
}

/// Parses an offset such as `+0800`.
fn parse_zone(text: &str) -> Option<TimeZone> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Offset::from_seconds(sign * seconds)
        .ok()
        .map(TimeZone::fixed)
}

pub(super) async fn fetch_trace(
    store: &TraceStoreClient,
    id: &str,
) -> Result<Vec<Span>, StoreError> {
    let found: OneTrace = query_graphql(store, TRACE, json!({"id": id})).await?;
    let spans = found
        .trace
        .and_then(|trace| trace.spans)
        .unwrap_or_default();
    Ok(convert_spans(&store.keys, &spans))
}

fn convert_spans(keys: &AttributeKeys, told: &[Told]) -> Vec<Span> {
    told.iter()
        .take(MOST_SPANS)
        .filter_map(|told| convert_span(keys, told).ok())
        .collect()
}

fn hash_span_id(segment: &str, span: i64) -> String {
    format!("{:016x}", xxh3_64(format!("{segment} {span}").as_bytes()))
}

fn convert_span(keys: &AttributeKeys, told: &Told) -> Result<Span, Unusable> {
    let side = match told.kind.as_deref() {
        Some("Entry") => Side::Server,
        Some("Exit") => Side::Client,
        _ => Side::Inner,
    };
    let facts = read_attributes(keys, told, side);
    let ids = read_ids(told)?;
    let time = valid_timestamp(i128::from(told.start_time) * 1_000_000).ok_or(Unusable::Time)?;
    let micros = told
        .end_time
        .saturating_sub(told.start_time)
        .max(0)
        .saturating_mul(1000)
        .unsigned_abs();
    Ok(facts.into_span(
        keys,
        Source::SkyWalking,
        side,
        read_emitter(told).to_emitter(),
        ids,
        Timing { time, micros },
    ))
}

fn read_attributes<'a>(keys: &AttributeKeys, told: &'a Told, side: Side) -> SpanAttributes<'a> {
    let mut facts = SpanAttributes::default();
    for tag in told.tags.iter().flatten() {
        let value = Value::from(tag.value.as_deref().unwrap_or_default());
        let key = match tag.key.as_str() {
            "url" => "http.url",
            "status_code" => "http.status_code",
            key => key,
        };
        facts.take_attribute(keys, key, value);
    }
    if let Some(peer) = told.peer.as_deref().filter(|_| side == Side::Client) {
        facts.take_attribute(keys, "network.peer.address", peer.into());
    }
    if told.is_error == Some(true) {
        facts.set_failed(Cow::Borrowed(""));
    }
    let endpoint = told
        .endpoint_name
        .as_deref()
        .and_then(|name| name.find('/').map(|at| &name[at..]));
    if let Some(path) = endpoint.filter(|_| side != Side::Inner) {
        // Tags were read before it: a URL says more than an endpoint's name.
        facts.take_attribute(keys, "url.full", path.into());
    }
    facts
}

fn read_emitter(told: &Told) -> EmitterAttributes<'_> {
    let mut own = EmitterAttributes::default();
    if let Some(service) = &told.service_code {
        own.take_attribute("service.name", &service.as_str().into());
    }
    // By default `UUID@hostname`, where a pod's host name is the pod's name.
    if let Some((_, host)) = told
        .service_instance_name
        .as_deref()
        .and_then(|name| name.rsplit_once('@'))
    {
        let key = if host.parse::<std::net::IpAddr>().is_ok() {
            "k8s.pod.ip"
        } else {
            "host.name"
        };
        own.take_attribute(key, &host.into());
    }
    own
}

fn read_ids(told: &Told) -> Result<SpanIds, Unusable> {
    let trace = truncate_text(&Clean::from_untrusted(&told.trace_id));
    if trace.is_empty() {
        return Err(Unusable::Id);
    }
    let above = || {
        told.refs
            .iter()
            .flatten()
            .next()
            .map(|r| hash_span_id(&r.parent_segment_id, r.parent_span_id))
    };
    let parent = if told.parent_span_id >= 0 {
        Some(hash_span_id(&told.segment_id, told.parent_span_id))
    } else {
        above()
    };
    Ok(SpanIds {
        trace,
        span: hash_span_id(&told.segment_id, told.span_id),
        parent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::span::{Tag, TagKeys};

    #[test]
    fn times_are_written_in_the_zone_of_the_server() {
        let (since, until) = (
            "2026-11-28T18:15:00Z".parse().unwrap(),
            "2026-11-28T18:16:01Z".parse().unwrap(),
        );
        let condition = trace_condition(
            "x-mse-tag",
            "gray",
            (since, until),
            &parse_zone("+0800").unwrap(),
            50,
        );
        assert_eq!(condition["queryDuration"]["start"], "2026-11-29 021500");
        assert_eq!(condition["queryDuration"]["end"], "2026-11-29 021601");
        assert!(parse_zone("-0330").is_some());
        for wrong in ["", "0800", "+8", "+xx00", "+9900", "灰0800"] {
            assert!(parse_zone(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_trace_by_the_published_schema_is_read() {
        let text = json!({"data": {"trace": {"spans": [
            {"traceId": "t.1", "segmentId": "s1", "spanId": 0, "parentSpanId": -1, "refs": [], "serviceCode": "gw",
             "serviceInstanceName": "0f8f@gw-1", "startTime": 1_795_919_714_000_i64, "endTime": 1_795_919_714_005_i64,
             "endpointName": "GET:/A/a", "type": "Entry", "peer": "", "component": "Tomcat", "isError": false, "layer": "Http",
             "tags": [{"key": "url", "value": "http://gw/A/a?x=1"}, {"key": "http.method", "value": "GET"},
                      {"key": "http.headers", "value": "x-mse-tag=[gray]"}, {"key": "http.status_code", "value": "200"}]},
            {"traceId": "t.1", "segmentId": "s1", "spanId": 1, "parentSpanId": 0, "refs": null, "serviceCode": "gw",
             "serviceInstanceName": "0f8f@10.0.0.1", "startTime": 1_795_919_714_001_i64, "endTime": 1_795_919_714_000_i64,
             "endpointName": "/b", "type": "Exit", "peer": "10.0.0.7:8080", "isError": true, "tags": null},
            {"traceId": "t.1", "segmentId": "s2", "spanId": 0, "parentSpanId": -1, "refs": [{"traceId": "t.1",
             "parentSegmentId": "s1", "parentSpanId": 1, "type": "CROSS_PROCESS"}], "startTime": 0, "endTime": 0},
            {"traceId": "t.1", "segmentId": "s2", "spanId": 1, "parentSpanId": -1, "refs": [{"traceId": "t.1",
             "parentSegmentId": "s1", "parentSpanId": 1}], "startTime": 1_795_919_714_001_i64, "endTime": i64::MAX, "type": "Local"}
        ]}}});
        let group = crate::api::LaneGroup::new("g", crate::api::LaneGroupSpec::default());
        let keys = AttributeKeys::from_tag_keys(TagKeys::from_groups([&group], []));
        let found: OneTrace = parse_data(text.to_string().as_bytes()).unwrap();
        let spans = convert_spans(&keys, &found.trace.unwrap().spans.unwrap());
        assert_eq!(spans.len(), 3, "one begins at no time that can be");
        let (entry, exit, local) = (&spans[0], &spans[1], &spans[2]);
        assert_eq!(
            (entry.side, &entry.tag, entry.path.as_str()),
            (Side::Server, &Tag::Value("gray".into()), "/A/a")
        );
        assert_eq!(
            (entry.by.pod.as_deref(), entry.micros, entry.status),
            (Some("gw-1"), 5000, Some(200))
        );
        assert_eq!(
            (exit.peer.as_deref(), exit.by.address.as_deref()),
            (Some("10.0.0.7"), Some("10.0.0.1"))
        );
        assert_eq!(
            (exit.parent.as_ref(), exit.micros, exit.path.as_str()),
            (Some(&entry.span), 0, "/b")
        );
        assert!(exit.error.is_some());
        assert_eq!(
            local.parent.as_ref(),
            Some(&exit.span),
            "from another segment"
        );
    }

    #[test]
    fn what_it_says_is_wrong_is_told() {
        let why =
            parse_data::<Search>(br#"{"data":null,"errors":[{"message":"no such field"}]}"#).err();
        assert_eq!(why.map(|e| e.to_string()).as_deref(), Some("no such field"));
        assert!(parse_data::<Search>(b"{}").is_err() && parse_data::<Search>(b"<html>").is_err());
    }
}
