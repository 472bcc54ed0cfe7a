//! Character classes and case conversion as in Go's `unicode` package.

use regex::Regex;
use std::sync::LazyLock;

static LETTER_OR_DIGIT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[\p{L}\p{Nd}]$").ok());
static PRINTABLE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());

fn is_in_class(class: &LazyLock<Option<Regex>>, c: char) -> bool {
    class
        .as_ref()
        .is_some_and(|class| class.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Whether `c` can be part of a name: a letter, a digit or `_`.
pub(super) fn is_word(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || c == '_'
    } else {
        is_in_class(&LETTER_OR_DIGIT, c)
    }
}

/// `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space.
pub(super) fn is_print(c: char) -> bool {
    if c.is_ascii() {
        (' '..='~').contains(&c)
    } else {
        is_in_class(&PRINTABLE, c)
    }
}

/// `unicode.ToUpper`, which maps one character to exactly one.
pub(super) fn to_upper(c: char) -> char {
    single_char(c.to_uppercase()).unwrap_or(c)
}

/// `unicode.ToLower`.
pub(super) fn to_lower(c: char) -> char {
    if c == 'İ' {
        'i'
    } else {
        single_char(c.to_lowercase()).unwrap_or(c)
    }
}

fn single_char(mut all: impl Iterator<Item = char>) -> Option<char> {
    let first = all.next();
    first.filter(|_| all.next().is_none())
}
