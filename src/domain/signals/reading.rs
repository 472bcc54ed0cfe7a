//! What was read off some versions for a window: figures, and what they are worth.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Requests of some versions within a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// How many came.
    pub requests: u64,
    /// Of these, answered with a status of 500 or more, or not at all.
    pub failed: u64,
    /// Not every request was told: rates are at least these, shares are those of what was told.
    pub sampled: bool,
    /// Seconds that were looked at.
    pub seconds: f64,
    /// Microseconds, of all of them; none before the first.
    pub(super) latency: Option<Histogram<u64>>,
}

impl Reading {
    /// Of nothing yet, in so many seconds.
    pub fn of(seconds: f64) -> Self {
        Self {
            seconds,
            ..Self::default()
        }
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.requests as f64 / self.seconds
        } else {
            0.0
        }
    }

    /// The share that failed, from 0 to 1; none of no requests.
    pub fn failed_share(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.failed as f64 / self.requests as f64)
    }

    /// The latency within which this share (from 0 to 1) of the requests was answered; up to 6 % more than it was.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let latency = self.latency.as_ref().filter(|h| !h.is_empty())?;
        Some(Duration::from_micros(latency.value_at_quantile(share)))
    }

    /// The latency of half of them.
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// The latency within which 95 of 100 were answered.
    pub fn p95(&self) -> Option<Duration> {
        self.quantile(0.95)
    }

    /// The latency within which 99 of 100 were answered.
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    /// How many took longer than that.
    pub(super) fn slower_than(&self, latency: Duration) -> u64 {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.as_ref().map_or(0, |h| {
            h.count_between(h.next_non_equivalent(micros), h.high())
        })
    }
}
