//! Pauses after failures: each failure in a row doubles the pause, up to a maximum.

use std::time::Duration;

/// First and longest pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffRange {
    /// Pause after the first failure.
    pub first: Duration,
    /// No pause is longer.
    pub max: Duration,
}

impl BackoffRange {
    /// The pause after this many failures in a row before the last one.
    pub fn pause(self, failures: u32) -> Duration {
        self.first
            .saturating_mul(2_u32.saturating_pow(failures.min(31)))
            .min(self.max)
    }
}

/// Randomises a pause (0.75 to 1.25 times), so that many clients that were cut off at once do not
/// reconnect at once.
pub fn jitter(pause: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_bytes()[0];
    pause.mul_f64(0.75 + f64::from(random) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_pause_up_to_the_maximum() {
        let range = BackoffRange {
            first: Duration::from_millis(5),
            max: Duration::from_secs(15),
        };
        let pauses: Vec<u128> = [0, 1, 2, 11, 12, 40, u32::MAX]
            .map(|n| range.pause(n).as_millis())
            .into();
        assert_eq!(pauses, [5, 10, 20, 10_240, 15_000, 15_000, 15_000]);
        for _ in 0..1000 {
            let moved = jitter(Duration::from_secs(10)).as_secs_f64();
            assert!((7.5..12.5).contains(&moved), "{moved}");
        }
    }
}
