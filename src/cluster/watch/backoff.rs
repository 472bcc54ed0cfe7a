//! Back-off of a broken watch.
//!
//! Each failure in a row doubles the pause. The row ends with a watch that stays healthy for a
//! while after its list: a watch that gets a list but no changes breaks right after it, and would
//! otherwise list everything again and again.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::meter::jitter;

/// Pause after the first failure.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A watch that lived this long after its list was healthy.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// Back-off of one watch.
pub struct WatchBackoff {
    next: Duration,
    most: Duration,
    listed: Option<Instant>,
}

impl WatchBackoff {
    /// No pause is longer than `most`.
    pub fn with_max(most: Duration) -> Self {
        Self {
            next: FIRST_PAUSE,
            most,
            listed: None,
        }
    }

    /// Records that a list is complete.
    pub fn note_listed(&mut self) {
        self.listed = Some(Instant::now());
    }

    /// Whether the watch has lived for a while since its list.
    pub fn was_healthy(&self) -> bool {
        self.listed.is_some_and(|at| at.elapsed() >= HEALTHY_AFTER)
    }

    /// Records a failure and returns how long to wait.
    pub fn next_pause(&mut self) -> Duration {
        if self.was_healthy() {
            self.next = FIRST_PAUSE;
        }
        self.listed = None;
        let pause = self.next;
        self.next = (pause * 2).min(self.most);
        jitter(pause)
    }
}
