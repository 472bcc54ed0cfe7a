//! Go's quoting: `strconv.Quote` and related functions.

use super::super::characters::is_print;

/// Puts text in double quotes; with `ascii`, escapes all non-ASCII characters.
pub(in super::super) fn quote_text(text: &str, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars()
        .for_each(|c| escape_char(&mut out, c, '"', ascii));
    out.push('"');
    out
}

pub(super) fn quote_character(c: char, ascii: bool) -> String {
    let mut out = String::from('\'');
    escape_char(&mut out, c, '\'', ascii);
    out.push('\'');
    out
}

fn escape_char(out: &mut String, c: char, quote: char, ascii: bool) {
    let simple = match c {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        c if c == quote || c == '\\' => c,
        c if is_print(c) && (c.is_ascii() || !ascii) => return out.push(c),
        c => {
            let code = u32::from(c);
            let text = match code {
                0..0x20 | 0x7f => format!("\\x{code:02x}"),
                0..0x10000 => format!("\\u{code:04x}"),
                _ => format!("\\U{code:08x}"),
            };
            return out.push_str(&text);
        }
    };
    out.push('\\');
    out.push(simple);
}

/// Whether a text can be written in back quotes on one line.
pub(super) fn can_backquote(text: &str) -> bool {
    !text.contains(|c: char| (c < ' ' && c != '\t') || matches!(c, '`' | '\u{7f}' | '\u{feff}'))
}
