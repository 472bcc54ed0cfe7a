//! Polls a trace store for the recent traces of a lane group's lanes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::sync::watch;

use super::{Outbox, Told};
use crate::{
    cluster::{meter::jitter, stores::Store},
    domain::{hop_logs::StoreOf, world::World},
};

/// Time between two queries.
const ASKED: Duration = Duration::from_secs(3);
/// Longest time between two queries while the store does not answer.
const ASKED_LEAST: Duration = Duration::from_secs(60);
/// How far back each query looks: spans arrive late, and duplicates are dropped later.
const PAST: SignedDuration = SignedDuration::from_secs(20);
/// Traces of one answer.
const MOST_TRACES: usize = 50;

/// Polls until the receiver is gone.
pub(super) async fn ask(client: Client, of: StoreOf, worlds: watch::Receiver<World>, out: Outbox) {
    let mut pause = ASKED;
    while !out.is_closed() {
        let world = worlds.borrow().clone();
        let asked = last_seconds(&client, &of, &world, &out).await;
        pause = match asked {
            Ok(()) => {
                out.told_well();
                ASKED
            }
            Err(why) => {
                out.told_ill(&why);
                (pause * 2).min(ASKED_LEAST)
            }
        };
        tokio::time::sleep(jitter(pause)).await;
    }
}

async fn last_seconds(
    client: &Client,
    of: &StoreOf,
    world: &World,
    out: &Outbox,
) -> Result<(), String> {
    let Some(group) = world.groups.get(&of.group) else {
        return Ok(());
    };
    let store = Store::of(&of.source, group, client).map_err(|e| e.to_string())?;
    let Some(store) = store else { return Ok(()) };
    let now = Timestamp::now();
    let since = now.checked_sub(PAST).unwrap_or(now);
    let of_group = world
        .lanes
        .values()
        .filter(|l| l.spec.group == of.group && l.spec.enabled);
    let mut tags: Vec<&str> = of_group.map(|l| l.spec.tag.as_str()).collect();
    tags.sort_unstable();
    tags.dedup();
    for tag in tags {
        for span in store
            .recent(tag, since, now, MOST_TRACES)
            .await
            .map_err(|e| e.to_string())?
        {
            out.send(Told::Span(Box::new(span)));
        }
    }
    Ok(())
}

/// Queries a trace that does not exist; `Err` says why the store cannot be queried.
pub(super) async fn check(client: &Client, of: &StoreOf) -> Result<(), String> {
    let group = crate::api::LaneGroup::new(&of.group, crate::api::LaneGroupSpec::default());
    let store = Store::of(&of.source, &group, client).map_err(|e| e.to_string())?;
    let Some(store) = store else { return Ok(()) };
    store
        .trace("00000000000000000000000000000001")
        .await
        .map(drop)
        .map_err(|e| e.to_string())
}
