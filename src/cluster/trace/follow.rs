//! Follows the log of one pod for good; each line with a hop or a span counts once.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use futures::TryStreamExt;
use jiff::Timestamp;
use kube::{Client, api::LogParams};
use reconcile::backoff::jitter;

use super::Outbox;
use crate::{
    cluster::{error, logs, meter::Meter},
    domain::{access_log::AccessLogReader, hop::Hop, span::Span, text::Clean},
};

/// Earlier lines that a new follower reads.
const BACKLOG: i64 = 200;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// Longest pause while a pod's log cannot be read.
const PAUSE_MOST: Duration = Duration::from_mins(1);
/// Ids that are remembered, so that a line that is read again after a reconnect counts once.
const REMEMBERED: usize = 4096;

/// The conditions of lanes change, so the reader is recreated this often.
const READER_LIFETIME: Duration = Duration::from_secs(5);

/// The content of one line.
#[derive(Debug, PartialEq)]
pub enum HopUpdate {
    /// A hop from graylane's own gateway.
    Hop(Box<Hop>),
    /// One party's view of a request.
    Span(Box<Span>),
    /// Number of messages that the writer dropped.
    Dropped(u64),
}

/// How lines are parsed.
pub enum LineParser {
    /// Hops and spans as graylane writes them.
    Own,
    /// A gateway's access log.
    Access(Box<dyn Fn() -> AccessLogReader + Send + Sync>),
}

/// The log of one pod.
pub struct PodLog {
    pub namespace: String,
    pub pod: String,
    pub container: Option<String>,
    pub lines: LineParser,
}

