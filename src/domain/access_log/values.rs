//! Values of access logs: numbers written as text, times, addresses.

use std::net::{IpAddr, SocketAddr};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api::TimeUnit;

/// A string, or a number as text; `None` if there is none or it is empty.
pub(super) fn parse_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        // Some writers log a header as a list.
        Value::Array(list) => list.first().and_then(parse_text),
        _ => None,
    }
}

fn parse_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        // nginx logs one value per attempt, as in `0.002, 0.001`; the last one counts.
        Value::String(text) => text
            .rsplit([',', ':'])
            .find_map(|part| part.trim().parse().ok()),
        _ => None,
    };
    number.filter(|n| n.is_finite())
}

/// An HTTP status.
pub(super) fn parse_status(value: &Value) -> Option<u16> {
    let status = parse_number(value)?;
    // nginx writes 000 and Envoy writes 0 when no upstream answered.
    (100.0..=599.0).contains(&status).then_some(status as u16)
}

/// A duration in microseconds.
pub(super) fn parse_micros(value: &Value, unit: TimeUnit) -> u64 {
    let each = match unit {
        TimeUnit::Nanoseconds => 1e-3,
        TimeUnit::Microseconds => 1.0,
        TimeUnit::Milliseconds => 1e3,
        TimeUnit::Seconds => 1e6,
    };
    // `as` saturates and turns negative numbers into 0.
    parse_number(value).map_or(0, |n| (n * each).round() as u64)
}

/// A time between 1970 and 2100.
pub(super) fn parse_time(value: &Value) -> Option<Timestamp> {
    let time = match value {
        Value::String(text) => text
            .parse()
            .ok()
            .or_else(|| text.parse().ok().and_then(parse_epoch)),
        Value::Number(number) => number.as_f64().and_then(parse_epoch),
        _ => None,
    };
    let year = |t: &Timestamp| (0..4_102_444_800).contains(&t.as_second());
    time.filter(year)
}

/// Time since 1970, in seconds; a number too large for seconds is read as milliseconds,
/// microseconds or nanoseconds.
fn parse_epoch(number: f64) -> Option<Timestamp> {
    let seconds = match number {
        n if n < 1e11 => n,
        n if n < 1e14 => n / 1e3,
        n if n < 1e17 => n / 1e6,
        n => n / 1e9,
    };
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()
}

/// Subtracts a duration in microseconds from a time.
pub(super) fn subtract_micros(time: Timestamp, micros: u64) -> Timestamp {
    let took = SignedDuration::from_micros(i64::try_from(micros).unwrap_or(i64::MAX));
    time.checked_sub(took).unwrap_or(time)
}

/// Parses an id of that many hex digits into lower case. Missing leading zeros are restored; an id
/// of zeros only is `None`.
pub(super) fn parse_hex_id(text: &str, digits: usize) -> Option<String> {
    let text = text.trim();
    let fits =
        !text.is_empty() && text.len() <= digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    (fits && text.bytes().any(|b| b != b'0')).then(|| format!("{:0>digits$}", text.to_lowercase()))
}

/// The IP address of `IP`, `IP:port` or `[IP]:port`.
pub(super) fn parse_address(text: &str) -> Option<String> {
    let text = text.trim();
    let ip = text
        .parse::<SocketAddr>()
        .map(|s| s.ip())
        .or_else(|_| text.parse());
    let ip = ip.or_else(|_| {
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
    });
    ip.ok().map(|ip| ip.to_canonical().to_string())
}

/// Parses the last of several addresses: nginx separates attempts by commas and groups of servers
/// by ` : `.
pub(super) fn parse_last_address(text: &str) -> Option<String> {
    text.split(',')
        .flat_map(|part| part.split(" : "))
        .filter_map(parse_address)
        .last()
}

/// Describes Envoy's response flags (Envoy docs, "Access logging", `%RESPONSE_FLAGS%`).
pub(super) fn describe_response_flags(flags: &str) -> String {
    let words = |flag: &str| match flag {
        "UH" => "no healthy upstream",
        "UF" => "no connection to the upstream",
        "UO" => "too many requests to the upstream",
        "UT" => "the upstream took too long",
        "UC" => "the upstream ended the connection",
        "UR" => "the upstream reset the request",
        "URX" => "all tries were used up",
        "NR" => "no route",
        "NC" => "no such upstream cluster",
        "DC" => "the caller ended the connection",
        "DT" => "the request took too long",
        "LH" => "the upstream's health check fails",
        "LR" => "reset by the gateway",
        "RL" => "rate limited",
        "UAEX" => "refused by external authorization",
        "SI" => "the stream was idle too long",
        "DPE" => "the request is not HTTP",
        "UPE" => "the answer is not HTTP",
        "OM" => "the gateway's memory is full",
        _ => "",
    };
    let each = flags.split(',').map(|flag| match words(flag) {
        "" => flag.to_owned(),
        words => format!("{words} ({flag})"),
    });
    each.collect::<Vec<_>>().join(", ")
}
