//! Validation of times.

use jiff::Timestamp;

/// 2100-01-01, in seconds since 1970.
const END: i64 = 4_102_444_800;

/// A time from nanoseconds since 1970. `None` at or before 1970-01-01 (senders use 0 for unknown),
/// and from 2100 on.
pub fn valid_timestamp(nanos: i128) -> Option<Timestamp> {
    let time = Timestamp::from_nanosecond(nanos).ok()?;
    (nanos > 0 && time.as_second() < END).then_some(time)
}

/// Microseconds between two times in nanoseconds; 0 when the end is before the start.
pub const fn micros_between(start: u64, end: u64) -> u64 {
    end.saturating_sub(start) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lie_between_1970_and_2100() {
        assert_eq!(
            valid_timestamp(1_000_000_000),
            Some("1970-01-01T00:00:01Z".parse().unwrap())
        );
        assert!(valid_timestamp(i128::from(END) * 1_000_000_000 - 1).is_some());
        for wrong in [
            0,
            -1,
            i128::from(END) * 1_000_000_000,
            i128::from(u64::MAX),
            i128::MAX,
            i128::MIN,
        ] {
            assert_eq!(valid_timestamp(wrong), None, "{wrong}");
        }
        assert_eq!((micros_between(1_000, 5_999), micros_between(5, 1)), (4, 0));
    }
}
