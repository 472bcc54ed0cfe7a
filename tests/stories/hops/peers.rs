//! Programs of others: where they are looked for, and how they run as pods.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use pocket::images::{Images, Manifest};
use serde_json::json;

use super::rig::apply;

/// A program, in `target/peers` (where `.ci/run` puts it), in its standard place, or on `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
    let standard = [
        peers.join("bin"),
        peers.join("usr/sbin"),
        peers.join("usr/bin"),
        "/usr/sbin".into(),
        "/usr/bin".into(),
    ];
    let path = std::env::var_os("PATH").map(|p| std::env::split_paths(&p).collect::<Vec<_>>());
    standard
        .into_iter()
        .chain(path.into_iter().flatten())
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Says past libtest's capture what was not tried: it must be seen also when all is green.
pub fn report_skipped(what: &str, missing: &str) {
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: {what}: {missing} is not in target/peers (where `.ci/run` puts it) nor on PATH"
    );
}

/// Runs a program as the only container of a pod on the host's network.
pub async fn start_pod(
    client: &Client,
    images: &Images,
    name: &str,
    manifest: Manifest,
    args: &[String],
) {
    let image = format!("{name}:v1");
    images.define(&image, &manifest).unwrap();
    let container = json!({"name": name, "image": image, "args": args});
    let pod = json!({"metadata": {"labels": {"app": name}},
        "spec": {"hostNetwork": true, "containers": [container]}});
    apply::<Pod>(client, Some("demo"), &format!("{name}-0"), pod).await;
}

/// What runs as an image: a program without settings of its own.
pub fn program_manifest(program: &Path, env: BTreeMap<String, String>) -> Manifest {
    Manifest {
        entrypoint: vec![program.display().to_string()],
        env,
        working_dir: None,
    }
}
