//! Drawing with roles instead of colours: styled text, panes, lists. Text becomes terminal cells
//! only here, so this is also where foreign text from our own resources is sanitized.

use std::{borrow::Cow, ops::Range};

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

use super::{
    glyph::Glyphs,
    theme::{Role, Theme},
};
use crate::domain::text::{Clean, display_width as columns, truncate};

mod abbreviate;
mod list;
mod pane;
mod pointer;
mod share;

pub(crate) use abbreviate::{join_by_rank, longest_fitting, shorten_distinct};
pub(crate) use list::first_row;
pub(crate) use pane::{centre_rect, columns_of_line, fits_frame};
pub(crate) use pointer::{PointerMap, PointerTarget, TypedField};
pub(crate) use share::{Need, share_room};

/// A line of text runs, each with a role.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RichText {
    pub(crate) runs: Vec<(Role, String)>,
    /// Columns by which later rows of a wrapped line are indented more than by two.
    hang: usize,
}

impl RichText {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line of one run.
    pub(crate) fn styled(role: Role, text: impl AsRef<str>) -> Self {
        Self::new().add(role, text)
    }

    pub(crate) fn add(mut self, role: Role, text: impl AsRef<str>) -> Self {
        self.push(role, text);
        self
    }

    pub(crate) fn push(&mut self, role: Role, text: impl AsRef<str>) {
        let text = sanitize_text(text.as_ref());
        if !text.is_empty() {
            self.runs.push((role, text.into_owned()));
        }
    }

