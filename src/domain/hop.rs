//! A hop: one request from a caller to one pod of an app, as a gateway reports it. The wire form is one
//! JSON line in the lane gateway's log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
}

impl Hop {
    /// Which side answered; none when nobody did.
    pub fn served(&self) -> Option<Served> {
        self.pod.as_ref().map(|_| if self.pod_tag.is_some() { Served::Gray } else { Served::Base })
    }
}
