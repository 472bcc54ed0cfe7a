//! A Zipkin, as a pod.

use std::{collections::BTreeMap, io::Write, net::SocketAddr, path::PathBuf};

use graylane::pocket::images::{Images, Manifest};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use serde_json::json;

use super::rig::apply;

/// The program and Java, where both are here; else it is said that they are not.
pub fn find() -> Option<(PathBuf, PathBuf)> {
    let jar = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/peers/zipkin-server-exec.jar");
    let path = std::env::var_os("PATH")?;
    let java = std::env::split_paths(&path)
        .map(|dir| dir.join("java"))
        .find(|file| file.is_file());
    if let (true, Some(java)) = (jar.is_file(), java) {
        return Some((java, jar));
    }
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: a real Zipkin was NOT tried: it is not in target/peers (where `.ci/run` puts it), or there is no java"
    );
    None
}

pub async fn start(client: &Client, images: &Images, at: SocketAddr) {
    let (java, jar) = find().expect("looked for before");
    let env = BTreeMap::from([("QUERY_PORT".to_owned(), at.port().to_string())]);
    images
        .define(
            "zipkin:v1",
            &Manifest {
                entrypoint: vec![java.display().to_string()],
                env,
                working_dir: None,
            },
        )
        .unwrap();
    // Less to compile: it is not there for long.
    let args = [
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-jar",
        &jar.display().to_string(),
    ];
    let container = json!({"name": "zipkin", "image": "zipkin:v1", "args": args});
    let pod = json!({"spec": {"hostNetwork": true, "containers": [container]}});
    apply::<Pod>(client, Some("demo"), "zipkin-0", pod).await;
}
