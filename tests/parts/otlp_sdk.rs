//! What an SDK of OpenTelemetry sends is received: the exporters for Python, over gRPC and HTTP, plain and with gzip.
//!
//! They are looked for in `target/peers`, where `.ci/run` puts them; without them nothing is sent, and that is said.

use std::{path::Path, process::Stdio, time::Duration};

use graylane::domain::span::{Side, Tag};

use super::otlp::start;

const LIMIT: Duration = Duration::from_mins(2);
const SEND: &str = r#"
import sys
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

protocol, endpoint, compression = sys.argv[1:]
if protocol == "grpc":
    from grpc import Compression
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True,
        compression=Compression.Gzip if compression == "gzip" else Compression.NoCompression)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    exporter = OTLPSpanExporter(endpoint=endpoint + "/v1/traces",
        compression=Compression.Gzip if compression == "gzip" else Compression.NoCompression)
resource = Resource.create({"service.name": "shop", "k8s.pod.name": "shop-1", "k8s.namespace.name": "demo"})
provider = TracerProvider(resource=resource)
provider.add_span_processor(BatchSpanProcessor(exporter))
tracer = provider.get_tracer("test")
with tracer.start_as_current_span("GET /A", kind=SpanKind.SERVER, attributes={"url.path": "/A/a"}):
    with tracer.start_as_current_span("work"):
        with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes={
            "http.request.header.x_mse_tag": ("gray",), "network.peer.address": "10.0.0.7",
            "http.response.status_code": 503}) as span:
            span.set_status(Status(StatusCode.ERROR, "no"))
provider.shutdown()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_a_real_sdk_arrive() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python");
    let has =
        "import opentelemetry.exporter.otlp.proto.grpc, opentelemetry.exporter.otlp.proto.http";
    let asked = tokio::process::Command::new(&python)
        .args(["-c", has])
        .stderr(Stdio::null())
        .status()
        .await;
    if !asked.is_ok_and(|status| status.success()) {
        eprintln!(
            "SKIPPED: spans_of_a_real_sdk_arrive. No OTLP exporters for Python in target/peers (.ci/run makes it)"
        );
        return;
    }
    for (protocol, compression) in [
        ("grpc", "none"),
        ("grpc", "gzip"),
        ("http", "none"),
        ("http", "gzip"),
    ] {
        let received = start().await;
        let endpoint = if protocol == "grpc" {
            received.grpc
        } else {
            received.http
        };
        let mut sending = tokio::process::Command::new(&python);
        sending
            .args([
                "-c",
                SEND,
                protocol,
                &format!("http://{endpoint}"),
                compression,
            ])
            .kill_on_drop(true);
        sending
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy")
            .env("NO_PROXY", "*")
            .env("no_proxy", "*");
        let sent = tokio::time::timeout(LIMIT, sending.output())
            .await
            .expect("it ends")
            .unwrap();
        let words = String::from_utf8_lossy(&sent.stderr);
        assert!(
            sent.status.success() && !words.contains("Failed to export"),
            "{protocol} {compression}: {words}"
        );
        let spans = received.lines.until(|spans| spans.len() == 3).await;
        let of = |side: Side| spans.iter().find(|span| span.side == side).unwrap();
        let (server, inner, client) = (of(Side::Server), of(Side::Inner), of(Side::Client));
        assert_eq!(client.tag, Tag::Value("gray".into()));
        assert_eq!(
            (
                client.peer.as_deref(),
                client.status,
                client.error.as_deref()
            ),
            (Some("10.0.0.7"), Some(503), Some("no"))
        );
        assert_eq!(
            (client.parent.as_ref(), inner.parent.as_ref()),
            (Some(&inner.span), Some(&server.span))
        );
        assert_eq!(
            (
                server.path.as_str(),
                server.by.pod.as_deref(),
                server.by.namespace.as_deref()
            ),
            ("/A/a", Some("shop-1"), Some("demo"))
        );
    }
}
