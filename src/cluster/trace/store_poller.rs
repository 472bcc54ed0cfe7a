//! Polls a trace store for the recent traces of a lane group's lanes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use reconcile::backoff::jitter;
use tokio::sync::watch;

use super::{HopUpdate, Outbox};
use crate::{
    cluster::trace_stores::{StoreError, TraceStoreClient},
    domain::{hop_logs::GroupTraceStore, world::World},
};

/// Time between two queries.
const POLL_INTERVAL: Duration = Duration::from_secs(3);
/// Longest time between two queries while the store does not answer.
const MAX_POLL_INTERVAL: Duration = Duration::from_mins(1);
/// How far back each query looks: spans arrive late, and duplicates are dropped later.
const LOOKBACK: SignedDuration = SignedDuration::from_secs(20);
/// Traces of one answer.
const MOST_TRACES: usize = 50;

/// Polls until the receiver is gone.
pub(super) async fn poll_store(
    client: Client,
    of: GroupTraceStore,
    worlds: watch::Receiver<World>,
    out: Outbox,
) {
    let mut pause = POLL_INTERVAL;
    while !out.is_closed() {
        let world = worlds.borrow().clone();
        let asked = query_recent(&client, &of, &world, &out).await;
        pause = match asked {
            Ok(()) => {
                out.clear_problem();
                POLL_INTERVAL
            }
            Err(why) => {
                out.report_problem(&why.to_string());
                (pause * 2).min(MAX_POLL_INTERVAL)
            }
        };
        tokio::time::sleep(jitter(pause)).await;
    }
}

#[tracing::instrument(level = "debug", skip_all, fields(group = of.group))]
async fn query_recent(
    client: &Client,
    of: &GroupTraceStore,
    world: &World,
    out: &Outbox,
) -> Result<(), StoreError> {
    let Some(group) = world.groups.get(&of.group) else {
        return Ok(());
    };
    let store = TraceStoreClient::from_source(&of.source, group, client)?;
    let Some(store) = store else { return Ok(()) };
    let now = Timestamp::now();
    let since = now.checked_sub(LOOKBACK).unwrap_or(now);
    let of_group = world
        .lanes
        .values()
        .filter(|l| l.spec.group == of.group && l.spec.enabled);
    let mut tags: Vec<&str> = of_group.map(|l| l.spec.tag.as_str()).collect();
    tags.sort_unstable();
    tags.dedup();
    for tag in tags {
        for span in store.recent_traces(tag, since, now, MOST_TRACES).await? {
            out.send(HopUpdate::Span(Box::new(span)));
        }
    }
    Ok(())
}

/// Checks that the store can be queried, by a trace that does not exist.
pub(super) async fn check_store(client: &Client, of: &GroupTraceStore) -> Result<(), StoreError> {
    let group = crate::api::LaneGroup::new(&of.group, crate::api::LaneGroupSpec::default());
    let store = TraceStoreClient::from_source(&of.source, &group, client)?;
    let Some(store) = store else { return Ok(()) };
    store
        .fetch_trace("00000000000000000000000000000001")
        .await
        .map(drop)
}
