//! Types of plain scalars by the rules of go-yaml 2, which kubectl uses to read manifests: those of
//! YAML 1.1, without base 60 numbers, plus the notations that Go's number parser accepts.

use crate::numbers::{parse_float, parse_signed, parse_unsigned};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// Read as text, but written in quotes.
    Timestamp,
    Text,
}

pub(super) fn resolve_scalar(plain: &str) -> Scalar {
    match plain {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Scalar::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match plain.as_bytes()[0] {
        b'.' => parse_float(plain).map_or(Scalar::Text, Scalar::Float),
        b'+' | b'-' | b'0'..=b'9' => resolve_number(plain),
        _ => Scalar::Text,
    }
}

fn resolve_number(text: &str) -> Scalar {
    if is_timestamp(text) {
        return Scalar::Timestamp;
    }
    let plain = text.replace('_', "");
    if let Some(number) = parse_signed(&plain) {
        Scalar::Int(number)
    } else if let Some(number) = parse_unsigned(&plain) {
        Scalar::Uint(number)
    } else if let Some(number) = Some(&plain)
        .filter(|p| is_decimal(p))
        .and_then(|p| parse_float(p))
    {
        // A number too large for a float stays text: a digest such as 123e4567 is not a number.
        Scalar::Float(number)
    } else {
        // After this prefix, go-yaml also accepts a sign.
        plain
            .strip_prefix("0b")
            .and_then(|bits| i64::from_str_radix(bits, 2).ok())
            .map_or(Scalar::Text, Scalar::Int)
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            exponent.strip_prefix(['-', '+']).unwrap_or(exponent),
        ),
        None => (text, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let some = !whole.is_empty() || !fraction.is_empty();
    some && digits(whole) && digits(fraction) && !exponent.is_empty() && digits(exponent)
}

/// Whether a text is a YAML 1.1 date, with or without time.
pub(super) fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (Some(year), Some(month), Some(day), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let date = year.len() == 4
        && parse_part(year, 4, 9999).is_some_and(|year| {
            parse_part(month, 2, 12).is_some_and(|month| {
                let days = match month {
                    4 | 6 | 9 | 11 => 30,
                    2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
                    2 => 28,
                    _ => 31,
                };
                month > 0 && parse_part(day, 2, days).is_some_and(|day| day > 0)
            })
        });
    date && match time {
        None => true,
        Some((" ", time)) => is_time(time),
        Some((_, time)) => match time.strip_suffix('Z') {
            Some(time) => is_time(time),
            None => time.rfind(['+', '-']).is_some_and(|at| {
                let zone = &time[at + 1..];
                let (hours, minutes) = zone.split_once(':').unwrap_or((zone, ""));
                let zone =
                    hours.len() == 2 && minutes.len() == 2 && parse_part(hours, 2, 24).is_some();
                zone && parse_part(minutes, 2, 59).is_some() && is_time(&time[..at])
            }),
        },
    }
}

fn is_time(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let (Some(hours), Some(minutes), Some(seconds)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (seconds, fraction) = seconds.split_once(['.', ',']).unwrap_or((seconds, "0"));
    parse_part(hours, 2, 23).is_some()
        && parse_part(minutes, 2, 59).is_some()
        && parse_part(seconds, 2, 59).is_some()
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

/// Parses a number of up to `digits` digits that is at most `most`.
fn parse_part(text: &str, digits: usize, most: u32) -> Option<u32> {
    let plain =
        !text.is_empty() && text.len() <= digits && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| plain && *n <= most)
}

/// Whether a text is a base 60 number, which other YAML parsers would read as a number.
pub(super) fn is_base_60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let mut rest: Vec<&str> = parts.collect();
    let Some(last) = rest.pop() else { return false };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    let sixty = |t: &str| parse_part(t, 2, 59).is_some();
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && rest.into_iter().all(sixty)
        && sixty(last)
        && digits(fraction)
}

/// Chooses between two notations of a number as Go does: with an exponent when it is very large or
/// very small.
pub(super) fn choose_notation(scientific: &str, plain: String) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return plain;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
