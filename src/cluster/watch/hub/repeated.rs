//! Removes repeated hops.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;

use crate::domain::{hop::Hop, join::TRACE_RETENTION};

/// A new engine also reports what is still in the gateway's log, including hops that an earlier
/// engine reported so long ago that the joiner has forgotten them.
pub(super) fn drop_repeated<'a>(
    hops: &mut Vec<Arc<Hop>>,
    told: impl IntoIterator<Item = &'a Arc<Hop>>,
    now: Timestamp,
) {
    let is_old =
        |hop: &Arc<Hop>| hop.is_first_report() && now.duration_since(hop.time) > TRACE_RETENTION;
    if hops.iter().any(is_old) {
        let told: HashSet<_> = told
            .into_iter()
            .map(|hop| (hop.trace.as_str(), hop.span.as_str()))
            .collect();
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
            Arc::new(Hop {
                trace: "t".into(),
                span: span.into(),
                time,
                ..Hop::default()
            })
        };
        let told = [hop("1", 100), hop("2", 100)];
        let amended = Arc::new(Hop {
            amends: true,
            ..(*told[1]).clone()
        });
        let mut hops = vec![hop("1", 100), amended, hop("3", 100), hop("4", 1)];
        drop_repeated(&mut hops, &told, now);
        assert_eq!(
            hops.iter().map(|h| &*h.span).collect::<Vec<_>>(),
            ["2", "3", "4"]
        );
    }
}
