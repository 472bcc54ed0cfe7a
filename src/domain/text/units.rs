//! Formats numbers for display: short and only as precise as needed.

use std::{fmt, time::Duration};

use jiff::Timestamp;

/// Formats the time since `then` as kubectl does (`45s`, `3m12s`, `2h5m`, `4d`). A future instant
/// becomes `in 45s`, except within a few seconds of clock skew, which becomes `0s`.
pub fn format_age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second());
    match seconds {
        ..-5 => format!("in {}", format_seconds(seconds.unsigned_abs())),
        _ => format_seconds(seconds.max(0).unsigned_abs()),
    }
}

/// Formats the time since `then` for what stays on the screen: seconds below a minute, then in steps
/// of about a third (`5m`, `10m`, `15m`, `20m`, `30m`, `45m`, `1h`), hours up to two days, then days. What nobody touches
/// is seldom drawn again.
pub fn format_coarse_age(now: Timestamp, then: Timestamp) -> String {
    const MINUTE_STEPS: [i64; 9] = [1, 2, 3, 5, 10, 15, 20, 30, 45];
    let minutes = now.as_second().saturating_sub(then.as_second()) / 60;
    let step = MINUTE_STEPS.into_iter().rfind(|step| *step <= minutes);
    match (step, minutes) {
        (None, _) => format_age(now, then),
        (Some(step), ..60) => format!("{step}m"),
        (_, ..2880) => format!("{}h", minutes / 60),
        (_, minutes) => format!("{}d", minutes / (24 * 60)),
    }
}

/// Formats a count with its noun: `1 pod`, `3 pods`.
pub fn format_count<N: fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Formats a duration: `0`, `850µs`, `12ms`, `1.2s`, and longer ones like [`format_age`].
pub fn format_duration(length: Duration) -> String {
    let micros = length.as_micros();
    match micros {
        0 => "0".into(),
        1..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}ms", micros / 1_000),
        1_000_000..10_000_000 => match micros / 100_000 {
            tenths if tenths % 10 == 0 => format!("{}s", tenths / 10),
            tenths => format!("{}.{}s", tenths / 10, tenths % 10),
        },
        _ => format_seconds(length.as_secs()),
    }
}

/// Formats seconds with at most two units; omits the second unit when it is zero.
fn format_seconds(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    let two = |unit: u64, name: &str, small: u64, small_name: &str| {
        let rest = seconds % unit / small;
        match rest {
            0 => format!("{}{name}", seconds / unit),
            rest => format!("{}{name}{rest}{small_name}", seconds / unit),
        }
    };
    match seconds {
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(MINUTE, "m", 1, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(HOUR, "h", MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(DAY, "d", HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(YEAR, "y", DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

/// Formats a size in bytes: `512B`, `1.5KiB`, `12MiB`.
pub fn format_bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count}B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // A value that would round to 1024 uses the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{}{}", format_short(value), UNITS[unit])
}

/// Formats events per second: `0/s`, `0.3/s`, `12/s`, `1.2k/s`.
pub fn format_rate(per_second: f64) -> String {
    if !per_second.is_finite() || per_second < 0.0 {
        return "?/s".into();
    }
    let (value, unit) = match per_second {
        p if p < 999.5 => (p, ""),
        p if p < 999_500.0 => (p / 1e3, "k"),
        p if p < 999_500_000.0 => (p / 1e6, "M"),
        p => (p / 1e9, "G"),
    };
    match value {
        v if v > 0.0 && v < 0.05 => "<0.1/s".into(),
        v => format!("{}{unit}/s", format_short(v)),
    }
}

/// Formats with one decimal below ten, unless the decimal is zero.
fn format_short(value: f64) -> String {
    let tenths = (value * 10.0).round();
    if tenths < 100.0 && tenths % 10.0 != 0.0 {
        format!("{:.1}", tenths / 10.0)
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ages_read_as_in_kubectl() {
        let then = Timestamp::from_second(1_700_000_000).unwrap();
        for (seconds, shown) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (192, "3m12s"),
            (600, "10m"),
            (2 * 3600 + 300, "125m"),
            (3 * 3600 + 300, "3h5m"),
            (9 * 3600 + 300, "9h"),
            (3 * 86400 + 4 * 3600, "3d4h"),
            (45 * 86400, "45d"),
            (800 * 86400, "2y70d"),
            (-3, "0s"),
            (-90, "in 90s"),
        ] {
            let now = Timestamp::from_second(1_700_000_000 + seconds).unwrap();
            assert_eq!(format_age(now, then), shown, "{seconds}");
        }
    }

    #[test]
    fn coarse_ages_move_in_steps() {
        let then = Timestamp::from_second(1_700_000_000).unwrap();
        for (seconds, shown) in [
            (-90, "in 90s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (299, "3m"),
            (300, "5m"),
            (44 * 60, "30m"),
            (3599, "45m"),
            (3600, "1h"),
            (47 * 3600, "47h"),
            (50 * 3600, "2d"),
            (800 * 86400, "800d"),
        ] {
            let now = Timestamp::from_second(1_700_000_000 + seconds).unwrap();
            assert_eq!(format_coarse_age(now, then), shown, "{seconds}");
        }
    }

    #[test]
    fn lengths_sizes_and_rates() {
        for (micros, shown) in [
            (0, "0"),
            (850, "850µs"),
            (12_900, "12ms"),
            (1_250_000, "1.2s"),
            (2_000_000, "2s"),
            (9_999_999, "9.9s"),
            (75_000_000, "75s"),
        ] {
            assert_eq!(format_duration(Duration::from_micros(micros)), shown);
        }
        for (count, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (1_048_575, "1MiB"),
            (12 << 20, "12MiB"),
            (u64::MAX, "16EiB"),
        ] {
            assert_eq!(format_bytes(count), shown);
        }
        for (value, shown) in [
            (0.0, "0/s"),
            (0.01, "<0.1/s"),
            (0.34, "0.3/s"),
            (12.4, "12/s"),
            (999.7, "1k/s"),
            (1_240.0, "1.2k/s"),
            (38_000.0, "38k/s"),
            (f64::NAN, "?/s"),
        ] {
            assert_eq!(format_rate(value), shown);
        }
    }

    proptest! {
        #[test]
        fn numbers_stay_short(count in any::<u64>(), micros in any::<u64>(), value in 0.0..1e12f64) {
            prop_assert!(format_bytes(count).len() <= 7, "{}", format_bytes(count));
            prop_assert!(format_rate(value).len() <= 8, "{}", format_rate(value));
            let length = format_duration(Duration::from_micros(micros));
            prop_assert!(length.chars().count() <= 7, "{}", length);
        }
    }
}
