//! Monotonic clock for the timestamps that pocket's kubelet writes and its controllers compare.
//!
//! It starts at the wall clock's time when the process began and only moves forward, so setting the
//! wall clock neither makes a pod look younger nor a Job overdue.

use std::{sync::OnceLock, time::Instant};

use jiff::{SignedDuration, Timestamp};

/// Returns the current time of the monotonic clock.
pub fn now() -> Timestamp {
    static BEGAN: OnceLock<(Timestamp, Instant)> = OnceLock::new();
    let (wall, steady) = BEGAN.get_or_init(|| (Timestamp::now(), Instant::now()));
    let since = SignedDuration::try_from(steady.elapsed()).unwrap_or_default();
    wall.checked_add(since).unwrap_or(*wall)
}
