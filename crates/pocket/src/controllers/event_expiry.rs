//! Deletes events one hour after their last write, as Kubernetes does, and the oldest ones earlier
//! if there are too many.
//!
//! The hour is measured here with a monotonic clock, because events carry the time of their
//! reporter's clock and clocks may be set.

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const EVENT_TTL: Duration = Duration::from_hours(1);
const EXPIRY_INTERVAL: Duration = Duration::from_mins(1);
/// Limit on the number of events, because a pocket keeps all objects in memory.
const MAX_EVENTS: usize = 2000;
/// Page size of a list request.
const PAGE_SIZE: u32 = 500;

pub(super) async fn run_expiry(client: Client, stop: CancellationToken) {
    let mut seen = LastSeen::default();
    loop {
        match expire_events(&client, &mut seen, Instant::now()).await {
            Ok(0) => {}
            Ok(gone) => tracing::debug!(gone, "events have expired"),
            Err(error) => tracing::warn!(%error, "old events are not removed"),
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(EXPIRY_INTERVAL))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// For each event uid: the version that was seen last, and since when.
type LastSeen = HashMap<String, (String, Instant)>;

/// Deletes expired events and returns how many were deleted.
async fn expire_events(client: &Client, seen: &mut LastSeen, now: Instant) -> kube::Result<usize> {
    let mut said = Vec::new();
    let mut page = ListParams::default().limit(PAGE_SIZE);
    loop {
        let events = Api::<Event>::all(client.clone()).list(&page).await?;
        said.extend(events.items.into_iter().map(EventSummary::from));
        let Some(next) = events.metadata.continue_.filter(|next| !next.is_empty()) else {
            break;
        };
        page = page.continue_token(&next);
    }
    let removals = select_expired(said, seen, now)
        .into_iter()
        .map(|event| async move {
            let api: Api<Event> = Api::namespaced(client.clone(), &event.namespace);
            // An event that was written again meanwhile stays.
            let same = Preconditions {
                uid: Some(event.uid),
                resource_version: Some(event.version),
            };
            api.delete(&event.name, &DeleteParams::default().preconditions(same))
                .await
                .is_ok()
        });
    // Several at a time: one commit takes several deletions.
    let gone = futures::stream::iter(removals)
        .buffer_unordered(64)
        .filter(|gone| std::future::ready(*gone));
    Ok(gone.count().await)
}

/// The parts of an event that expiry needs.
struct EventSummary {
    namespace: String,
    name: String,
    uid: String,
    version: String,
    /// Time of the last occurrence, by the reporter's clock.
    last: Timestamp,
}

impl From<Event> for EventSummary {
    fn from(event: Event) -> Self {
        let series = event
            .series
            .as_ref()
            .and_then(|s| s.last_observed_time.as_ref())
            .map(|t| t.0);
        let said = series
            .or(event.last_timestamp.as_ref().map(|t| t.0))
            .or(event.event_time.as_ref().map(|t| t.0));
        Self {
            last: said
                .or(event.creation_timestamp().map(|t| t.0))
                .unwrap_or(Timestamp::MAX),
            namespace: event.namespace().unwrap_or_default(),
            name: event.name_any(),
            uid: event.uid().unwrap_or_default(),
            version: event.resource_version().unwrap_or_default(),
        }
    }
}

/// Returns the events that are too old or exceed the limit.
fn select_expired(
    events: Vec<EventSummary>,
    seen: &mut LastSeen,
    now: Instant,
) -> Vec<EventSummary> {
    let mut there = LastSeen::default();
    let is_old = |event: &EventSummary| {
        let known = seen
            .get(&event.uid)
            .filter(|(of, _)| *of == event.version)
            .map(|(_, since)| *since);
        let since = known.unwrap_or(now);
        there.insert(event.uid.clone(), (event.version.clone(), since));
        now.duration_since(since) > EVENT_TTL
    };
    let (mut over, mut young): (Vec<EventSummary>, Vec<EventSummary>) =
        events.into_iter().partition(is_old);
    *seen = there;
    young.sort_by_key(|event| std::cmp::Reverse(event.last));
    over.extend(young.drain(young.len().min(MAX_EVENTS)..));
    over
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::ApiServer;
    use kube::api::{Patch, PatchParams, PostParams};
    use serde_json::json;

    #[test]
    fn of_too_many_the_oldest_go() {
        let event = |n: usize| {
            let at = Timestamp::from_second(1_000_000 - i64::try_from(n).unwrap())
                .unwrap()
                .to_string();
            serde_json::from_value::<Event>(
                json!({"metadata": {"name": n.to_string(), "uid": n.to_string()},
                "involvedObject": {}, "lastTimestamp": at}),
            )
            .map(EventSummary::from)
            .unwrap()
        };
        let names = |events: Vec<EventSummary>| {
            events
                .into_iter()
                .map(|event| event.name)
                .collect::<Vec<_>>()
        };
        let (mut seen, now) = (LastSeen::default(), Instant::now());
        assert_eq!(
            select_expired((0..MAX_EVENTS).map(event).collect(), &mut seen, now).len(),
            0
        );
        assert_eq!(
            names(select_expired(
                (0..MAX_EVENTS + 2).rev().map(event).collect(),
                &mut seen,
                now
            )),
            [MAX_EVENTS.to_string(), (MAX_EVENTS + 1).to_string()]
        );
    }

    #[tokio::test]
    async fn an_hour_after_it_was_last_written_an_event_goes_whatever_its_stamp_says() {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(dir.path()).unwrap();
        let client = server.client();
        let api: Api<Event> = Api::namespaced(client.clone(), "default");
        for (name, at) in [
            ("old", "9000-01-01T00:00:00Z"),
            ("again", "1970-01-01T00:00:00Z"),
        ] {
            let event = json!({"metadata": {"name": name, "namespace": "default"}, "involvedObject": {},
                "firstTimestamp": "1970-01-01T00:00:00Z", "lastTimestamp": at});
            api.create(
                &PostParams::default(),
                &serde_json::from_value(event).unwrap(),
            )
            .await
            .unwrap();
        }
        let (mut seen, now) = (LastSeen::default(), Instant::now());
        let minutes = |n: u64| now + Duration::from_mins(n);
        for n in [0, 59] {
            assert_eq!(
                expire_events(&client, &mut seen, minutes(n)).await.unwrap(),
                0
            );
        }
        let again = Patch::Merge(json!({"count": 2}));
        api.patch("again", &PatchParams::default(), &again)
            .await
            .unwrap();
        assert_eq!(
            expire_events(&client, &mut seen, minutes(60))
                .await
                .unwrap(),
            0
        );
        assert_eq!(
            expire_events(&client, &mut seen, minutes(61))
                .await
                .unwrap(),
            1
        );
        let left: Vec<String> = api
            .list(&ListParams::default())
            .await
            .unwrap()
            .iter()
            .map(|e| e.name_any())
            .collect();
        assert_eq!(left, ["again"]);
        server.close().await;
    }
}
