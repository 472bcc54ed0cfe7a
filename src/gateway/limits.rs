//! Limits that keep a single caller or backend from overloading the gateway.

use std::time::Duration;

/// Limits of the data plane.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the head of a request (above it: 431) or response (above it: 502).
    pub head: usize,
    /// Bytes of a request body; above it: 413.
    pub body: u64,
    /// Timeout for connecting to a backend.
    pub connect: Duration,
    /// Timeout from the head of the request to that of the response, unless the route has its own.
    pub respond: Duration,
    /// Timeout for the first byte of a caller's connection.
    pub first_byte: Duration,
    /// Idle connections of callers and backends are closed after this time.
    pub idle: Duration,
    /// A switched connection (WebSocket) without data in either direction is closed after this
    /// time, unless its Gateway or Service has its own limit.
    pub tunnel_idle: Duration,
    /// Share of this process's file descriptors for switched connections, taken from the share of
    /// callers; the rest is left for requests.
    pub tunnels: f64,
    /// Idle connections kept for each backend.
    pub pooled: usize,
    /// Time that requests in flight get when the gateway stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            body: 1 << 30,
            connect: Duration::from_secs(2),
            respond: Duration::from_mins(1),
            first_byte: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            tunnel_idle: Duration::from_hours(1),
            tunnels: 0.25,
            pooled: 256,
            drain: Duration::from_secs(25),
        }
    }
}

/// Parses a Gateway API duration: `1h30m`, `10s`, `500ms`. Zero means no limit: `Some(None)`.
/// `None` if it is invalid.
pub(super) fn parse_duration(text: &str) -> Option<Option<Duration>> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        sum += match &rest[..letters] {
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        rest = &rest[letters..];
    }
    Some(Some(sum).filter(|d| !d.is_zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_gateway_api() {
        assert_eq!(
            parse_duration("1h30m2s5ms"),
            Some(Some(Duration::from_millis(5_402_005)))
        );
        assert_eq!(parse_duration("0s"), Some(None));
        for wrong in ["", "1", "s", "1d", "-1s", "1.5s", "99999999999999999999s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
