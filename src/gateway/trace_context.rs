//! W3C trace context: continued if valid, else started; every pod gets its own span id.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::domain::request::parse_traceparent;

/// `N` lower-case hex digits, held without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// The digits of a number, of which the last `N` are taken.
    fn from_number(number: u128) -> Self {
        Self(std::array::from_fn(|i| {
            let digit = (number >> (4 * (N - 1 - i)) & 15) as u8;
            digit + if digit < 10 { b'0' } else { b'a' - 10 }
        }))
    }

    /// A text of `N` bytes; `None` if it is longer or shorter.
    fn from_text(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The trace context of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceContext {
    pub(super) id: Hex<32>,
    /// Span id of the caller; `None` if the trace starts here.
    pub(super) parent: Option<Hex<16>>,
    /// New span id for the pod.
    pub(super) span: Hex<16>,
    flags: Hex<2>,
}

/// Bytes of a `traceparent`: version, trace id, span id and flags, with hyphens.
const TRACEPARENT_BYTES: usize = 55;

impl TraceContext {
    /// Continues a `traceparent`, or starts a trace.
    pub(super) fn from_traceparent(traceparent: Option<&str>) -> Self {
        let span = Hex::from_number(next_id64().max(1).into());
        let continued = traceparent.and_then(parse_traceparent);
        let continued = continued.and_then(|(id, parent, flags)| {
            Some(Self {
                id: Hex::from_text(id)?,
                parent: Some(Hex::from_text(parent)?),
                span,
                flags: Hex::from_text(flags)?,
            })
        });
        continued.unwrap_or_else(|| Self {
            id: Hex::from_number(next_id128().max(1)),
            parent: None,
            span,
            flags: Hex(*b"01"),
        })
    }

    /// The `traceparent` for the pod.
    pub(super) fn to_traceparent(&self) -> [u8; TRACEPARENT_BYTES] {
        let mut text = *b"00-................................-................-..";
        text[3..35].copy_from_slice(&self.id.0);
        text[36..52].copy_from_slice(&self.span.0);
        text[53..].copy_from_slice(&self.flags.0);
        text
    }
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
            (trace.id.as_str(), trace.parent.as_ref().map(Hex::as_str)),
            (id, Some("b7ad6b7169203331"))
        );
        let sent = trace.to_traceparent();
        assert_eq!(
            std::str::from_utf8(&sent).unwrap(),
            format!("00-{id}-{}-00", trace.span.as_str())
        );
        assert_eq!(
            TraceContext::from_traceparent(Some(&format!("01-{id}-b7ad6b7169203331-01-more")))
                .id
                .as_str(),
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
            assert_eq!(trace.parent, None, "{bad}");
            let sent = trace.to_traceparent();
            let sent = std::str::from_utf8(&sent).unwrap();
            assert!(trace.id.as_str() != id && parse_traceparent(sent).is_some());
        }
    }
}
