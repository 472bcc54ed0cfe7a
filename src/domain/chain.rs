//! Chains: the way of one request through the apps, hop by hop, and whether it went where its lane promises.
//!
//! A gateway tells one hop for each request to a pod, when its answer is through: C before B before A. The
//! hop of the entry is the hop of the first app (`entry` is set), so that a chain reads A -> B -> C.
//! A chain is judged when it has come, against what lanes promise at that moment, and keeps its verdicts:
//! a lane that opens later turns no earlier chain into a leak.

mod assemble;
mod follow;
mod groups;
mod judge;
mod promise;
pub mod text;
mod told;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{hop::Hop, signals::Version};
use crate::api::Served;

pub use assemble::assemble;
pub use follow::Chains;
pub use groups::{Group, GroupHop, GroupKey, MOST_GROUPS, Wrong};
pub use promise::{Promise, expected};
pub use told::from_links;

/// How a hop went, from good to bad.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Verdict {
    /// As promised.
    #[default]
    #[serde(rename = "ok")]
    Ok,
    /// The baseline answered a tagged request, as promised: no version of the lane is there.
    #[serde(rename = "fell back")]
    FellBack,
    /// Nobody answered, or nobody told.
    #[serde(rename = "no data")]
    NoData,
    /// The tag is gone from here on.
    #[serde(rename = "lost")]
    Lost,
    /// A version of a lane answered a request that is not of that lane.
    #[serde(rename = "leak up")]
    LeakUp,
    /// The baseline answered though the lane promises its own version.
    #[serde(rename = "leak down")]
    LeakDown,
}

impl Verdict {
    /// As shown and written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::FellBack => "fell back",
            Self::NoData => "no data",
            Self::Lost => "lost",
            Self::LeakUp => "leak up",
            Self::LeakDown => "leak down",
        }
    }

    /// On-call must see it.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Lost | Self::LeakUp | Self::LeakDown)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One way through the apps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// W3C trace id; empty for a chain told by a body.
    pub trace: String,
    /// Span of its first hop: what it is known by.
    pub id: String,
    /// When the request came in.
    pub time: Timestamp,
    /// Lane tag at its beginning.
    pub tag: Option<String>,
    /// The lane group of its first hop.
    pub group: Option<String>,
    /// What was asked at its beginning.
    pub path: String,
    /// Status of its first hop.
    pub status: u16,
    /// Time of its first hop, which spans the others.
    pub micros: u64,
    /// In calling order, callees after their caller.
    pub steps: Vec<Step>,
    /// The worst of its verdicts.
    pub worst: Verdict,
}

impl Chain {
    /// The first of the worst steps.
    pub fn culprit(&self) -> Option<&Step> {
        self.steps.iter().find(|s| s.verdict == self.worst)
    }

    /// Whoever asked got a status of 500 or more, or no answer.
    pub fn has_failed(&self) -> bool {
        let first = self.steps.iter().find_map(|s| s.hop.as_ref());
        first.map_or(self.status == 0 || self.status >= 500, |hop| {
            hop.has_failed()
        })
    }

    /// On-call should look.
    pub fn is_wrong(&self) -> bool {
        self.worst.is_bad() || self.has_failed()
    }

    /// Where a failure began: the deepest hop that failed on its way. None of a chain that has not failed.
    pub fn failure(&self) -> Option<&Step> {
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
            // Of several the last one: what came before it was tried again.
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
pub struct Step {
    /// Calls deep: 0 is the first app.
    pub depth: usize,
    /// The app asked.
    pub app: String,
    /// The side that answered; none when nobody did, or nobody told.
    pub served: Option<Served>,
    /// Lane tag that came in.
    pub tag: Option<String>,
    /// Lane tag of the pod.
    pub pod_tag: Option<String>,
    /// The pod.
    pub pod: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// Which version answered.
    pub version: Version,
    /// HTTP status; none when nobody told.
    pub status: Option<u16>,
    /// Its time.
    pub micros: Option<u64>,
    /// How it went.
    pub verdict: Verdict,
    /// Why, in words, unless it went well.
    pub cause: Option<String>,
    /// The hop it was made from; none for one that was not reported.
    pub hop: Option<Arc<Hop>>,
}

impl Step {
    /// Answered with a status of 500 or more, or not at all.
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
