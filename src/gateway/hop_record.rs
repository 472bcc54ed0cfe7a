//! Hands hops from the data path to their receiver: bounded, without waiting; drops are counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::sync::mpsc;

use super::endpoint::Endpoint;
use crate::domain::hop::Hop;

/// Hops that may wait; further ones are dropped.
const MAX_QUEUED: usize = 4096;

/// Interval between two batches of hops.
const HANDOVER_INTERVAL: Duration = Duration::from_millis(2);

/// Accepts hops without blocking.
#[derive(Clone, Debug)]
pub struct HopSink {
    queue: mpsc::Sender<Hop>,
    dropped: Arc<AtomicU64>,
}

impl HopSink {
    /// Calls `each` with every hop, on a thread of its own where it may block.
    pub fn new(each: impl Fn(&Hop) + Send + Sync + 'static) -> Self {
        let (queue, mut hops) = mpsc::channel::<Hop>(MAX_QUEUED);
        let hand_over = move || {
            while let Some(hop) = hops.blocking_recv() {
                each(&hop);
                while let Ok(hop) = hops.try_recv() {
                    each(&hop);
                }
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
            dropped: Arc::default(),
        }
    }

    /// Hops that were dropped because they arrived too fast.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    fn send(&self, hop: Hop) {
        if self.queue.try_send(hop).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// A hop in the making. Sent when dropped, so that requests given up by their caller are reported
/// too.
#[derive(Debug)]
pub(super) struct HopRecord {
    pub(super) hop: Box<Hop>,
    sink: HopSink,
    start: Instant,
    told: bool,
}

impl HopRecord {
    pub(super) fn new(hop: Hop, sink: HopSink, start: Instant) -> Self {
        Self {
            hop: Box::new(hop),
            sink,
            start,
            told: true,
        }
    }

    /// Drops it without reporting a hop.
    /// Records the pod that answers.
    pub(super) fn set_responding_pod(&mut self, pod: &Endpoint, status: StatusCode) {
        self.hop.pod = Some(if pod.pod.is_empty() {
            pod.ip.clone()
        } else {
            pod.pod.clone()
        });
        self.hop.address = Some(pod.ip.clone());
        self.hop.pod_tag.clone_from(&pod.tag);
        self.hop.status = status.as_u16();
        self.hop.error = None;
    }

    pub(super) fn discard(mut self) {
        self.told = false;
    }
}

impl Drop for HopRecord {
    fn drop(&mut self) {
        if self.told {
            self.hop.micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.sink.send(std::mem::take(&mut *self.hop));
        }
    }
}
