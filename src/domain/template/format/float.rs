//! Go's `strconv.FormatFloat`.

/// The decimal digits of a number (none for zero) and the position of the decimal point.
struct Decimal {
    negative: bool,
    digits: String,
    point: i32,
}

impl Decimal {
    /// Rounds to `digits` significant digits, or to the fewest that read back as the same number.
    /// Trailing zeros are dropped.
    fn from_f64(number: f64, digits: Option<usize>) -> Decimal {
        let text = match digits {
            None => format!("{:e}", number.abs()),
            Some(digits) => format!("{:.*e}", digits.saturating_sub(1), number.abs()),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = mantissa.replace('.', "").trim_end_matches('0').to_owned();
        let point = if digits.is_empty() {
            0
        } else {
            exponent.parse::<i32>().unwrap_or(0) + 1
        };
        Decimal {
            negative: number.is_sign_negative(),
            digits,
            point,
        }
    }

    fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "" }
    }

    fn to_scientific(&self, precision: usize, e: char) -> String {
        let (first, rest) = if self.digits.is_empty() {
            ("0", "")
        } else {
            self.digits.split_at(1)
        };
        let mut out = format!("{}{first}", self.sign());
        if precision > 0 {
            out.push('.');
            out.push_str(&rest[..rest.len().min(precision)]);
            out.push_str(&"0".repeat(precision.saturating_sub(rest.len())));
        }
        let exponent = if self.digits.is_empty() {
            0
        } else {
            self.point - 1
        };
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("{e}{sign}{:02}", exponent.abs()));
        out
    }

    fn to_plain(&self, precision: usize) -> String {
        let point = usize::try_from(self.point).unwrap_or(0);
        let whole = &self.digits[..point.min(self.digits.len())];
        let mut out = format!("{}{whole}{}", self.sign(), "0".repeat(point - whole.len()));
        if point == 0 {
            out.push('0');
        }
        if precision > 0 {
            out.push('.');
            let before = usize::try_from(-self.point).unwrap_or(0).min(precision);
            let rest = &self.digits[whole.len()..];
            let rest = &rest[..rest.len().min(precision - before)];
            out.push_str(&"0".repeat(before));
            out.push_str(rest);
            out.push_str(&"0".repeat(precision - before - rest.len()));
        }
        out
    }

    fn fraction_digits(&self) -> usize {
        usize::try_from(i32::try_from(self.digits.len()).unwrap_or(i32::MAX) - self.point)
            .unwrap_or(0)
    }
}

/// Formats a number without exponent, with the fewest digits that read back as the same number.
pub(in super::super) fn shortest_decimal(number: f64) -> String {
    let decimal = Decimal::from_f64(number, None);
    decimal.to_plain(decimal.fraction_digits())
}

/// Formats a number for a verb. Without `precision`, uses the fewest digits that read back as the
/// same number. Digits beyond `most` are zeros.
pub(super) fn format_float(
    number: f64,
    verb: char,
    precision: Option<usize>,
    most: usize,
) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "+Inf".into()
        } else {
            "-Inf".into()
        };
    }
    let exact = precision.map(|p| p.min(most));
    match verb {
        'b' => format_binary(number),
        'x' | 'X' => format_hexadecimal(number, precision, verb),
        'e' | 'E' => {
            let decimal = Decimal::from_f64(number, exact.map(|p| p + 1));
            decimal.to_scientific(
                precision.unwrap_or(decimal.digits.len().saturating_sub(1)),
                verb,
            )
        }
        'f' => match precision {
            None => shortest_decimal(number),
            Some(precision) => {
                let text = format!("{number:.*}", precision.min(most));
                text + &"0".repeat(precision.saturating_sub(most))
            }
        },
        _ => format_general(number, verb, exact),
    }
}

