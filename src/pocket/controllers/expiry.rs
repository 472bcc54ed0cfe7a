//! Events go an hour after they were last said, as Kubernetes' do.

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const KEPT: SignedDuration = SignedDuration::from_hours(1);
const EVERY: Duration = Duration::from_secs(300);

pub(super) async fn run(client: Client, stop: CancellationToken) {
    loop {
        match expire(&client, Timestamp::now()).await {
            Ok(0) => {}
            Ok(gone) => tracing::debug!(gone, "events have expired"),
            Err(error) => tracing::warn!(%error, "old events are not removed"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// Removes what is over; how many there were.
async fn expire(client: &Client, now: Timestamp) -> kube::Result<usize> {
    let events = Api::<Event>::all(client.clone()).list(&ListParams::default()).await?;
    let over = events.items.into_iter().filter(|e| now.duration_since(last_said(e)) > KEPT);
    let removals = over.map(|event| async move {
        let api: Api<Event> = Api::namespaced(client.clone(), &event.namespace().unwrap_or_default());
        // Said again meanwhile, it stays.
        let same = Preconditions { uid: event.uid(), resource_version: event.resource_version() };
        api.delete(&event.name_any(), &DeleteParams::default().preconditions(same)).await.is_ok()
    });
    // Some at once: a commit takes several.
    let gone = futures::stream::iter(removals).buffer_unordered(64).filter(|gone| std::future::ready(*gone));
    Ok(gone.count().await)
}

fn last_said(event: &Event) -> Timestamp {
    let series = event.series.as_ref().and_then(|s| s.last_observed_time.as_ref()).map(|t| t.0);
    let said = series.or(event.last_timestamp.as_ref().map(|t| t.0)).or(event.event_time.as_ref().map(|t| t.0));
    said.or(event.creation_timestamp().map(|t| t.0)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pocket::rest::ApiServer;
    use kube::api::PostParams;
    use serde_json::json;

    #[tokio::test]
    async fn an_hour_after_it_was_last_said_an_event_goes() {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(dir.path()).unwrap();
        let client = server.client();
        let api: Api<Event> = Api::namespaced(client.clone(), "default");
        let now = Timestamp::now();
        for (name, minutes) in [("old", 61), ("young", 59)] {
            let at = (now - SignedDuration::from_mins(minutes)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let event = json!({"metadata": {"name": name, "namespace": "default"}, "involvedObject": {},
                "firstTimestamp": "2020-01-01T00:00:00Z", "lastTimestamp": at});
            api.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
        }
        assert_eq!(expire(&client, now).await.unwrap(), 1);
        let left: Vec<String> = api.list(&ListParams::default()).await.unwrap().iter().map(|e| e.name_any()).collect();
        assert_eq!(left, ["young"]);
        server.close().await;
    }
}
