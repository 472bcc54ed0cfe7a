//! Hops on their way out of the data path: bounded, never waited for, drops counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::domain::hop::Hop;

/// More hops than this on their way are dropped.
const QUEUED: usize = 4096;

/// Hops are handed over at most this often.
const GATHERED: Duration = Duration::from_millis(2);

/// Takes hops.
#[derive(Clone, Debug)]
pub struct HopSink {
    queue: mpsc::Sender<Hop>,
    dropped: Arc<AtomicU64>,
}

impl HopSink {
    /// Hands every hop to `each`, on a thread of its own: it may block.
    pub fn new(each: impl Fn(&Hop) + Send + Sync + 'static) -> Self {
        let (queue, mut hops) = mpsc::channel::<Hop>(QUEUED);
        let hand_over = move || {
            while let Some(hop) = hops.blocking_recv() {
                each(&hop);
                while let Ok(hop) = hops.try_recv() {
                    each(&hop);
                }
                // Gathers what comes next: a thread woken for each hop is a system call for each request.
                std::thread::sleep(GATHERED);
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

    /// Hops that were dropped because they came too fast.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    fn send(&self, hop: Hop) {
        if self.queue.try_send(hop).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// A hop in the making; told when dropped, so that also a request that its caller gave up is seen.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) hop: Box<Hop>,
    sink: HopSink,
    start: Instant,
    told: bool,
}

impl Record {
    pub(super) fn new(hop: Hop, sink: HopSink, start: Instant) -> Self {
        Self {
            hop: Box::new(hop),
            sink,
            start,
            told: true,
        }
    }

    /// Nothing to tell.
    pub(super) fn discard(mut self) {
        self.told = false;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.told {
            self.hop.micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.sink.send(std::mem::take(&mut *self.hop));
        }
    }
}
