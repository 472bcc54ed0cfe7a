//! A Zipkin, as a pod.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use kube::Client;
use pocket::images::Images;

use super::peers::{find_program, program_manifest, report_skipped, start_pod};

/// The program and Java, where both are here; else it is said that they are not.
pub fn find() -> Option<(PathBuf, PathBuf)> {
    let jar = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/peers/zipkin-server-exec.jar");
    match find_program("java") {
        Some(java) if jar.is_file() => Some((java, jar)),
        _ => {
            report_skipped("a real Zipkin was NOT tried", "its jar, or java,");
            None
        }
    }
}

pub async fn start(client: &Client, images: &Images, at: SocketAddr) {
    let (java, jar) = find().expect("looked for before");
    let env = BTreeMap::from([("QUERY_PORT".to_owned(), at.port().to_string())]);
    // Less to compile: it is not there for long.
    let args = [
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-jar",
        &jar.display().to_string(),
    ];
    let manifest = program_manifest(&java, env);
    start_pod(client, images, "zipkin", manifest, &args.map(Into::into)).await;
}
