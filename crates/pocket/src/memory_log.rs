//! Log of a component: lines kept in memory up to a limit, read as the log of its pod.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::rest::{LogOptions, LogStream};

/// Limit on the lines that are kept for later readers.
const MAX_LINES: usize = 4096;
/// Limit on the bytes of these lines; the length of a line is not limited.
const MAX_BYTES: usize = 4 << 20;

/// A log in memory; clones share one log.
#[derive(Clone)]
pub struct MemoryLog {
    ring: Arc<Mutex<Ring>>,
    /// Number of lines written so far.
    end: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<(Timestamp, Bytes)>,
    bytes: usize,
    /// Number of lines written so far.
    end: u64,
}

impl Ring {
    fn first_number(&self) -> u64 {
        self.end - self.lines.len() as u64
    }

    fn push(&mut self, line: Bytes) {
        self.bytes += line.len();
        self.lines.push_back((Timestamp::now(), line));
        self.end += 1;
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some((_, gone)) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= gone.len();
        }
    }

    /// Returns the lines from number `from` on as one chunk. A reader that is too slow misses lines
    /// that were dropped.
    fn read_chunk(&self, from: u64, timestamps: bool) -> Bytes {
        let skip = usize::try_from(from.saturating_sub(self.first_number())).unwrap_or(usize::MAX);
        let mut chunk = BytesMut::new();
        for (time, line) in self.lines.iter().skip(skip) {
            if timestamps {
                chunk.extend_from_slice(format!("{time} ").as_bytes());
            }
            chunk.extend_from_slice(line);
        }
        chunk.freeze()
    }

    /// Number of the first line that a reader asks for.
    fn start_number(&self, options: &LogOptions) -> u64 {
        let tail = options
            .tail_lines
            .map_or(self.first_number(), |n| self.end.saturating_sub(n));
        let since = options.since.map_or(0, |t| {
            self.lines.partition_point(|(time, _)| *time < t) as u64
        });
        tail.max(self.first_number())
            .max(self.first_number() + since)
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self {
            ring: Arc::default(),
            end: watch::Sender::new(0),
        }
    }
}

impl MemoryLog {
    /// Writes one line; it is ended here.
    pub fn write_line(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        let end = {
            let mut ring = self.lock_ring();
            ring.push(line.into());
            ring.end
        };
        self.end.send_replace(end);
    }

    fn lock_ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open_stream(&self, options: &LogOptions) -> LogStream {
        let timestamps = options.timestamps;
        let (start, end, first) = {
            let ring = self.lock_ring();
            let start = ring.start_number(options);
            (start, ring.end, ring.read_chunk(start, timestamps))
        };
        let (log, news) = (self.clone(), self.end.subscribe());
        let rest = stream::unfold(
            (log, news, end.max(start)),
            move |(log, mut news, from)| async move {
                news.wait_for(|end| *end > from).await.ok()?;
                let (chunk, end) = {
                    let ring = log.lock_ring();
                    (ring.read_chunk(from, timestamps), ring.end)
                };
                Some((chunk, (log, news, end)))
            },
        );
        let all = if options.follow {
            stream::iter([first]).chain(rest).boxed()
        } else {
            stream::iter([first]).boxed()
        };
        match options.limit_bytes {
            None => all.map(Ok).boxed(),
            Some(limit) => limit_bytes(all, usize::try_from(limit).unwrap_or(usize::MAX))
                .map(Ok)
                .boxed(),
        }
    }
}

fn limit_bytes(
    all: stream::BoxStream<'static, Bytes>,
    limit: usize,
) -> impl stream::Stream<Item = Bytes> + Send {
    all.scan(limit, |left, mut chunk| {
        let end = *left == 0;
        chunk.truncate(*left);
        *left -= chunk.len();
        futures::future::ready((!end).then_some(chunk))
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn line(n: usize) -> Vec<u8> {
        n.to_string().into_bytes()
    }

    fn numbers(chunk: &[u8]) -> Vec<usize> {
        let text = std::str::from_utf8(chunk).unwrap();
        text.lines()
            .map(|l| l.split(' ').next_back().unwrap().parse().unwrap())
            .collect()
    }

    async fn all(log: &MemoryLog, options: LogOptions) -> Vec<usize> {
        numbers(
            &log.open_stream(&options)
                .map(Result::unwrap)
                .collect::<Vec<_>>()
                .await
                .concat(),
        )
    }

    #[tokio::test]
    async fn late_readers_get_what_is_kept_and_followers_what_comes() {
        let log = MemoryLog::default();
        (0..MAX_LINES + 10).for_each(|n| log.write_line(line(n)));
        assert_eq!(
            all(&log, LogOptions::default()).await,
            (10..MAX_LINES + 10).collect::<Vec<_>>()
        );
        let tail = LogOptions {
            tail_lines: Some(2),
            ..LogOptions::default()
        };
        assert_eq!(
            all(&log, tail.clone()).await,
            [MAX_LINES + 8, MAX_LINES + 9]
        );
        let later = LogOptions {
            since: Some(Timestamp::MAX),
            ..LogOptions::default()
        };
        assert!(all(&log, later).await.is_empty());

        let mut follower = log.open_stream(&LogOptions {
            follow: true,
            tail_lines: Some(1),
            ..LogOptions::default()
        });
        assert_eq!(
            numbers(&follower.next().await.unwrap().unwrap()),
            [MAX_LINES + 9]
        );
        assert!(follower.next().now_or_never().is_none());
        log.write_line(line(1));
        log.write_line(line(2));
        assert_eq!(numbers(&follower.next().await.unwrap().unwrap()), [1, 2]);
        // A slow reader misses lines, but nothing else goes wrong.
        (0..MAX_LINES + 5).for_each(|n| log.write_line(line(n)));
        assert_eq!(
            numbers(&follower.next().await.unwrap().unwrap()),
            (5..MAX_LINES + 5).collect::<Vec<_>>()
        );
    }

    #[tokio::test]
    async fn long_lines_push_others_out_by_their_bytes() {
        let log = MemoryLog::default();
        let long = |n: usize, length| format!("{} {n}", "p".repeat(length)).into_bytes();
        (0..200).for_each(|n| log.write_line(long(n, 60_000)));
        let read = all(&log, LogOptions::default()).await;
        assert!(
            read.len() < 100 && read.last() == Some(&199),
            "{}",
            read.len()
        );
        let kept = |ring: &Ring| ring.lines.iter().map(|(_, l)| l.len()).sum::<usize>();
        let (told, real) = Some(log.lock_ring())
            .map(|ring| (ring.bytes, kept(&ring)))
            .unwrap_or_default();
        assert!(told == real && real <= MAX_BYTES, "{told} {real}");
        // A line longer than the limit removes all lines and causes no error.
        log.write_line(long(200, 2 * MAX_BYTES));
        assert!(all(&log, LogOptions::default()).await.is_empty());
        log.write_line(line(201));
        assert_eq!(all(&log, LogOptions::default()).await, [201]);
    }

    #[tokio::test]
    async fn a_limit_of_bytes_cuts_where_it_says() {
        let log = MemoryLog::default();
        (0..3).for_each(|n| log.write_line(line(100_000 + n)));
        let limit = LogOptions {
            limit_bytes: Some(5),
            ..LogOptions::default()
        };
        let read: Vec<Bytes> = log.open_stream(&limit).map(Result::unwrap).collect().await;
        assert_eq!(read.concat(), b"10000");
    }
}
