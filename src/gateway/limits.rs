//! Limits that keep one caller or backend from taking the gateway down.

use std::time::Duration;

/// Limits of the data plane.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's or response's head; more is 431 (or 502 from a backend).
    pub head: usize,
    /// Headers in a head.
    pub headers: usize,
    /// Bytes of a request's body; more is 413.
    pub body: u64,
    /// Until a backend takes a connection.
    pub connect: Duration,
    /// From the request's head to the response's head, where the route says nothing.
    pub respond: Duration,
    /// Until a caller that has connected sends anything.
    pub first_byte: Duration,
    /// A caller's or backend's connection without a request is closed after this.
    pub idle: Duration,
    /// A switched connection (WebSocket) on which nothing comes from either side is closed after this, where its
    /// Gateway or Service does not say otherwise.
    pub tunnel_idle: Duration,
    /// The part of this process's file descriptors that switched connections take at most: of what callers get, the
    /// rest stays for requests.
    pub tunnels: f64,
    /// Connections without a request kept for each backend.
    pub pooled: usize,
    /// Requests in flight get this long when the gateway stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            headers: 128,
            body: 1 << 30,
            connect: Duration::from_secs(2),
            respond: Duration::from_secs(60),
            first_byte: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            tunnel_idle: Duration::from_secs(3600),
            tunnels: 0.25,
            pooled: 256,
            drain: Duration::from_secs(25),
        }
    }
}

/// A Gateway API duration: `1h30m`, `10s`, `500ms`. Zero is no limit: `Some(None)`; none is no duration.
pub(super) fn duration(text: &str) -> Option<Option<Duration>> {
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
            duration("1h30m2s5ms"),
            Some(Some(Duration::from_millis(5_402_005)))
        );
        assert_eq!(duration("0s"), Some(None));
        for wrong in ["", "1", "s", "1d", "-1s", "1.5s", "99999999999999999999s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
