//! A hop: one request from a caller to one pod of an app, as a gateway reports it. The wire form is
//! one JSON line in the lane gateway's log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::span::Source;
use crate::api::Served;

/// One request, answered by one pod or not at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// When the request arrived.
    pub time: Timestamp,
    /// W3C trace id, 32 hex digits.
    pub trace: String,
    /// Span id that the pod received, 16 hex digits.
    pub span: String,
    /// Span id that the caller sent; it is the caller's own hop when services propagate
    /// `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Namespace of the called Service.
    pub namespace: String,
    /// Lane group of the entry or app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether the request came in at a Gateway rather than from a service.
    #[serde(default)]
    pub entry: bool,
    /// Lane tag of the incoming request (at an entry: after colouring).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether no source reported if there was a tag; then `tag` has no meaning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tag_unknown: bool,
    /// Where the hop was read from; `None` is graylane's own gateway, which reports everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// App that was called: the label of its pods, or else the name of the Service.
    pub app: String,
    /// Name of the called Service.
    pub service: String,
    /// Pod that answered; `None` when no backend was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// IP address of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Lane tag of the pod; `None` for the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_tag: Option<String>,
    /// HTTP method.
    pub method: String,
    /// Path and query as the caller sent them.
    pub path: String,
    /// HTTP status.
    pub status: u16,
    /// Microseconds from the head of the request to the end of the response.
    pub micros: u64,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it replaces an earlier report of the same hop that knew less. The request counts
    /// once.
    #[serde(skip)]
    pub amends: bool,
}

/// Maximum length of a text in bytes: requests can contain long texts, and thousands of hops are
/// kept.
const MAX_TEXT_BYTES: usize = 1024;

/// Cuts a text of a request to at most 1 KiB, with `…` at the end if it was cut.
pub fn truncate_text(text: &str) -> String {
    let mut cut = String::new();
    copy_truncated(&mut cut, text);
    cut
}

/// Replaces `into` by a text as `truncate_text` cuts it, in the memory that `into` has.
pub fn copy_truncated(into: &mut String, text: &str) {
    into.clear();
    if text.len() <= MAX_TEXT_BYTES {
        return into.push_str(text);
    }
    let end = (0..=MAX_TEXT_BYTES - '…'.len_utf8())
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or_default();
    into.push_str(&text[..end]);
    into.push('…');
}

impl Hop {
    /// Whether the status was 500 or more, or there was no answer. An unreported status alone is
    /// not a failure.
    pub const fn has_failed(&self) -> bool {
        self.status >= 500 || self.status == 0 && (self.pod.is_none() || self.error.is_some())
    }

    /// Whether this report takes the place of an earlier one: it is of the same request, and knows
    /// more.
    pub fn replaces(&self, earlier: &Self) -> bool {
        self.amends && self.trace == earlier.trace && self.span == earlier.span
    }

    /// Whether it is the first report of its request, by which the request is counted.
    pub const fn is_first_report(&self) -> bool {
        !self.amends
    }

    /// Whether another report of this hop says the same.
    pub fn is_same_report(&self, other: &Self) -> bool {
        *self
            == Self {
                amends: self.amends,
                ..other.clone()
            }
    }

    /// Side that answered; `None` when no pod did.
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
        assert_eq!(truncate_text("/A/a"), "/A/a");
        for long in [
            "x".repeat(5000),
            "灰".repeat(2000),
            format!("x{}", "灰".repeat(2000)),
        ] {
            let cut = truncate_text(&long);
            assert!(
                cut.len() <= MAX_TEXT_BYTES && cut.len() > MAX_TEXT_BYTES - 8 && cut.ends_with('…'),
                "{}",
                cut.len()
            );
        }
        assert_eq!(
            truncate_text(&"x".repeat(MAX_TEXT_BYTES)).len(),
            MAX_TEXT_BYTES
        );
    }
}
