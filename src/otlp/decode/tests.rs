//! Decoding of messages from another encoder: recorded spans of Traefik and Envoy, tables of cases,
//! and random input.

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, ArrayValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as Message, Status},
};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    api::{Condition, Lane, LaneGroup, LaneGroupSpec, LaneMatch, LaneSpec, Propagation},
    domain::span::{Side, Tag, TagKeys},
};

/// 2026-11-29T02:35:14Z.
const START: u64 = 1_795_919_714_000_000_000;

fn keys() -> AttributeKeys {
    let travels = Propagation {
        baggage: Some("lane".into()),
        ..Propagation::default()
    };
    let group = LaneGroup::new(
        "g",
        LaneGroupSpec {
            propagation: travels,
            ..LaneGroupSpec::default()
        },
    );
    let condition = Condition {
        key: Some("group".into()),
        ..Condition::default()
    };
    let rule = LaneMatch {
        all: vec![condition],
        ..LaneMatch::default()
    };
    let lane = Lane::new(
        "l",
        LaneSpec {
            rule,
            ..LaneSpec::default()
        },
    );
    AttributeKeys::from_tag_keys(TagKeys::from_groups([&group], [&lane]))
}

fn any_value(value: &Json) -> AnyValue {
    let value = match value {
        Json::String(text) => any_value::Value::StringValue(text.clone()),
        Json::Bool(flag) => any_value::Value::BoolValue(*flag),
        Json::Number(n) => n.as_i64().map_or_else(
            || any_value::Value::DoubleValue(n.as_f64().unwrap()),
            any_value::Value::IntValue,
        ),
        Json::Array(list) => any_value::Value::ArrayValue(ArrayValue {
            values: list.iter().map(any_value).collect(),
        }),
        _ => return AnyValue { value: None },
    };
    AnyValue { value: Some(value) }
}

fn attributes(map: &Json) -> Vec<KeyValue> {
    let map = map.as_object().cloned().unwrap_or_default();
    map.iter()
        .map(|(key, value)| KeyValue {
            key: key.clone(),
            value: Some(any_value(value)),
            ..KeyValue::default()
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn message(line: &Json) -> Message {
    let text = |key: &str| unhex(line[key].as_str().unwrap_or_default());
    Message {
        trace_id: text("trace"),
        span_id: text("span"),
        parent_span_id: text("parent"),
        kind: line["kind"].as_i64().unwrap_or_default() as i32,
        start_time_unix_nano: START,
        end_time_unix_nano: START + (line["ms"].as_f64().unwrap_or_default() * 1e6) as u64,
        attributes: attributes(&line["attrs"]),
        ..Message::default()
    }
}

fn request(resource: &Json, spans: Vec<Message>) -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: attributes(resource),
        ..Resource::default()
    };
    let scope = ScopeSpans {
        spans,
        ..ScopeSpans::default()
    };
    let spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![spans],
    }
}

fn log_request(line: &Json) -> ExportLogsServiceRequest {
    let id = |key: &str| unhex(line[key].as_str().unwrap_or_default());
    let record = LogRecord {
        time_unix_nano: START,
        trace_id: id("trace"),
        span_id: id("span"),
        body: line.get("body").filter(|b| !b.is_null()).map(any_value),
        attributes: attributes(&line["attrs"]),
        ..LogRecord::default()
    };
    let resource = Resource {
        attributes: attributes(&line["res"]),
        ..Resource::default()
    };
    let scope = ScopeLogs {
        log_records: vec![record],
        ..ScopeLogs::default()
    };
    let logs = ResourceLogs {
        resource: Some(resource),
        scope_logs: vec![scope],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![logs],
    }
}

fn lines(text: &str) -> Vec<Json> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Decodes the recorded spans, each in its own request, from protobuf and JSON; both must agree.
fn recorded(text: &str) -> Vec<Span> {
    let keys = keys();
    let decoder = Decoder::new(&keys);
    let mut spans = vec![];
    for line in lines(text).iter().filter(|line| line.get("kind").is_some()) {
        let request = request(&line["res"], vec![message(line)]);
        let decoded = decoder.decode_traces(&request.encode_to_vec()).unwrap();
        assert_eq!(
            decoder
                .decode_traces_json(&serde_json::to_vec(&request).unwrap())
                .unwrap(),
            decoded
        );
        assert_eq!(decoded.dropped, Dropped::default());
        spans.extend(decoded.spans);
    }
    spans
}

