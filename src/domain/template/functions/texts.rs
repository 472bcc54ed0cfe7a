//! Text functions.

use super::super::characters::{is_word, lower, upper};
use super::super::format::{MAX_TEXT, quoted};
use super::super::value::{Items, Value};
use super::Function;
use super::Type::{Any, Int, Text};
use super::{bounded, int, text, to_text, too_long};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("quote X …", &[], |args| {
        each(args, |v| quoted(&to_text(v), false))
    })
    .more(Any),
    Function::new("squote X …", &[], |args| {
        each(args, |v| format!("'{}'", to_text(v).replace('\'', "''")))
    })
    .more(Any),
    Function::new("cat X …", &[], |args| each(args, to_text)).more(Any),
    Function::new("upper TEXT", &[Text], |args| {
        bounded(text(args, 0).chars().map(upper).collect())
    }),
    Function::new("lower TEXT", &[Text], |args| {
        bounded(text(args, 0).chars().map(lower).collect())
    }),
    Function::new("title TEXT", &[Text], |args| bounded(title(text(args, 0)))),
    Function::new("trim TEXT", &[Text], |args| {
        Ok(Value::text(text(args, 0).trim()))
    }),
    Function::new("nospace TEXT", &[Text], |args| {
        Ok(Value::text(
            text(args, 0).split_whitespace().collect::<String>(),
        ))
    }),
    Function::new("trimAll CHARACTERS TEXT", &[Text, Text], |args| {
        let characters: HashSet<char> = text(args, 0).chars().collect();
        Ok(Value::text(
            text(args, 1).trim_matches(|c| characters.contains(&c)),
        ))
    }),
    Function::new("trimPrefix PREFIX TEXT", &[Text, Text], |args| {
        let of = text(args, 1);
        Ok(Value::text(of.strip_prefix(text(args, 0)).unwrap_or(of)))
    }),
    Function::new("trimSuffix SUFFIX TEXT", &[Text, Text], |args| {
        let of = text(args, 1);
        Ok(Value::text(of.strip_suffix(text(args, 0)).unwrap_or(of)))
    }),
    Function::new("hasPrefix PREFIX TEXT", &[Text, Text], |args| {
        Ok(Value::Bool(text(args, 1).starts_with(text(args, 0))))
    }),
    Function::new("hasSuffix SUFFIX TEXT", &[Text, Text], |args| {
        Ok(Value::Bool(text(args, 1).ends_with(text(args, 0))))
    }),
    Function::new("contains PART TEXT", &[Text, Text], |args| {
        Ok(Value::Bool(text(args, 1).contains(text(args, 0))))
    }),
    Function::new("replace OLD NEW TEXT", &[Text, Text, Text], |args| {
        let (old, new, of) = (text(args, 0), text(args, 1), text(args, 2));
        let places = if old.is_empty() {
            of.len() + 1
        } else {
            of.len() / old.len()
        };
        if places.saturating_mul(new.len()) > 16 * MAX_TEXT {
            Err(too_long())
        } else {
            bounded(of.replace(old, new))
        }
    }),
    Function::new("repeat TIMES TEXT", &[Int, Text], |args| {
        let times =
            usize::try_from(int(args, 0)).map_err(|_| "it cannot be repeated less than never")?;
        let of = text(args, 1);
        if of.len().saturating_mul(times) > MAX_TEXT {
            Err(too_long())
        } else {
            Ok(Value::text(of.repeat(times)))
        }
    }),
    Function::new("trunc LENGTH TEXT", &[Int, Text], |args| {
        Ok(Value::text(trunc(int(args, 0), text(args, 1))))
    }),
    Function::new("indent COLUMNS TEXT", &[Int, Text], |args| {
        indent("", int(args, 0), text(args, 1))
    }),
    Function::new("nindent COLUMNS TEXT", &[Int, Text], |args| {
        indent("\n", int(args, 0), text(args, 1))
    }),
    Function::new("b64enc TEXT", &[Text], |args| {
        bounded(BASE64_STANDARD.encode(text(args, 0)))
    }),
    Function::new("b64dec TEXT", &[Text], |args| {
        // Long base64 text is often wrapped over several lines.
        let bytes = BASE64_STANDARD
            .decode(text(args, 0).replace(['\r', '\n'], ""))
            .map_err(|e| e.to_string())?;
        String::from_utf8(bytes)
            .map(Value::text)
            .map_err(|_| "what is inside is no text".into())
    }),
    Function::new("sha256sum TEXT", &[Text], |args| {
        let digest = Sha256::digest(text(args, 0));
        Ok(Value::text(
            digest
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>(),
        ))
    }),
    Function::new("splitList SEPARATOR TEXT", &[Text, Text], |args| {
        let (separator, of) = (text(args, 0), text(args, 1));
        let parts = match separator {
            "" => of.chars().map(|c| Value::text(c.to_string())).collect(),
            separator => of.split(separator).map(Value::text).collect(),
        };
        Value::list_of(Items::Texts, parts)
    }),
];

/// Joins the arguments that are not nil, separated by spaces.
fn each(args: &[Value], shown: impl Fn(&Value) -> String) -> Result<Value, String> {
    let all: Vec<String> = args
        .iter()
        .filter(|v| !matches!(v, Value::Nil))
        .map(shown)
        .collect();
    bounded(all.join(" "))
}

/// Capitalises the first letter of each word.
fn title(text: &str) -> String {
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
        c => upper(c),
    }
}

/// Keeps the first `length` bytes, or the last ones when it is negative; never splits a character.
fn trunc(length: i64, text: &str) -> &str {
    let keep = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
    if keep >= text.len() {
        text
    } else if length >= 0 {
        &text[..text.floor_char_boundary(keep)]
    } else {
        &text[text.ceil_char_boundary(text.len() - keep)..]
    }
}

fn indent(before: &str, columns: i64, text: &str) -> Result<Value, String> {
    let columns = usize::try_from(columns).map_err(|_| "columns cannot be negative")?;
    let lines = text.matches('\n').count() + 1;
    if columns.saturating_mul(lines) > MAX_TEXT {
        return Err(too_long());
    }
    let fill = " ".repeat(columns);
    bounded(format!(
        "{before}{fill}{}",
        text.replace('\n', &format!("\n{fill}"))
    ))
}
