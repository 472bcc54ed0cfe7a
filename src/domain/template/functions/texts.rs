//! Text functions.

use super::super::characters::{is_word, to_lower, to_upper};
use super::super::format::{MAX_TEXT, quote_text};
use super::super::function_error::FunctionError;
use super::super::value::{ListType, Value};
use super::Function;
use super::Type::{Any, Int, Text};
use super::{bounded_text, int_argument, text_argument, to_text};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("quote X …", &[], |args| {
        join_present(args, |v| quote_text(&to_text(v), false))
    })
    .with_rest(Any),
    Function::new("squote X …", &[], |args| {
        join_present(args, |v| format!("'{}'", to_text(v).replace('\'', "''")))
    })
    .with_rest(Any),
    Function::new("cat X …", &[], |args| join_present(args, to_text)).with_rest(Any),
    Function::new("upper TEXT", &[Text], |args| {
        bounded_text(text_argument(args, 0).chars().map(to_upper).collect())
    }),
    Function::new("lower TEXT", &[Text], |args| {
        bounded_text(text_argument(args, 0).chars().map(to_lower).collect())
    }),
    Function::new("title TEXT", &[Text], |args| {
        bounded_text(to_title(text_argument(args, 0)))
    }),
    Function::new("trim TEXT", &[Text], |args| {
        Ok(Value::from_text(text_argument(args, 0).trim()))
    }),
    Function::new("nospace TEXT", &[Text], |args| {
        Ok(Value::from_text(
            text_argument(args, 0)
                .split_whitespace()
                .collect::<String>(),
        ))
    }),
    Function::new("trimAll CHARACTERS TEXT", &[Text, Text], |args| {
        let characters: HashSet<char> = text_argument(args, 0).chars().collect();
        Ok(Value::from_text(
            text_argument(args, 1).trim_matches(|c| characters.contains(&c)),
        ))
    }),
    Function::new("trimPrefix PREFIX TEXT", &[Text, Text], |args| {
        let of = text_argument(args, 1);
        Ok(Value::from_text(
            of.strip_prefix(text_argument(args, 0)).unwrap_or(of),
        ))
    }),
    Function::new("trimSuffix SUFFIX TEXT", &[Text, Text], |args| {
        let of = text_argument(args, 1);
        Ok(Value::from_text(
            of.strip_suffix(text_argument(args, 0)).unwrap_or(of),
        ))
    }),
    Function::new("hasPrefix PREFIX TEXT", &[Text, Text], |args| {
        Ok(Value::Bool(
            text_argument(args, 1).starts_with(text_argument(args, 0)),
        ))
    }),
    Function::new("hasSuffix SUFFIX TEXT", &[Text, Text], |args| {
        Ok(Value::Bool(
            text_argument(args, 1).ends_with(text_argument(args, 0)),
        ))
    }),
    Function::new("contains PART TEXT", &[Text, Text], |args| {
        Ok(Value::Bool(
            text_argument(args, 1).contains(text_argument(args, 0)),
        ))
    }),
    Function::new("replace OLD NEW TEXT", &[Text, Text, Text], |args| {
        let (old, new, of) = (
            text_argument(args, 0),
            text_argument(args, 1),
            text_argument(args, 2),
        );
        let places = if old.is_empty() {
            of.len() + 1
        } else {
            of.len() / old.len()
        };
        if places.saturating_mul(new.len()) > 16 * MAX_TEXT {
            Err(FunctionError::TooLong)
        } else {
            bounded_text(of.replace(old, new))
        }
    }),
    Function::new("repeat TIMES TEXT", &[Int, Text], |args| {
        let times =
            usize::try_from(int_argument(args, 0)).map_err(|_| FunctionError::NegativeTimes)?;
        let of = text_argument(args, 1);
        if of.len().saturating_mul(times) > MAX_TEXT {
            Err(FunctionError::TooLong)
        } else {
            Ok(Value::from_text(of.repeat(times)))
        }
    }),
    Function::new("trunc LENGTH TEXT", &[Int, Text], |args| {
        Ok(Value::from_text(truncate_bytes(
            int_argument(args, 0),
            text_argument(args, 1),
        )))
    }),
    Function::new("indent COLUMNS TEXT", &[Int, Text], |args| {
        indent_lines("", int_argument(args, 0), text_argument(args, 1))
    }),
    Function::new("nindent COLUMNS TEXT", &[Int, Text], |args| {
        indent_lines("\n", int_argument(args, 0), text_argument(args, 1))
    }),
    Function::new("b64enc TEXT", &[Text], |args| {
        bounded_text(BASE64_STANDARD.encode(text_argument(args, 0)))
    }),
    Function::new("b64dec TEXT", &[Text], |args| {
        // Long base64 text is often wrapped over several lines.
        let bytes = BASE64_STANDARD.decode(text_argument(args, 0).replace(['\r', '\n'], ""))?;
        String::from_utf8(bytes)
            .map(Value::from_text)
            .map_err(|_| FunctionError::NoText)
    }),
    Function::new("sha256sum TEXT", &[Text], |args| {
        let digest = Sha256::digest(text_argument(args, 0));
        Ok(Value::from_text(
            digest
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>(),
        ))
    }),
    Function::new("splitList SEPARATOR TEXT", &[Text, Text], |args| {
        let (separator, of) = (text_argument(args, 0), text_argument(args, 1));
        let parts = match separator {
            "" => of
                .chars()
                .map(|c| Value::from_text(c.to_string()))
                .collect(),
            separator => of.split(separator).map(Value::from_text).collect(),
        };
        Ok(Value::from_typed_list(ListType::Texts, parts)?)
    }),
];

/// Joins the arguments that are not nil, separated by spaces.
fn join_present(args: &[Value], shown: impl Fn(&Value) -> String) -> Result<Value, FunctionError> {
    let all: Vec<String> = args
        .iter()
        .filter(|v| !matches!(v, Value::Nil))
        .map(shown)
        .collect();
    bounded_text(all.join(" "))
}

/// Capitalises the first letter of each word.
fn to_title(text: &str) -> String {
    let mut start = true;
    let capital = |c: char| {
        let here = start;
        start = if c.is_ascii() {
            !is_word(c)
        } else {
            !is_word(c) && c.is_whitespace()
        };
        if here { title_case(c) } else { c }
    };
    text.chars().map(capital).collect()
}

/// Converts to title case, which differs from upper case for a few letters.
fn title_case(c: char) -> char {
    match c {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        c => to_upper(c),
    }
}

/// Keeps the first `length` bytes, or the last ones when it is negative; never splits a character.
fn truncate_bytes(length: i64, text: &str) -> &str {
    let keep = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
    if keep >= text.len() {
        text
    } else if length >= 0 {
        &text[..text.floor_char_boundary(keep)]
    } else {
        &text[text.ceil_char_boundary(text.len() - keep)..]
    }
}

fn indent_lines(before: &str, columns: i64, text: &str) -> Result<Value, FunctionError> {
    let columns = usize::try_from(columns).map_err(|_| FunctionError::NegativeColumns)?;
    let lines = text.matches('\n').count() + 1;
    if columns.saturating_mul(lines) > MAX_TEXT {
        return Err(FunctionError::TooLong);
    }
    let fill = " ".repeat(columns);
    bounded_text(format!(
        "{before}{fill}{}",
        text.replace('\n', &format!("\n{fill}"))
    ))
}