fn one(attributes: Json, kind: i32) -> Span {
    let message = Message {
        kind,
        ..message(&json!({"trace": "ab".repeat(16), "span": "cd".repeat(8), "attrs": attributes}))
    };
    let keys = keys();
    let decoded = Decoder::new(&keys)
        .decode_traces(&request(&json!({}), vec![message]).encode_to_vec())
        .unwrap();
    decoded.spans.into_iter().next().unwrap()
}

#[test]
fn three_hops_through_traefik_as_recorded() {
    let spans = recorded(include_str!("recorded/traefik-three-hops.jsonl"));
    assert_eq!(spans.len(), 6);
    let find = |id: &str| spans.iter().find(|span| span.span == id).unwrap();
    let client = spans
        .iter()
        .find(|s| s.side == Side::Client && s.peer.as_deref() == Some("127.0.0.13"))
        .unwrap();
    assert_eq!(client.tag, Tag::Value("gray".into()));
    assert_eq!(
        (client.path.as_str(), client.method.as_str(), client.status),
        ("/x", "GET", Some(200))
    );
    assert_eq!(
        (client.by.service.as_str(), client.by.pod.as_deref()),
        ("traefik", Some("host"))
    );
    assert_eq!(client.micros, 694);
    let server = find(client.parent.as_deref().unwrap());
    assert_eq!(
        (server.side, server.caller.as_deref()),
        (Side::Server, Some("127.0.0.12"))
    );
    assert!(
        spans
            .iter()
            .all(|s| s.trace == "e0a3a443d0a6855d8c0beb3411d21aaa" && s.error.is_none())
    );
}

#[test]
fn traefik_and_envoy_as_recorded() {
    let spans = recorded(include_str!("recorded/traefik-envoy.jsonl"));
    let find = |id: &str| spans.iter().find(|span| span.span == id).unwrap();
    let tag = |text: &str| Tag::Value(text.into());

    let envoy = find("e97c481e4254f03a");
    assert_eq!(
        (envoy.side, envoy.peer.as_deref(), &envoy.tag),
        (Side::Client, Some("127.0.0.7"), &tag("gray"))
    );
    assert_eq!(
        (
            envoy.status,
            envoy.by.service.as_str(),
            envoy.by.pod.as_deref()
        ),
        (Some(200), "gw.demo", None)
    );
    let came = find("95ca907c63975ad1");
    assert_eq!(
        (came.side, came.peer.as_deref(), came.caller.as_deref()),
        (Side::Server, None, Some("127.0.0.1"))
    );
    assert_eq!(
        (came.path.as_str(), came.parent.as_deref()),
        ("/A/a?group=gray", Some("b7ad6b7169203331"))
    );
    let base = find("31c900bc801b22f9");
    assert_eq!(
        base.tag,
        Tag::Unknown,
        "without a default Envoy says nothing of a header that is not there"
    );

    let spoofed = find("2558b94af8d87580");
    assert_eq!(
        (spoofed.side, &spoofed.tag),
        (Side::Server, &tag("spoof")),
        "what came in, the header first"
    );
    assert_eq!(find("afc93fc95254c6be").tag, tag("gray"), "by the baggage");
    assert_eq!(find("4962247ecdc12b24").path, "/A/a?group=gray");
}

#[test]
fn access_logs_as_recorded_are_read_by_whoever_knows_their_form() {
    let line = |text: &str| {
        let line: Json = serde_json::from_str(text).ok()?;
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        let peer = text("ServiceAddr").or_else(|| text("upstream_host"))?;
        let time = text("start_time")
            .or_else(|| text("StartUTC"))
            .and_then(|t| t.parse().ok())
            .unwrap_or_default();
        let span = text("SpanId").or_else(|| text("span_id"))?;
        Some(Span {
            side: Side::Gateway,
            source: Source::Envoy,
            peer: Some(peer),
            span,
            time,
            ..Span::default()
        })
    };
    let keys = keys();
    let decoder = Decoder::new(&keys);
    let mut found = vec![];
    for recorded in [
        include_str!("recorded/traefik-log.jsonl"),
        include_str!("recorded/traefik-envoy.jsonl"),
    ] {
        for logged in lines(recorded).iter().filter(|l| l.get("kind").is_none()) {
            let request = log_request(logged);
            let decoded = decoder
                .decode_logs(&request.encode_to_vec(), &line)
                .unwrap();
            let json = serde_json::to_vec(&request).unwrap();
            assert_eq!(decoder.decode_logs_json(&json, &line).unwrap(), decoded);
            assert_eq!(
                decoder
                    .decode_logs(&request.encode_to_vec(), &|_| None)
                    .unwrap()
                    .dropped
                    .no_access_log,
                1
            );
            found.extend(decoded.spans);
        }
    }
    assert_eq!(found.len(), 4);
    assert!(
        found
            .iter()
            .all(|s| s.trace.len() == 32 && s.peer.as_deref() == Some("127.0.0.7:18080"))
    );
    assert_eq!(
        (found[0].span.as_str(), found[0].by.service.as_str()),
        ("905353dddf1f672e", "traefik")
    );
    assert_eq!(
        found[1].span, "95ca907c63975ad1",
        "of the record, not of its attributes"
    );
}

