//! Formats one value with one verb.

use super::super::value::{Items, Value};
use super::float;
use super::quote::{can_backquote, quoted, quoted_character};

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
    pub fn argument(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            (Value::Nil | Value::Unknown, 'T' | 'v') => self.pad("<nil>"),
            (Value::Nil | Value::Unknown, verb) => self.out.push_str(&format!("%!{verb}(<nil>)")),
            (value, 'T') => self.text(value.type_name()),
            (Value::List(_) | Value::Map(_), 'w') => self.bad(value, verb),
            (value, verb) => self.value(value, verb),
        }
    }

    /// `TYPE=VALUE`
    pub fn typed(&mut self, value: &Value) {
        if !matches!(value, Value::Nil | Value::Unknown) {
            self.out.push_str(value.type_name());
            self.out.push('=');
        }
        self.value(value, 'v');
    }

    fn bad(&mut self, value: &Value, verb: char) {
        self.out.push_str("%!");
        self.out.push(verb);
        self.out.push('(');
        self.typed(value);
        self.out.push(')');
    }

    pub fn value(&mut self, value: &Value, verb: char) {
        match value {
            Value::Nil | Value::Unknown => {
                self.out.push_str(if self.flags.sharp_v {
                    "interface {}(nil)"
                } else {
                    "<nil>"
                });
            }
            Value::Bool(b) if matches!(verb, 't' | 'v') => {
                self.pad(if *b { "true" } else { "false" })
            }
            Value::Int(i) | Value::Int64(i) => {
                self.number(value, i.unsigned_abs(), *i < 0, true, verb)
            }
            Value::Byte(b) => self.number(value, u64::from(*b), false, false, verb),
            Value::Uint(u) => self.number(value, *u, false, false, verb),
            Value::Float(f) => match verb {
                'v' => self.float(*f, 'g', None),
                'b' | 'g' | 'G' | 'x' | 'X' => self.float(*f, verb, None),
                'f' | 'e' | 'E' => self.float(*f, verb, Some(6)),
                'F' => self.float(*f, 'f', Some(6)),
                _ => self.bad(value, verb),
            },
            Value::Text(text) => match verb {
                'v' if self.flags.sharp_v => self.quoted(text),
                'v' | 's' => self.text(text),
                'x' => self.hex(text, "0123456789abcdefx"),
                'X' => self.hex(text, "0123456789ABCDEFX"),
                'q' => self.quoted(text),
                _ => self.bad(value, verb),
            },
            Value::List(list) => {
                self.open(value.type_name(), "[");
                for (i, item) in list.items.iter().enumerate() {
                    self.between(i);
                    match list.kind {
                        Items::Any | Items::Texts | Items::Ints => self.value(item, verb),
                    }
                }
                self.close();
            }
            Value::Map(map) => {
                self.open(value.type_name(), "map[");
                for (i, (key, item)) in map.entries.iter().enumerate() {
                    self.between(i);
                    self.value(&Value::Text(key.clone()), verb);
                    self.out.push(':');
                    self.value(item, verb);
                }
                self.close();
            }
            Value::Bool(_) => self.bad(value, verb),
        }
    }

    fn open(&mut self, type_name: &str, plain: &str) {
        if self.flags.sharp_v {
            self.out.push_str(type_name);
            self.out.push('{');
        } else {
            self.out.push_str(plain);
        }
    }

    fn between(&mut self, i: usize) {
        if i > 0 {
            self.out
                .push_str(if self.flags.sharp_v { ", " } else { " " });
        }
    }

    fn close(&mut self) {
        self.out.push(if self.flags.sharp_v { '}' } else { ']' });
    }

    fn padding(&mut self, count: usize) {
        let fill = if self.flags.zero && !self.flags.minus {
            '0'
        } else {
            ' '
        };
        self.out.extend(std::iter::repeat_n(fill, count));
    }

    fn pad(&mut self, text: &str) {
        let missing = self
            .flags
            .width
            .unwrap_or(0)
            .saturating_sub(text.chars().count());
        if self.flags.minus {
            self.out.push_str(text);
            self.padding(missing);
        } else {
            self.padding(missing);
            self.out.push_str(text);
        }
    }

    /// Pads with spaces only. Padding zeros belong between the sign and the digits of a number, and
    /// the caller has already added them.
    fn pad_with_spaces(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    fn truncated<'t>(&self, text: &'t str) -> &'t str {
        let end = self
            .flags
            .precision
            .and_then(|p| text.char_indices().nth(p));
        end.map_or(text, |(at, _)| &text[..at])
    }

    fn text(&mut self, text: &str) {
        self.pad(self.truncated(text).to_owned().as_str());
    }

    fn quoted(&mut self, text: &str) {
        let text = self.truncated(text);
        let quoted = match self.flags.sharp && can_backquote(text) {
            true => format!("`{text}`"),
            false => quoted(text, self.flags.plus),
        };
        self.pad(&quoted);
    }

    fn hex(&mut self, text: &str, digits: &str) {
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
        self.pad(&out);
    }

    fn number(&mut self, value: &Value, number: u64, negative: bool, signed: bool, verb: char) {
        let code = if negative { u64::MAX } else { number };
        match verb {
            'v' if self.flags.sharp_v && !signed => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                self.digits(number, negative, 16, 'v');
                self.flags.sharp = sharp;
            }
            'v' | 'd' => self.digits(number, negative, 10, verb),
            'b' => self.digits(number, negative, 2, verb),
            'o' | 'O' => self.digits(number, negative, 8, verb),
            'x' | 'X' => self.digits(number, negative, 16, verb),
            'c' => self.pad(&character(code).to_string()),
            'q' => self.pad(&quoted_character(character(code), self.flags.plus)),
            'U' => self.unicode(if negative {
                number.wrapping_neg()
            } else {
                number
            }),
            _ => self.bad(value, verb),
        }
    }

    fn digits(&mut self, number: u64, negative: bool, base: u32, verb: char) {
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
                self.pad_with_spaces("");
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
        self.pad_with_spaces(&format!("{sign}{prefix}{digits}"));
    }

    fn unicode(&mut self, code: u64) {
        let digits = self.flags.precision.unwrap_or(4).max(4);
        let mut text = format!("U+{code:0digits$X}");
        let shown = u32::try_from(code)
            .ok()
            .and_then(char::from_u32)
            .filter(|c| super::super::characters::is_print(*c));
        if let Some(c) = shown.filter(|_| self.flags.sharp) {
            text.push_str(&format!(" '{c}'"));
        }
        self.pad_with_spaces(&text);
    }

    fn float(&mut self, number: f64, verb: char, precision: Option<usize>) {
        let precision = self.flags.precision.or(precision);
        let mut text = float::format(number, verb, precision, MAX_DIGITS);
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
            self.pad_with_spaces(shown);
            return;
        }
        if sharp && verb != 'b' {
            text = float::with_point(&text, verb, precision);
        }
        if plus || !text.starts_with('+') {
            match width {
                Some(width) if zero && !minus && width > text.len() => {
                    self.out.push_str(&text[..1]);
                    self.padding(width - text.len());
                    self.out.push_str(&text[1..]);
                }
                _ => self.pad(&text),
            }
        } else {
            self.pad(&text[1..]);
        }
    }
}

fn character(code: u64) -> char {
    u32::try_from(code)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}
