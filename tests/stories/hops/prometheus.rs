//! A Prometheus that scrapes an engine.

use std::{net::SocketAddr, process::Stdio};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::peers::{find_program, report_skipped};
use crate::support::{ports::free, program::until};

pub struct Prometheus {
    _dir: tempfile::TempDir,
    _child: Child,
    url: String,
}

impl Prometheus {
    /// Where there is one; else it is said that there is none.
    pub fn scraping(engine: SocketAddr) -> Option<Self> {
        let Some(program) = find_program("prometheus") else {
            report_skipped("a real Prometheus did NOT scrape the engine", "prometheus");
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
