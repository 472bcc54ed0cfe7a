//! Go's literals: numbers, characters and quoted texts.

use kube_yaml::numbers::{parse_float, parse_signed, parse_unsigned};

/// A number literal with the types that it can have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    /// Value where an integer is required.
    pub int: Option<i64>,
    pub ideal: Ideal,
}

/// Value where any type is accepted (Go's "ideal constant").
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ideal {
    Int(i64),
    Float(f64),
    /// An integer above `i64::MAX`.
    TooLarge,
}

pub(super) fn parse_number(text: &str) -> Result<Number, &'static str> {
    let unsigned = parse_unsigned(text);
    let mut int = parse_signed(text);
    let hex = text.len() > 2
        && matches!(text.as_bytes()[..2], [b'0', b'x' | b'X'])
        && !text.contains(['p', 'P']);
    if let Some(value) = int {
        return Ok(Number {
            int,
            ideal: if written_as_float(text, hex) {
                Ideal::Float(value as f64)
            } else {
                Ideal::Int(value)
            },
        });
    }
    if unsigned.is_some() {
        return Ok(Number {
            int: None,
            ideal: Ideal::TooLarge,
        });
    }
    let value = parse_float(text).ok_or("no number")?;
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err("no whole number of 64 bits; octal ones have no 8 and no 9");
    }
    if value.fract() == 0.0 && (i64::MIN as f64..-(i64::MIN as f64)).contains(&value) {
        int = Some(value as i64);
    }
    Ok(Number {
        int,
        ideal: Ideal::Float(value),
    })
}

fn written_as_float(text: &str, hex: bool) -> bool {
    !hex && text.contains(['.', 'e', 'E', 'p', 'P'])
}

/// A character literal such as `'a'`, which is a number in Go.
pub(super) fn parse_character(text: &str) -> Result<Number, &'static str> {
    const WRONG: &str = "no character in quotes";
    let inside = text.strip_prefix('\'').ok_or(WRONG)?;
    let mut bytes = Vec::new();
    let (code, rest) = unescape_char(inside, '\'', &mut bytes).ok_or(WRONG)?;
    if rest != "'" {
        return Err("one character stands between single quotes");
    }
    let code = i64::from(code);
    Ok(Number {
        int: Some(code),
        ideal: Ideal::Int(code),
    })
}

/// `strconv.Unquote` of a text in double or back quotes.
pub(super) fn unquote(text: &str) -> Result<String, &'static str> {
    if let Some(raw) = text.strip_prefix('`') {
        return Ok(raw.strip_suffix('`').unwrap_or(raw).replace('\r', ""));
    }
    let mut rest = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or_default();
    if !rest.contains('\\') {
        return Ok(rest.to_owned());
    }
    let mut bytes = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let (_, behind) = unescape_char(rest, '"', &mut bytes)
            .ok_or("an escape that Go does not know; in back quotes a backslash is itself")?;
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_| "bytes that are no UTF-8 text: YAML allows none")
}

/// Reads one character or escape and appends its bytes; returns its code and the remaining text.
fn unescape_char<'t>(text: &'t str, quote: char, bytes: &mut Vec<u8>) -> Option<(u32, &'t str)> {
    let mut chars = text.chars();
    let c = chars.next()?;
    if c != '\\' {
        let mut buffer = [0; 4];
        bytes.extend(c.encode_utf8(&mut buffer).bytes());
        return (c != quote).then_some((c.into(), chars.as_str()));
    }
    let escape = chars.next()?;
    let rest = chars.as_str();
    let simple = match escape {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(10),
        'r' => Some(13),
        't' => Some(9),
        'v' => Some(11),
        '\\' => Some(92),
        c if c == quote => Some(c as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        bytes.push(byte);
        return Some((byte.into(), rest));
    }
    let (digits, radix, from) = match escape {
        'x' => (2, 16, rest),
        'u' => (4, 16, rest),
        'U' => (8, 16, rest),
        '0'..='7' => (3, 8, &text[1..]),
        _ => return None,
    };
    let number = from
        .get(..digits)
        .filter(|d| d.chars().all(|c| c.is_digit(radix)))?;
    let code = u32::from_str_radix(number, radix).ok()?;
    if matches!(escape, 'u' | 'U') {
        let mut buffer = [0; 4];
        bytes.extend(char::from_u32(code)?.encode_utf8(&mut buffer).bytes());
    } else {
        bytes.push(u8::try_from(code).ok()?);
    }
    Some((code, &from[digits..]))
}
