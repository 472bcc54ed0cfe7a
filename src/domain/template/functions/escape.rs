//! Go's escaping for HTML, JavaScript and URL queries.

use super::super::characters::is_print;
use super::super::format;
use super::super::value::Value;
use super::Type::Any;
use super::{Function, bounded_text};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b' ');

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("html X …", &[], |args| {
        bounded_text(escape_chars(&join_arguments(args), escape_html))
    })
    .with_rest(Any),
    Function::new("js X …", &[], |args| {
        bounded_text(escape_chars(&join_arguments(args), escape_js))
    })
    .with_rest(Any),
    Function::new("urlquery X …", &[], |args| {
        bounded_text(
            utf8_percent_encode(&join_arguments(args), QUERY)
                .to_string()
                .replace(' ', "+"),
        )
    })
    .with_rest(Any),
];

fn join_arguments(args: &[Value]) -> String {
    let shown = |v: &Value| {
        if matches!(v, Value::Nil) {
            Value::from_text("<no value>")
        } else {
            v.clone()
        }
    };
    format::print(&args.iter().map(shown).collect::<Vec<_>>())
}

fn escape_chars(text: &str, escape: fn(char) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match escape(c) {
            Some(escaped) => out.push_str(&escaped),
            None => out.push(c),
        }
    }
    out
}

fn escape_html(c: char) -> Option<String> {
    let escaped = match c {
        '"' => "&#34;",
        '\'' => "&#39;",
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '\0' => "\u{FFFD}",
        _ => return None,
    };
    Some(escaped.to_owned())
}

fn escape_js(c: char) -> Option<String> {
    match c {
        '\\' | '\'' | '"' => Some(format!("\\{c}")),
        '<' | '>' | '&' | '=' | '\0'..' ' => Some(format!("\\u{:04X}", u32::from(c))),
        c if c.is_ascii() || is_print(c) => None,
        c => Some(format!("\\u{:04X}", u32::from(c))),
    }
}
