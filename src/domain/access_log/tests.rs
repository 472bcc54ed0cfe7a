use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{api::LogFields, domain::text::Clean};

fn keys() -> TagKeys {
    TagKeys {
        headers: vec!["x-mse-tag".into()],
        members: vec!["lane".into()],
        parameters: ["group".into()].into(),
    }
}

fn reader(format: LogFormat) -> AccessLogReader {
    let by = Emitter {
        service: "gw".into(),
        ..Emitter::default()
    };
    AccessLogReader::new(
        &AccessLog {
            format,
            ..AccessLog::default()
        },
        &keys(),
        by,
    )
}

/// Recorded from Traefik 3.7.15: three hops in gateway mode.
const TRAEFIK: &str = include_str!("tests/traefik-three-hops.jsonl");
/// Recorded from Envoy 1.40.
const ENVOY: &str = include_str!("tests/envoy.jsonl");

#[test]
fn traefiks_recorded_lines_are_read() {
    let read: Vec<Span> = TRAEFIK
        .lines()
        .map(|line| reader(LogFormat::Traefik).parse_line(line).unwrap())
        .collect();
    let facts = |s: &Span| {
        (
            s.peer.clone().unwrap(),
            s.caller.clone().unwrap(),
            s.span.clone(),
            s.parent.clone(),
        )
    };
    let text = |t: &str| t.to_owned();
    assert_eq!(
        read.iter().map(facts).collect::<Vec<_>>(),
        [
            (
                text("127.0.0.13"),
                text("127.0.0.12"),
                text("8560c881506c0b1a"),
                Some(text("cc9384bac05a3b53"))
            ),
            (
                text("127.0.0.12"),
                text("127.0.0.11"),
                text("f43da0f8a1855f96"),
                Some(text("0c080d7b79adfc6b"))
            ),
            (
                text("127.0.0.11"),
                text("127.0.0.1"),
                text("485394d44ce28c37"),
                None
            ),
        ]
    );
    let entry = &read[2];
    assert!(
        read.iter()
            .all(|s| s.trace == entry.trace && s.tag == Tag::Value("gray".into()))
    );
    assert_eq!(
        (entry.micros, entry.status, &*entry.path),
        (4410, Some(200), "/A/a?group=gray")
    );
    assert_eq!(
        (&*entry.method, entry.route.as_deref()),
        ("GET", Some("entry@file"))
    );
    assert_eq!(
        entry.time,
        "2026-11-29T02:35:14.898079351Z".parse().unwrap()
    );
    assert_eq!(
        (entry.side, entry.source, &*entry.by.service),
        (Side::Gateway, Source::Traefik, "gw")
    );
}

