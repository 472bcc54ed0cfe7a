//! W3C trace context: continued if valid, else started; every pod gets its own span id.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::domain::request::parse_traceparent;

/// The trace context of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceContext {
    /// 32 hex digits.
    pub(super) id: String,
    /// Span id of the caller; `None` if the trace starts here.
    pub(super) parent: Option<String>,
    /// New span id for the pod.
    pub(super) span: String,
    flags: String,
}

impl TraceContext {
    /// Continues a `traceparent`, or starts a trace.
    pub(super) fn from_traceparent(traceparent: Option<&str>) -> Self {
        let span = to_hex(&next_id64().max(1).to_be_bytes());
        match traceparent.and_then(parse_traceparent) {
            Some((id, parent, flags)) => Self {
                id: id.into(),
                parent: Some(parent.into()),
                span,
                flags: flags.into(),
            },
            None => Self {
                id: to_hex(&next_id128().max(1).to_be_bytes()),
                parent: None,
                span,
                flags: "01".into(),
            },
        }
    }

    /// The `traceparent` for the pod.
    pub(super) fn to_traceparent(&self) -> String {
        ["00", &self.id, &self.span, &self.flags].join("-")
    }
}

/// Several times faster than a formatter, which matters as it runs for each request.
fn to_hex(bytes: &[u8]) -> String {
    let digit = |d: u8| char::from(if d < 10 { b'0' + d } else { b'a' + d - 10 });
    bytes
        .iter()
        .flat_map(|b| [digit(b >> 4), digit(b & 15)])
        .collect()
}

/// Different in each process; for ids, not for secrets.
static SEED: LazyLock<u64> = LazyLock::new(|| uuid::Uuid::new_v4().as_u64_pair().0);
static CALLS: AtomicU64 = AtomicU64::new(0);

fn next_id64() -> u64 {
    xxh3_64_with_seed(&CALLS.fetch_add(1, Relaxed).to_le_bytes(), *SEED)
}

fn next_id128() -> u128 {
    xxh3_128_with_seed(&CALLS.fetch_add(1, Relaxed).to_le_bytes(), *SEED)
}

/// A random number below `below`, for a choice by weight.
pub(super) fn random_below(below: u64) -> u64 {
    if below == 0 { 0 } else { next_id64() % below }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_headers_are_continued_and_bad_ones_replaced() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let trace = TraceContext::from_traceparent(Some(&format!("00-{id}-b7ad6b7169203331-00")));
        assert_eq!(
            (trace.id.as_str(), trace.parent.as_deref()),
            (id, Some("b7ad6b7169203331"))
        );
        assert_eq!(trace.to_traceparent(), format!("00-{id}-{}-00", trace.span));
        assert_eq!(
            TraceContext::from_traceparent(Some(&format!("01-{id}-b7ad6b7169203331-01-more"))).id,
            id
        );
        for bad in [
            "",
            "x",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            let trace = TraceContext::from_traceparent(Some(bad));
            assert_eq!(
                (trace.parent.as_deref(), trace.id.len()),
                (None, 32),
                "{bad}"
            );
            assert!(trace.id != id && parse_traceparent(&trace.to_traceparent()).is_some());
        }
    }
}
