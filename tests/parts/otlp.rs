//! The receiver from outside: by gRPC over HTTP/2 and by HTTP, as senders send, well and badly.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use graylane::{
    api::{LaneGroup, LaneGroupSpec},
    domain::span::{Side, Source, Span, Tag},
    engine::Telemetry,
    otlp::{
        decode::AttributeKeys,
        filter::Limits,
        metrics::Metrics,
        receiver::{self, ClusterView, Intake, Protocol},
        sink::Sink,
    },
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest,
        trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span as Message},
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const LIMIT: Duration = Duration::from_secs(30);

/// What was written, as lines.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Waits until `wanted` of the spans written so far is true.
    pub async fn until(&self, wanted: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let waiting = async {
            loop {
                let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
                let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
                let spans: Vec<Span> = whole
                    .lines()
                    .filter_map(|line| serde_json::from_str(line).ok())
                    .collect();
                if wanted(&spans) {
                    return spans;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting)
            .await
            .expect("the lines in time")
    }
}

/// A receiver on the loopback.
pub struct Received {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub lines: Lines,
    pub telemetry: Telemetry,
    _stop: DropGuard,
}

pub async fn start() -> Received {
    let lines = Lines::default();
    start_into(
        lines.clone(),
        lines,
        Limits {
            lines: 10_000,
            rest: 10,
        },
    )
    .await
}

async fn start_into(lines: Lines, out: impl Write + Send + 'static, limits: Limits) -> Received {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (stop, metrics, known) = (
        CancellationToken::new(),
        Metrics::default(),
        Arc::<ClusterView>::default(),
    );
    let group = LaneGroup::new("g", LaneGroupSpec::default());
    known.keys.store(Arc::new(AttributeKeys::from_tag_keys(
        graylane::domain::span::TagKeys::from_groups([&group], []),
    )));
    let sink = Sink::new(out, metrics.clone()).unwrap();
    let line = |text: &str| {
        let line: Value = serde_json::from_str(text).ok()?;
        let tag = Tag::from_reported(line["tag"].as_str()?);
        let time = line["start_time"].as_str()?.parse().ok()?;
        let span = line["span_id"].as_str().unwrap_or("line").to_owned();
        Some(Span {
            side: Side::Gateway,
            source: Source::Envoy,
            tag,
            time,
            span,
            ..Span::default()
        })
    };
    let telemetry = Telemetry::with_metrics(|registry| metrics.register(registry));
    let intake = Arc::new(Intake::new(known, limits, sink, Box::new(line), metrics));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (grpc, serving) =
        receiver::bind_and_serve(Protocol::Grpc, any, intake.clone(), stop.clone())
            .await
            .unwrap();
    tokio::spawn(serving);
    let (http, serving) = receiver::bind_and_serve(Protocol::Http, any, intake, stop.clone())
        .await
        .unwrap();
    tokio::spawn(serving);
    Received {
        grpc,
        http,
        lines,
        telemetry,
        _stop: stop.drop_guard(),
    }
}

impl Received {
    fn metric(&self, line: &str) -> bool {
        self.telemetry.to_open_metrics().lines().any(|l| l == line)
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue {
        value: Some(any_value::Value::StringValue(value.into())),
    });
    KeyValue {
        key: key.into(),
        value,
        ..KeyValue::default()
    }
}

fn spans(ids: impl IntoIterator<Item = u64>) -> ExportTraceServiceRequest {
    let one = |id: u64| Message {
        trace_id: vec![7; 16],
        span_id: id.to_be_bytes().to_vec(),
        kind: 3,
        start_time_unix_nano: 1_795_919_714_000_000_000,
        end_time_unix_nano: 1_795_919_714_001_000_000,
        attributes: vec![
            attribute("x-mse-tag", "gray"),
            attribute("upstream_address", "10.0.0.1:80"),
        ],
        ..Message::default()
    };
    let scope = ScopeSpans {
        spans: ids.into_iter().map(one).collect(),
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource],
    }
}

