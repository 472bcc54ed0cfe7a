//! Writes spans as JSON lines from a bounded queue in a thread of its own. Senders never wait: what
//! does not fit is dropped and counted, and a line `{"dropped":N}` reports all drops since the
//! start.

use std::{
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use super::metrics::Metrics;
use crate::domain::span::Span;

/// Spans that may wait. One may have ten strings of 1 KiB.
const QUEUE_CAPACITY: usize = 4096;
/// Lines that are written before the buffer is flushed.
const MAX_BATCH: usize = 256;
/// How often drops are reported.
const DROP_REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Accepts spans; clones share one queue.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: SyncSender<Span>,
    shared: Arc<Shared>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// The line that reports drops.
#[derive(Serialize)]
struct Drops {
    dropped: u64,
}

impl Sink {
    /// Writes to `out`, which may block.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn new(out: impl Write + Send + 'static, metrics: Metrics) -> io::Result<Self> {
        let (queue, spans) = sync_channel(QUEUE_CAPACITY);
        let shared = Arc::<Shared>::default();
        let this = Self {
            queue,
            shared: shared.clone(),
            metrics: metrics.clone(),
        };
        let writing = move || {
            let mut lines = SpanWriter {
                out: BufWriter::new(out),
                shared,
                metrics,
                told: (Instant::now(), 0),
            };
            if let Err(e) = lines.write_until_closed(&spans) {
                tracing::error!("hops are written no more: {e}");
            }
        };
        std::thread::Builder::new()
            .name("spans".into())
            .spawn(writing)?;
        Ok(this)
    }

    /// Sends a span, or drops and counts it when the queue is full.
    pub fn send(&self, span: Span) {
        self.shared.waiting.fetch_add(1, Relaxed);
        if self.queue.try_send(span).is_err() {
            self.shared.waiting.fetch_sub(1, Relaxed);
            self.metrics.count_queue_full(1);
            self.dropped_before(1);
        }
    }

    /// Counts spans that were worth a line but dropped before they came here; they are reported
    /// with the others.
    pub fn dropped_before(&self, spans: u64) {
        self.shared.dropped.fetch_add(spans, Relaxed);
    }

    /// Whether most of the queue is in use, so that senders should wait.
    pub fn is_full(&self) -> bool {
        self.shared.waiting.load(Relaxed) >= QUEUE_CAPACITY / 4 * 3
    }

    /// Number of spans that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }
}

struct SpanWriter<W: Write> {
    out: BufWriter<W>,
    shared: Arc<Shared>,
    metrics: Metrics,
    /// When drops were last reported, and how many.
    told: (Instant, u64),
}

impl<W: Write> SpanWriter<W> {
    /// Writes until all senders are gone.
    fn write_until_closed(&mut self, spans: &Receiver<Span>) -> io::Result<()> {
        loop {
            match spans.recv_timeout(DROP_REPORT_INTERVAL) {
                Ok(span) => self.write_batch(span, spans)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.tell_drops()?;
                    return self.out.flush();
                }
            }
            if self.told.0.elapsed() >= DROP_REPORT_INTERVAL {
                self.tell_drops()?;
            }
            self.out.flush()?;
        }
    }

    /// Writes this span and those that are waiting.
    fn write_batch(&mut self, first: Span, spans: &Receiver<Span>) -> io::Result<()> {
        let mut count = 0;
        for span in std::iter::once(first).chain(spans.try_iter().take(MAX_BATCH)) {
            self.shared.waiting.fetch_sub(1, Relaxed);
            self.write_line(&span)?;
            count += 1;
        }
        self.out.flush()?;
        self.metrics.count_written(count);
        Ok(())
    }

    fn tell_drops(&mut self) -> io::Result<()> {
        let dropped = self.shared.dropped.load(Relaxed);
        if dropped > self.told.1 {
            self.told = (Instant::now(), dropped);
            self.write_line(&Drops { dropped })?;
        }
        Ok(())
    }

    fn write_line(&mut self, what: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, what)?;
        self.out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    #[derive(Clone, Default)]
    struct Text(Arc<Mutex<Vec<u8>>>);

    impl Write for Text {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn span(n: usize) -> Span {
        Span {
            span: format!("{n:016x}"),
            ..Span::default()
        }
    }

    #[test]
    fn lines_come_in_order_and_drops_are_told_at_the_end() {
        let text = Text::default();
        let (queue, spans) = sync_channel(10);
        let shared = Arc::<Shared>::default();
        let metrics = Metrics::default();
        let sink = Sink {
            queue,
            shared: shared.clone(),
            metrics: metrics.clone(),
        };
        (0..12).for_each(|n| sink.send(span(n)));
        sink.dropped_before(3);
        assert_eq!((sink.dropped(), sink.is_full()), (5, false));
        drop(sink);
        let mut lines = SpanWriter {
            out: BufWriter::new(text.clone()),
            shared,
            metrics,
            told: (Instant::now(), 0),
        };
        lines.write_until_closed(&spans).unwrap();
        let text = String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[10]), (11, r#"{"dropped":5}"#));
        for (n, line) in lines[..10].iter().enumerate() {
            assert_eq!(serde_json::from_str::<Span>(line).unwrap(), span(n));
        }
    }

    /// Blocks until it is released.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_stuck() {
        let (go, stuck) = mpsc::channel();
        let sink = Sink::new(Stuck(stuck), Metrics::default()).unwrap();
        let sent = 2 * QUEUE_CAPACITY + MAX_BATCH;
        (0..sent).for_each(|n| sink.send(span(n)));
        assert!(sink.is_full());
        assert!(
            sink.dropped() as usize >= sent - QUEUE_CAPACITY - 2 * MAX_BATCH,
            "{}",
            sink.dropped()
        );
        drop(go);
    }
}
