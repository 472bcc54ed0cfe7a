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
    // JSON escapes may hide anything, and DEL needs none; plain lines, nearly all, hold neither.
    if line.contains(['\\', '\u{7f}']) || !line.is_ascii() {
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
    use futures::FutureExt;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const LINE: &str = r#"{"time":"2026-01-01T00:00:00Z","trace":"t","span":"s","namespace":"demo","entry":true,"app":"a","service":"a","method":"GET","path":"/A/a","status":200,"micros":12}"#;

    #[test]
    fn a_line_is_a_hop_and_garbage_is_none() {
        assert_eq!(parse(LINE).unwrap().path, "/A/a");
        let evil = LINE.replace("/A/a", r"/\u001b[31mA");
        assert!(!parse(&evil).unwrap().path.contains('\u{1b}'));
        assert_eq!(parse(&LINE.replace("/A/a", "\u{7f}/A")).unwrap().path, "/A");
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

    /// A log with hops in it, some of them spoilt: other types, any text, lines broken and put together.
    fn any_log() -> impl Strategy<Value = Vec<u8>> {
        const FIELDS: &[&str] = &[
            "time",
            "trace",
            "span",
            "parent",
            "namespace",
            "group",
            "entry",
            "tag",
            "app",
            "service",
            "pod",
            "address",
            "podTag",
            "method",
            "path",
            "status",
            "micros",
            "error",
            "other",
        ];
        let value = prop_oneof![
            4 => any::<String>().prop_map(Value::from),
            1 => prop::sample::select(&["9999-12-31T23:59:59Z", "-009999-01-02T01:59:59Z", "2026-01-01T24:00:00Z",
                "\u{1b}]52;c;eA==\u{7}", "\u{202e}", "\u{0}"][..]).prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<f64>().prop_map(Value::from),
            1 => Just(Value::Null),
            1 => Just(json!([{}])),
        ];
        let hop = prop::collection::vec((prop::sample::select(FIELDS), value), 0..4).prop_map(|edits| {
            let mut hop: Value = serde_json::from_str(LINE).unwrap();
            for (field, value) in edits {
                hop[field] = value;
            }
            hop.to_string().into_bytes()
        });
        let piece = prop_oneof![
            6 => hop,
            1 => prop::collection::vec(any::<u8>(), 0..20),
            1 => Just(b"\r".to_vec()),
            1 => Just(vec![b'['; 2000]),
            1 => Just(vec![b'x'; 20_000]),
        ];
        let end = prop_oneof![6 => Just(&b"\n"[..]), 1 => Just(&b""[..])];
        let spoilt = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
        (prop::collection::vec((piece, end), 0..6), spoilt).prop_map(|(pieces, spoilt)| {
            let mut bytes: Vec<u8> = pieces.into_iter().flat_map(|(piece, end)| [&piece, end].concat()).collect();
            if let (Some((at, byte)), false) = (spoilt, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
    }

    /// Every text of a hop.
    fn texts(hop: &Hop) -> Vec<&str> {
        let always = [&hop.trace, &hop.span, &hop.namespace, &hop.app, &hop.service, &hop.method, &hop.path];
        let perhaps = [&hop.parent, &hop.group, &hop.tag, &hop.pod, &hop.address, &hop.pod_tag, &hop.error];
        always.into_iter().chain(perhaps.into_iter().flatten()).map(String::as_str).collect()
    }

    #[test]
    fn any_log_is_lines_of_bounded_length_and_clean_hops() {
        crate::fuzz::any("logs of hops", 300, 1, &any_log(), |logs| {
            for log in logs {
                let lines = logs::lines(futures::io::BufReader::with_capacity(61, &log[..]));
                let lines: Vec<String> = lines.try_collect().now_or_never().unwrap().unwrap();
                prop_assert!(lines.iter().map(String::len).sum::<usize>() <= 3 * log.len());
                for line in lines {
                    prop_assert!(line.len() <= 3 * logs::LINE_MAX);
                    let Some(hop) = parse(&line) else { continue };
                    for text in texts(&hop) {
                        prop_assert_eq!(Clean::from_untrusted(text).to_string(), text);
                    }
                    let again = serde_json::to_string(&hop).unwrap();
                    prop_assert_eq!(parse(&again), Some(hop));
                }
            }
            Ok(())
        });
    }
}
