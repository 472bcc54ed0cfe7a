//! The rows of a text: its lines after filtering, wrapped or not. Only the visible ones are composed,
//! because a log may have thousands.

use super::text::compose_lines;
use crate::{
    domain::text::find_ignoring_case,
    ui::{
        model::{LogBuffer, LogLook, Model, Source, Text, matches_filter},
        theme::Role,
        widget::RichText,
    },
};

/// Columns of a text's frame and padding.
const FRAME_WIDTH: usize = 4;

enum Lines<'a> {
    Composed(Vec<RichText>),
    /// Indexes of the lines that pass the filter; `None` are all.
    Log(&'a LogBuffer, LogLook, Option<Vec<usize>>),
}

/// The rows of a text.
pub(crate) struct TextRows<'a> {
    lines: Lines<'a>,
    /// Width at which lines are wrapped.
    wrap: Option<usize>,
    /// First row of each line.
    starts: Vec<usize>,
    total: usize,
}

impl<'a> TextRows<'a> {
    /// Lays a text out for the screen's width.
    pub(crate) fn new(model: &Model, text: &'a Text) -> Self {
        let lines = match &text.source {
            Source::Logs(target) => {
                let look = LogLook {
                    timestamps: text.timestamps,
                    labels: !target.selection.is_one_pod(),
                };
                let passes =
                    |at: &usize| matches_filter(&text.filter, &text.log.filter_text(*at, look));
                let passing =
                    (!text.filter.is_empty()).then(|| (0..text.log.len()).filter(passes).collect());
                Lines::Log(&text.log, look, passing)
            }
            _ => Lines::Composed(
                compose_lines(model, text)
                    .into_iter()
                    .filter(|l| {
                        text.filter.is_empty() || matches_filter(&text.filter, &l.plain_text())
                    })
                    .collect(),
            ),
        };
        let width = usize::from(model.size.0).saturating_sub(FRAME_WIDTH);
        let mut rows = Self {
            lines,
            wrap: text.wrap.then_some(width),
            starts: vec![],
            total: 0,
        };
        for at in 0..rows.line_count() {
            rows.starts.push(rows.total);
            rows.total += rows.height_of(at);
        }
        rows
    }

    /// Number of rows.
    pub(crate) const fn len(&self) -> usize {
        self.total
    }

    /// Number of lines.
    pub(crate) fn line_count(&self) -> usize {
        match &self.lines {
            Lines::Composed(lines) => lines.len(),
            Lines::Log(log, _, None) => log.len(),
            Lines::Log(_, _, Some(passing)) => passing.len(),
        }
    }

    /// A whole line.
    pub(crate) fn line(&self, at: usize) -> RichText {
        match &self.lines {
            Lines::Composed(lines) => lines.get(at).cloned().unwrap_or_default(),
            Lines::Log(log, look, None) => log.line(at, *look),
            Lines::Log(log, look, Some(passing)) => passing
                .get(at)
                .map_or_else(RichText::new, |at| log.line(*at, *look)),
        }
    }

    /// All lines.
    pub(crate) fn all_lines(&self) -> Vec<RichText> {
        (0..self.line_count()).map(|at| self.line(at)).collect()
    }

    fn width_of(&self, at: usize) -> usize {
        match &self.lines {
            Lines::Composed(lines) => lines.get(at).map_or(0, RichText::width),
            Lines::Log(log, look, None) => log.line_width(at, *look),
            Lines::Log(log, look, Some(passing)) => {
                passing.get(at).map_or(0, |at| log.line_width(*at, *look))
            }
        }
    }

    fn height_of(&self, at: usize) -> usize {
        match self.wrap {
            Some(width) if self.width_of(at) > width => self.line(at).break_lines(width).len(),
            _ => 1,
        }
    }

    /// Columns of the widest line.
    pub(crate) fn widest(&self) -> usize {
        (0..self.line_count())
            .map(|at| self.width_of(at))
            .max()
            .unwrap_or(0)
    }

    /// The line that a row belongs to.
    pub(crate) fn line_at_row(&self, row: usize) -> usize {
        self.starts
            .partition_point(|start| *start <= row)
            .saturating_sub(1)
    }

    /// The first row of a line.
    pub(crate) fn row_of_line(&self, line: usize) -> usize {
        self.starts.get(line).copied().unwrap_or(self.total)
    }

    /// The next line with this word after (or before) a line, in a circle; whether it went round the
    /// end.
    pub(crate) fn find_line(&self, word: &str, from: usize, back: bool) -> Option<(usize, bool)> {
        let count = self.line_count();
        (0..count)
            .map(|n| {
                if back {
                    (from + count + count - n - 1) % count
                } else {
                    (from + n) % count
                }
            })
            .find(|at| !find_ignoring_case(&self.line(*at).plain_text(), word).is_empty())
            .map(|at| (at, if back { at >= from } else { at < from }))
    }

    /// The row, and the columns before it, at which a word first stands in a line.
    pub(crate) fn find_in_line(&self, line: usize, word: &str) -> (usize, usize) {
        let rich = self.line(line);
        let plain = rich.plain_text();
        let found = find_ignoring_case(&plain, word);
        let first = found.first().map_or(0, |range| range.start);
        let before = crate::domain::text::display_width(plain.get(..first).unwrap_or_default());
        let start = self.row_of_line(line);
        let Some(width) = self.wrap else {
            return (start, before);
        };
        let mut passed = 0;
        for (n, row) in rich.break_lines(width).iter().enumerate() {
            let indent = if n == 0 { 0 } else { 2 };
            passed += row.width().saturating_sub(indent);
            if before < passed {
                return (start + n, before);
            }
        }
        (start, before)
    }

    /// So many rows from this one on, with a word made visible and the first columns left out; each
    /// with its line.
    pub(crate) fn visible_rows(
        &self,
        first: usize,
        height: usize,
        word: &str,
        left: usize,
    ) -> Vec<(usize, RichText)> {
        let mut rows = vec![];
        let mut line = self.line_at_row(first);
        let mut skip = first.saturating_sub(self.row_of_line(line));
        while rows.len() < height && line < self.line_count() {
            let rich = highlight_word(self.line(line), word);
            let broken = match self.wrap {
                Some(width) => rich.break_lines(width),
                None => vec![rich.skip_columns(left)],
            };
            rows.extend(broken.into_iter().skip(skip).map(|row| (line, row)));
            (line, skip) = (line + 1, 0);
        }
        rows.truncate(height);
        rows
    }
}

/// The line with every occurrence of a word in the role of a match.
fn highlight_word(line: RichText, word: &str) -> RichText {
    if word.is_empty() {
        return line;
    }
    let found = find_ignoring_case(&line.plain_text(), word);
    line.restyle_ranges(&found, Role::Match)
}
