//! Chains: the path of one request through the apps, hop by hop, and whether each hop went where
//! its lane promises.
//!
//! A gateway reports one hop for each request to a pod, when the response is complete: C before B
//! before A. The hop at the entry is the hop of the first app (`entry` is set), so that a chain
//! reads A -> B -> C.
//!
//! A chain is judged when its hops arrive, against what the lanes promise at that moment, and keeps
//! its verdicts: a lane that opens later does not turn an earlier chain into a leak.

mod assemble;
mod expectation;
mod follow;
mod groups;
mod judge;
mod self_reported;
pub mod text;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{hop::Hop, signals::Version};
use crate::api::Served;

pub use assemble::assemble_chains;
pub use expectation::{Expectation, expected_side};
pub use follow::Chains;
pub use groups::{ChainFault, ChainGroup, GroupHop, GroupKey, MAX_GROUPS};
pub use self_reported::from_links;

/// How a hop went, from best to worst.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Verdict {
    /// Answered as the lane promises.
    #[default]
    #[serde(rename = "ok")]
    Ok,
    /// The baseline answered a tagged request as promised, because the lane has no version of the
    /// app.
    #[serde(rename = "fell back")]
    FellBack,
    /// No pod answered, or no source reported enough.
    #[serde(rename = "no data")]
    NoData,
    /// The tag is missing from here on.
    #[serde(rename = "lost")]
    Lost,
    /// A lane's version answered a request that does not belong to that lane.
    #[serde(rename = "leak up")]
    LeakUp,
    /// The baseline answered although the lane promises its own version.
    #[serde(rename = "leak down")]
    LeakDown,
}

impl Verdict {
    /// Name of the verdict, as printed and serialized.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::FellBack => "fell back",
            Self::NoData => "no data",
            Self::Lost => "lost",
            Self::LeakUp => "leak up",
            Self::LeakDown => "leak down",
        }
    }

    /// Whether on-call must see it.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Lost | Self::LeakUp | Self::LeakDown)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Path of one request through the apps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// W3C trace id; empty for a chain that was parsed from a response body.
    pub trace: String,
    /// Span id of the first hop, which identifies the chain.
    pub id: String,
    /// When the request arrived.
    pub time: Timestamp,
    /// Lane tag at the start of the chain.
    pub tag: Option<String>,
    /// Lane group of the first hop.
    pub group: Option<String>,
    /// Path and query at the start of the chain.
    pub path: String,
    /// HTTP status of the first hop.
    pub status: u16,
    /// Duration of the first hop in microseconds; it includes the other hops.
    pub micros: u64,
    /// Steps in calling order, callees after their caller.
    pub steps: Vec<ChainStep>,
    /// Worst verdict of the steps.
    pub worst: Verdict,
}

impl Chain {
    /// First step with the worst verdict.
    pub fn worst_step(&self) -> Option<&ChainStep> {
        self.steps.iter().find(|s| s.verdict == self.worst)
    }

    /// Whether the client got a status of 500 or more, or no answer.
    pub fn has_failed(&self) -> bool {
        let first = self.steps.iter().find_map(|s| s.hop.as_ref());
        first.map_or(self.status == 0 || self.status >= 500, |hop| {
            hop.has_failed()
        })
    }

    /// Whether on-call should look at it: a bad verdict, or a failure.
    pub fn is_wrong(&self) -> bool {
        self.worst.is_bad() || self.has_failed()
    }

    /// Step where a failure began: the deepest failed hop along the failed calls. `None` for a
    /// chain that has not failed.
    pub fn failed_step(&self) -> Option<&ChainStep> {
        if !self.has_failed() {
            return None;
        }
        let mut at = self.steps.iter().position(|s| s.hop.is_some()).unwrap_or(0);
        loop {
            let here = self.steps.get(at)?;
            let beneath = self
                .steps
                .iter()
                .enumerate()
                .skip(at + 1)
                .take_while(|(_, s)| s.depth > here.depth);
            // Of several failed calls, take the last one: those before it were retried.
            match beneath
                .filter(|(_, s)| s.depth == here.depth + 1 && s.has_failed())
                .last()
            {
                Some((next, _)) => at = next,
                None => return Some(here),
            }
        }
    }
}

/// One hop in a chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainStep {
    /// Call depth: 0 is the first app.
    pub depth: usize,
    /// App that was called.
    pub app: String,
    /// Side that answered; `None` when no pod answered or nothing was reported.
    pub served: Option<Served>,
    /// Lane tag of the incoming request.
    pub tag: Option<String>,
    /// Lane tag of the pod.
    pub pod_tag: Option<String>,
    /// Name of the pod that answered.
    pub pod: Option<String>,
    /// IP address of the pod.
    pub address: Option<String>,
    /// Version that answered.
    pub version: Version,
    /// HTTP status; `None` when it was not reported.
    pub status: Option<u16>,
    /// Duration in microseconds.
    pub micros: Option<u64>,
    /// Verdict on the hop.
    pub verdict: Verdict,
    /// Cause of the verdict; `None` when the hop went well.
    pub cause: Option<String>,
    /// Hop that the step was made from; `None` when the hop was not reported.
    pub hop: Option<Arc<Hop>>,
}

impl ChainStep {
    /// Whether the status was 500 or more, or there was no answer.
    pub fn has_failed(&self) -> bool {
        self.hop
            .as_ref()
            .map_or(self.status.is_some_and(|s| s == 0 || s >= 500), |hop| {
                hop.has_failed()
            })
    }
}

#[cfg(test)]
mod tests;
