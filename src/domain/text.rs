//! Sanitises untrusted text once, where it enters the program; also measures, truncates and formats
//! text for display.
//!
//! Sanitised text cannot move the cursor, set colours or change the reading order: control
//! characters, escape sequences, bidirectional overrides and invisible characters are removed.

mod find;
mod join;
mod unified;
mod units;
mod width;

pub use find::find_ignoring_case;
pub use join::{join_errors, join_lines};
pub use unified::unified_diff;
pub use units::{
    format_age, format_bytes, format_coarse_age, format_count, format_duration, format_rate,
};
pub use width::{display_width, pad_left, pad_right, truncate, truncate_middle};

use serde::{Deserialize, Deserializer, Serialize};
use std::{fmt, ops::Deref};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

/// Replaces a line break in one-line text.
pub const LINE_BREAK: char = '⏎';
const TAB_WIDTH: usize = 4;

/// Text without control characters, escape sequences or bidirectional overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Clean(String);

impl Clean {
    /// Sanitises to one line: line breaks become `⏎`, trailing ones are removed.
    pub fn from_untrusted(text: &str) -> Clean {
        Clean(
            clean_text(text, LINE_BREAK, usize::MAX)
                .trim_end_matches(LINE_BREAK)
                .to_owned(),
        )
    }

    /// Sanitises and keeps the lines; every line break becomes `\n`.
    pub fn lines_from(text: &str) -> Clean {
        Clean(clean_text(text, '\n', usize::MAX))
    }

