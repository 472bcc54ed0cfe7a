//! Figures of some versions over a window, and how exact they are.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Requests of some versions within a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowStats {
    /// Number of requests.
    pub requests: u64,
    /// Number of requests with a status of 500 or more, or without an answer.
    pub failed: u64,
    /// Whether not every request was reported: then rates are lower bounds, and shares are those of
    /// the reported requests.
    pub sampled: bool,
    /// Seconds that were observed.
    pub seconds: f64,
    /// Latencies in microseconds; `None` before the first request.
    pub(super) latency: Option<Histogram<u64>>,
}

impl WindowStats {
    /// Creates empty figures for that many seconds.
    pub fn over_seconds(seconds: f64) -> Self {
        Self {
            seconds,
            ..Self::default()
        }
    }

    /// Requests per second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.requests as f64 / self.seconds
        } else {
            0.0
        }
    }

    /// Share of failed requests, from 0 to 1; `None` without requests.
    pub fn failed_share(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.failed as f64 / self.requests as f64)
    }

    /// Latency within which this share (from 0 to 1) of the requests was answered, at most 6 % too
    /// high.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let latency = self.latency.as_ref().filter(|h| !h.is_empty())?;
        Some(Duration::from_micros(latency.value_at_quantile(share)))
    }

    /// Median latency.
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// 95th percentile of the latency.
    pub fn p95(&self) -> Option<Duration> {
        self.quantile(0.95)
    }

    /// 99th percentile of the latency.
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    /// Number of requests that took longer than that.
    pub(super) fn count_slower_than(&self, latency: Duration) -> u64 {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.as_ref().map_or(0, |h| {
            h.count_between(h.next_non_equivalent(micros), h.high())
        })
    }
}
