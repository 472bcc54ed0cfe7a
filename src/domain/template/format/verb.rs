//! Formats one value with one verb.

use super::super::value::{ListType, Value};
use super::float;
use super::quote::{can_backquote, quote_character, quote_text};

/// More significant digits than any 64-bit float has; all further digits are zeros.
const MAX_DIGITS: usize = 1100;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub width: Option<usize>,
    pub precision: Option<usize>,
    pub minus: bool,
    pub plus: bool,
    pub sharp: bool,
    pub space: bool,
    pub zero: bool,
    /// `%#v`
    pub sharp_v: bool,
}

#[derive(Debug, Default)]
pub(super) struct Printer {
    pub out: String,
    pub flags: Flags,
}

impl Printer {
    /// Writes an argument: `%T` writes its type, and nil has its own rules.
    pub fn write_argument(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            (Value::Nil | Value::Unknown, 'T' | 'v') => self.write_padded("<nil>"),
            (Value::Nil | Value::Unknown, verb) => self.out.push_str(&format!("%!{verb}(<nil>)")),
            (value, 'T') => self.write_text(value.type_name()),
            (Value::List(_) | Value::Map(_), 'w') => self.write_bad_verb(value, verb),
            (value, verb) => self.write_value(value, verb),
        }
    }

    /// `TYPE=VALUE`
    pub fn write_typed(&mut self, value: &Value) {
        if !matches!(value, Value::Nil | Value::Unknown) {
            self.out.push_str(value.type_name());
            self.out.push('=');
        }
        self.write_value(value, 'v');
    }

    fn write_bad_verb(&mut self, value: &Value, verb: char) {
        self.out.push_str("%!");
        self.out.push(verb);
        self.out.push('(');
        self.write_typed(value);
        self.out.push(')');
    }

    pub fn write_value(&mut self, value: &Value, verb: char) {
        match value {
            Value::Nil | Value::Unknown => {
                self.out.push_str(if self.flags.sharp_v {
                    "interface {}(nil)"
                } else {
                    "<nil>"
                });
            }
            Value::Bool(b) if matches!(verb, 't' | 'v') => {
                self.write_padded(if *b { "true" } else { "false" });
            }
            Value::Int(i) | Value::Int64(i) => {
                self.write_number(value, i.unsigned_abs(), *i < 0, true, verb);
            }
            Value::Byte(b) => self.write_number(value, u64::from(*b), false, false, verb),
            Value::Uint(u) => self.write_number(value, *u, false, false, verb),
            Value::Float(f) => match verb {
                'v' => self.write_float(*f, 'g', None),
                'b' | 'g' | 'G' | 'x' | 'X' => self.write_float(*f, verb, None),
                'f' | 'e' | 'E' => self.write_float(*f, verb, Some(6)),
                'F' => self.write_float(*f, 'f', Some(6)),
                _ => self.write_bad_verb(value, verb),
            },
            Value::Text(text) => match verb {
                'v' if self.flags.sharp_v => self.write_quoted(text),
                'v' | 's' => self.write_text(text),
                'x' => self.write_hex(text, "0123456789abcdefx"),
                'X' => self.write_hex(text, "0123456789ABCDEFX"),
                'q' => self.write_quoted(text),
                _ => self.write_bad_verb(value, verb),
            },
            Value::List(list) => {
                self.write_opening(value.type_name(), "[");
                for (i, item) in list.items.iter().enumerate() {
                    self.write_separator(i);
                    match list.kind {
                        ListType::Any | ListType::Texts | ListType::Ints => {
                            self.write_value(item, verb);
                        }
                    }
                }
                self.write_closing();
            }
            Value::Map(map) => {
                self.write_opening(value.type_name(), "map[");
                for (i, (key, item)) in map.entries.iter().enumerate() {
                    self.write_separator(i);
                    self.write_value(&Value::Text(key.clone()), verb);
                    self.out.push(':');
                    self.write_value(item, verb);
                }
                self.write_closing();
            }
            Value::Bool(_) => self.write_bad_verb(value, verb),
        }
    }

    fn write_opening(&mut self, type_name: &str, plain: &str) {
        if self.flags.sharp_v {
            self.out.push_str(type_name);
            self.out.push('{');
        } else {
            self.out.push_str(plain);
        }
    }

    fn write_separator(&mut self, i: usize) {
        if i > 0 {
            self.out
                .push_str(if self.flags.sharp_v { ", " } else { " " });
        }
    }

    fn write_closing(&mut self) {
        self.out.push(if self.flags.sharp_v { '}' } else { ']' });
    }

    fn write_padding(&mut self, count: usize) {
        let fill = if self.flags.zero && !self.flags.minus {
            '0'
        } else {
            ' '
        };
        self.out.extend(std::iter::repeat_n(fill, count));
    }

    fn write_padded(&mut self, text: &str) {
        let missing = self
            .flags
            .width
            .unwrap_or(0)
            .saturating_sub(text.chars().count());
        if self.flags.minus {
            self.out.push_str(text);
            self.write_padding(missing);
        } else {
            self.write_padding(missing);
            self.out.push_str(text);
        }
    }

    /// Pads with spaces only. Padding zeros belong between the sign and the digits of a number, and
    /// the caller has already added them.
    fn write_space_padded(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.write_padded(text);
        self.flags.zero = zero;
    }

    fn truncate_text<'t>(&self, text: &'t str) -> &'t str {
        let end = self
            .flags
            .precision
            .and_then(|p| text.char_indices().nth(p));
        end.map_or(text, |(at, _)| &text[..at])
    }

    fn write_text(&mut self, text: &str) {
        self.write_padded(self.truncate_text(text).to_owned().as_str());
    }

    fn write_quoted(&mut self, text: &str) {
        let text = self.truncate_text(text);
        let quoted = if self.flags.sharp && can_backquote(text) {
            format!("`{text}`")
        } else {
            quote_text(text, self.flags.plus)
        };
        self.write_padded(&quoted);
    }

    fn write_hex(&mut self, text: &str, digits: &str) {
        let digits = digits.as_bytes();
        let length = self
            .flags
            .precision
            .map_or(text.len(), |p| p.min(text.len()));
        let Flags { space, sharp, .. } = self.flags;
        let mut out = String::new();
        for (i, byte) in text.bytes().take(length).enumerate() {
            if i > 0 && space {
                out.push(' ');
            }
            if sharp && (i == 0 || space) {
                out.push('0');
                out.push(char::from(digits[16]));
            }
            out.push(char::from(digits[usize::from(byte >> 4)]));
            out.push(char::from(digits[usize::from(byte & 15)]));
        }
        self.write_padded(&out);
    }

    fn write_number(
        &mut self,
        value: &Value,
        number: u64,
        negative: bool,
        signed: bool,
        verb: char,
    ) {
        let code = if negative { u64::MAX } else { number };
        match verb {
            'v' if self.flags.sharp_v && !signed => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                self.write_digits(number, negative, 16, 'v');
                self.flags.sharp = sharp;
            }
            'v' | 'd' => self.write_digits(number, negative, 10, verb),
            'b' => self.write_digits(number, negative, 2, verb),
            'o' | 'O' => self.write_digits(number, negative, 8, verb),
            'x' | 'X' => self.write_digits(number, negative, 16, verb),
            'c' => self.write_padded(&to_char(code).to_string()),
            'q' => self.write_padded(&quote_character(to_char(code), self.flags.plus)),
            'U' => self.write_unicode(if negative {
                number.wrapping_neg()
            } else {
                number
            }),
            _ => self.write_bad_verb(value, verb),
        }
    }

    fn write_digits(&mut self, number: u64, negative: bool, base: u32, verb: char) {
        let Flags {
            width,
            precision,
            minus,
            plus,
            sharp,
            space,
            zero,
            ..
        } = self.flags;
        let mut least = 0;
        if let Some(precision) = precision {
            if precision == 0 && number == 0 {
                self.write_space_padded("");
                return;
            }
            least = precision;
        } else if let Some(width) = width.filter(|_| zero && !minus) {
            least = width.saturating_sub(usize::from(negative || plus || space));
        }
        let digits = match base {
            2 => format!("{number:b}"),
            8 => format!("{number:o}"),
            16 if verb == 'X' => format!("{number:X}"),
            16 => format!("{number:x}"),
            _ => number.to_string(),
        };
        let digits = "0".repeat(least.saturating_sub(digits.len())) + &digits;
        let prefix = match base {
            _ if verb == 'O' && sharp && !digits.starts_with('0') => "0o0",
            _ if verb == 'O' => "0o",
            2 if sharp => "0b",
            8 if sharp && !digits.starts_with('0') => "0",
            16 if sharp => {
                if verb == 'X' {
                    "0X"
                } else {
                    "0x"
                }
            }
            _ => "",
        };
        let sign = match () {
            () if negative => "-",
            () if plus => "+",
            () if space => " ",
            () => "",
        };
        self.write_space_padded(&format!("{sign}{prefix}{digits}"));
    }

    fn write_unicode(&mut self, code: u64) {
        let digits = self.flags.precision.unwrap_or(4).max(4);
        let mut text = format!("U+{code:0digits$X}");
        let shown = u32::try_from(code)
            .ok()
            .and_then(char::from_u32)
            .filter(|c| super::super::characters::is_print(*c));
        if let Some(c) = shown.filter(|_| self.flags.sharp) {
            text.push_str(&format!(" '{c}'"));
        }
        self.write_space_padded(&text);
    }

    fn write_float(&mut self, number: f64, verb: char, precision: Option<usize>) {
        let precision = self.flags.precision.or(precision);
        let mut text = float::format_float(number, verb, precision, MAX_DIGITS);
        if !text.starts_with(['+', '-']) {
            text.insert(0, '+');
        }
        let Flags {
            plus,
            space,
            sharp,
            zero,
            minus,
            width,
            ..
        } = self.flags;
        if space && text.starts_with('+') && !plus {
            text.replace_range(..1, " ");
        }
        if text[1..].starts_with(['I', 'N']) {
            let shown = if text[1..].starts_with('N') && !space && !plus {
                &text[1..]
            } else {
                &text
            };
            self.write_space_padded(shown);
            return;
        }
        if sharp && verb != 'b' {
            text = float::with_point(&text, verb, precision);
        }
        if plus || !text.starts_with('+') {
            match width {
                Some(width) if zero && !minus && width > text.len() => {
                    self.out.push_str(&text[..1]);
                    self.write_padding(width - text.len());
                    self.out.push_str(&text[1..]);
                }
                _ => self.write_padded(&text),
            }
        } else {
            self.write_padded(&text[1..]);
        }
    }
}

fn to_char(code: u64) -> char {
    u32::try_from(code)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}