#[test]
fn peers_are_asked_for_in_their_order() {
    for (attributes, kind, peer, caller) in [
        (
            json!({"upstream_address": "10.0.0.1:80", "peer.address": "10.0.0.2:80"}),
            3,
            Some("10.0.0.1"),
            None,
        ),
        (
            json!({"network.peer.address": "10.0.0.3", "server.address": "b"}),
            3,
            Some("10.0.0.3"),
            None,
        ),
        (
            json!({"server.address": "10.0.0.4"}),
            3,
            Some("10.0.0.4"),
            None,
        ),
        (json!({"server.address": "b.demo.svc"}), 3, None, None),
        (
            json!({"net.sock.peer.addr": "10.0.0.5", "net.peer.ip": "10.0.0.6"}),
            3,
            Some("10.0.0.5"),
            None,
        ),
        (
            json!({"net.peer.ip": "10.0.0.6"}),
            3,
            Some("10.0.0.6"),
            None,
        ),
        // A sidecar's span of a request from its own pod: the peer is the pod itself.
        (
            json!({"peer.address": "10.0.0.7", "downstream_cluster": "-"}),
            3,
            None,
            Some("10.0.0.7"),
        ),
        (
            json!({"peer.address": "10.0.0.7", "client.address": "1.2.3.4"}),
            2,
            None,
            Some("10.0.0.7"),
        ),
        (json!({"network.peer.address": "10.0.0.8"}), 1, None, None),
    ] {
        let span = one(attributes.clone(), kind);
        assert_eq!(
            (span.peer.as_deref(), span.caller.as_deref()),
            (peer, caller),
            "{attributes}"
        );
    }
}

#[test]
fn how_it_ended_is_told_by_whatever_says_it() {
    for (attributes, failed, status, error) in [
        (
            json!({"http.response.status_code": 503}),
            false,
            Some(503),
            None,
        ),
        (json!({"http.status_code": "404"}), true, Some(404), None),
        (
            json!({"http.status_code": "0", "response_flags": "DC"}),
            false,
            None,
            Some("the caller went away (DC)"),
        ),
        (
            json!({"http.status_code": 200, "rpc.grpc.status_code": 14}),
            true,
            Some(503),
            Some("words"),
        ),
        (
            json!({"http.status_code": "200", "grpc.status_code": "0"}),
            false,
            Some(200),
            None,
        ),
        (
            json!({"rpc.response.status_code": "NOT_FOUND"}),
            false,
            Some(404),
            None,
        ),
        (
            json!({"http.status_code": 200, "grpc.status_code": "13"}),
            false,
            Some(500),
            Some("gRPC INTERNAL"),
        ),
        (
            json!({"http.status_code": 503, "response_flags": "UF"}),
            true,
            Some(503),
            Some("connection to the upstream failed (UF)"),
        ),
        (
            json!({"error.type": "timeout", "error": "true"}),
            false,
            None,
            Some("timeout"),
        ),
        (json!({}), true, None, Some("words")),
        (json!({"http.status_code": "many"}), false, None, None),
    ] {
        let mut message = message(
            &json!({"trace": "ab".repeat(16), "span": "cd".repeat(8), "attrs": attributes}),
        );
        message.status = failed.then(|| Status {
            code: 2,
            message: "words".into(),
        });
        let keys = keys();
        let request = request(&json!({}), vec![message]);
        let decoded = Decoder::new(&keys)
            .decode_traces(&request.encode_to_vec())
            .unwrap();
        assert_eq!(
            Decoder::new(&keys)
                .decode_traces_json(&serde_json::to_vec(&request).unwrap())
                .unwrap(),
            decoded
        );
        let span = &decoded.spans[0];
        assert_eq!(
            (span.status, span.error.as_deref()),
            (status, error),
            "{attributes}"
        );
    }
}

