//! Kubernetes quantities (`100m`, `1Gi`, `1e3`): parsed, compared, and formatted as they are
//! stored.

use std::cmp::Ordering;

const INVALID_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const INVALID_SUFFIX: &str = "unable to parse quantity's suffix";
const NANO: i128 = 1_000_000_000;
/// Kubernetes caps quantities with a binary suffix at this amount.
const MAX_BINARY: i128 = (i64::MAX as i128) * NANO;
/// Amounts are not counted beyond this: such an amount only compares as larger than any other.
const HUGE: i128 = i128::MAX / 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// The parts of a quantity's text.
struct Digits<'a> {
    negative: bool,
    /// Without leading zeros.
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn split_digits(text: &str) -> Result<Digits<'_>, &'static str> {
    let (negative, unsigned) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let unsigned = unsigned.trim_start_matches('0');
    let (whole, rest) = unsigned.split_at(digits(unsigned));
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    // A suffix has letters, a sign and digits; with anything more the text is not a quantity.
    let letters = suffix
        .bytes()
        .take_while(|b| b"eEinumkKMGTP".contains(b))
        .count();
    let power = &suffix[letters..];
    let power = power.strip_prefix(['-', '+']).unwrap_or(power);
    if digits(power) != power.len() {
        return Err(INVALID_FORMAT);
    }
    Ok(Digits {
        negative,
        whole,
        fraction,
        suffix,
    })
}

/// An amount in billionths, and the text in which it is stored.
#[derive(Clone, Debug)]
pub(super) struct Quantity {
    nanos: i128,
    text: String,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.nanos.partial_cmp(&other.nanos)
    }
}

impl Quantity {
    pub(super) fn parse(text: &str) -> Result<Quantity, &'static str> {
        let zero = || {
            Ok(Quantity {
                nanos: 0,
                text: "0".into(),
            })
        };
        if text.is_empty() {
            return Err(INVALID_FORMAT);
        }
        let Digits {
            negative,
            whole,
            fraction,
            suffix,
        } = split_digits(text)?;
        let (base, power, mut format) = parse_suffix(suffix).ok_or(INVALID_SUFFIX)?;
        let whole = if whole.is_empty() { "0" } else { whole };
        let all = format!("{whole}{fraction}");
        let places = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        let (ten, two) = match base {
            2 => (-places, u32::try_from(power).unwrap_or(0)),
            _ => (power.saturating_sub(places), 0),
        };
        let mut nanos = scale_digits(all.trim_start_matches('0'), ten, two);
        if format == Format::Binary {
            nanos = nanos.min(MAX_BINARY);
            if nanos > 0 && nanos < NANO {
                format = Format::Decimal;
            }
        }
        if nanos == 0 {
            return zero();
        }
        // A text that Kubernetes can count in an int64 and that is already canonical stays as
        // written.
        let quick = match format {
            Format::Binary => {
                fraction.is_empty() && all.len() + usize::try_from(power).unwrap_or(0) * 3 / 10 < 15
            }
            _ => all.len() <= 18 && (-9..=i64::from(i32::MAX)).contains(&ten),
        };
        let in_order = match format {
            Format::Binary => all.parse::<i64>().is_ok_and(|n| n & 7 != 0),
            _ => ten % 3 == 0 && !all.ends_with("000") && !all.starts_with('0'),
        };
        if negative {
            nanos = -nanos;
        }
        let huge = nanos.unsigned_abs() >= HUGE.unsigned_abs();
        let text = if (quick && in_order) || huge {
            text.to_owned()
        } else {
            format_canonical(nanos, format)
        };
        Ok(Quantity { nanos, text })
    }

    pub(super) fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    pub(super) fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    pub(super) fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn format_canonical(nanos: i128, format: Format) -> String {
    if format == Format::Binary && nanos.abs() >= 1024 * NANO && nanos % NANO == 0 {
        let (mut number, mut at) = (nanos / NANO, 0);
        while number % 1024 == 0 && at < 6 {
            (number, at) = (number / 1024, at + 1);
        }
        return format!("{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][at]);
    }
    let (mut number, mut exponent) = (nanos, -9i32);
    while number % 1000 == 0 && (exponent < 18 || format == Format::Exponent) {
        (number, exponent) = (number / 1000, exponent + 3);
    }
    if format == Format::Exponent {
        return match exponent {
            0 => number.to_string(),
            exponent => format!("{number}e{exponent}"),
        };
    }
    let suffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    format!(
        "{number}{}",
        suffixes[usize::try_from((exponent + 9) / 3).unwrap_or(3)]
    )
}

/// What a suffix means: base, power and format.
fn parse_suffix(suffix: &str) -> Option<(u8, i64, Format)> {
    let decimal = |power| Some((10, power, Format::Decimal));
    let binary = |power| Some((2, power, Format::Binary));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?;
            Some((10, power.parse().ok()?, Format::Exponent))
        }
    }
}

