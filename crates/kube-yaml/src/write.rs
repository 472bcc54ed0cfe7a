//! Writes YAML as go-yaml 2 does, and so Helm's `toYaml` and kubectl's `-o yaml`: text that would
//! be read as another type is quoted, and multi-line text is a block that keeps its trailing
//! newlines.

use super::scalar::{Scalar, choose_notation, is_base_60, resolve_scalar};
use serde_json::Value;
use std::cmp::Ordering;

/// Writes a value as YAML, ending with a newline.
pub fn to_yaml(value: &Value) -> String {
    let mut writer = Writer { out: String::new() };
    writer.write_root(value);
    writer.out
}

struct Writer {
    out: String,
}

impl Writer {
    fn write_root(&mut self, value: &Value) {
        match value {
            Value::Array(items) if !items.is_empty() => self.write_list(items, 0),
            Value::Object(map) if !map.is_empty() => self.write_map(map, 0),
            other => self.write_line(other, 2),
        }
    }

    fn write_indent(&mut self, columns: usize) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', columns));
    }

    /// Writes each item on its own line, the first one on the current line.
    fn write_list(&mut self, items: &[Value], columns: usize) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.write_indent(columns);
            }
            self.out.push_str("- ");
            match item {
                Value::Array(items) if !items.is_empty() => self.write_list(items, columns + 2),
                Value::Object(map) if !map.is_empty() => self.write_map(map, columns + 2),
                other => self.write_line(other, columns + 2),
            }
        }
    }

    fn write_map(&mut self, map: &serde_json::Map<String, Value>, columns: usize) {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_by(|a, b| compare_natural(a.0, b.0));
        for (i, (key, value)) in entries.into_iter().enumerate() {
            if i > 0 {
                self.write_indent(columns);
            }
            self.write_key(key);
            self.out.push(':');
            match value {
                // A list is indented like its key.
                Value::Array(items) if !items.is_empty() => {
                    self.write_indent(columns);
                    self.write_list(items, columns);
                }
                Value::Object(map) if !map.is_empty() => {
                    self.write_indent(columns + 2);
                    self.write_map(map, columns + 2);
                }
                other => {
                    self.out.push(' ');
                    self.write_line(other, columns + 2);
                }
            }
        }
    }

    fn write_line(&mut self, value: &Value, columns: usize) {
        self.write_scalar(value, columns);
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
    }

    fn write_key(&mut self, key: &str) {
        // Unquoted, this key would merge a map.
        let style = if key == "<<" {
            Style::Double
        } else {
            choose_style(key)
        };
        FlowWriter {
            out: &mut self.out,
            columns: None,
        }
        .write_text(key, style);
    }

    fn write_scalar(&mut self, value: &Value, columns: usize) {
        match value {
            Value::String(text) => match choose_style(text) {
                Style::Block => self.write_block(text, columns),
                style => FlowWriter {
                    out: &mut self.out,
                    columns: Some(columns),
                }
                .write_text(text, style),
            },
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => self.out.push_str(&self::format_number(float)),
                None => self.out.push_str(&number.to_string()),
            },
            other => self.out.push_str(&other.to_string()),
        }
    }

    fn write_block(&mut self, text: &str, columns: usize) {
        self.out.push('|');
        if text.starts_with([' ', '\n']) {
            self.out.push('2');
        }
        let body = text.strip_suffix('\n');
        let keeps = body.is_some_and(|body| body.is_empty() || body.ends_with('\n'));
        self.out.push_str(match body {
            None => "-",
            Some(_) if keeps => "+",
            Some(_) => "",
        });
        for line in text.split_inclusive('\n') {
            if !self.out.ends_with('\n') {
                self.out.push('\n');
            }
            if line != "\n" {
                self.out.extend(std::iter::repeat_n(' ', columns));
            }
            self.out.push_str(line);
        }
    }
}

/// Formats a float with the fewest digits that read back as the same number. Integers up to the
/// 64-bit range have no exponent.
fn format_number(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1.8e19 {
        return (number + 0.0).to_string();
    }
    choose_notation(&format!("{number:e}"), number.to_string())
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
    Block,
}