#[test]
fn paths_come_from_the_first_that_tells_one() {
    for (attributes, path) in [
        (
            json!({"url.path": "/a", "url.query": "REDACTED", "url.full": "http://h/b"}),
            "/a",
        ),
        (
            json!({"url.path": "/a", "url.query": "?x=1&group=g"}),
            "/a?group=g",
        ),
        (
            json!({"http.target": "/a?group=g&t=1", "http.url": "http://h/b"}),
            "/a?group=g",
        ),
        (json!({"http.url": "http://h/b?t=1"}), "/b"),
        (json!({"url.full": "http://h/c"}), "/c"),
        (json!({}), ""),
    ] {
        assert_eq!(one(attributes.clone(), 3).path, path, "{attributes}");
    }
}

#[test]
fn what_cannot_be_is_left_out_and_counted() {
    let good = json!({"trace": "ab".repeat(16), "span": "cd".repeat(8)});
    let mut messages = vec![message(&good); 5];
    messages[0].trace_id = vec![0; 16];
    messages[1].span_id = vec![1; 9];
    messages[2].start_time_unix_nano = 0;
    messages[3].start_time_unix_nano = u64::MAX;
    messages[4].parent_span_id = messages[4].span_id.clone();
    let keys = keys();
    let decoded = Decoder::new(&keys)
        .decode_traces(&request(&json!({}), messages).encode_to_vec())
        .unwrap();
    assert_eq!(
        decoded.dropped,
        Dropped {
            bad_id: 2,
            bad_time: 2,
            ..Dropped::default()
        }
    );
    assert_eq!(
        (decoded.spans.len(), decoded.spans[0].parent.as_deref()),
        (1, None),
        "nobody is its own parent"
    );

    let decoded = Decoder::new(&keys)
        .decode_traces(&request(&json!({}), vec![message(&good); 1200]).encode_to_vec())
        .unwrap();
    assert_eq!(
        (
            decoded.spans.len(),
            decoded.dropped.too_many,
            decoded.dropped.rejected()
        ),
        (1000, 200, 200)
    );

    let many: serde_json::Map<String, Json> =
        (0..10_000).map(|n| (format!("k{n}"), json!("v"))).collect();
    let mut message = message(&good);
    message.attributes = attributes(&Json::Object(many));
    message
        .attributes
        .extend(attributes(&json!({"x-mse-tag": "late"})));
    let decoded = Decoder::new(&keys)
        .decode_traces(&request(&json!({}), vec![message]).encode_to_vec())
        .unwrap();
    assert_eq!(
        (decoded.spans.len(), decoded.dropped.attributes),
        (1, 10_001 - 128)
    );
    assert_eq!(decoded.spans[0].tag, Tag::Unknown);
}

#[test]
fn json_as_stores_write_it_is_read_too() {
    let text = json!({"batches": [{"resource": {"attributes": null}, "instrumentationLibrarySpans": [{"spans": [{
        "traceId": "S/kvNXezTaajzpKdDg5HNg==", "spanId": "APBnqgupArc=", "parentSpanId": null, "unknown": {"a": [1]},
        "kind": "SPAN_KIND_CLIENT", "startTimeUnixNano": START, "endTimeUnixNano": "1795919714000005000",
        "attributes": [{"key": "http.status_code", "value": {"intValue": 502}}, {"key": "x"}, {"key": "y", "value": {"doubleValue": "NaN"}}],
        "status": {"code": "STATUS_CODE_ERROR"}
    }]}]}]});
    let keys = keys();
    let decoded = Decoder::new(&keys)
        .decode_traces_json(text.to_string().as_bytes())
        .unwrap();
    let span = &decoded.spans[0];
    assert_eq!(
        (span.trace.as_str(), span.span.as_str()),
        ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    );
    assert_eq!(
        (span.side, span.micros, span.status, span.parent.as_deref()),
        (Side::Client, 5, Some(502), None)
    );
    assert_eq!(span.error.as_deref(), Some("its span says that it failed"));
}

#[test]
fn json_of_too_many_objects_is_refused() {
    let spans = "{},".repeat(200_000);
    let text = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.trim_end_matches(',')
    );
    let keys = AttributeKeys::default();
    let why = Decoder::new(&keys)
        .decode_traces_json(text.as_bytes())
        .unwrap_err();
    assert!(matches!(why, Malformed::TooManyObjects(_)), "{why}");
}