    /// Appends the runs of another line.
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.runs.extend(other.runs);
        self
    }

    /// Appends a column of exactly this width: padded or cut.
    pub(crate) fn add_column(mut self, role: Role, text: impl AsRef<str>, width: usize) -> Self {
        let text = truncate(&sanitize_text(text.as_ref()), width).into_owned();
        let gap = width.saturating_sub(columns(&text));
        self.push(role, format!("{text}{}", " ".repeat(gap)));
        self
    }

    /// Appends a right-aligned column of exactly this width.
    pub(crate) fn add_right_column(
        mut self,
        role: Role,
        text: impl AsRef<str>,
        width: usize,
    ) -> Self {
        let text = truncate(&sanitize_text(text.as_ref()), width).into_owned();
        let gap = width.saturating_sub(columns(&text));
        self.push(role, format!("{}{text}", " ".repeat(gap)));
        self
    }

    /// Cuts to a width, with an ellipsis; trailing blanks are dropped without one.
    pub(crate) fn cut_to_width(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let last = self
            .runs
            .iter()
            .rposition(|(_, text)| !text.trim_end().is_empty());
        let mut left = width;
        let mut line = Self::new();
        for (n, (role, text)) in self.runs.into_iter().enumerate() {
            let more = last.is_some_and(|last| n < last);
            let shown = if more { text.as_str() } else { text.trim_end() };
            let wide = columns(shown);
            if wide < left || wide == left && !more {
                left -= wide;
                line.push(role, shown);
                if more {
                    continue;
                }
            } else {
                line.push(role, truncate(&format!("{}…", shown.trim_end()), left));
            }
            break;
        }
        line
    }

    /// Leaves the first columns out; an ellipsis stands where something was.
    pub(crate) fn skip_columns(self, count: usize) -> Self {
        self.skip_columns_after(0, count)
    }

    /// Leaves `count` columns out after the first `pinned`; an ellipsis stands where something was.
    pub(crate) fn skip_columns_after(self, pinned: usize, count: usize) -> Self {
        if count == 0 || self.width() <= pinned {
            return self;
        }
        let seen_from = pinned + count;
        let (mut line, mut hidden) = (Self::new(), Self::styled(Role::Muted, "…"));
        let mut passed = 0;
        for (role, text) in &self.runs {
            for sign in text.graphemes(true) {
                let end = passed + columns(sign);
                // The ellipsis takes the first visible column; of a wide letter that is cut the rest
                // is blank.
                if end <= pinned {
                    line.extend_run(*role, sign);
                } else if passed < pinned {
                    line.extend_run(*role, " ");
                } else if passed > seen_from {
                    hidden.extend_run(*role, sign);
                } else if end > seen_from + 1 {
                    hidden.extend_run(*role, " ");
                }
                passed = end;
            }
        }
        line.join(hidden)
    }

    /// Appends to the last run, if it has that role.
    fn extend_run(&mut self, role: Role, text: &str) {
        match self.runs.last_mut().filter(|(last, _)| *last == role) {
            Some((_, last)) => last.push_str(text),
            None => self.runs.push((role, text.to_owned())),
        }
    }

    /// Gives these byte ranges of the plain text another role; they are in order.
    pub(crate) fn restyle_ranges(self, ranges: &[Range<usize>], role: Role) -> Self {
        if ranges.is_empty() {
            return self;
        }
        let mut line = Self::new();
        let mut start = 0;
        for (own, text) in &self.runs {
            for (at, sign) in text.grapheme_indices(true) {
                let here = start + at;
                let inside = ranges
                    .iter()
                    .any(|r| r.start < here + sign.len() && here < r.end);
                line.extend_run(if inside { role } else { *own }, sign);
            }
            start += text.len();
        }
        line
    }

    /// Pads with spaces up to this column.
    pub(crate) fn pad_to(mut self, column: usize) -> Self {
        let gap = column.saturating_sub(self.width());
        if gap > 0 {
            self.runs.push((Role::Text, " ".repeat(gap)));
        }
        self
    }

    /// When it is wrapped, later rows begin where the next text is added, if that leaves them room.
    pub(crate) fn hang_here(mut self) -> Self {
        self.hang = self.width().saturating_sub(2);
        self
    }

    /// Wraps to a width: at a blank when there is one near the end; later rows are indented.
    pub(crate) fn break_lines(self, width: usize) -> Vec<Self> {
        let width = width.max(4);
        let hang = if self.hang * 2 <= width { self.hang } else { 0 };
        let indent = 2 + hang;
        let bytes: usize = self.runs.iter().map(|(_, t)| t.len()).sum();
        if bytes <= width || self.width() <= width {
            return vec![self];
        }
        let signs = self
            .runs
            .iter()
            .flat_map(|(role, text)| text.graphemes(true).map(|g| (*role, g, columns(g))));
        let signs: Vec<(Role, &str, usize)> = signs.collect();
        let mut rows = vec![];
        let mut from = 0;
        while from < signs.len() {
            let room = if from == 0 { width } else { width - indent };
            let (mut to, mut used) = (from, 0);
            while let Some((_, _, wide)) = signs.get(to).filter(|(_, _, wide)| used + wide <= room)
            {
                used += wide;
                to += 1;
            }
            let rest = signs.get(from..to).unwrap_or_default();
            let blank = rest
                .iter()
                .rposition(|(_, g, _)| *g == " ")
                .filter(|at| to < signs.len() && *at * 2 > rest.len());
            // Let a character wider than the row through, else this loop would not end.
            let end = blank.map_or(to, |at| from + at + 1).max(from + 1);
            let mut row = if from == 0 {
                Self::new()
            } else {
                Self::styled(Role::Text, " ".repeat(indent))
            };
            for (role, sign, _) in signs.get(from..end).unwrap_or_default() {
                match row.runs.last_mut().filter(|(last, _)| last == role) {
                    Some((_, text)) => text.push_str(sign),
                    None => row.runs.push((*role, (*sign).to_owned())),
                }
            }
            rows.push(row);
            from = end;
        }
        rows
    }

    pub(crate) fn width(&self) -> usize {
        self.runs.iter().map(|(_, t)| columns(t)).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn plain_text(&self) -> String {
        self.runs.iter().map(|(_, t)| t.as_str()).collect()
    }
}

/// Removes control, bidi and invisible characters and line breaks.
pub(crate) fn sanitize_text(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    if text.chars().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(Clean::from_untrusted(text).into_string())
    }
}

/// Text over a frame takes its own modifiers, not those of the frame.
fn text_style(style: Style) -> Style {
    let letters = Modifier::BOLD | Modifier::DIM | Modifier::ITALIC | Modifier::UNDERLINED;
    style.remove_modifier(letters - style.add_modifier)
}

/// Converts to ASCII: our symbols have replacements, others become `?` of the same width.
fn to_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' => out.push(c),
            '…' => out.push('~'),
            '·' | '–' | '─' => out.push('-'),
            '→' | '›' => out.push('>'),
            '←' | '‹' => out.push('<'),
            '↑' => out.push('^'),
            '↓' | '✓' => out.push('v'),
            '✗' | '×' => out.push('x'),
            '●' => out.push('@'),
            '○' => out.push('o'),
            '◐' => out.push('%'),
            '◆' | '▲' => out.push('!'),
            '↻' => out.push('*'),
            'µ' | 'μ' => out.push('u'),
            '⊘' => out.push('L'),
            '‖' => out.push('='),
            '⏎' => out.push('|'),
            other => out.extend(std::iter::repeat_n('?', other.width().unwrap_or(0))),
        }
    }
    out
}

