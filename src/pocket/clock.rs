//! The time that pocket's kubelet stamps with and its controllers compare with: the wall's when the process began, and
//! from then on one that only ever goes forward. A wall clock that is set makes no pod young again, and no Job late.

use std::{sync::OnceLock, time::Instant};

use jiff::{SignedDuration, Timestamp};

/// Now.
pub fn now() -> Timestamp {
    static BEGAN: OnceLock<(Timestamp, Instant)> = OnceLock::new();
    let (wall, steady) = BEGAN.get_or_init(|| (Timestamp::now(), Instant::now()));
    let since = SignedDuration::try_from(steady.elapsed()).unwrap_or_default();
    wall.checked_add(since).unwrap_or(*wall)
}
