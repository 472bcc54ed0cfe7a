//! Decides which lane takes a request: a group's lanes are compiled for fast decisions that can be
//! explained.
//!
//! The first enabled lane, by priority and then by name, whose path, conditions and share hold
//! takes the request. A condition that cannot be used (an invalid regex, a missing value) is a
//! `Problem` and never holds. Property tests compare the decisions with a plain reference
//! implementation of this rule.

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

/// Severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, but perhaps not as intended.
    Warning,
    /// The lane must not be saved.
    Error,
}

/// Something wrong with a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Severity of the problem.
    pub severity: Severity,
    /// Name of the lane.
    pub lane: String,
    /// Place in the lane, such as `match.all[0]`.
    pub place: String,
    /// Description without lane and place.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lane {}, {}: {}", self.lane, self.place, self.text)
    }
}

/// `xxh3` hash in ten-thousandths: stable across versions, machines and restarts, so that a key
/// stays in its lane.
pub fn basis_points(text: &str) -> u32 {
    (xxhash_rust::xxh3::xxh3_64(text.as_bytes()) % 10_000) as u32
}

/// Converts a share or percentage to basis points; `None` unless it is a number from 0 to 100.
pub(crate) fn to_basis_points(percent: f64) -> Option<u32> {
    (0.0..=100.0)
        .contains(&percent)
        .then(|| (percent * 100.0).round() as u32)
}

#[cfg(test)]
mod tests;
