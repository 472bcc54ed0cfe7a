//! Joins messages.

use std::fmt::Display;

/// The texts of several errors, one per line.
pub fn join_lines(errors: &[impl Display]) -> String {
    join_errors(errors, "\n")
}

/// The texts of several errors with a separator between them.
pub fn join_errors(errors: &[impl Display], separator: &str) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join(separator)
}
