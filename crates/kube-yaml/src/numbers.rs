//! Parses numbers as Go's `strconv` does. Templates and YAML share these rules.

/// `strconv.ParseInt` with base 0.
pub fn parse_signed(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let value = i128::from(parse_unsigned(digits)?);
    i64::try_from(if negative { -value } else { value }).ok()
}

/// `strconv.ParseUint` with base 0: `0x`, `0o`, `0b`, a leading 0 for octal, and underscores
/// between digits.
pub fn parse_unsigned(text: &str) -> Option<u64> {
    let (base, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        [b'0', _, ..] => (8, &text[1..]),
        _ => (10, text),
    };
    if !has_valid_underscores(text) || digits.starts_with(['+', '-']) {
        return None;
    }
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    u64::from_str_radix(&plain, base).ok()
}

/// Whether every underscore is between digits, or between the prefix and a digit.
fn has_valid_underscores(text: &str) -> bool {
    if !text.contains('_') {
        return true;
    }
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (prefixed, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..] => (true, &text[2..]),
        _ => (false, text),
    };
    let hex = matches!(text.as_bytes(), [b'0', b'x' | b'X', ..]);
    let digit = |c: char| c.is_ascii_digit() || (hex && c.is_ascii_hexdigit());
    let mut before = if prefixed { '0' } else { '^' };
    for c in digits.chars() {
        match c {
            '_' if !digit(before) => return false,
            c if before == '_' && !digit(c) => return false,
            _ => {}
        }
        before = c;
    }
    before != '_'
}

/// `strconv.ParseFloat`, without infinity and NaN.
pub fn parse_float(text: &str) -> Option<f64> {
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if !has_valid_underscores(text) || !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let body = body.replace('_', "");
    let value = match body.strip_prefix("0x").or_else(|| body.strip_prefix("0X")) {
        Some(hex) => parse_hex_float(hex)?,
        None => body.parse::<f64>().ok()?,
    };
    value.is_finite().then_some(sign * value)
}

/// Parses a hexadecimal float without its prefix, such as `1.8p4`. `None` when its digits do not
/// fit into 64 bits.
fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() {
        return None;
    }
    let bits = u64::from_str_radix(&digits, 16).ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let exponent = exponent.checked_sub(4 * places)?.clamp(-2000, 2000);
    // In two steps: a single power could overflow although the product does not.
    Some(bits as f64 * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2))
}
