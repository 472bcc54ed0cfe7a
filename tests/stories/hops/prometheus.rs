//! A Prometheus that scrapes an engine.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::{ports::free, program::until};

pub struct Prometheus {
    _dir: tempfile::TempDir,
    _child: Child,
    url: String,
}

fn find() -> Option<PathBuf> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
    let path = std::env::var_os("PATH").map(|p| std::env::split_paths(&p).collect::<Vec<_>>());
    let places = [peers.join("bin"), peers.join("usr/bin"), "/usr/bin".into()].into_iter();
    let mut all = places
        .chain(path.into_iter().flatten())
        .map(|dir| dir.join("prometheus"));
    all.find(|file| file.is_file())
}

impl Prometheus {
    /// Where there is one; else it is said that there is none.
    pub fn scraping(engine: SocketAddr) -> Option<Self> {
        let Some(program) = find() else {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: a real Prometheus did NOT scrape the engine: it is not in target/peers (where `.ci/run` puts it) nor on PATH"
            );
            return None;
        };
        let (dir, at) = (tempfile::tempdir().unwrap(), free());
        let config = dir.path().join("prometheus.yml");
        let jobs =
            json!([{"job_name": "engine", "static_configs": [{"targets": [engine.to_string()]}]}]);
        let settings = json!({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs});
        std::fs::write(&config, settings.to_string()).unwrap();
        let flag = |name: &str, value: &str| format!("--{name}={value}");
        let child = Command::new(program)
            .args([
                flag("config.file", &config.display().to_string()),
                flag(
                    "storage.tsdb.path",
                    &dir.path().join("data").display().to_string(),
                ),
                flag("web.listen-address", &at.to_string()),
                flag("log.level", "error"),
            ])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Some(Self {
            _dir: dir,
            _child: child,
            url: format!("http://{at}/api/v1/query"),
        })
    }

    /// What that comes to, as soon as it is more than nothing.
    pub async fn until_more_than_nothing(&self, query: &str) -> f64 {
        let client = reqwest::Client::new();
        let ask = async || {
            let answer = client
                .get(&self.url)
                .query(&[("query", query)])
                .send()
                .await
                .ok()?;
            let told: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
            let number: f64 = told
                .pointer("/data/result/0/value/1")?
                .as_str()?
                .parse()
                .ok()?;
            Some(number).filter(|n| *n > 0.0)
        };
        until(query, ask).await
    }
}
