//! Hands hops from the data path to their receiver: bounded, without waiting; drops are counted.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::{StatusCode, request::Parts, uri::PathAndQuery};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{
    endpoint::Endpoint,
    refusal::client_closed_request,
    trace_context::{Hex, TraceContext},
};
use crate::domain::hop::{Hop, copy_truncated};

/// Hops that may wait; further ones are dropped.
const MAX_QUEUED: usize = 4096;

/// Hops whose memory is kept for further ones.
const MAX_SPARE: usize = 512;

/// Interval between two batches of hops.
const HANDOVER_INTERVAL: Duration = Duration::from_millis(2);

/// Accepts hops without blocking.
#[derive(Clone, Debug)]
pub struct HopSink {
    queue: mpsc::Sender<Box<Hop>>,
    spare: SpareHops,
    dropped: Arc<AtomicU64>,
}

impl HopSink {
    /// Calls `each` with every hop, on a thread of its own where it may block.
    pub fn new(each: impl Fn(&Hop) + Send + Sync + 'static) -> Self {
        let (queue, mut hops) = mpsc::channel::<Box<Hop>>(MAX_QUEUED);
        let spare = SpareHops::default();
        let reported = spare.clone();
        let hand_over = move || {
            let mut done = vec![];
            while let Some(hop) = hops.blocking_recv() {
                each(&hop);
                done.push(hop);
                while let Ok(hop) = hops.try_recv() {
                    each(&hop);
                    done.push(hop);
                }
                reported.put_back(&mut done);
                // Collect some hops before the next wake-up: waking the thread for each would cost
                // a system call per request.
                std::thread::sleep(HANDOVER_INTERVAL);
            }
        };
        if let Err(e) = std::thread::Builder::new()
            .name("hops".into())
            .spawn(hand_over)
        {
            tracing::error!("no thread for hops, they are dropped: {e}");
        }
        Self {
            queue,
            spare,
            dropped: Arc::default(),
        }
    }

    /// Hops that were dropped because they arrived too fast.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    fn send(&self, hop: Box<Hop>) {
        if self.queue.try_send(hop).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// Reported hops, whose memory the next ones take: allocating a dozen texts for each request and
/// freeing them on another thread costs more than writing them.
#[derive(Clone, Debug, Default)]
#[expect(clippy::vec_box, reason = "they are taken out and put back as boxes")]
struct SpareHops(Arc<Mutex<Vec<Box<Hop>>>>);

impl SpareHops {
    fn take(&self) -> Box<Hop> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.pop().unwrap_or_default()
    }

    #[expect(clippy::vec_box, reason = "they come from a channel of boxes")]
    fn put_back(&self, done: &mut Vec<Box<Hop>>) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_SPARE.saturating_sub(spare.len());
        spare.extend(done.drain(..room.min(done.len())));
        drop(spare);
        done.clear();
    }
}

/// A hop in the making. Sent when dropped, so that requests given up by their caller are reported
/// too.
#[derive(Debug)]
pub(super) struct HopRecord {
    /// `None` once it is sent.
    hop: Option<Box<Hop>>,
    sink: HopSink,
    start: Instant,
    told: bool,
    /// Whether the pod that answers is known.
    answered: bool,
}

impl HopRecord {
    /// Begins the hop of a request that arrived at `start`.
    pub(super) fn new(sink: &HopSink, start: Instant, parts: &Parts, trace: &TraceContext) -> Self {
        let mut hop = sink.spare.take();
        begin_hop(&mut hop, parts, trace);
        Self {
            hop: Some(hop),
            sink: sink.clone(),
            start,
            told: true,
            answered: false,
        }
    }

    pub(super) fn hop(&mut self) -> &mut Hop {
        self.hop.get_or_insert_default()
    }

    /// What a span says about the request: trace, tag and app.
    pub(super) fn describe(&self) -> (&str, Option<&str>, &str) {
        self.hop.as_ref().map_or(("", None, ""), |hop| {
            (hop.trace.as_str(), hop.tag.as_deref(), hop.app.as_str())
        })
    }

    /// Records the pod that answers.
    pub(super) fn set_responding_pod(&mut self, pod: &Endpoint, status: StatusCode) {
        self.answered = true;
        let hop = self.hop();
        let name = if pod.pod.is_empty() {
            &pod.ip
        } else {
            &pod.pod
        };
        hop.pod.get_or_insert_default().clone_from(name);
        hop.address.get_or_insert_default().clone_from(&pod.ip);
        hop.pod_tag.clone_from(&pod.tag);
        hop.status = status.as_u16();
        hop.error = None;
    }

    /// Drops it without reporting a hop.
    pub(super) fn discard(mut self) {
        self.told = false;
    }
}

/// Overwrites a reported hop with what is known of a request at its begin.
fn begin_hop(hop: &mut Hop, parts: &Parts, context: &TraceContext) {
    // By name, so that no field keeps what it had.
    let Hop {
        time,
        trace,
        span,
        parent,
        namespace,
        group,
        entry,
        tag,
        tag_unknown,
        source,
        app,
        service,
        pod: _,
        address: _,
        pod_tag: _,
        method,
        path,
        status,
        micros,
        error,
        amends,
    } = hop;
    *time = Timestamp::now();
    copy_truncated(trace, context.id.as_str());
    copy_truncated(span, context.span.as_str());
    *parent = context.parent.as_ref().map(|p| Hex::as_str(p).to_owned());
    for text in [namespace, app, service] {
        text.clear();
    }
    (*group, *tag, *source, *error) = (None, None, None, None);
    (*entry, *tag_unknown, *amends) = (false, false, false);
    copy_truncated(method, parts.method.as_str());
    let target = parts.uri.path_and_query();
    copy_truncated(path, target.map_or("/", PathAndQuery::as_str));
    *status = 0;
    *micros = 0;
}

impl Drop for HopRecord {
    fn drop(&mut self) {
        let Some(mut hop) = self.hop.take().filter(|_| self.told) else {
            return;
        };
        if !self.answered {
            (hop.pod, hop.address, hop.pod_tag) = (None, None, None);
        }
        if hop.status == 0 {
            // The caller went away before the response.
            hop.status = client_closed_request().as_u16();
            hop.error = Some("the caller went away before the answer".into());
        }
        hop.micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.sink.send(hop);
    }
}