fn logs() -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: 1_795_919_714_000_000_000,
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        attributes: vec![attribute("tag", "gray")],
        ..LogRecord::default()
    };
    let scope = ScopeLogs {
        log_records: vec![record],
        ..ScopeLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![scope],
            ..ResourceLogs::default()
        }],
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn frame(packed: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[packed], &length[..], message].concat()
}

/// An answer of gRPC: status, words, message, and whether it says when to send again.
#[derive(Debug)]
struct Called {
    status: String,
    words: String,
    message: Vec<u8>,
    headers: HeaderMap,
}

async fn call(at: SocketAddr, path: &str, encoding: Option<&str>, body: Vec<u8>) -> Called {
    let stream = TokioIo::new(TcpStream::connect(at).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{at}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let request = encoding
        .iter()
        .fold(request, |r, e| r.header("grpc-encoding", *e));
    let answer = sender
        .send_request(request.body(Full::new(Bytes::from(body))).unwrap())
        .await
        .unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (StatusCode::OK, &"application/grpc".parse().unwrap())
    );
    let headers = answer.headers().clone();
    let collected = answer.into_body().collect().await.unwrap();
    let trailers = collected
        .trailers()
        .cloned()
        .unwrap_or_else(|| headers.clone());
    let text = |name: &str| {
        trailers
            .get(name)
            .map(|v| v.to_str().unwrap().to_owned())
            .unwrap_or_default()
    };
    let (status, words) = (text("grpc-status"), text("grpc-message"));
    let bytes = collected.to_bytes();
    let message = bytes.get(5..).unwrap_or_default().to_vec();
    Called {
        status,
        words,
        message,
        headers,
    }
}

