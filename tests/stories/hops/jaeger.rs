//! A Jaeger that gets a gateway's spans over OTLP.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use kube::Client;
use pocket::images::Images;
use serde_json::json;

use super::peers::{find_program, program_manifest, report_skipped, start_pod};
use crate::support::ports::free;

const PROGRAM: &str = "jaeger";

/// Whether one is here; else it is said that there is none.
pub fn is_here() -> bool {
    let found = find_program(PROGRAM).is_some();
    if !found {
        report_skipped("a real Jaeger was NOT tried", PROGRAM);
    }
    found
}

/// Everything in one process and in memory.
pub async fn start(
    client: &Client,
    images: &Images,
    dir: &Path,
    receives: SocketAddr,
    asked: SocketAddr,
) {
    let config = json!({
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 10000}}}},
            "jaeger_query": {"storage": {"traces": "memory"}, "http": {"endpoint": asked.to_string()},
                "grpc": {"endpoint": free().to_string()}},
        },
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": receives.to_string()}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    });
    let file = dir.join("jaeger.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let program = find_program(PROGRAM).expect("looked for before");
    let args = ["--config".to_owned(), file.display().to_string()];
    let manifest = program_manifest(&program, BTreeMap::new());
    start_pod(client, images, PROGRAM, manifest, &args).await;
}