fn format_general(number: f64, verb: char, precision: Option<usize>) -> String {
    let asked = precision.map(|p| p.max(1));
    let decimal = Decimal::from_f64(number, asked);
    let have = decimal.digits.len();
    let point = decimal.point;
    let mut precision = asked.unwrap_or(have);
    let as_i32 = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let limit = match asked {
        None => 6,
        Some(asked) if asked > have && as_i32(have) >= point => as_i32(have),
        Some(asked) => as_i32(asked),
    };
    let exponent = point - 1;
    if exponent < -4 || exponent >= limit {
        precision = precision.min(have);
        return decimal.to_scientific(
            precision.saturating_sub(1),
            if verb == 'G' { 'E' } else { 'e' },
        );
    }
    if as_i32(precision) > point {
        precision = have;
    }
    decimal.to_plain(usize::try_from(as_i32(precision) - point).unwrap_or(0))
}

/// Splits a number into its mantissa and binary exponent.
fn split_bits(number: f64) -> (u64, i32) {
    let bits = number.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let mantissa = bits & ((1 << 52) - 1);
    match exponent {
        0 => (mantissa, -1022),
        exponent => (mantissa | (1 << 52), exponent - 1023),
    }
}

fn sign_of(number: f64) -> &'static str {
    if number.is_sign_negative() { "-" } else { "" }
}

fn format_binary(number: f64) -> String {
    let (mantissa, exponent) = split_bits(number);
    format!("{}{mantissa}p{:+}", sign_of(number), exponent - 52)
}

fn format_hexadecimal(number: f64, precision: Option<usize>, verb: char) -> String {
    let (mut mantissa, mut exponent) = split_bits(number);
    if mantissa == 0 {
        exponent = 0;
    }
    // Move the leading 1 to bit 60.
    mantissa <<= 8;
    while mantissa != 0 && mantissa & (1 << 60) == 0 {
        mantissa <<= 1;
        exponent -= 1;
    }
    if let Some(digits) = precision.filter(|p| *p < 15) {
        let shift = digits * 4;
        let extra = (mantissa << shift) & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        if extra | (mantissa & 1) > 1 << 59 {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & (1 << 61) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut digits = String::new();
    let lead = (mantissa >> 60) & 1;
    mantissa <<= 4;
    match precision {
        None => {
            while mantissa != 0 {
                digits.push_str(&format!("{:x}", (mantissa >> 60) & 15));
                mantissa <<= 4;
            }
        }
        Some(precision) => {
            for _ in 0..precision {
                digits.push_str(&format!("{:x}", (mantissa >> 60) & 15));
                mantissa <<= 4;
            }
        }
    }
    let point = if digits.is_empty() { "" } else { "." };
    let power = if exponent < 0 { '-' } else { '+' };
    let out = format!(
        "{}0x{lead}{point}{digits}p{power}{:02}",
        sign_of(number),
        exponent.abs()
    );
    if verb == 'X' { out.to_uppercase() } else { out }
}

/// Applies the flag `#`: always a decimal point, and as many digits as the precision says. `text`
/// starts with a sign.
pub(super) fn with_point(text: &str, verb: char, precision: Option<usize>) -> String {
    let is_hex = matches!(verb, 'x' | 'X');
    let tail_at = text[1..]
        .find(if is_hex { ['p', 'P'] } else { ['e', 'E'] })
        .map_or(text.len(), |at| at + 1);
    let (number, tail) = text.split_at(tail_at);
    let mut missing = match verb {
        'g' | 'G' | 'x' => i64::try_from(precision.unwrap_or(6)).unwrap_or(0),
        _ => 0,
    };
    let mut seen = false;
    for c in number[1..].chars().filter(|c| *c != '.') {
        seen |= c != '0';
        missing -= i64::from(seen);
    }
    let mut out = number.to_owned();
    if !number.contains('.') {
        if number[1..] == *"0" {
            missing -= 1;
        }
        out.push('.');
    }
    out.extend(std::iter::repeat_n(
        '0',
        usize::try_from(missing).unwrap_or(0),
    ));
    out + tail
}
