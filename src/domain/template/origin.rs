//! Which part of the template wrote what: markers in the raw output (U+0001, byte of the source, U+0002) become a map.

use super::Problem;

pub(super) const OPEN: char = '\u{1}';
pub(super) const CLOSE: char = '\u{2}';

pub(super) fn marker(offset: usize) -> String {
    format!("{OPEN}{offset}{CLOSE}")
}

/// Rendered text and where each part comes from.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub text: String,
    /// (byte of the text, byte of the source), in order.
    segments: Vec<(usize, usize)>,
}

impl Rendered {
    pub fn from_raw(raw: &str) -> Rendered {
        let mut out = Rendered::default();
        let mut pieces = raw.split(OPEN);
        out.text.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let (offset, text) = piece.split_once(CLOSE).unwrap_or(("", piece));
            if let Ok(offset) = offset.parse() {
                out.segments.push((out.text.len(), offset));
            }
            out.text.push_str(text);
        }
        out
    }

    /// The byte of the source that wrote this byte of the text.
    fn source_at(&self, source: &str, at: usize) -> usize {
        let after = self.segments.partition_point(|(start, _)| *start <= at);
        let Some((start, offset)) = after.checked_sub(1).map(|i| self.segments[i]) else { return 0 };
        // Plain text was copied byte by byte; what an action wrote is the action's.
        let copied = self.text.get(start..at).filter(|text| source[offset..].starts_with(text));
        offset + copied.map_or(0, str::len)
    }

    pub fn place(&self, source: &str, line: usize, column: usize) -> usize {
        let start: usize = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let rest = self.text[start..].lines().next().unwrap_or_default();
        // Without a column: the first thing on the line.
        let skip = match column {
            0 => rest.len() - rest.trim_start().len(),
            column => rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at),
        };
        self.source_at(source, start + skip)
    }

    /// The last place that began to write, for an error that stopped the rendering.
    pub fn last(&self) -> usize {
        self.segments.last().map_or(0, |(_, offset)| *offset)
    }

    /// Go's words for "nothing here" must never reach a cluster, however they came about.
    pub fn nothing(&self, source: &str) -> Vec<Problem> {
        let found = self.text.match_indices("<no value>");
        found.map(|(at, _)| Problem::new(self.source_at(source, at), "this renders `<no value>`")).collect()
    }
}