fn choose_style(text: &str) -> Style {
    let blank = |c: char| matches!(c, ' ' | '\t');
    let special = text.contains(|c| c != '\n' && !is_printable(c));
    if text.contains('\n') {
        let space_before_break = text.contains(" \n");
        return if special || space_before_break || text.ends_with(' ') {
            Style::Double
        } else {
            Style::Block
        };
    }
    if resolve_scalar(text) != Scalar::Text || is_base_60(text) || special {
        return Style::Double;
    }
    let indicator = text.starts_with("---")
        || text.starts_with("...")
        || text.starts_with([' ', '-', '?', ':'])
            && match text.as_bytes() {
                [b' ', ..] => true,
                [_] => true,
                [_, next, ..] => blank(char::from(*next)),
                [] => true,
            };
    let first = text.starts_with([
        '#', ',', '[', ']', '{', '}', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`',
    ]);
    let inside =
        text.contains(": ") || text.contains(":\t") || text.ends_with(':') || text.contains(" #");
    if indicator || first || inside || text.ends_with(' ') {
        Style::Single
    } else {
        Style::Plain
    }
}

/// Whether go-yaml writes a character unescaped.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// A space after this column may become a line break.
const LINE_WIDTH: usize = 80;

/// Writes a scalar in one of the flow styles.
struct FlowWriter<'a> {
    out: &'a mut String,
    /// Indentation of the lines after the first; `None` for a key, which is never wrapped.
    columns: Option<usize>,
}

impl FlowWriter<'_> {
    fn write_text(&mut self, text: &str, style: Style) {
        let quote = match style {
            Style::Plain => "",
            Style::Single => "'",
            Style::Double | Style::Block => "\"",
        };
        self.out.push_str(quote);
        let mut chars = text.chars().peekable();
        let (mut first, mut after_space) = (true, false);
        while let Some(c) = chars.next() {
            let next = chars.peek().copied();
            if c == ' '
                && !first
                && !after_space
                && next.is_some_and(|n| n != ' ' || style == Style::Double)
                && self.wrap_if_long()
            {
                if next == Some(' ') {
                    self.out.push('\\');
                }
            } else {
                match style {
                    Style::Double | Style::Block => escape_char(self.out, c),
                    Style::Single if c == '\'' => self.out.push_str("''"),
                    _ => self.out.push(c),
                }
            }
            (first, after_space) = (false, c == ' ');
        }
        self.out.push_str(quote);
    }

    /// Starts a new line if the current one is long; whether it did.
    fn wrap_if_long(&mut self) -> bool {
        let start = self.out.rfind('\n').map_or(0, |at| at + 1);
        match self.columns {
            Some(columns) if self.out[start..].chars().count() > LINE_WIDTH => {
                self.out.push('\n');
                self.out.extend(std::iter::repeat_n(' ', columns));
                true
            }
            _ => false,
        }
    }
}

fn escape_char(out: &mut String, c: char) {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' | '\\' => c,
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        c if is_printable(c) => return out.push(c),
        c => {
            let code = u32::from(c);
            return out.push_str(&match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            });
        }
    };
    out.push('\\');
    out.push(short);
}

/// Natural order of keys, as in go-yaml: letters after all other characters, numbers by value.
fn compare_natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(i) = (0..a.len().min(b.len())).find(|i| a[*i] != b[*i]) else {
        return a.len().cmp(&b.len());
    };
    match (a[i].is_alphabetic(), b[i].is_alphabetic()) {
        (true, true) => return a[i].cmp(&b[i]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let mut start = 0;
    if a[i] == '0' || b[i] == '0' {
        // Inside a number, a zero is a digit like any other.
        let digits = a[..i].iter().rev().take_while(|c| c.is_ascii_digit());
        start = u64::from(digits.into_iter().any(|c| *c != '0'));
    }
    let number = |text: &[char]| {
        let digits = text[i..].iter().take_while(|c| c.is_ascii_digit());
        let value = digits.clone().fold(start, |n: u64, c| {
            n.saturating_mul(10)
                .saturating_add(u64::from(c.to_digit(10).unwrap_or(0)))
        });
        (value, digits.count())
    };
    number(&a).cmp(&number(&b)).then(a[i].cmp(&b[i]))
}
