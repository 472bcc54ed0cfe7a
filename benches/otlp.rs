//! What the receiver does with spans on one core: decode, choose, write as lines. And how much memory a receiver needs that is
//! sent 10,000 spans a second.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use divan::{Bencher, black_box, counter::ItemsCount};
use graylane::{
    api::{LaneGroup, LaneGroupSpec},
    domain::{
        pods::PodIndex,
        world::{ObjectKey, Pod, pods_by_key},
    },
    otlp::{
        decode::{AttributeKeys, Decoder},
        filter::{Filter, Limits},
        metrics::Metrics,
        receiver::{self, ClusterView, Intake, Protocol},
        sink::Sink,
    },
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use tokio_util::sync::CancellationToken;

/// As a batch processor sends them.
const SPANS: u64 = 512;
const EVERYTHING: Limits = Limits {
    lines: u32::MAX,
    rest: u32::MAX,
};

fn main() {
    // `cargo test` runs this file too, to see that it works.
    if std::env::args().any(|arg| arg == "--bench") {
        memory();
    }
    divan::main();
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

/// As Envoy tells what it passed on.
fn span(n: u64) -> Span {
    let address = format!("10.0.{}.{}:8080", n / 250 % 40, n % 250);
    Span {
        trace_id: [[7; 8], (n / 4).to_be_bytes()].concat(),
        span_id: (n + 1).to_be_bytes().to_vec(),
        parent_span_id: n.to_be_bytes().to_vec(),
        name: "router outbound|8080||b.demo.svc.cluster.local egress".into(),
        kind: 3,
        start_time_unix_nano: 1_795_919_714_000_000_000 + n,
        end_time_unix_nano: 1_795_919_714_002_000_000 + n,
        attributes: vec![
            attribute(
                "node_id",
                "router~10.9.0.1~gateway-5d7f.istio-system~istio-system.svc.cluster.local",
            ),
            attribute("zone", ""),
            attribute("guid:x-request-id", "db850f4c-b676-9432-a57b-ca98f03c9bdc"),
            attribute("http.url", "http://shop.example.com/A/a?group=gray&page=3"),
            attribute("http.method", "GET"),
            attribute(
                "user_agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
            ),
            attribute("http.protocol", "HTTP/1.1"),
            attribute("upstream_address", &address),
            attribute("peer.address", &address),
            attribute("request_size", "0"),
            attribute("response_size", "371"),
            attribute("component", "proxy"),
            attribute(
                "upstream_cluster",
                "outbound|8080||b.demo.svc.cluster.local",
            ),
            attribute("http.status_code", "200"),
            attribute("response_flags", "-"),
            attribute("x-mse-tag", if n.is_multiple_of(2) { "gray" } else { "-" }),
        ],
        ..Span::default()
    }
}

fn request() -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![attribute("service.name", "gateway.istio-system")],
        ..Resource::default()
    };
    let scope = ScopeSpans {
        spans: (0..SPANS).map(span).collect(),
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

fn keys() -> AttributeKeys {
    AttributeKeys::from_tag_keys(graylane::domain::span::TagKeys::from_groups(
        [&LaneGroup::new("g", LaneGroupSpec::default())],
        [],
    ))
}

/// Ten thousand.
fn pods() -> PodIndex {
    let pod = |n: u32| Pod {
        key: ObjectKey::at_home("demo", format!("pod-{n}")),
        address: Some(format!("10.0.{}.{}", n / 250, n % 250)),
        ..Pod::default()
    };
    PodIndex::from_pods(&pods_by_key((0..10_000).map(pod)))
}

/// From the bytes of a request to lines.
#[divan::bench]
fn protobuf_to_lines(bencher: Bencher) {
    let (bytes, keys, pods) = (request().encode_to_vec(), keys(), pods());
    let mut filter = Filter::new(EVERYTHING, Instant::now());
    bencher.counter(ItemsCount::new(SPANS)).bench_local(|| {
        let decoded = Decoder::new(&keys)
            .decode_traces(black_box(&bytes))
            .expect("a request");
        let (chosen, _) = filter.choose_spans(decoded.spans, &pods, Instant::now());
        assert_eq!(chosen.len() as u64, SPANS);
        chosen
            .iter()
            .map(|span| serde_json::to_string(span).expect("a line").len())
            .sum::<usize>()
    });
}

/// The first part of it alone.
#[divan::bench]
fn protobuf_to_spans(bencher: Bencher) {
    let (bytes, keys) = (request().encode_to_vec(), keys());
    bencher.counter(ItemsCount::new(SPANS)).bench_local(|| {
        Decoder::new(&keys)
            .decode_traces(black_box(&bytes))
            .expect("a request")
    });
}

/// The same of JSON.
#[divan::bench]
fn json_to_spans(bencher: Bencher) {
    let (bytes, keys) = (serde_json::to_vec(&request()).expect("JSON"), keys());
    bencher.counter(ItemsCount::new(SPANS)).bench_local(|| {
        Decoder::new(&keys)
            .decode_traces_json(black_box(&bytes))
            .expect("a request")
    });
}

/// Sends 10,000 spans a second for some seconds, and tells what this process holds: sender and receiver.
fn memory() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (stop, metrics, known) = (CancellationToken::new(), Metrics::default(), Arc::<ClusterView>::default());
        known.keys.store(Arc::new(keys()));
        let sink = Sink::new(io::sink(), metrics.clone()).expect("a thread");
        let intake = Arc::new(Intake::new(known, Limits::default(), sink.clone(), Box::new(|_| None), metrics));
        let any = ([127, 0, 0, 1], 0).into();
        let (address, serving) = receiver::bind_and_serve(Protocol::Http, any, intake, stop).await.expect("a port");
        tokio::spawn(serving);
        let (bytes, client) = (bytes::Bytes::from(request().encode_to_vec()), reqwest::Client::builder().no_proxy().build().expect("a client"));
        let before = resident();
        let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 * SPANS / 10_000));
        let (mut refused, rounds) = (0, 200);
        for _ in 0..rounds {
            tick.tick().await;
            let request = client.post(format!("http://{address}/v1/traces")).header("content-type", "application/x-protobuf");
            let answer = request.body(bytes.clone()).send().await.expect("an answer");
            refused += usize::from(!answer.status().is_success());
        }
        println!(
            "{} spans at 10,000 a second: {} KiB more resident than before, {refused} requests refused, {} spans over the rate of lines",
            rounds * SPANS as usize,
            resident().saturating_sub(before),
            sink.dropped()
        );
    });
}

/// Memory of this process that is in use, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or_default()
}
