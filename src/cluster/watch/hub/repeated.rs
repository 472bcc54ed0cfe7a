//! Hops that come again.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;

use crate::domain::{hop::Hop, join::REMEMBERED};

/// An engine that takes over tells what the gateway's log still holds, also what a former one told so long ago that the
/// joiner has forgotten it.
pub(super) fn drop_repeated<'a>(hops: &mut Vec<Hop>, told: impl IntoIterator<Item = &'a Arc<Hop>>, now: Timestamp) {
    let is_old = |hop: &Hop| now.duration_since(hop.time) > REMEMBERED;
    if hops.iter().any(is_old) {
        let told: HashSet<_> = told.into_iter().map(|hop| (hop.trace.as_str(), hop.span.as_str())).collect();
        hops.retain(|hop| !is_old(hop) || !told.contains(&(hop.trace.as_str(), hop.span.as_str())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_again_after_a_long_time_counts_once() {
        let now: Timestamp = "2026-11-29T02:36:00Z".parse().unwrap();
        let hop = |span: &str, ago: i64| {
            let time = now - jiff::SignedDuration::from_secs(ago);
            Hop { trace: "t".into(), span: span.into(), time, ..Hop::default() }
        };
        let told = [Arc::new(hop("1", 100)), Arc::new(hop("2", 100))];
        let mut hops = vec![hop("1", 100), hop("3", 100), hop("4", 1)];
        drop_repeated(&mut hops, &told, now);
        assert_eq!(hops.iter().map(|h| &*h.span).collect::<Vec<_>>(), ["3", "4"]);
    }
}
