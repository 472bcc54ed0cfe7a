//! Untrusted text and ids, cleaned and bounded where they enter.

use crate::domain::{hop::truncate_text, text::Clean};

/// The text, cleaned and cut to 1 KiB.
pub(super) fn clean_bounded(text: &str) -> String {
    if text.len() <= 64 && text.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        return text.to_owned();
    }
    // Cleaning reads all of the text and expands tabs to four spaces, so it is cut before and
    // after.
    truncate_text(&Clean::from_untrusted(&truncate_text(text)))
}

/// The same; `None` when it is empty.
pub(super) fn clean_non_empty(text: &str) -> Option<String> {
    Some(clean_bounded(text)).filter(|text| !text.is_empty())
}

/// An id as `2 * bytes` lower-case hex digits, padded with leading zeros; `None` when it is zero or
/// too long.
pub(super) fn hex_id(id: &[u8], bytes: usize) -> Option<String> {
    if id.len() > bytes || id.iter().all(|b| *b == 0) {
        return None;
    }
    let digit = |d: u8| char::from(if d < 10 { b'0' + d } else { b'a' + d - 10 });
    let mut text = String::with_capacity(2 * bytes);
    (id.len()..bytes).for_each(|_| text.push_str("00"));
    id.iter()
        .for_each(|b| text.extend([digit(b >> 4), digit(b & 15)]));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_padded_hex_and_zero_is_none() {
        assert_eq!(hex_id(&[0xab; 8], 8).as_deref(), Some("abababababababab"));
        assert_eq!(hex_id(&[1, 0xff], 8).as_deref(), Some("00000000000001ff"));
        assert_eq!(hex_id(&[0xab; 16], 16).map(|t| t.len()), Some(32));
        for none in [&[][..], &[0; 8], &[1; 9]] {
            assert_eq!(hex_id(none, 8), None);
        }
    }

    #[test]
    fn text_is_clean_and_bounded() {
        assert_eq!(clean_bounded("/A/a"), "/A/a");
        assert_eq!(clean_bounded("a\u{1b}[31mb\u{202e}"), "ab");
        for long in ["x".repeat(3_000_000), "\t".repeat(5000), "灰".repeat(5000)] {
            assert!(clean_bounded(&long).len() <= 1024 && clean_bounded(&long).ends_with('…'));
        }
        assert_eq!(clean_non_empty("\u{200b}"), None);
    }
}
