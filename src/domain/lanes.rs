//! Which lane takes a request: a group's Lanes compiled to a fast decision, with its reasons.
//!
//! The first enabled lane, by priority and then name, whose path, conditions and share hold takes the
//! request. A condition that cannot be used (a bad regex, a missing value) is a `Problem` and holds never.
//! The property tests hold it against the plainest reading of the same rule.

mod check;
mod colour;
mod colouring;
mod compile;
mod condition;
mod decide;
mod elsewhere;
mod empty;
mod explain;
mod express;
mod facts;
mod means;
mod never;
mod others;
mod request;
mod sides;
pub mod text;

use std::fmt;

pub use check::{check, introduced};
pub use colour::{Coloured, MOST_MATCHES, MOST_RULES, Tag, coloured, group_problems};
pub use colouring::{Colouring, tag_header};
pub use decide::{Decision, Rules};
pub use elsewhere::elsewhere;
pub use explain::{Entrance, Explained, Move, Outcome, Reason, Taken, explain, preview};
pub use means::{METHODS, Means, PARAMETERS};
pub use others::{others, taken_before};
pub use request::request_of;
pub use sides::{BothSides, NoSides, both_sides};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Works, but perhaps not as meant.
    Warning,
    /// Must not be saved.
    Error,
}

/// Something wrong with a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// The lane's name.
    pub lane: String,
    /// Where: `match.all[0]`.
    pub place: String,
    /// In words, without lane and place.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lane {}, {}: {}", self.lane, self.place, self.text)
    }
}

/// `xxh3` in ten-thousandths: stable across versions, machines and restarts, so that a key stays in its lane.
pub fn basis_points(text: &str) -> u32 {
    (xxhash_rust::xxh3::xxh3_64(text.as_bytes()) % 10_000) as u32
}

/// A share or percentage as basis points; none unless it is a number from 0 to 100.
pub(crate) fn to_basis_points(percent: f64) -> Option<u32> {
    (0.0..=100.0)
        .contains(&percent)
        .then(|| (percent * 100.0).round() as u32)
}

#[cfg(test)]
mod tests;