#[test]
fn envoys_recorded_lines_are_read() {
    let with_time =
        |line: &str| line.replacen('{', r#"{"start_time":"2026-11-29T02:23:16.539Z","#, 1);
    let read: Vec<Span> = ENVOY
        .lines()
        .map(|line| {
            reader(LogFormat::Envoy)
                .parse_line(&with_time(line))
                .unwrap()
        })
        .collect();
    assert_eq!(
        read[0].span, "e97c481e4254f03a",
        "what the pod got, not Envoy's own"
    );
    assert_eq!(
        (read[0].parent.as_deref(), read[0].status, read[0].micros),
        (None, Some(200), 1000)
    );
    assert_eq!(
        read.iter().map(|s| s.tag.clone()).collect::<Vec<_>>(),
        [
            Tag::Value("gray".into()),
            Tag::Absent,
            Tag::Value("gray".into())
        ]
    );
    assert_eq!(
        (read[1].route.as_deref(), read[1].peer.as_deref()),
        (Some("base"), Some("127.0.0.7"))
    );
    assert_eq!(
        reader(LogFormat::Envoy).parse_line(ENVOY.lines().next().unwrap()),
        None,
        "no time, no request"
    );
}

/// One line of each format, and what is parsed from it.
#[test]
fn every_format_has_its_ways() {
    let nginx = |more: serde_json::Value| {
        let mut line = json!({"msec": "1764460000.500", "request_time": "0.250", "status": "200", "request_uri": "/a?x=1"});
        line.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        reader(LogFormat::Nginx)
            .parse_line(&line.to_string())
            .unwrap()
    };
    let read =
        nginx(json!({"tag": "gray", "remote_addr": "10.0.0.9", "upstream_addr": "10.0.0.1:80"}));
    assert_eq!(
        (read.time.to_string().as_str(), read.micros),
        ("2025-11-29T23:46:40.25Z", 250_000)
    );
    assert_eq!(
        (read.peer.as_deref(), read.tag, &*read.path),
        (Some("10.0.0.1"), Tag::Value("gray".into()), "/a")
    );
    let retried =
        nginx(json!({"upstream_addr": "10.0.0.1:80, 10.0.0.2:80 : [fd00::3]:80", "tag": ""}));
    assert_eq!(
        (retried.peer.as_deref(), retried.tag),
        (Some("fd00::3"), Tag::Absent)
    );
    assert_eq!(
        nginx(json!({"upstream_addr": "unix:/run/a.sock"})).peer,
        None
    );
    assert_eq!(nginx(json!({})).tag, Tag::Unknown);
    let came = nginx(json!({"http_x_mse_tag": "gray"}));
    assert_eq!(
        (came.tag, came.tag_came),
        (Tag::Unknown, Tag::Value("gray".into())),
        "not what it sent on"
    );
    assert_eq!(
        nginx(json!({"http_baggage": "lane=gray"})).tag,
        Tag::Value("gray".into())
    );
    assert_eq!(nginx(json!({"request_id": "abc"})).trace, "abc");
    assert_eq!(nginx(json!({"status": "000"})).status, None);

    let envoy = |more: serde_json::Value| {
        let mut line =
            json!({"start_time": "2026-01-01T00:00:00.123Z", "response_code": 0, "path": "/a"});
        line.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        reader(LogFormat::Envoy)
            .parse_line(&line.to_string())
            .unwrap()
    };
    let failed = envoy(json!({"response_flags": "UF,URX"}));
    let words = "no connection to the upstream (UF), all tries were used up (URX)";
    assert_eq!(
        (failed.status, failed.error.as_deref()),
        (None, Some(words))
    );
    assert_eq!(envoy(json!({"response_flags": "DC"})).status, Some(499));
    assert_eq!(envoy(json!({"response_flags": "-"})).error, None);
    assert_eq!(envoy(json!({"x-mse-tag": "-"})).tag, Tag::Absent);
    assert_eq!(
        envoy(json!({"tag": null, "x-mse-tag": "gray"})).tag,
        Tag::Value("gray".into())
    );

    let fields = LogFields {
        end: Some("at".into()),
        duration: Some("took".into()),
        duration_unit: Some(TimeUnit::Milliseconds),
        tag: Some("req.lane".into()),
        upstream: Some("to".into()),
        ..LogFields::default()
    };
    let log = AccessLog {
        format: LogFormat::Json,
        fields,
        ..AccessLog::default()
    };
    let line = json!({"at": 1_764_460_000_500_u64, "took": 500, "req": {"lane": "gray"}, "to": "10.0.0.1", "status": 503});
    let read = AccessLogReader::new(&log, &keys(), Emitter::default())
        .parse_line(&line.to_string())
        .unwrap();
    assert_eq!(
        (read.time.to_string().as_str(), read.tag),
        ("2025-11-29T23:46:40Z", Tag::Value("gray".into()))
    );
}

#[test]
fn what_is_no_request_is_passed_over_and_what_stands_before_the_json_too() {
    let reader = reader(LogFormat::Traefik);
    for line in [
        "",
        "ready",
        "{",
        "[]",
        r#"{"level":"info","msg":"Configuration loaded","time":"2026-01-01T00:00:00Z"}"#,
        r#"{"StartUTC":"1969-12-31T23:59:59Z","DownstreamStatus":200}"#,
        r#"{"StartUTC":"2101-01-01T00:00:00Z","DownstreamStatus":200}"#,
        r#"{"StartUTC":"soon","DownstreamStatus":200}"#,
    ] {
        assert_eq!(reader.parse_line(line), None, "{line}");
    }
    let line = r#"2026-01-01 stdout F {"StartUTC":"2026-01-01T00:00:00Z","DownstreamStatus":200,"TraceId":"00"}"#;
    let read = reader.parse_line(line).unwrap();
    assert_eq!((&*read.trace, read.span.len()), ("", 16));
    assert_eq!(
        reader.parse_line(line),
        Some(read),
        "the same line has the same id"
    );
}

/// A line of any format with some fields corrupted.
fn any_line() -> impl Strategy<Value = (LogFormat, String)> {
    const NAMES: &[&str] = &[
        "StartUTC",
        "Duration",
        "TraceId",
        "SpanId",
        "request_Traceparent",
        "request_X-Mse-Tag",
        "ServiceAddr",
        "ClientAddr",
        "DownstreamStatus",
        "RequestPath",
        "start_time",
        "duration",
        "trace_id",
        "traceparent",
        "tag",
        "upstream_host",
        "peer",
        "response_code",
        "response_flags",
        "path",
        "msec",
        "request_time",
        "upstream_addr",
        "status",
        "http_baggage",
        "a.b",
    ];
    let value = prop_oneof![
        3 => any::<String>().prop_map(Value::from),
        3 => prop::sample::select(&["2026-01-01T00:00:00Z", "-009999-01-02T01:59:59Z", "9999-12-31T23:59:59.9Z", "1e308", "NaN",
            "-1", "10.0.0.1:80, -", "[::1]:80", "00-e0a3a443d0a6855d8c0beb3411d21aaa-cc9384bac05a3b53-01", "gray", "-",
            "\u{1b}]52;c;eA==\u{7}", "\u{202e}"][..]).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([{"a": []}])),
        1 => Just(json!({"b": "x"})),
    ];
    let fields = prop::collection::vec((prop::sample::select(NAMES), value), 0..16);
    let format = prop::sample::select(
        &[
            LogFormat::Traefik,
            LogFormat::Envoy,
            LogFormat::Nginx,
            LogFormat::Json,
        ][..],
    );
    let cut = prop::option::weighted(0.2, any::<prop::sample::Index>());
    (format, fields, cut).prop_map(|(format, fields, cut)| {
        let object: Map<String, Value> = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let mut line = Value::from(object).to_string();
        if let Some(cut) = cut {
            let end = (0..=cut.index(line.len()))
                .rev()
                .find(|i| line.is_char_boundary(*i))
                .unwrap_or_default();
            line.truncate(end);
        }
        (format, line)
    })
}

#[test]
fn any_line_is_no_request_or_a_clean_span_that_the_wire_keeps() {
    crate::fuzz::any("lines of access logs", 2000, 1, &any_line(), |lines| {
        for (format, line) in lines {
            check_line(format, &line)?;
        }
        Ok(())
    });
}

fn check_line(format: LogFormat, line: &str) -> Result<(), TestCaseError> {
    let Some(mut span) = reader(format).parse_line(line) else {
        return Ok(());
    };
    let wire = serde_json::to_string(&span).unwrap();
    prop_assert_eq!(&serde_json::from_str::<Span>(&wire).unwrap(), &span);
    prop_assert!((0..4_102_444_800).contains(&span.time.as_second()) || span.micros > 0);
    for text in span.texts_mut() {
        prop_assert_eq!(&*Clean::from_untrusted(text), text.as_str());
        prop_assert!(text.len() <= 1024);
    }
    Ok(())
}
