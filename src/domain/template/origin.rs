//! What was rendered, and which part of the template wrote what.

use super::Problem;

/// Rendered text and where each part comes from.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub text: String,
    /// In order.
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    /// Byte of the text.
    start: usize,
    /// Byte of the source.
    source: usize,
    /// Byte by byte from the source.
    copied: bool,
}

impl Rendered {
    pub fn write(&mut self, text: &str, source: usize, copied: bool) {
        if !text.is_empty() {
            self.segments.push(Segment {
                start: self.text.len(),
                source,
                copied,
            });
            self.text.push_str(text);
        }
    }

    /// The byte of the source that wrote this byte of the text.
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

    /// The byte of the source that wrote this place of the text; column 0 is the line's first word.
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

    /// Go's words for "nothing here" must never reach a cluster, however they came about.
    pub fn nothing(&self) -> Vec<Problem> {
        let found = self.text.match_indices("<no value>");
        found
            .map(|(at, _)| Problem::new(self.source_at(at), "this renders `<no value>`"))
            .collect()
    }
}