async fn post(
    at: SocketAddr,
    path: &str,
    kind: &str,
    encoding: &str,
    body: Vec<u8>,
) -> (u16, HeaderMap, Vec<u8>) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("http://{at}{path}"))
        .header("content-type", kind);
    let request = if encoding.is_empty() {
        request
    } else {
        request.header("content-encoding", encoding)
    };
    let answer = request.body(body).send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_sent_over_grpc_become_lines() {
    let received = start().await;
    let called = call(
        received.grpc,
        TRACES,
        None,
        frame(0, &spans([1]).encode_to_vec()),
    )
    .await;
    assert_eq!((called.status.as_str(), called.message.len()), ("0", 0));
    let called = call(
        received.grpc,
        TRACES,
        Some("gzip"),
        frame(1, &gzip(&spans([2]).encode_to_vec())),
    )
    .await;
    assert_eq!(called.status, "0");
    // A sender that could compress and did not.
    let called = call(
        received.grpc,
        TRACES,
        Some("gzip"),
        frame(0, &spans([3]).encode_to_vec()),
    )
    .await;
    assert_eq!(called.status, "0");
    let called = call(received.grpc, LOGS, None, frame(0, &logs().encode_to_vec())).await;
    assert_eq!(called.status, "0");
    let written = received.lines.until(|spans| spans.len() == 4).await;
    assert_eq!(
        (written[0].span.as_str(), written[0].peer.as_deref()),
        ("0000000000000001", Some("10.0.0.1"))
    );
    assert_eq!(
        (
            written[3].side,
            written[3].trace.len(),
            written[3].span.len()
        ),
        (Side::Gateway, 32, 16)
    );

    let called = call(
        received.grpc,
        TRACES,
        None,
        frame(0, &spans(1..=1100).encode_to_vec()),
    )
    .await;
    let part = ExportTraceServiceResponse::decode(&called.message[..])
        .unwrap()
        .partial_success
        .unwrap();
    assert_eq!((called.status.as_str(), part.rejected_spans), ("0", 100));
    assert!(
        received
            .metric(r#"graylane_otlp_requests_total{protocol="grpc",signal="traces",code="OK"} 4"#)
    );
    assert!(
        received.metric("graylane_otlp_spans_received_total 1104"),
        "{}",
        received.telemetry.to_open_metrics()
    );
    assert!(received.metric(r#"graylane_otlp_spans_dropped_total{reason="too_many"} 100"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_over_grpc_is_told_and_not_sent_again() {
    let received = start().await;
    let good = spans([1]).encode_to_vec();
    let cut = gzip(&good);
    for (path, encoding, body, status, words) in [
        (TRACES, None, frame(0, b"\xff\xff"), "3", "no OTLP message"),
        (TRACES, None, frame(0, &good)[..20].to_vec(), "3", "cut off"),
        (TRACES, None, vec![], "3", "no message"),
        (
            TRACES,
            None,
            [frame(0, &good), frame(0, &good)].concat(),
            "3",
            "more than one",
        ),
        (
            TRACES,
            Some("gzip"),
            frame(1, &cut[..cut.len() - 9]),
            "3",
            "gzip",
        ),
        (TRACES, None, frame(1, &cut), "3", "compressed"),
        (TRACES, Some("zstd"), frame(1, &cut), "12", "zstd"),
        (
            TRACES,
            Some("gzip"),
            frame(1, &gzip(&vec![0; 64 << 20])),
            "8",
            "4 MiB",
        ),
        (TRACES, None, frame(0, &vec![0; 5 << 20]), "8", "4 MiB"),
        (
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            None,
            frame(0, b""),
            "12",
            "TraceService",
        ),
    ] {
        let called = call(received.grpc, path, encoding, body).await;
        assert_eq!(called.status, status, "{called:?}");
        assert!(
            called.words.contains(words) && called.words.is_ascii(),
            "{called:?}"
        );
        assert!(called.headers.contains_key("grpc-status-details-bin"));
    }
    // What speaks HTTP/1 there is no gRPC.
    let mut stream = TcpStream::connect(received.grpc).await.unwrap();
    stream
        .write_all(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![];
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer))
        .await
        .expect("the connection ends");
    assert!(!answer.starts_with(b"HTTP/1"));
    assert!(received.metric("graylane_otlp_spans_received_total 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_sent_over_http_become_lines_in_every_form() {
    let received = start().await;
    let json = |id| serde_json::to_vec(&spans([id])).unwrap();
    let proto = |id| spans([id]).encode_to_vec();
    for (path, kind, encoding, body, form) in [
        (
            "/v1/traces",
            "application/x-protobuf",
            "",
            proto(1),
            "application/x-protobuf",
        ),
        (
            "/v1/traces",
            "application/x-protobuf",
            "gzip",
            gzip(&proto(2)),
            "application/x-protobuf",
        ),
        (
            "/v1/traces",
            "application/json; charset=utf-8",
            "identity",
            json(3),
            "application/json",
        ),
        (
            "/v1/traces",
            "Application/JSON",
            "gzip",
            gzip(&json(4)),
            "application/json",
        ),
        (
            "/v1/logs",
            "application/x-protobuf",
            "",
            logs().encode_to_vec(),
            "application/x-protobuf",
        ),
        (
            "/v1/logs",
            "application/json",
            "",
            serde_json::to_vec(&logs()).unwrap(),
            "application/json",
        ),
    ] {
        let (status, headers, body) = post(received.http, path, kind, encoding, body).await;
        assert_eq!(
            (status, headers["content-type"].to_str().unwrap()),
            (200, form)
        );
        assert_eq!(
            body,
            if form.ends_with("json") {
                &b"{}"[..]
            } else {
                b""
            }
        );
    }
    received.lines.until(|spans| spans.len() == 6).await;

    // In chunks, each in a packet of its own, and a second request on the connection.
    let mut stream = TcpStream::connect(received.http).await.unwrap();
    for id in [5, 6] {
        let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for chunk in proto(id).chunks(10) {
            stream
                .write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
                .await
                .unwrap();
            stream.write_all(chunk).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
            stream.flush().await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        let mut rest = vec![];
        while !rest.ends_with(b"\r\n\r\n") {
            rest.push(stream.read_u8().await.unwrap());
        }
    }
    received
        .lines
        .until(|spans| spans.iter().any(|s| s.span == "0000000000000006"))
        .await;
    let (status, _, body) = post(
        received.http,
        "/v1/traces",
        "application/json",
        "",
        serde_json::to_vec(&spans(1..=1001)).unwrap(),
    )
    .await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status, &body["partialSuccess"]["rejectedSpans"]),
        (200, &json!("1"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_over_http_is_told_as_a_status() {
    let received = start().await;
    let proto = "application/x-protobuf";
    let cut = gzip(&spans([1]).encode_to_vec());
    for (path, kind, encoding, body, expected, words) in [
        (
            "/v1/traces",
            proto,
            "",
            b"\xff\xff".to_vec(),
            400,
            "no OTLP message",
        ),
        (
            "/v1/traces",
            "application/json",
            "",
            b"{\"resourceSpans\":[{".to_vec(),
            400,
            "no OTLP message",
        ),
        (
            "/v1/traces",
            proto,
            "gzip",
            cut[..cut.len() / 2].to_vec(),
            400,
            "gzip",
        ),
        (
            "/v1/traces",
            proto,
            "gzip",
            gzip(&vec![0; 64 << 20]),
            413,
            "4 MiB",
        ),
        ("/v1/traces", proto, "", vec![0; 5 << 20], 413, "4 MiB"),
        ("/v1/traces", proto, "br", vec![1], 415, "br"),
        ("/v1/traces", "text/plain", "", vec![1], 415, "Content-Type"),
        ("/v1/metrics", proto, "", vec![], 404, "/v1/traces"),
        (
            "/v1/traces",
            "application/json",
            "",
            b"{},".repeat(200_000),
            413,
            "objects",
        ),
    ] {
        let (status, _, body) = post(received.http, path, kind, encoding, body).await;
        assert_eq!(status, expected, "{path} {kind} {encoding}");
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(text.contains(words), "{text:?}");
    }
    let got = reqwest::get(format!("http://{}/v1/traces", received.http))
        .await
        .unwrap();
    assert_eq!(
        (got.status().as_u16(), &got.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    assert!(
        received.metric(
            r#"graylane_otlp_requests_total{protocol="http",signal="traces",code="413"} 3"#
        )
    );
}

/// Blocks for good.
struct Stuck;

impl Write for Stuck {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        loop {
            std::thread::park();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_senders_are_told_to_come_again() {
    let received = start_into(
        Lines::default(),
        Stuck,
        Limits {
            lines: u32::MAX,
            rest: 0,
        },
    )
    .await;
    let body = spans(1..=1000).encode_to_vec();
    let refused = async {
        loop {
            let called = call(received.grpc, TRACES, None, frame(0, &body)).await;
            if called.status == "8" {
                return called;
            }
        }
    };
    let called = tokio::time::timeout(LIMIT, refused)
        .await
        .expect("a refusal");
    assert!(called.words.contains("send it again"), "{called:?}");
    let (status, headers, _) = post(
        received.http,
        "/v1/traces",
        "application/x-protobuf",
        "",
        body,
    )
    .await;
    assert_eq!(
        (status, headers["retry-after"].to_str().unwrap()),
        (429, "1")
    );
}

/// The text of `/metrics` keeps the rules of OpenMetrics, as far as a reader stumbles over them.
#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_text_that_prometheus_reads() {
    let received = start().await;
    call(
        received.grpc,
        TRACES,
        None,
        frame(0, &spans([1]).encode_to_vec()),
    )
    .await;
    received.lines.until(|spans| spans.len() == 1).await;
    let text = received.telemetry.to_open_metrics();
    assert!(text.ends_with("# EOF\n"));
    let mut family = String::new();
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.split(' ');
            assert!(
                matches!(words.next(), Some("HELP" | "TYPE" | "UNIT")),
                "{line}"
            );
            family = words.next().unwrap().to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(
            value.parse::<f64>().is_ok() && series.starts_with(&family),
            "{line}"
        );
        assert!(seen.insert(series.to_owned()), "{series} stands twice");
        let name = series.split('{').next().unwrap();
        assert!(
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
            "{line}"
        );
    }
    for reason in [
        "too_many",
        "bad_id",
        "bad_time",
        "no_access_log",
        "rate",
        "share",
        "elsewhere",
        "queue",
    ] {
        assert!(
            received.metric(&format!(
                "graylane_otlp_spans_dropped_total{{reason=\"{reason}\"}} 0"
            )),
            "{reason}: {text}"
        );
    }
}
