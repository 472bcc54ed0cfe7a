//! Unified diffs.

use similar::TextDiff;

/// A unified diff with three lines of context, without the names of the texts.
pub fn unified_diff(before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(3)
        .to_string()
}
