//! Rendered text, with the part of the template that wrote each piece of it.

use super::Problem;

/// Rendered text and the source of each part.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub text: String,
    /// In the order of the text.
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    /// Byte offset in the text.
    start: usize,
    /// Byte offset in the source.
    source: usize,
    /// Copied verbatim, so offsets within the segment map to offsets in the source.
    copied: bool,
}

impl Rendered {
    pub fn push_text(&mut self, text: &str, source: usize, copied: bool) {
        if !text.is_empty() {
            self.segments.push(Segment {
                start: self.text.len(),
                source,
                copied,
            });
            self.text.push_str(text);
        }
    }

    /// The source offset that wrote the text at offset `at`.
    fn source_at(&self, at: usize) -> usize {
        let after = self.segments.partition_point(|s| s.start <= at);
        let Some(segment) = after.checked_sub(1).and_then(|i| self.segments.get(i)) else {
            return 0;
        };
        segment.source
            + if segment.copied {
                at - segment.start
            } else {
                0
            }
    }

    /// The source offset that wrote this line and column (from 1) of the text; column 0 means the
    /// first word of the line.
    pub fn source_of(&self, line: usize, column: usize) -> usize {
        let start: usize = self
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let rest = self.text[start..].lines().next().unwrap_or_default();
        let skip = match column {
            0 => rest.len() - rest.trim_start().len(),
            column => rest
                .char_indices()
                .nth(column - 1)
                .map_or(rest.len(), |(at, _)| at),
        };
        self.source_at(start + skip)
    }

    /// Finds every `<no value>`, Go's text for a missing value, which must never reach a cluster.
    pub fn find_no_value(&self) -> Vec<Problem> {
        let found = self.text.match_indices("<no value>");
        found
            .map(|(at, _)| Problem::new(self.source_at(at), "this renders `<no value>`"))
            .collect()
    }
}
