//! Counts requests to the API server, and pauses them when the server asks for it (429 with
//! `Retry-After`). Each use has its own meter, so that the terminal UI's requests are not mixed
//! with those of an engine in the same process.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::domain::world::ApiUsage;

const SECONDS: usize = 60;
/// Pause after a 429 without `Retry-After`.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longest pause, whatever the server asks for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(2);

/// The counters.
#[derive(Debug)]
pub struct Meter {
    total: AtomicU64,
    throttled: AtomicU64,
    retry: Notify,
    epoch: AtomicU64,
    start: Instant,
    /// Whether requests wait for `Meter::release_requests`.
    held: watch::Sender<bool>,
    recent: Mutex<RecentRequests>,
}

#[derive(Debug)]
struct RecentRequests {
    /// Requests per second, as a ring buffer; `at` is the second of the newest entry.
    ring: [u32; SECONDS],
    at: u64,
    until: Option<(Instant, Timestamp)>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            total: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            retry: Notify::new(),
            epoch: AtomicU64::new(0),
            start: Instant::now(),
            held: watch::Sender::new(false),
            recent: Mutex::new(RecentRequests {
                ring: [0; SECONDS],
                at: 0,
                until: None,
            }),
        }
    }
}

impl RecentRequests {
    /// Clears the seconds that are more than a minute old.
    fn advance_to(&mut self, second: u64) {
        let steps = second.saturating_sub(self.at).min(SECONDS as u64);
        for step in 1..=steps {
            self.ring[((self.at + step) % SECONDS as u64) as usize] = 0;
        }
        self.at = self.at.max(second);
    }

    fn count_at(&mut self, second: u64) {
        self.advance_to(second);
        self.ring[(self.at % SECONDS as u64) as usize] += 1;
    }
}

impl Meter {
    fn lock_recent(&self) -> std::sync::MutexGuard<'_, RecentRequests> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current_second(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    /// Counts one request.
    pub fn count_request(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.lock_recent().count_at(self.current_second());
    }

    /// Pauses all requests for the time that the server named.
    pub fn throttle(&self, retry_after: Option<Duration>) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
        let peace = retry_after
            .unwrap_or(DEFAULT_RETRY_AFTER)
            .min(MAX_RETRY_AFTER);
        let until = (Instant::now() + peace, Timestamp::now() + peace);
        let mut recent = self.lock_recent();
        recent.until = recent.until.filter(|(at, _)| *at > until.0).or(Some(until));
    }

    /// Lets requests wait until [`Meter::release_requests`].
    pub fn hold_requests(&self) {
        self.held.send_replace(true);
    }

    /// Ends [`Meter::hold_requests`].
    pub fn release_requests(&self) {
        self.held.send_replace(false);
    }

    /// Waits until the server may be asked, or asked again.
    pub async fn wait_until_allowed(&self) {
        // Fails only without the sender, which is ours.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        loop {
            let Some((until, _)) = self.lock_recent().until else {
                return;
            };
            if until <= Instant::now() {
                let mut recent = self.lock_recent();
                recent.until = recent.until.filter(|(at, _)| *at > Instant::now());
                continue;
            }
            self.sleep_or_retry(until.saturating_duration_since(Instant::now()))
                .await;
        }
    }

    /// Ends all pauses on a person's request, so that waiting requests are retried now, with new
    /// credentials where the old ones were refused.
    pub fn retry_now(&self) {
        self.lock_recent().until = None;
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.retry.notify_waiters();
    }

    /// Number of calls of `Meter::retry_now`.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Sleeps for `pause`, or until a person asks to retry.
    pub async fn sleep_or_retry(&self, pause: Duration) {
        let retry = self.retry.notified();
        let _ = tokio::time::timeout(pause, retry).await;
    }

    /// A snapshot of the counters.
    pub fn request_stats(&self) -> ApiUsage {
        let mut recent = self.lock_recent();
        recent.advance_to(self.current_second());
        ApiUsage {
            total: self.total.load(Ordering::Relaxed),
            minute: recent.ring.iter().sum(),
            throttled: self.throttled.load(Ordering::Relaxed),
            until: recent
                .until
                .filter(|(at, _)| *at > Instant::now())
                .map(|(_, at)| at),
            watches: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_sixty_seconds_however_long_nothing_was_asked() {
        let mut recent = RecentRequests {
            ring: [0; SECONDS],
            at: 0,
            until: None,
        };
        (0..90).for_each(|second| recent.count_at(second));
        assert_eq!(recent.ring.iter().sum::<u32>(), 60);
        recent.advance_to(90 + 29);
        assert_eq!(recent.ring.iter().sum::<u32>(), 30);
        recent.advance_to(10_000);
        assert_eq!(recent.ring.iter().sum::<u32>(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn held_requests_wait_for_their_release() {
        let meter = Meter::default();
        meter.wait_until_allowed().await;
        meter.hold_requests();
        let minute = Duration::from_mins(1);
        let waiting = tokio::time::timeout(minute, meter.wait_until_allowed());
        assert!(waiting.await.is_err());
        let released = async {
            tokio::time::sleep(minute).await;
            meter.release_requests();
        };
        let waiting = tokio::time::timeout(2 * minute, meter.wait_until_allowed());
        assert!(tokio::join!(waiting, released).0.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_peace_asked_for_is_kept() {
        let meter = Meter::default();
        meter.throttle(Some(Duration::from_secs(30)));
        meter.throttle(None);
        let before = Instant::now();
        meter.wait_until_allowed().await;
        assert!(
            before.elapsed() >= Duration::from_secs(30),
            "{:?}",
            before.elapsed()
        );
        assert_eq!(
            (meter.request_stats().throttled, meter.request_stats().until),
            (2, None)
        );
    }
}
