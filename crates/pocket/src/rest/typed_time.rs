//! Parses RFC 3339 as Go's `time.Parse` does, with its error texts.

use jiff::Timestamp;

const PLAIN: &str = "2006-01-02T15:04:05Z07:00";
const MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";

/// Why a text is no time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TimeError<'a> {
    #[error("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}")]
    Unreadable {
        text: &'a str,
        layout: &'static str,
        rest: &'a str,
        element: &'static str,
    },
    #[error("parsing time {text:?}: {what} out of range")]
    OutOfRange { text: &'a str, what: &'static str },
    #[error("parsing time {text:?}: extra text: {rest:?}")]
    ExtraText { text: &'a str, rest: &'a str },
}

/// `micro` requires exactly six decimal places in the seconds, as in a `MicroTime`.
pub(super) fn parse_time(text: &str, micro: bool) -> Result<Timestamp, TimeError<'_>> {
    let layout = if micro { MICRO } else { PLAIN };
    let mut rest = text;
    let wrong = |rest, element| TimeError::Unreadable {
        text,
        layout,
        rest,
        element,
    };
    let range = |what| TimeError::OutOfRange { text, what };
    let mut numbers = [0_u32; 6];
    let elements = [
        ("2006", "-"),
        ("01", "-"),
        ("02", "T"),
        ("15", ":"),
        ("04", ":"),
        ("05", ""),
    ];
    for (at, (element, after)) in elements.into_iter().enumerate() {
        let digits = rest
            .get(..element.len())
            .filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let digits = digits.ok_or_else(|| wrong(rest, element))?;
        numbers[at] = digits.parse().unwrap_or_default();
        let place = ["year", "month", "day", "hour", "minute", "second"][at];
        let fits = match at {
            1 => (1..=12).contains(&numbers[1]),
            3 => numbers[3] < 24,
            4 | 5 => numbers[at] < 60,
            _ => true,
        };
        if !fits {
            return Err(range(place));
        }
        rest = &rest[element.len()..];
        rest = rest.strip_prefix(after).ok_or_else(|| wrong(rest, after))?;
    }
    let places = rest
        .strip_prefix('.')
        .map_or(0, |r| r.bytes().take_while(u8::is_ascii_digit).count());
    if micro && places != 6 {
        return Err(wrong(rest, ".000000"));
    }
    if places > 0 {
        rest = &rest[1 + places..];
    }
    let zone = match rest.as_bytes() {
        [b'Z', ..] => 1,
        [b'+' | b'-', h, i, b':', m, n, ..] if [h, i, m, n].iter().all(|b| b.is_ascii_digit()) => 6,
        _ => return Err(wrong(rest, "Z07:00")),
    };
    if rest.len() > zone {
        return Err(TimeError::ExtraText {
            text,
            rest: &rest[zone..],
        });
    }
    text.parse().map_err(|_| range("day"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_gos() {
        let said = |text: &str, micro| {
            parse_time(text, micro).map_or_else(|why| why.to_string(), |time| time.to_string())
        };
        assert_eq!(said("2026-01-02T03:04:05Z", false), "2026-01-02T03:04:05Z");
        assert_eq!(
            said("2026-01-02T03:04:05.25+01:00", false),
            "2026-01-02T02:04:05.25Z"
        );
        for (text, words) in [
            (
                "yesterday",
                "as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
            ),
            (
                "2026-01-02",
                "as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"T\"",
            ),
            (
                "2026-01-02T03:04:05",
                "as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"Z07:00\"",
            ),
        ] {
            assert_eq!(said(text, false), format!("parsing time {text:?} {words}"));
        }
        assert_eq!(
            said("2026-13-02T03:04:05Z", false),
            "parsing time \"2026-13-02T03:04:05Z\": month out of range"
        );
        assert_eq!(
            said("2026-02-30T03:04:05Z", false),
            "parsing time \"2026-02-30T03:04:05Z\": day out of range"
        );
        assert_eq!(
            said("2026-02-03T03:04:05Zx", false),
            "parsing time \"2026-02-03T03:04:05Zx\": extra text: \"x\""
        );
        assert!(said("2026-02-03T03:04:05Z", true).ends_with("cannot parse \"Z\" as \".000000\""));
        assert_eq!(
            said("2026-02-03T03:04:05.000001Z", true),
            "2026-02-03T03:04:05.000001Z"
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}|2026-0[1-9]-[0-3][0-9]T.{0,20}", micro: bool) {
            let _ = parse_time(&text, micro);
        }
    }
}