    /// Sanitises to one line of at most `max_chars` characters, with `…` at the end when truncated.
    pub fn bounded(text: &str, max_chars: usize) -> Clean {
        // One character more than allowed shows whether to truncate, without reading all of a long
        // text.
        let text = clean_text(text, LINE_BREAK, max_chars.saturating_add(1));
        let text = text.trim_end_matches(LINE_BREAK);
        if text.chars().count() <= max_chars {
            return Clean(text.to_owned());
        }
        let mut out = String::new();
        let mut left = max_chars.saturating_sub(1);
        for grapheme in text.graphemes(true) {
            match left.checked_sub(grapheme.chars().count()) {
                Some(rest) => left = rest,
                None => break,
            }
            out.push_str(grapheme);
        }
        if max_chars > 0 {
            out.push('…');
        }
        Clean(out)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl Deref for Clean {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Clean {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Clean {
    fn from(text: &str) -> Clean {
        Clean::from_untrusted(text)
    }
}

impl From<String> for Clean {
    fn from(text: String) -> Clean {
        Clean::from_untrusted(&text)
    }
}

impl PartialEq<str> for Clean {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Clean {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Deserialised text is untrusted too. Lines are kept, so that serialised text reads back
/// unchanged.
impl<'de> Deserialize<'de> for Clean {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Clean, D::Error> {
        String::deserialize(deserializer).map(|text| Clean::lines_from(&text))
    }
}

/// Whether a character is invisible or changes the reading order, and so could be used for
/// spoofing.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{180E}' | '\u{FEFF}'
        | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{2069}'
        | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}')
}

fn is_break(c: char) -> bool {
    matches!(
        c,
        '\n' | '\u{B}' | '\u{C}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

fn clean_text(text: &str, line_break: char, enough: usize) -> String {
    let plain = |c: char| {
        !c.is_control() && !is_hidden(c) && !is_break(c) || c == '\n' && line_break == '\n'
    };
    if text.len() <= enough && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut out = Cleaner {
        out: String::new(),
        column: 0,
        left: enough,
    };
    let mut rest = text;
    loop {
        // Parse each line on its own, so that an unterminated sequence cannot swallow the lines
        // after it.
        let end = rest.find(is_break).unwrap_or(rest.len());
        out.clean_line(&rest[..end]);
        rest = &rest[end..];
        let Some(found) = rest.chars().next() else {
            return out.out;
        };
        rest = rest
            .strip_prefix("\r\n")
            .unwrap_or(&rest[found.len_utf8()..]);
        out.push(line_break);
        out.column = 0;
        if out.left == 0 {
            return out.out;
        }
    }
}

struct Cleaner {
    out: String,
    column: usize,
    /// Number of characters still to be written.
    left: usize,
}

impl Cleaner {
    fn clean_line(&mut self, line: &str) {
        let mut parser = vte::Parser::new();
        let mut buffer = [0; 4];
        for c in line.chars() {
            if self.left == 0 {
                return;
            }
            match c {
                // Convert 8-bit DCS, SOS, CSI, ST, OSC, PM and APC to 7 bits, the only form the
                // parser knows.
                '\u{90}' | '\u{98}' | '\u{9B}'..='\u{9F}' => {
                    parser.advance(self, &[0x1B, (c as u32 - 0x40) as u8]);
                }
                c => parser.advance(self, c.encode_utf8(&mut buffer).as_bytes()),
            }
        }
    }

    fn push(&mut self, c: char) {
        if self.left > 0 {
            self.left -= 1;
            self.column += c.width().unwrap_or(0);
            self.out.push(c);
        }
    }
}

impl vte::Perform for Cleaner {
    fn print(&mut self, c: char) {
        if !c.is_control() && !is_hidden(c) {
            self.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            for _ in 0..TAB_WIDTH - self.column % TAB_WIDTH {
                self.push(' ');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sequences_go_whole() {
        for (dirty, clean) in [
            ("\x1b[31mred\x1b[0m", "red"),
            ("a\x1b]0;title\x07b", "ab"),
            ("a\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "alink"),
            ("a\x1bPq#0;2;0;0;0\x1b\\b", "ab"),
            ("a\u{9b}31mred", "ared"),
            ("a\u{9d}0;title\u{9c}b", "ab"),
            ("x\u{202e}txt.exe", "xtxt.exe"),
            ("pass\u{200b}word\u{feff}", "password"),
            ("bell\x07\x08\x7f\0", "bell"),
            ("灰度 release", "灰度 release"),
            ("e\u{301}", "e\u{301}"),
        ] {
            assert_eq!(Clean::from_untrusted(dirty), clean, "{dirty:?}");
        }
    }

    #[test]
    fn line_breaks_are_shown_or_kept() {
        let text = "one\r\ntwo\rthree\nfour\u{2028}five\n\n";
        assert_eq!(Clean::from_untrusted(text), "one⏎two⏎three⏎four⏎five");
        assert_eq!(Clean::lines_from(text), "one\ntwo\nthree\nfour\nfive\n\n");
    }

    #[test]
    fn an_open_sequence_ends_with_its_line() {
        assert_eq!(
            Clean::lines_from("a\x1b]0;never closed\nb\x1b[\nc"),
            "a\nb\nc"
        );
    }

    #[test]
    fn tabs_become_spaces_to_the_next_stop() {
        assert_eq!(Clean::from_untrusted("a\tb\t\tc"), "a   b       c");
        assert_eq!(Clean::from_untrusted("灰\tb"), "灰  b");
        assert_eq!(Clean::lines_from("aaa\n\tb"), "aaa\n    b");
    }

    #[test]
    fn bounded_text_says_that_it_was_cut() {
        assert_eq!(Clean::bounded("abcdef", 6), "abcdef");
        assert_eq!(Clean::bounded("abcdef", 5), "abcd…");
        assert_eq!(Clean::bounded("abcdef", 1), "…");
        assert_eq!(Clean::bounded("abcdef", 0), "");
        assert_eq!(
            Clean::bounded("ae\u{301}e\u{301}", 4),
            "ae\u{301}…",
            "a letter is not torn from its accent"
        );
        assert_eq!(Clean::bounded(&"x".repeat(10_000_000), 3), "xx…");
    }

    #[test]
    fn bytes_that_are_no_text_stay_visible() {
        assert_eq!(
            Clean::from_untrusted(&String::from_utf8_lossy(b"ok \xff\x1b[1m!")),
            "ok \u{fffd}!"
        );
    }

    #[test]
    fn json_is_plain_text_and_cleaned_on_the_way_in() {
        let clean: Clean = serde_json::from_str(r#""a\u001b[31mb\nc""#).unwrap();
        assert_eq!(clean, "ab\nc");
        assert_eq!(serde_json::to_string(&clean).unwrap(), r#""ab\nc""#);
    }

    /// Text with many escapes and hidden characters; plain `any::<String>` rarely contains them.
    fn dirty() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            any::<char>().prop_map(String::from),
            "[\\x00-\\x1f\\x7f-\\x9f]",
            "[\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{2069}\u{feff}]",
            "\\x1b[\\[\\]PX^_][0-9;?]{0,3}[a-zA-Z]?",
            "[a-z灰度é]{1,4}",
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    fn harmless(text: &str, newline: bool) -> bool {
        text.chars()
            .all(|c| (newline && c == '\n') || !c.is_control() && !is_hidden(c) && !is_break(c))
    }

    proptest! {
        #[test]
        fn clean_text_is_harmless_and_stays_as_it_is(text in dirty()) {
            let one = Clean::from_untrusted(&text);
            prop_assert!(harmless(&one, false), "{:?}", one);
            prop_assert_eq!(&Clean::from_untrusted(&one), &one);
            let many = Clean::lines_from(&text);
            prop_assert!(harmless(&many, true), "{:?}", many);
            prop_assert_eq!(&Clean::lines_from(&many), &many);
        }

        #[test]
        fn bounded_text_is_bounded_and_stays_as_it_is(text in dirty(), max in 0usize..30) {
            let cut = Clean::bounded(&text, max);
            prop_assert!(cut.chars().count() <= max);
            prop_assert!(harmless(&cut, false));
            prop_assert_eq!(&Clean::bounded(&cut, max), &cut);
        }

        #[test]
        fn any_bytes_become_text(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(harmless(&Clean::from_untrusted(&String::from_utf8_lossy(&bytes)), false));
        }

        #[test]
        fn what_is_plain_stays(text in "[a-zA-Z0-9 灰度é{}\"'/:.-]{0,60}") {
            prop_assert_eq!(Clean::from_untrusted(&text), text.as_str());
        }
    }
}
