//! How often there is a new world. In a large cluster where pods change all the time there is always
//! a newer one, and each costs a copy, an update and a frame: without a limit nothing else would be
//! done. What worlds cost is bounded to a share of the time.

use std::time::Duration;

/// Worlds get at most one part in this many of the time.
const TIME_SHARE: u32 = 50;
/// Longest pause because of what a world has cost.
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// How long to wait after a world before the next one, given what the last one has cost.
pub fn pause_after_world(cost: Duration) -> Duration {
    cost.saturating_mul(TIME_SHARE).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_that_costs_little_is_followed_soon_and_none_is_held_back_for_long() {
        let pause = |micros| pause_after_world(Duration::from_micros(micros));
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!(pause(100), Duration::from_millis(5));
        assert_eq!(pause(5_000), MAX_PAUSE);
        assert_eq!(pause_after_world(Duration::MAX), MAX_PAUSE);
    }
}
