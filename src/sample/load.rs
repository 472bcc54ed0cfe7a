//! A constant light load on the entry, alternately untagged and tagged. Prints failed and wrong
//! responses.

use std::time::Duration;

use bytes::Bytes;
use color_eyre::eyre::{Result, WrapErr, bail};
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::config::parse_number;
use crate::domain::{chain::text, text::Clean};

pub(super) struct Load {
    entry: String,
    rate: u64,
    paths: Vec<String>,
}

#[derive(Default)]
struct Tally {
    sent: u64,
    failed: u64,
    wrong: u64,
}

enum RequestResult {
    Right,
    Failed(String),
    Wrong(String),
}

impl Load {
    /// From `ENTRY` (`http://host:port`), `RATE` (requests per second) and `PATHS` (requested in
    /// turn).
    pub(super) fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let Some(entry) = env("ENTRY") else {
            bail!("ENTRY is not set: the entry's http://host:port")
        };
        let entry = entry.trim_end_matches('/').to_owned();
        entry
            .parse::<Uri>()
            .wrap_err_with(|| format!("ENTRY: {entry:?} is no URL"))?;
        let rate = parse_number(env, "RATE", 4)?.clamp(1, 1000);
        let paths = env("PATHS").unwrap_or_else(|| "/A/a,/A/a?group=gray".into());
        Ok(Self {
            entry,
            rate,
            paths: paths.split(',').map(|p| p.trim().to_owned()).collect(),
        })
    }
}

pub(super) async fn run_load(load: Load, stop: CancellationToken) -> Result<()> {
    println!("{} requests a second on {}", load.rate, load.entry);
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / load.rate));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut report = tokio::time::interval(Duration::from_secs(10));
    report.tick().await;
    let (tell, mut told) = mpsc::channel(64);
    let mut tally = Tally::default();
    for path in load.paths.iter().cycle() {
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    println!("done: {}", tally.format_tally());
                    return Ok(());
                }
                Some((path, seen)) = told.recv() => tally.count(path, seen),
                _ = report.tick() => println!("{}", tally.format_tally()),
                _ = tick.tick() => break,
            }
        }
        let (client, tell, uri, path) = (
            client.clone(),
            tell.clone(),
            format!("{}{path}", load.entry),
            path.clone(),
        );
        tokio::spawn(async move {
            let seen =
                tokio::time::timeout(Duration::from_secs(20), send_request(&client, &uri)).await;
            let _ = tell
                .send((
                    path,
                    seen.unwrap_or_else(|_| RequestResult::Failed("no answer in 20 s".into())),
                ))
                .await;
        });
    }
    Ok(())
}

async fn send_request(client: &Client<HttpConnector, Empty<Bytes>>, uri: &str) -> RequestResult {
    let Ok(to) = uri.parse::<Uri>() else {
        return RequestResult::Failed(format!("{uri:?} is no URL"));
    };
    let tagged = to.query().is_some();
    let answer = match client.get(to).await {
        Ok(answer) => answer,
        Err(e) => return RequestResult::Failed(e.to_string()),
    };
    let status = answer.status();
    let body = match Limited::new(answer.into_body(), 64 * 1024).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(e) => return RequestResult::Failed(e.to_string()),
    };
    let shown = || Clean::from_untrusted(body.trim());
    if !status.is_success() {
        return RequestResult::Failed(format!("{status}: {}", shown()));
    }
    match text::parse_chains(&body) {
        Err(e) => RequestResult::Wrong(e.to_string()),
        // An untagged request must not reach a gray pod. A tagged one may fall back, so both sides
        // are right.
        Ok(chains) if !tagged && chains.iter().flatten().any(|l| l.tag.is_some()) => {
            RequestResult::Wrong(shown().to_string())
        }
        Ok(_) => RequestResult::Right,
    }
}

impl Tally {
    fn count(&mut self, path: String, seen: RequestResult) {
        self.sent += 1;
        match seen {
            RequestResult::Right => {}
            RequestResult::Failed(why) => {
                self.failed += 1;
                println!("failed {path}: {why}");
            }
            RequestResult::Wrong(why) => {
                self.wrong += 1;
                println!("wrong {path}: {why}");
            }
        }
    }

    fn format_tally(&self) -> String {
        format!(
            "{} requests, {} failed, {} wrong",
            self.sent, self.failed, self.wrong
        )
    }
}
