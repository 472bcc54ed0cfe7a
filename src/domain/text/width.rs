//! Measures, truncates and pads text in terminal columns, by grapheme.

use std::borrow::Cow;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

const ELLIPSIS: &str = "…";

/// Number of columns that sanitised one-line text takes.
pub fn display_width(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.graphemes(true).map(UnicodeWidthStr::width).sum()
    }
}

/// Truncates to `cols` columns, with `…` at the end.
pub fn truncate(text: &str, cols: usize) -> Cow<'_, str> {
    if display_width(text) <= cols {
        return Cow::Borrowed(text);
    }
    match cols {
        0 => Cow::Borrowed(""),
        _ => Cow::Owned(format!("{}{ELLIPSIS}", take_first_columns(text, cols - 1))),
    }
}

/// Truncates to `cols` columns, with `…` in the middle: for names that differ at their ends (pods,
/// images, paths).
pub fn truncate_middle(text: &str, cols: usize) -> Cow<'_, str> {
    if display_width(text) <= cols {
        return Cow::Borrowed(text);
    }
    let Some(left) = cols.checked_sub(1) else {
        return Cow::Borrowed("");
    };
    Cow::Owned(format!(
        "{}{ELLIPSIS}{}",
        take_first_columns(text, left.div_ceil(2)),
        take_last_columns(text, left / 2)
    ))
}

/// Makes text exactly `cols` columns wide: truncates it, or adds spaces on the right.
pub fn pad_right(text: &str, cols: usize) -> String {
    let text = truncate(text, cols);
    let fill = cols - display_width(&text);
    format!("{text}{:fill$}", "")
}

/// Makes text exactly `cols` columns wide: truncates it, or adds spaces on the left.
pub fn pad_left(text: &str, cols: usize) -> String {
    let text = truncate(text, cols);
    let fill = cols - display_width(&text);
    format!("{:fill$}{text}", "")
}

fn take_first_columns(text: &str, cols: usize) -> &str {
    let mut used = 0;
    let end = text.grapheme_indices(true).find(|(_, grapheme)| {
        used += grapheme.width();
        used > cols
    });
    end.map_or(text, |(at, _)| &text[..at])
}

fn take_last_columns(text: &str, cols: usize) -> &str {
    let mut used = 0;
    let end = text.grapheme_indices(true).rev().find(|(_, grapheme)| {
        used += grapheme.width();
        used > cols
    });
    end.map_or(text, |(at, grapheme)| &text[at + grapheme.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_are_not_characters() {
        for (text, columns) in [
            ("", 0),
            ("abc", 3),
            ("灰度", 4),
            ("e\u{301}", 1),
            ("🚀", 2),
            ("…", 1),
        ] {
            assert_eq!(display_width(text), columns, "{text}");
        }
    }

    #[test]
    fn cuts() {
        for (text, cols, cut) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("灰度发布", 5, "灰度…"),
            ("灰度发布", 4, "灰…"),
            ("灰度", 1, "…"),
            ("灰", 0, ""),
            ("ae\u{301}bc", 3, "ae\u{301}…"),
        ] {
            assert_eq!(truncate(text, cols), cut, "{text} in {cols}");
        }
        for (text, cols, cut) in [
            ("spring-cloud-a-7d9f", 11, "sprin…-7d9f"),
            ("abcd", 3, "a…d"),
            ("abcd", 2, "a…"),
            ("abcd", 1, "…"),
            ("abcd", 0, ""),
            ("灰度发布", 6, "灰…布"),
        ] {
            assert_eq!(truncate_middle(text, cols), cut, "{text} in {cols}");
        }
        assert_eq!(pad_right("灰", 4), "灰  ");
        assert_eq!(pad_left("12", 4), "  12");
        assert_eq!(pad_right("灰度", 3), "灰…");
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_asked(text in "[a-z灰度发é\u{301}🚀 ]{0,30}", cols in 0usize..20) {
            prop_assert!(display_width(&truncate(&text, cols)) <= cols);
            prop_assert!(display_width(&truncate_middle(&text, cols)) <= cols);
            prop_assert_eq!(display_width(&pad_right(&text, cols)), cols);
            prop_assert_eq!(display_width(&pad_left(&text, cols)), cols);
            if display_width(&text) <= cols {
                prop_assert_eq!(truncate(&text, cols), text.as_str());
            }
        }
    }
}
