//! Sends the same request to the baseline and to gray, and compares the answers.

use super::{HopFeed, ProbeError, Probed, Via, send_probes};
use crate::{
    api::ProbeSpec,
    domain::{
        diff::{Answer, AnswerPair, Comparison, Ignored, ReportLine, Sides, report_lines},
        lanes::RequestPair,
    },
};

/// Both answers, and where they differ.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedAnswers {
    /// Answer of the baseline.
    pub base: Probed,
    /// Answer of gray.
    pub gray: Probed,
    /// The answers as received, and what is shown of each.
    pub pair: AnswerPair,
    /// Where they differ.
    pub found: Comparison,
}

/// Why there are no two answers to compare.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A request cannot be sent.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// There was no answer, or it broke off.
    #[error("{side}: {why}")]
    NoAnswer {
        /// `base` or `gray`.
        side: &'static str,
        /// Reason.
        why: String,
    },
    /// The entry gave the request another tag than it should have.
    #[error(
        "the request for {side} went {}: do the routes follow the lanes? See `graylane lane explain`",
        .tag.as_ref().map_or_else(|| "untagged".to_owned(), |t| format!("tagged {t}"))
    )]
    OtherTag {
        /// `base` or `gray`.
        side: &'static str,
        /// Tag that it got.
        tag: Option<String>,
    },
}

/// Sends both requests to the entry of a lane group, one after the other, and compares the answers.
pub async fn compare_pair(
    pair: &RequestPair,
    group: &str,
    feed: &HopFeed,
    via: &Via,
    ignored: &Ignored,
) -> Result<ComparedAnswers, CompareError> {
    let send = async |spec: &ProbeSpec, side: &'static str| {
        let probed = send_probes(spec, group, feed, via).await?;
        take_answer(probed, side)
    };
    let (base, old) = send(&pair.requests.base, "base").await?;
    let (gray, new) = send(&pair.requests.gray, "gray").await?;
    for (side, probed, tag) in [("base", &base, None), ("gray", &gray, Some(&pair.tag))] {
        // The tag is known only if the chain was reported.
        if !probed.chain.is_empty() && probed.lane.as_ref() != tag {
            let tag = probed.lane.clone();
            return Err(CompareError::OtherTag { side, tag });
        }
    }
    let pair = AnswerPair {
        cells: Sides {
            base: base.table_cells(),
            gray: gray.table_cells(),
        },
        answers: Sides {
            base: old,
            gray: new,
        },
    };
    let found = pair.compare(ignored);
    Ok(ComparedAnswers {
        base,
        gray,
        pair,
        found,
    })
}

/// The result of one request with its answer as it was received.
fn take_answer(probed: Vec<Probed>, side: &'static str) -> Result<(Probed, Answer), CompareError> {
    let no = |why: &str| CompareError::NoAnswer {
        side,
        why: why.to_owned(),
    };
    let probed = probed
        .into_iter()
        .next()
        .ok_or_else(|| no("nothing was sent"))?;
    match probed.raw.clone() {
        Some(raw) => Ok((probed, raw)),
        None => Err(no(probed
            .problems
            .first()
            .map_or("no answer", String::as_str))),
    }
}

impl ComparedAnswers {
    /// The comparison as lines for people.
    pub fn report_lines(&self) -> Vec<ReportLine> {
        report_lines(self.pair.cells.clone(), &self.found)
    }
}