/// Follows a log until the receiver is gone.
#[tracing::instrument(level = "debug", skip_all, fields(namespace = log.namespace, pod = log.pod))]
pub async fn follow_pod_log(client: Client, meter: &Meter, log: PodLog, out: Outbox) {
    let mut seen = SeenSpans::default();
    let mut last: Option<Timestamp> = None;
    let mut pause = PAUSE_FIRST;
    let mut dropped = 0;
    loop {
        let params = LogParams {
            container: log.container.clone(),
            follow: true,
            tail_lines: last.is_none().then_some(BACKLOG),
            since_time: last,
            ..LogParams::default()
        };
        match logs::stream_raw_lines(&client, &log.namespace, &log.pod, &params).await {
            Ok(lines) => {
                out.clear_problem();
                let mut lines = std::pin::pin!(lines);
                let mut reader = LineReader::new(&log.lines);
                while let Ok(Some(line)) = lines.try_next().await {
                    pause = PAUSE_FIRST;
                    let told = reader.parse_line(&line, &mut dropped);
                    let Some(told) = told else { continue };
                    let (time, id) = match &told {
                        HopUpdate::Hop(hop) => (Some(hop.time), &*hop.span),
                        HopUpdate::Span(span) => (Some(span.time), &*span.span),
                        HopUpdate::Dropped(_) => (None, ""),
                    };
                    last = last.max(time);
                    if (id.is_empty() || seen.insert_if_new(id)) && !out.send(told) {
                        return;
                    }
                }
                out.notify_ended();
            }
            Err(why) => out.report_problem(&error::describe_error(&why)),
        }
        if out.is_closed() {
            return;
        }
        meter.sleep_or_retry(jitter(pause)).await;
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

/// Parses the lines of one log.
struct LineReader<'a> {
    lines: &'a LineParser,
    /// Reader of an access log, and when it was made.
    access: Option<(AccessLogReader, tokio::time::Instant)>,
}

impl<'a> LineReader<'a> {
    fn new(lines: &'a LineParser) -> Self {
        Self {
            lines,
            access: None,
        }
    }

    /// `dropped` is the number of drops that the log's writer has reported so far.
    fn parse_line(&mut self, line: &str, dropped: &mut u64) -> Option<HopUpdate> {
        match self.lines {
            LineParser::Own => parse_line(line).map(|told| match told {
                // Each such line counts all drops since its writer started.
                HopUpdate::Dropped(all) => {
                    HopUpdate::Dropped(all.saturating_sub(std::mem::replace(dropped, all)))
                }
                told => told,
            }),
            LineParser::Access(make) => {
                self.access
                    .take_if(|(_, made)| made.elapsed() > READER_LIFETIME);
                let (reader, _) = self
                    .access
                    .get_or_insert_with(|| (make(), tokio::time::Instant::now()));
                let span = reader.parse_line(line)?;
                Some(HopUpdate::Span(Box::new(span)))
            }
        }
    }
}

/// Parses a line that graylane wrote; other lines are skipped.
fn parse_line(line: &str) -> Option<HopUpdate> {
    if line.starts_with(r#"{"side":"#) {
        let span: Span = serde_json::from_str(line).ok()?;
        return Some(HopUpdate::Span(Box::new(if is_plain(line) {
            span
        } else {
            span.into_cleaned()
        })));
    }
    if let Some(number) = line.strip_prefix(r#"{"dropped":"#) {
        return number
            .trim_end_matches('}')
            .trim()
            .parse()
            .ok()
            .map(HopUpdate::Dropped);
    }
    let mut hop: Hop = serde_json::from_str(line).ok()?;
    if !is_plain(line) {
        let clean = |text: &mut String| *text = Clean::from_untrusted(text).to_string();
        for text in [
            &mut hop.trace,
            &mut hop.span,
            &mut hop.namespace,
            &mut hop.app,
            &mut hop.service,
        ] {
            clean(text);
        }
        for text in [&mut hop.method, &mut hop.path] {
            clean(text);
        }
        let optional = [
            &mut hop.parent,
            &mut hop.group,
            &mut hop.tag,
            &mut hop.pod,
            &mut hop.address,
        ];
        optional
            .into_iter()
            .chain([&mut hop.pod_tag, &mut hop.error])
            .flatten()
            .for_each(clean);
    }
    Some(HopUpdate::Hop(Box::new(hop)))
}

/// Whether a line needs no cleaning. JSON escapes may hide control characters, and DEL needs no
/// escape; nearly all lines contain neither.
fn is_plain(line: &str) -> bool {
    line.is_ascii() && !line.contains(['\\', '\u{7f}'])
}

#[derive(Default)]
struct SeenSpans {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl SeenSpans {
    fn insert_if_new(&mut self, span: &str) -> bool {
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

    fn hop_of(line: &str) -> Option<Hop> {
        match parse_line(line)? {
            HopUpdate::Hop(hop) => Some(*hop),
            _ => None,
        }
    }

    const LINE: &str = r#"{"time":"2026-01-01T00:00:00Z","trace":"t","span":"s","namespace":"demo","entry":true,"app":"a","service":"a","method":"GET","path":"/A/a","status":200,"micros":12}"#;

    #[test]
    fn a_line_is_a_hop_and_garbage_is_none() {
        assert_eq!(hop_of(LINE).unwrap().path, "/A/a");
        let evil = LINE.replace("/A/a", r"/\u001b[31mA");
        assert!(!hop_of(&evil).unwrap().path.contains('\u{1b}'));
        assert_eq!(
            hop_of(&LINE.replace("/A/a", "\u{7f}/A")).unwrap().path,
            "/A"
        );
        assert_eq!(parse_line("listening on 127.64.0.1:8080"), None);
        assert_eq!(parse_line(""), None);
    }

    #[test]
    fn a_hop_read_twice_counts_once_and_memory_is_bounded() {
        let mut seen = SeenSpans::default();
        assert!(seen.insert_if_new("a"));
        assert!(!seen.insert_if_new("a"));
        (0..2 * REMEMBERED).for_each(|n| assert!(seen.insert_if_new(&n.to_string())));
        assert_eq!(
            (seen.known.len(), seen.order.len()),
            (REMEMBERED, REMEMBERED)
        );
    }

    /// A log with hops, some of them damaged: wrong types, arbitrary text, lines broken or joined.
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
        let hop =
            prop::collection::vec((prop::sample::select(FIELDS), value), 0..4).prop_map(|edits| {
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
            let mut bytes: Vec<u8> = pieces
                .into_iter()
                .flat_map(|(piece, end)| [&piece, end].concat())
                .collect();
            if let (Some((at, byte)), false) = (spoilt, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
    }

    /// Every text of a hop.
    fn texts(hop: &Hop) -> Vec<&str> {
        let always = [
            &hop.trace,
            &hop.span,
            &hop.namespace,
            &hop.app,
            &hop.service,
            &hop.method,
            &hop.path,
        ];
        let perhaps = [
            &hop.parent,
            &hop.group,
            &hop.tag,
            &hop.pod,
            &hop.address,
            &hop.pod_tag,
            &hop.error,
        ];
        always
            .into_iter()
            .chain(perhaps.into_iter().flatten())
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn any_log_is_lines_of_bounded_length_and_clean_hops() {
        crate::fuzz::any("logs of hops", 300, 1, &any_log(), |logs| {
            for log in logs {
                let lines = logs::split_lines(futures::io::BufReader::with_capacity(61, &log[..]));
                let lines: Vec<String> = lines.try_collect().now_or_never().unwrap().unwrap();
                prop_assert!(lines.iter().map(String::len).sum::<usize>() <= 3 * log.len());
                for line in lines {
                    prop_assert!(line.len() <= 3 * logs::LINE_MAX);
                    let Some(hop) = hop_of(&line) else { continue };
                    for text in texts(&hop) {
                        prop_assert_eq!(Clean::from_untrusted(text).to_string(), text);
                    }
                    let again = serde_json::to_string(&hop).unwrap();
                    prop_assert_eq!(hop_of(&again), Some(hop));
                }
            }
            Ok(())
        });
    }
}
