//! A hop: one request from a caller to one pod of an app, as a gateway reports it. The wire form is one
//! JSON line in the lane gateway's log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::span::Source;
use crate::api::Served;

/// One request answered (or not) by one pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// When the request came in.
    pub time: Timestamp,
    /// W3C trace id, 32 hex digits.
    pub trace: String,
    /// Span id that the pod was given, 16 hex digits.
    pub span: String,
    /// Span id that the caller sent; the caller's own hop when services pass `traceparent` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Namespace of the Service asked.
    pub namespace: String,
    /// The lane group whose entry or app this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Came in at a Gateway rather than from a service.
    #[serde(default)]
    pub entry: bool,
    /// Lane tag that came in (at an entry: after colouring).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Nobody told whether there was a tag: then `tag` means nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tag_unknown: bool,
    /// Where it was read; none is graylane's own gateway, which tells everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The app asked, by its pods' label, else the Service's name.
    pub app: String,
    /// The Service asked.
    pub service: String,
    /// The pod that answered; none when no backend could be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The lane tag of the pod itself; none is baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_tag: Option<String>,
    /// Method.
    pub method: String,
    /// Path and query, as asked by the caller.
    pub path: String,
    /// HTTP status.
    pub status: u16,
    /// Microseconds from the request's head to the response's end.
    pub micros: u64,
    /// What went wrong, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// It was told before, with less; what is told now counts, and the request counts once.
    #[serde(skip)]
    pub amends: bool,
}

/// Bytes of one text of a hop: what comes in a request may be long, and thousands of hops are kept.
const MOST_TEXT: usize = 1024;

/// A text of a request as a hop tells it: at most 1 KiB, `…` at the end when it was cut.
pub fn bounded(text: &str) -> String {
    if text.len() <= MOST_TEXT {
        return text.to_owned();
    }
    let end = (0..=MOST_TEXT - '…'.len_utf8())
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or_default();
    format!("{}…", &text[..end])
}

impl Hop {
    /// Answered with a status of 500 or more, or not at all. A status that nobody told is no failure by itself.
    pub const fn has_failed(&self) -> bool {
        self.status >= 500 || self.status == 0 && (self.pod.is_none() || self.error.is_some())
    }

    /// Whether another tells nothing else of this hop.
    pub fn tells_the_same(&self, other: &Self) -> bool {
        *self
            == Self {
                amends: self.amends,
                ..other.clone()
            }
    }

    /// Which side answered; none when nobody did.
    pub fn served(&self) -> Option<Served> {
        self.pod.as_ref().map(|_| {
            if self.pod_tag.is_some() {
                Served::Gray
            } else {
                Served::Base
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(bounded("/A/a"), "/A/a");
        for long in [
            "x".repeat(5000),
            "灰".repeat(2000),
            format!("x{}", "灰".repeat(2000)),
        ] {
            let cut = bounded(&long);
            assert!(
                cut.len() <= MOST_TEXT && cut.len() > MOST_TEXT - 8 && cut.ends_with('…'),
                "{}",
                cut.len()
            );
        }
        assert_eq!(bounded(&"x".repeat(MOST_TEXT)).len(), MOST_TEXT);
    }
}