/// `digits` times these powers of ten and two, in billionths, rounded up.
fn scale_digits(digits: &str, ten: i64, two: u32) -> i128 {
    // With more digits than are ever counted, only the first ones and the number of the others
    // matter.
    let (head, tail) = digits.split_at(digits.len().min(30));
    let mut ten = ten
        .saturating_add(9)
        .saturating_add(i64::try_from(tail.len()).unwrap_or(i64::MAX));
    let mut number: i128 = head.parse().unwrap_or(0);
    let mut rest = tail.bytes().any(|b| b != b'0');
    if number == 0 {
        return 0;
    }
    for _ in 0..two {
        if number >= HUGE / 2 {
            // Too large to double: without the last digit it is still far more than is counted.
            (rest, number, ten) = (rest || number % 10 != 0, number / 10, ten.saturating_add(1));
        }
        number *= 2;
    }
    while ten > 0 && number < HUGE {
        (number, ten) = (number.saturating_mul(10), ten - 1);
    }
    while ten < 0 && number > 0 {
        (rest, number, ten) = (rest || number % 10 != 0, number / 10, ten + 1);
    }
    (number + i128::from(rest)).min(HUGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        Quantity::parse(text).map_or_else(str::to_owned, |q| q.to_string())
    }

    /// Inputs and the results of k8s.io/apimachinery 0.36.
    #[test]
    fn they_are_kept_in_one_form() {
        for (text, kept) in [
            ("0", "0"),
            ("000", "0"),
            ("0Mi", "0"),
            ("-0", "0"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1."),
            ("1.0", "1"),
            ("+1", "+1"),
            ("-1", "-1"),
            ("1024", "1024"),
            ("1000", "1k"),
            ("1200", "1200"),
            ("12000", "12k"),
            ("1024Ki", "1Mi"),
            ("1023Ki", "1023Ki"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("0.5Mi", "512Ki"),
            ("100Mi", "100Mi"),
            ("1e3", "1e3"),
            ("1E3", "1E3"),
            ("1e4", "10e3"),
            ("1e-3", "1e-3"),
            ("12e0", "12e0"),
            ("1E", "1E"),
            ("0.1n", "1n"),
            ("1.1n", "2n"),
            ("100Ei", "9223372036854775807"),
            ("0.001Ki", "1024m"),
            ("512MB", INVALID_FORMAT),
            ("1core", INVALID_FORMAT),
            ("abc", INVALID_FORMAT),
            ("", INVALID_FORMAT),
            (" 1", INVALID_FORMAT),
            ("1 ", INVALID_FORMAT),
            ("1Mi2x", INVALID_FORMAT),
            ("1mi", INVALID_SUFFIX),
            ("1KI", INVALID_FORMAT),
            ("1K", INVALID_SUFFIX),
            ("1Mi2", INVALID_SUFFIX),
            ("1e", INVALID_SUFFIX),
            ("--1", INVALID_SUFFIX),
            ("1..2", INVALID_FORMAT),
            (".", "0"),
            ("-", "0"),
            ("+", "0"),
            ("Mi", "0"),
            ("-Mi", "0"),
            (".Mi", "0"),
            ("1e20", "100e18"),
            ("99999999999999999999", "99999999999999999999"),
            ("0.0000000001", "1n"),
            ("1e-20", "1e-9"),
            ("-1.1n", "-2n"),
            ("-100Ei", "-9223372036854775807"),
            ("1.5e3", "1500"),
            ("1.23456e2", "1.23456e2"),
            ("0e3", "0"),
            ("0e", INVALID_SUFFIX),
            ("0x", INVALID_FORMAT),
            ("00.10", "100m"),
            ("1e+3", "1e+3"),
        ] {
            assert_eq!(self::kept(text), kept, "{text:?}");
        }
    }

    #[test]
    fn they_compare_by_amount() {
        let of = |text: &str| Quantity::parse(text).unwrap();
        assert!(of("1000m") == of("1") && of("1Ki") > of("1k") && of("-1") < of("0"));
        assert!(of("1000m").is_whole() && !of("0.5").is_whole() && of("-1").is_negative());
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_the_same(text in "[+-]?[0-9]{0,12}(\\.[0-9]{0,10})?(n|u|m|k|M|G|Ki|Mi|Gi|e[+-]?[0-9])?") {
            if let Ok(quantity) = Quantity::parse(&text) {
                let kept = quantity.to_string();
                let again = Quantity::parse(&kept).unwrap();
                proptest::prop_assert!(again == quantity, "{text}: {kept}");
                proptest::prop_assert_eq!(again.to_string(), kept);
            }
        }

        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = Quantity::parse(&text);
        }
    }
}
