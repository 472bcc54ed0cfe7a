//! Decides which lane takes a request: a group's lanes are compiled for fast decisions that can be
//! explained.
//!
//! The first enabled lane, by priority and then by name, whose path, conditions and share hold
//! takes the request. A condition that cannot be used (an invalid regex, a missing value) is a
//! `Problem` and never holds. Property tests compare the decisions with a plain reference
//! implementation of this rule.

mod chain_requests;
mod check;
mod colour;
mod colouring;
mod compile;
mod condition;
mod condition_error;
mod constraints;
mod decide;
mod empty_regex;
mod explain;
mod foreign_routes;
mod gateway_features;
mod gateway_match;
mod inexpressible;
mod lane_request;
mod remote_versions;
mod request_pair;
pub mod text;
mod unmatchable;

use std::fmt;

pub use chain_requests::{ChainRequests, ChainRequestsError, build_chain_requests};
#[cfg(test)]
use check::check_lanes;
pub use check::{LaneCheck, replace_lane};
pub use colour::{
    ColouredRule, MAX_MATCHES, MAX_RULES, TagAction, build_coloured_rules, group_problems,
};
pub use colouring::{Colouring, tag_header};
pub use decide::{Decision, Rules};
pub use explain::{
    EntryContext, EntryOutcome, Explanation, LaneChoice, LaneMove, LaneReason, explain_request,
    preview_moves,
};
pub use foreign_routes::{describe_preceding_routes, find_foreign_routes};
pub use gateway_features::{GatewayFeatures, METHOD_MATCHING, QUERY_PARAM_MATCHING};
pub use lane_request::build_lane_request;
pub use request_pair::{RequestPair, RequestPairError, build_request_pair};

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
pub fn hash_to_basis_points(text: &str) -> u32 {
    (xxhash_rust::xxh3::xxh3_64(text.as_bytes()) % 10_000) as u32
}

/// Converts a share or percentage to basis points; `None` unless it is a number from 0 to 100.
pub(crate) fn percent_to_basis_points(percent: f64) -> Option<u32> {
    (0.0..=100.0)
        .contains(&percent)
        .then(|| (percent * 100.0).round() as u32)
}

#[cfg(test)]
mod tests;
