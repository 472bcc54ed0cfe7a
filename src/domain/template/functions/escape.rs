//! Go's escaping for HTML, JavaScript and URL queries.

use super::super::characters::is_print;
use super::super::format;
use super::super::value::Value;
use super::Type::Any;
use super::{Function, bounded};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b' ');

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("html X …", &[], |args| bounded(each(&text(args), html))).more(Any),
    Function::new("js X …", &[], |args| bounded(each(&text(args), js))).more(Any),
    Function::new("urlquery X …", &[], |args| {
        bounded(
            utf8_percent_encode(&text(args), QUERY)
                .to_string()
                .replace(' ', "+"),
        )
    })
    .more(Any),
];

fn text(args: &[Value]) -> String {
    let shown = |v: &Value| {
        if matches!(v, Value::Nil) {
            Value::text("<no value>")
        } else {
            v.clone()
        }
    };
    format::print(&args.iter().map(shown).collect::<Vec<_>>())
}

fn each(text: &str, escape: fn(char) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match escape(c) {
            Some(escaped) => out.push_str(&escaped),
            None => out.push(c),
        }
    }
    out
}

fn html(c: char) -> Option<String> {
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

fn js(c: char) -> Option<String> {
    match c {
        '\\' | '\'' | '"' => Some(format!("\\{c}")),
        '<' | '>' | '&' | '=' | '\0'..' ' => Some(format!("\\u{:04X}", u32::from(c))),
        c if c.is_ascii() || is_print(c) => None,
        c => Some(format!("\\u{:04X}", u32::from(c))),
    }
}