/// A message with random damage: bytes changed or cut off.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(
        &[
            "x-mse-tag",
            "http.request.header.baggage",
            "http.headers",
            "upstream_address",
            "http.status_code",
            "node_id",
            "url.path",
            "url.query",
            "service.instance.id",
            "service.name",
            "response_flags",
            "grpc.status_code",
            "\u{1b}[2J",
        ][..],
    );
    let value = prop_oneof![
        any::<String>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        Just(json!(["\u{1b}]52;c;eA==\u{7}", 1, null])),
        Just(json!("lane=\u{202e}%1b%5b,=;")),
        Just(json!(null)),
        Just(json!("x".repeat(5000))),
    ];
    let attributes = prop::collection::vec((names, value), 0..6);
    let ids = (
        prop::collection::vec(any::<u8>(), 0..18),
        prop::collection::vec(any::<u8>(), 0..10),
    );
    let span = (attributes, ids, any::<u64>(), any::<u64>(), -1..7).prop_map(
        |(list, (trace, span), start, end, kind)| {
            let map: serde_json::Map<String, Json> =
                list.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            Message {
                trace_id: trace,
                span_id: span.clone(),
                parent_span_id: span,
                kind,
                start_time_unix_nano: start / 4,
                end_time_unix_nano: end,
                attributes: super::tests::attributes(&Json::Object(map)),
                ..Message::default()
            }
        },
    );
    let spoilt = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let cut = prop::option::weighted(0.2, any::<prop::sample::Index>());
    let good = (
        prop::collection::vec(span, 0..4),
        spoilt,
        cut,
        any::<bool>(),
    )
        .prop_map(|(spans, spoilt, cut, as_json)| {
            let request = request(&json!({"service.name": "s\u{0}"}), spans);
            let mut bytes = if as_json {
                serde_json::to_vec(&request).unwrap()
            } else {
                request.encode_to_vec()
            };
            for (at, byte) in spoilt {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            if let Some(at) = cut {
                bytes.truncate(at.index(bytes.len() + 1));
            }
            bytes
        });
    prop_oneof![
        6 => good,
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => Just(vec![b'['; 100_000]),
        1 => Just([0x0a_u8, 0x00].repeat(100_000)),
    ]
}

fn texts(span: &Span) -> Vec<&String> {
    let by = &span.by;
    let perhaps = [
        &span.parent,
        &span.peer,
        &span.caller,
        &span.route,
        &span.error,
        &by.namespace,
        &by.pod,
        &by.uid,
        &by.address,
    ];
    let tag = if let Tag::Value(tag) = &span.tag {
        Some(tag)
    } else {
        None
    };
    let always = [
        &span.trace,
        &span.span,
        &span.method,
        &span.path,
        &by.service,
    ];
    perhaps
        .into_iter()
        .flatten()
        .chain(always)
        .chain(tag)
        .collect()
}

#[test]
fn any_bytes_are_bounded_clean_spans_or_an_error() {
    crate::fuzz::any("messages of OTLP", 400, 1, &any_message(), |messages| {
        let keys = keys();
        let decoder = Decoder::new(&keys);
        let line = |text: &str| {
            Some(Span {
                path: text.chars().take(5).collect(),
                ..Span::default()
            })
        };
        for bytes in messages {
            let _ = decoder.decode_logs(&bytes, &line);
            let _ = decoder.decode_logs_json(&bytes, &line);
            for decoded in [
                decoder.decode_traces(&bytes),
                decoder.decode_traces_json(&bytes),
            ]
            .into_iter()
            .flatten()
            {
                prop_assert!(decoded.spans.len() <= MOST_SPANS);
                for span in &decoded.spans {
                    prop_assert!(span.trace.len() == 32 && span.span.len() == 16);
                    prop_assert!(
                        (1970..2100).contains(&span.time.to_zoned(jiff::tz::TimeZone::UTC).year())
                    );
                    for text in texts(span) {
                        prop_assert!(text.len() <= 1024);
                        prop_assert_eq!(
                            &crate::domain::text::Clean::from_untrusted(text).into_string(),
                            text
                        );
                    }
                    let line = serde_json::to_string(span).unwrap();
                    prop_assert!(!line.contains('\n'));
                    prop_assert_eq!(&serde_json::from_str::<Span>(&line).unwrap(), span);
                }
            }
        }
        Ok(())
    });
}
