//! Waits for the hops that a probe's request caused.

use std::{future::pending, time::Duration};

use tokio::sync::watch;

use crate::{
    api::LaneGroup,
    cluster::trace::TraceFetcher,
    domain::{hop_logs::are_hops_from_spans, world::World},
};

/// How long to wait for hops after the response, and for the entry's hop after another one: an entry
/// that reports nothing has none.
const HOP_TIMEOUT: Duration = Duration::from_secs(3);
/// The same if no hop was ever seen: most likely there will be none.
const FIRST_HOP_TIMEOUT: Duration = Duration::from_secs(1);
/// The same where spans tell the hops: they arrive up to 5 seconds late, and a trace is joined
/// after 6 seconds without a further one.
const SPAN_TIMEOUT: Duration = Duration::from_secs(15);
/// Where the hops of probes are looked for.
#[derive(Clone)]
pub struct HopFeed {
    worlds: watch::Receiver<World>,
    fetcher: Option<TraceFetcher>,
}

impl HopFeed {
    /// Looks for hops in `worlds`, and fetches the traces of probes from the stores of their lane
    /// group. These are polled for traces of lanes only, so an untagged request would not be found.
    pub const fn new(worlds: watch::Receiver<World>, fetcher: TraceFetcher) -> Self {
        Self {
            worlds,
            fetcher: Some(fetcher),
        }
    }

    /// The newest world.
    pub(super) fn current_world(&self) -> World {
        self.worlds.borrow().clone()
    }

    /// Waits until the entry's hop of a trace is known, or as long as that is worth it.
    pub(super) async fn wait_for_hops(&self, group: &LaneGroup, trace: &str) {
        let world = self.current_world();
        let timeout = if are_hops_from_spans(&world.namespace, group) {
            SPAN_TIMEOUT
        } else if world.hops_seen > 0 {
            HOP_TIMEOUT
        } else {
            FIRST_HOP_TIMEOUT
        };
        tokio::select! {
            _ = tokio::time::timeout(timeout, self.wait_for_entry(trace)) => {}
            () = self.fetch_forever(group, trace) => {}
        }
    }

    async fn wait_for_entry(&self, trace: &str) {
        let mut worlds = self.worlds.clone();
        let is_told = |w: &World| w.hops.iter().any(|h| h.trace == trace);
        let is_entry_told = |w: &World| w.hops.iter().any(|h| h.trace == trace && h.entry);
        if worlds.wait_for(is_told).await.is_ok() {
            let _ = tokio::time::timeout(HOP_TIMEOUT, worlds.wait_for(is_entry_told)).await;
        }
    }

    /// Fetches the trace; never returns, since hops appear in a world.
    async fn fetch_forever(&self, group: &LaneGroup, trace: &str) {
        if let Some(fetcher) = &self.fetcher {
            fetcher.fetch_until_complete(group, trace).await;
        }
        pending::<()>().await;
    }
}

impl From<watch::Receiver<World>> for HopFeed {
    /// Looks for hops in worlds alone.
    fn from(worlds: watch::Receiver<World>) -> Self {
        Self {
            worlds,
            fetcher: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use tokio::time::Instant;

    use super::*;
    use crate::{
        api::{HopSource, LaneGroupSpec, TraceStore},
        domain::hop::Hop,
    };

    fn group(by_store: bool) -> LaneGroup {
        let store = HopSource {
            jaeger: Some(TraceStore::default()),
            ..HopSource::default()
        };
        let hops = if by_store { vec![store] } else { vec![] };
        let spec = LaneGroupSpec {
            hops,
            ..LaneGroupSpec::default()
        };
        LaneGroup::new("g", spec)
    }

    /// Waits for the hops of trace t, which are told after these seconds, each the entry's or not;
    /// returns how long it took and how many hops were known then.
    async fn wait(by_store: bool, seen: u64, told: &'static [(u64, bool)]) -> (u64, usize) {
        let group = group(by_store);
        let world = World {
            groups: Arc::new(BTreeMap::from([("g".into(), Arc::new(group.clone()))])),
            hops_seen: seen,
            ..World::default()
        };
        let (worlds, receiver) = watch::channel(world);
        let start = Instant::now();
        let telling = async {
            for (at, entry) in told {
                tokio::time::sleep_until(start + Duration::from_secs(*at)).await;
                let hop = Arc::new(Hop {
                    trace: "t".into(),
                    entry: *entry,
                    ..Hop::default()
                });
                worlds.send_modify(|w| {
                    let all = w.hops.iter().cloned().chain([hop]).collect();
                    w.hops = Arc::new(all);
                });
            }
            pending::<()>().await;
        };
        let feed = HopFeed::from(receiver);
        tokio::select! {
            () = feed.wait_for_hops(&group, "t") => {}
            () = telling => {}
        }
        (start.elapsed().as_secs(), feed.current_world().hops.len())
    }

    #[tokio::test(start_paused = true)]
    async fn hops_are_waited_for_as_long_as_they_may_take() {
        for (by_store, seen, told, expected) in [
            (false, 5, &[][..], (3, 0)),
            (false, 0, &[], (1, 0)),
            (true, 0, &[], (15, 0)),
            (true, 0, &[(12, true)], (12, 1)),
            (false, 5, &[(1, false), (2, true)], (2, 2)),
            // An entry that reports nothing.
            (true, 0, &[(7, false)], (10, 1)),
        ] {
            assert_eq!(wait(by_store, seen, told).await, expected, "{told:?}");
        }
    }
}
