//! Hops, from the log of the lane gateway's pod: one JSON line a hop, followed for good.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use jiff::Timestamp;
use kube::{Client, api::LogParams};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

use super::{
    clusters::Clusters,
    logs,
    meter::{Meter, jitter},
};
use crate::domain::{hop::Hop, text::Clean};

/// Where the lane gateway's pod lives.
pub const NAMESPACE: &str = "graylane-system";
/// The lane gateway's pod.
pub const POD: &str = "lane-gateway";

/// Hops of the past that a new watcher is shown.
const BACKLOG: i64 = 200;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// A cluster whose gateway is another one has no such log: it is not asked for all the time.
const PAUSE_MOST: Duration = Duration::from_secs(60);
/// Span ids remembered, so that a hop read again after a reconnect is not counted twice.
const REMEMBERED: usize = 4096;

/// Hops as they come in; what comes too fast is dropped and counted, never waited for.
pub struct HopInbox {
    hops: mpsc::Receiver<Arc<Hop>>,
    dropped: Arc<AtomicU64>,
}

impl HopInbox {
    /// As [`mpsc::Receiver::recv_many`].
    pub async fn recv_many(&mut self, buffer: &mut Vec<Arc<Hop>>, limit: usize) -> usize {
        self.hops.recv_many(buffer, limit).await
    }

    /// Hops dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Follows the gateway's hops until `stop`.
pub fn spawn(clusters: &Clusters, stop: CancellationToken) -> HopInbox {
    let (client, meter) = (clusters.home().clone(), Arc::clone(clusters.meter()));
    let (out, hops) = mpsc::channel(4096);
    let dropped = Arc::<AtomicU64>::default();
    let counter = dropped.clone();
    tokio::spawn(async move { stop.run_until_cancelled(follow(client, &meter, out, counter)).await });
    HopInbox { hops, dropped }
}

async fn follow(client: Client, meter: &Meter, out: mpsc::Sender<Arc<Hop>>, dropped: Arc<AtomicU64>) {
    let mut seen = Remembered::default();
    let mut last: Option<Timestamp> = None;
    let mut pause = PAUSE_FIRST;
    loop {
        let params = LogParams {
            follow: true,
            tail_lines: last.is_none().then_some(BACKLOG),
            since_time: last,
            ..LogParams::default()
        };
        if let Ok(lines) = logs::raw(&client, NAMESPACE, POD, &params).await {
            let mut lines = std::pin::pin!(lines);
            while let Ok(Some(line)) = lines.try_next().await {
                pause = PAUSE_FIRST;
                let Some(hop) = parse(&line) else { continue };
                last = last.max(Some(hop.time));
                if !seen.first(&hop.span) {
                    continue;
                }
                match out.try_send(Arc::new(hop)) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(TrySendError::Closed(_)) => return,
                }
            }
        }
        if out.is_closed() {
            return;
        }
        meter.pause(jitter(pause)).await;
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

/// One line of the gateway's log; lines that are no hop are passed over.
fn parse(line: &str) -> Option<Hop> {
    let mut hop: Hop = serde_json::from_str(line).ok()?;
    // JSON escapes may hide anything; plain lines, nearly all, hold none.
    if line.contains('\\') || !line.is_ascii() {
        let clean = |text: &mut String| *text = Clean::from_untrusted(text).to_string();
        for text in [&mut hop.trace, &mut hop.span, &mut hop.namespace, &mut hop.app, &mut hop.service] {
            clean(text);
        }
        for text in [&mut hop.method, &mut hop.path] {
            clean(text);
        }
        let optional = [&mut hop.parent, &mut hop.group, &mut hop.tag, &mut hop.pod, &mut hop.address];
        optional.into_iter().chain([&mut hop.pod_tag, &mut hop.error]).flatten().for_each(clean);
    }
    Some(hop)
}

#[derive(Default)]
struct Remembered {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Remembered {
    fn first(&mut self, span: &str) -> bool {
        if !self.known.insert(span.to_owned()) {
            return false;
        }
        self.order.push_back(span.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(old) = self.order.pop_front()
        {
            self.known.remove(&old);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"time":"2026-01-01T00:00:00Z","trace":"t","span":"s","namespace":"demo","entry":true,"app":"a","service":"a","method":"GET","path":"/A/a","status":200,"micros":12}"#;

    #[test]
    fn a_line_is_a_hop_and_garbage_is_none() {
        assert_eq!(parse(LINE).unwrap().path, "/A/a");
        let evil = LINE.replace("/A/a", r"/\u001b[31mA");
        assert!(!parse(&evil).unwrap().path.contains('\u{1b}'));
        assert_eq!(parse("listening on 127.64.0.1:8080"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_hop_read_twice_counts_once_and_memory_is_bounded() {
        let mut seen = Remembered::default();
        assert!(seen.first("a"));
        assert!(!seen.first("a"));
        (0..2 * REMEMBERED).for_each(|n| assert!(seen.first(&n.to_string())));
        assert_eq!((seen.known.len(), seen.order.len()), (REMEMBERED, REMEMBERED));
    }
}
