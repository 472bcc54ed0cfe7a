//! A store of traces, asked for the last seconds of a group's lanes again and again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::sync::watch;

use super::{Outbox, Told};
use crate::{
    cluster::{meter::jitter, stores::Store},
    domain::{hop_logs::StoreOf, world::World},
};

/// It is asked so often,
const ASKED: Duration = Duration::from_secs(3);
/// and less and less often while it does not answer.
const ASKED_LEAST: Duration = Duration::from_secs(60);
/// Each time for the traces of so long: spans come late, and what was told before counts once.
const PAST: SignedDuration = SignedDuration::from_secs(20);
/// Traces of one answer.
const MOST_TRACES: usize = 50;

/// Asks until nobody takes what it tells.
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

/// Asks once for a trace that nobody has; `Err` says in words why that cannot be asked.
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