/// Wraps words to a width.
pub(crate) fn wrap_words(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![];
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for part in word.graphemes(true) {
            if columns(&line) + columns(part) > width && !line.is_empty() {
                let rest = line.split_off(break_point(&line, width));
                lines.push(std::mem::replace(&mut line, rest));
            }
            line.push_str(part);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Where a long word is broken: after the last sign that separates parts of names, unless that
/// leaves more than half of the line empty.
fn break_point(word: &str, width: usize) -> usize {
    let separates = |(_, c): &(usize, char)| "-/:.,=_".contains(*c);
    let after = |(at, c): (usize, char)| at + c.len_utf8();
    let found = word.char_indices().filter(separates).map(after).next_back();
    found
        .filter(|at| columns(word.get(..*at).unwrap_or_default()) * 2 >= width)
        .unwrap_or(word.len())
}

/// Wraps to at most `most` lines; an ellipsis marks words that were left out.
pub(crate) fn wrap_to_lines(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines = wrap_words(text, width);
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = truncate(&format!("{last}…"), width.max(1)).into_owned();
        }
    }
    lines
}

/// Drawing target: buffer, theme and symbols.
pub(crate) struct Canvas<'a> {
    pub(crate) buf: &'a mut Buffer,
    pub(crate) theme: &'a Theme,
    pub(crate) glyphs: &'a Glyphs,
    /// Position of the terminal's cursor, when a field is edited.
    pub(crate) cursor: Option<(u16, u16)>,
    /// What a pointer reaches of what was drawn.
    pub(crate) pointer: PointerMap,
}

