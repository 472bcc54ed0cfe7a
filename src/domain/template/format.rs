//! Go's `fmt`: how values print, and `printf` with every verb and flag, including the `%!…` texts
//! for arguments that do not fit.

mod float;
mod quote;
mod verb;

pub(super) use float::shortest_decimal;
pub(super) use quote::quote_text;

use super::function_error::FunctionError;
use super::value::Value;
use verb::{Flags, Printer};

/// Longest text in bytes that a function may return.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// Go's own limit on widths and precisions.
const MAX_NUMBER: usize = 1_000_000;

/// `fmt.Sprint`: puts a space between two values when neither is a text.
pub(super) fn print(values: &[Value]) -> String {
    let mut printer = Printer::default();
    let mut was_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !was_text && !is_text {
            printer.out.push(' ');
        }
        printer.write_value(value, 'v');
        was_text = is_text;
    }
    printer.out
}

/// `fmt.Sprintln`.
pub(super) fn println(values: &[Value]) -> String {
    let each: Vec<String> = values
        .iter()
        .map(|v| print(std::slice::from_ref(v)))
        .collect();
    each.join(" ") + "\n"
}

/// `fmt.Sprintf`.
pub(super) fn printf(format: &str, args: &[Value]) -> Result<String, FunctionError> {
    let mut run = Printf {
        format,
        at: 0,
        args,
        arg: 0,
        reordered: false,
        good: true,
        printer: Printer::default(),
    };
    run.write_all()?;
    Ok(run.printer.out)
}

struct Printf<'a> {
    format: &'a str,
    at: usize,
    args: &'a [Value],
    arg: usize,
    /// An argument was selected by index (`%[2]d`): then extra arguments are no error.
    reordered: bool,
    /// The argument indexes of the current directive are valid.
    good: bool,
    printer: Printer,
}

impl Printf<'_> {
    fn write_all(&mut self) -> Result<(), FunctionError> {
        while self.at < self.format.len() {
            let rest = &self.format[self.at..];
            let text = &rest[..rest.find('%').unwrap_or(rest.len())];
            self.printer.out.push_str(text);
            self.at += text.len();
            if self.at < self.format.len() {
                self.at += 1;
                self.good = true;
                self.write_directive()?;
            }
            if self.printer.out.len() > MAX_TEXT {
                return Err(FunctionError::TooLong);
            }
        }
        if !self.reordered && self.arg < self.args.len() {
            self.printer.flags = Flags::default();
            self.printer.out.push_str("%!(EXTRA ");
            for (i, arg) in self.args[self.arg..].iter().enumerate() {
                self.printer.out.push_str(if i > 0 { ", " } else { "" });
                self.printer.write_typed(arg);
            }
            self.printer.out.push(')');
        }
        Ok(())
    }

    fn peek_byte(&self) -> Option<u8> {
        self.format.as_bytes().get(self.at).copied()
    }

    fn write_directive(&mut self) -> Result<(), FunctionError> {
        self.printer.flags = Flags::default();
        while let Some(c @ (b'#' | b'0' | b'+' | b'-' | b' ')) = self.peek_byte() {
            let flags = &mut self.printer.flags;
            match c {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                _ => flags.space = true,
            }
            self.at += 1;
        }
        let mut after_index = self.parse_argument_index();
        if self.peek_byte() == Some(b'*') {
            self.at += 1;
            match self.take_int_argument() {
                Some(width) => {
                    self.printer.flags.width = usize::try_from(width.unsigned_abs()).ok();
                    if width < 0 {
                        self.printer.flags.minus = true;
                        self.printer.flags.zero = false;
                    }
                }
                None => self.printer.out.push_str("%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            self.printer.flags.width = self.parse_number();
            if after_index && self.printer.flags.width.is_some() {
                self.good = false;
            }
        }
        if self.peek_byte() == Some(b'.') && self.at + 1 < self.format.len() {
            self.at += 1;
            if after_index {
                self.good = false;
            }
            after_index = self.parse_argument_index();
            if self.peek_byte() == Some(b'*') {
                self.at += 1;
                match self.take_int_argument() {
                    Some(precision) if precision >= 0 => {
                        self.printer.flags.precision = usize::try_from(precision).ok();
                    }
                    _ => self.printer.out.push_str("%!(BADPREC)"),
                }
                after_index = false;
            } else {
                self.printer.flags.precision = Some(self.parse_number().unwrap_or(0));
            }
        }
        if !after_index {
            self.parse_argument_index();
        }
        let Some(verb) = self
            .format
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
        else {
            self.printer.out.push_str("%!(NOVERB)");
            return Ok(());
        };
        self.at += verb.len_utf8();
        match self.args.get(self.arg) {
            _ if verb == '%' => self.printer.out.push('%'),
            _ if !self.good => self.printer.out.push_str(&format!("%!{verb}(BADINDEX)")),
            None => self.printer.out.push_str(&format!("%!{verb}(MISSING)")),
            Some(Value::List(_) | Value::Map(_)) if verb == 'p' => {
                return Err(FunctionError::AddressVerb);
            }
            Some(arg) => {
                if matches!(verb, 'v' | 'w') {
                    let flags = &mut self.printer.flags;
                    flags.sharp_v = std::mem::take(&mut flags.sharp);
                    // `%+v` prints field names, which no value here has.
                    flags.plus = false;
                }
                self.printer.write_argument(arg, verb);
                self.arg += 1;
            }
        }
        Ok(())
    }

    /// Reads digits. When the number is too large, skips to the end of the format and returns
    /// `None`.
    fn parse_number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit @ b'0'..=b'9') = self.peek_byte() {
            let before = number.unwrap_or(0);
            if before > MAX_NUMBER {
                self.at = self.format.len();
                return None;
            }
            number = Some(before * 10 + usize::from(digit - b'0'));
            self.at += 1;
        }
        number
    }

    /// Reads an argument index `[N]`, if there is one here; whether one was read.
    fn parse_argument_index(&mut self) -> bool {
        if self.peek_byte() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        // Go takes anything shorter for no index and skips only the bracket.
        let inside = if rest.len() < 3 {
            None
        } else {
            rest[1..].find(']').map(|end| &rest[1..=end])
        };
        let Some(inside) = inside else {
            self.good = false;
            self.at += 1;
            return false;
        };
        self.at += inside.len() + 2;
        let digits =
            !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_digit()) && inside.len() <= 8;
        let number = digits
            .then(|| inside.parse::<usize>().ok())
            .flatten()
            .filter(|n| *n <= MAX_NUMBER * 10);
        match number.and_then(|n| n.checked_sub(1)) {
            Some(index) if index < self.args.len() => {
                self.arg = index;
                true
            }
            _ => {
                self.good = false;
                number.is_some()
            }
        }
    }

    /// Takes the next argument as the integer for `*`.
    fn take_int_argument(&mut self) -> Option<i64> {
        let arg = self.args.get(self.arg)?;
        self.arg += 1;
        arg.as_int()
            .filter(|n| n.unsigned_abs() <= MAX_NUMBER as u64)
    }
}
