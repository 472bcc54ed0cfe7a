//! JSON as Go's `encoding/json` writes it.

use super::super::format::{MAX_TEXT, shortest_decimal};
use super::super::function_error::FunctionError;
use super::super::value::Value;
use super::Function;
use super::Type::Any;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("toJson X", &[Any], |args| write_json(&args[0], None, true)),
    Function::new("toRawJson X", &[Any], |args| {
        write_json(&args[0], None, false)
    }),
    Function::new("toPrettyJson X", &[Any], |args| {
        write_json(&args[0], Some(0), true)
    }),
];

fn write_json(value: &Value, indent: Option<usize>, html: bool) -> Result<Value, FunctionError> {
    let mut out = String::new();
    Writer {
        out: &mut out,
        html,
    }
    .write_value(value, indent)?;
    Ok(Value::from_text(out))
}

struct Writer<'a> {
    out: &'a mut String,
    /// Escape `<`, `>` and `&`.
    html: bool,
}

impl Writer<'_> {
    fn write_value(&mut self, value: &Value, indent: Option<usize>) -> Result<(), FunctionError> {
        if self.out.len() > MAX_TEXT {
            return Err(FunctionError::TooLong);
        }
        match value {
            Value::Nil | Value::Unknown => self.out.push_str("null"),
            Value::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Int(i) | Value::Int64(i) => self.out.push_str(&i.to_string()),
            Value::Byte(b) => self.out.push_str(&b.to_string()),
            Value::Uint(u) => self.out.push_str(&u.to_string()),
            Value::Float(f) => self.out.push_str(&format_number(*f)?),
            Value::Text(text) => self.write_text(text),
            Value::List(list) if list.items.is_empty() => self.out.push_str("[]"),
            Value::List(list) => {
                let inside = indent.map(|n| n + 1);
                for (i, item) in list.items.iter().enumerate() {
                    self.out.push(if i == 0 { '[' } else { ',' });
                    self.write_line_break(inside);
                    self.write_value(item, inside)?;
                }
                self.write_line_break(indent);
                self.out.push(']');
            }
            Value::Map(map) if map.entries.is_empty() => self.out.push_str("{}"),
            Value::Map(map) => {
                let inside = indent.map(|n| n + 1);
                for (i, (key, item)) in map.entries.iter().enumerate() {
                    self.out.push(if i == 0 { '{' } else { ',' });
                    self.write_line_break(inside);
                    self.write_text(key);
                    self.out.push_str(if indent.is_some() { ": " } else { ":" });
                    self.write_value(item, inside)?;
                }
                self.write_line_break(indent);
                self.out.push('}');
            }
        }
        Ok(())
    }

    fn write_line_break(&mut self, indent: Option<usize>) {
        if let Some(indent) = indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", indent));
        }
    }

    fn write_text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\0'..' ' | '\u{2028}' | '\u{2029}' => {
                    self.out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                '<' | '>' | '&' if self.html => {
                    self.out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

/// Formats a number as JavaScript would.
pub(super) fn format_number(number: f64) -> Result<String, FunctionError> {
    if !number.is_finite() {
        return Err(FunctionError::NoJsonNumber);
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let sign = if exponent.starts_with('-') { "" } else { "+" };
        return Ok(format!("{mantissa}e{sign}{exponent}"));
    }
    Ok(shortest_decimal(number))
}
