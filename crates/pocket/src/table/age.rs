//! Ages and durations, shortened as by kubectl.

use jiff::Timestamp;
use serde_json::Value;

pub(super) fn format_age(object: &Value, now: Timestamp) -> Value {
    format_since(
        object["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default(),
        now,
    )
}

pub(super) fn format_since(time: &str, now: Timestamp) -> Value {
    seconds_between(time, now).map_or_else(
        || "<unknown>".into(),
        |seconds| human_duration(seconds).into(),
    )
}

/// Seconds from `time` to `now`; `None` if `time` is not a valid timestamp.
pub(super) fn seconds_between(time: &str, now: Timestamp) -> Option<i64> {
    Some(now.as_second() - time.parse::<Timestamp>().ok()?.as_second())
}

/// Formats a duration like Kubernetes' `duration.HumanDuration`.
pub(super) fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |big: i64, unit: &str, small: i64, sub: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{sub}"),
    };
    match seconds {
        i64::MIN..=-2 => "<invalid>".into(),
        -1..=-1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}
