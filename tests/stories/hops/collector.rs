//! An OpenTelemetry Collector between a gateway and an engine.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use kube::Client;
use pocket::images::Images;
use serde_json::json;

use super::peers::{find_program, program_manifest, report_skipped, start_pod};

const PROGRAM: &str = "otelcol";

/// Whether one is here; else it is said that there is none.
pub fn is_here() -> bool {
    let found = find_program(PROGRAM).is_some();
    if !found {
        report_skipped("a real OpenTelemetry Collector was NOT tried", PROGRAM);
    }
    found
}

/// Takes spans by gRPC and hands them on by HTTP, as docs/otlp.md shows.
pub async fn start(
    client: &Client,
    images: &Images,
    dir: &Path,
    receives: SocketAddr,
    engine: SocketAddr,
) {
    let config = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": receives.to_string()}}}},
        "processors": {"batch": {"timeout": "200ms"}},
        "exporters": {"otlp_http": {"endpoint": format!("http://{engine}")}},
        "service": {
            "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["otlp_http"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    });
    let file = dir.join("otelcol.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let program = find_program(PROGRAM).expect("looked for before");
    let args = ["--config".to_owned(), file.display().to_string()];
    let manifest = program_manifest(&program, BTreeMap::new());
    start_pod(client, images, PROGRAM, manifest, &args).await;
}