impl Canvas<'_> {
    /// Draws a line at a row of the area (0 is the first), cut with an ellipsis.
    pub(crate) fn draw_line(&mut self, area: Rect, row: u16, rich: &RichText) {
        let area = area.intersection(self.buf.area);
        if row >= area.height || area.width == 0 {
            return;
        }
        let (mut x, y) = (area.x, area.y + row);
        let width = usize::from(area.width);
        let cut = (rich.width() > width).then(|| rich.clone().cut_to_width(width));
        for (role, text) in &cut.as_ref().unwrap_or(rich).runs {
            let room = usize::from(area.right().saturating_sub(x));
            let shown = if self.glyphs.ascii {
                Cow::Owned(to_ascii(text))
            } else {
                Cow::Borrowed(text.as_str())
            };
            x = self
                .buf
                .set_stringn(
                    x,
                    y,
                    shown.as_ref(),
                    room,
                    text_style(self.theme.style(*role)),
                )
                .0;
        }
    }

    /// Draws a line aligned to the area's right edge.
    pub(crate) fn draw_line_right(&mut self, area: Rect, row: u16, rich: &RichText) {
        let width = u16::try_from(rich.width())
            .unwrap_or(u16::MAX)
            .min(area.width);
        let area = Rect {
            x: area.right() - width,
            width,
            ..area
        };
        self.draw_line(area, row, rich);
    }

    /// Applies a role's style to an area.
    pub(crate) fn paint_area(&mut self, area: Rect, role: Role) {
        let area = area.intersection(self.buf.area);
        self.buf.set_style(area, self.theme.style(role));
    }

    /// Dims an area: it stays readable but does not draw attention.
    pub(crate) fn dim_area(&mut self, area: Rect) {
        let area = area.intersection(self.buf.area);
        let (ground, quiet) = (
            self.theme.style(Role::Ground),
            self.theme.style(Role::Muted),
        );
        for position in area.positions() {
            if let Some(cell) = self.buf.cell_mut(position) {
                cell.modifier = Modifier::empty();
                cell.set_style(Style {
                    bg: Some(ground.bg.unwrap_or(Color::Reset)),
                    ..quiet
                });
            }
        }
    }

    /// Clears an area to the background.
    pub(crate) fn clear_area(&mut self, area: Rect) {
        let area = area.intersection(self.buf.area);
        for position in area.positions() {
            if let Some(cell) = self.buf.cell_mut(position) {
                cell.reset();
            }
        }
        self.paint_area(area, Role::Ground);
        self.buf.set_style(
            area,
            Style {
                bg: None,
                ..self.theme.style(Role::Text)
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_loses_its_teeth() {
        assert_eq!(sanitize_text("a\u{1b}[31m\u{202e}b\u{200b}"), "ab");
        assert_eq!(
            RichText::new()
                .add_column(Role::Text, "a\u{7}b", 4)
                .plain_text(),
            "ab  "
        );
    }

    #[test]
    fn long_lines_go_on_in_the_next_row_and_lose_nothing() {
        let line = || {
            RichText::styled(Role::Muted, "12:00 ")
                .add(Role::Bad, "error: 灰度 of a very long word")
                .add(Role::Text, "x".repeat(30))
        };
        for width in 1..60 {
            let rows = line().break_lines(width);
            let text: String = rows
                .iter()
                .enumerate()
                .map(|(i, r)| r.plain_text()[if i == 0 { 0 } else { 2 }..].to_owned())
                .collect();
            assert_eq!(text, line().plain_text());
            assert!(
                rows.iter().all(|r| r.width() <= width.max(4)),
                "{width}: {rows:?}"
            );
        }
        assert_eq!(
            RichText::styled(Role::Text, "one two three").break_lines(12)[0].plain_text(),
            "one two "
        );
        let hung = || {
            RichText::styled(Role::Key, "key")
                .pad_to(8)
                .hang_here()
                .add(Role::Text, "does this and that")
        };
        let rows = |width| -> Vec<String> {
            let rows = hung().break_lines(width);
            rows.iter().map(RichText::plain_text).collect()
        };
        assert_eq!(rows(20), ["key     does this ", "        and that"]);
        assert_eq!(
            rows(10)[1].find(|c| c != ' '),
            Some(2),
            "no room for more than two"
        );
        assert_eq!(
            RichText::styled(Role::Text, "short").break_lines(12).len(),
            1
        );
    }

    #[test]
    fn a_cut_is_shown_wherever_it_falls() {
        let line = || {
            RichText::styled(Role::Text, "ab ")
                .add(Role::Muted, "cd")
                .add(Role::Bad, "ef  ")
        };
        let cuts = [7, 6, 5, 4, 3, 2, 1, 0].map(|width| line().cut_to_width(width).plain_text());
        assert_eq!(
            cuts,
            ["ab cdef", "ab cd…", "ab c…", "ab …", "ab…", "a…", "…", ""]
        );
        assert_eq!(line().cut_to_width(9), line());
    }

    #[test]
    fn what_is_left_out_on_the_left_is_shown() {
        let line = || RichText::styled(Role::Text, "ab灰").add(Role::Bad, "cde");
        let skipped = [0, 1, 2, 3, 6, 9].map(|count| line().skip_columns(count).plain_text());
        assert_eq!(skipped, ["ab灰cde", "…灰cde", "… cde", "…cde", "…", "…"]);
        assert_eq!(RichText::new().skip_columns(5).plain_text(), "");
        // What stays on the left stays, whatever is left out behind it.
        let skipped = |pinned, count| line().skip_columns_after(pinned, count).plain_text();
        assert_eq!(skipped(2, 0), "ab灰cde");
        assert_eq!(skipped(2, 1), "ab…cde");
        assert_eq!(skipped(2, 2), "ab…de");
        assert_eq!(skipped(3, 1), "ab …de");
        assert_eq!(skipped(2, 9), "ab…");
        assert_eq!(skipped(9, 2), "ab灰cde");
    }

    #[test]
    fn a_match_may_span_runs_and_changes_no_letter() {
        let line = RichText::styled(Role::Text, "12:00 ").add(Role::Bad, "error");
        let shown = line
            .clone()
            .restyle_ranges(std::slice::from_ref(&(4..8)), Role::Match);
        assert_eq!(shown.plain_text(), line.plain_text());
        let runs: Vec<(Role, &str)> = shown.runs.iter().map(|(r, t)| (*r, t.as_str())).collect();
        assert_eq!(
            runs,
            [
                (Role::Text, "12:0"),
                (Role::Match, "0 er"),
                (Role::Bad, "ror")
            ]
        );
    }

    #[test]
    fn lines_left_out_are_shown() {
        assert_eq!(
            wrap_to_lines("one two three four", 7, 2),
            ["one two", "three…"]
        );
        assert_eq!(wrap_to_lines("one two four six", 7, 1), ["one tw…"]);
        assert_eq!(wrap_to_lines("one two", 7, 1), ["one two"]);
    }

    #[test]
    fn words_wrap_and_long_ones_break() {
        assert_eq!(wrap_words("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap_words("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap_words("灰度发布", 5), ["灰度", "发布"]);
        assert_eq!(
            wrap_words("shop-prod-74c55-wk7", 12),
            ["shop-prod-", "74c55-wk7"]
        );
        assert_eq!(wrap_words("a-bcdefghijkl", 9), ["a-bcdefgh", "ijkl"]);
    }
}
