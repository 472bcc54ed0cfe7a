//! Events, written as by Kubernetes' recorder: a repeated event is one object with a count.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Number of distinct events that are remembered for counting repetitions.
const MAX_REMEMBERED: usize = 4096;

#[derive(Debug, Clone)]
struct PendingEvent {
    about: ObjectReference,
    warning: bool,
    reason: String,
    message: String,
    component: &'static str,
    at: Timestamp,
}

/// Records events; cheap to clone, and recording never waits.
#[derive(Clone)]
pub struct Recorder {
    tx: mpsc::UnboundedSender<PendingEvent>,
    component: &'static str,
}

/// Returns a reference to `object` for events about it.
pub fn object_reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

impl Recorder {
    /// Starts the task that writes events, and returns its recorder.
    pub fn start(
        client: Client,
        component: &'static str,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (tx, rx) = mpsc::unbounded_channel();
        tracker.spawn(write_events(client, rx, stop));
        Self { tx, component }
    }

    pub fn record_normal(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record_event(about, false, reason, message.into());
    }

    pub fn record_warning(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record_event(about, true, reason, message.into());
    }

    fn record_event(&self, about: ObjectReference, warning: bool, reason: &str, message: String) {
        let component = self.component;
        let reason = reason.to_owned();
        let _ = self.tx.send(PendingEvent {
            about,
            warning,
            reason,
            message,
            component,
            at: Timestamp::now(),
        });
    }
}

type EventKey = (Option<String>, Option<String>, String, String);

async fn write_events(
    client: Client,
    mut rx: mpsc::UnboundedReceiver<PendingEvent>,
    stop: CancellationToken,
) {
    let mut known: HashMap<EventKey, (String, i32)> = HashMap::new();
    loop {
        let said = tokio::select! {
            biased;
            said = rx.recv() => said,
            () = stop.cancelled() => return,
        };
        let Some(said) = said else { return };
        if known.len() > MAX_REMEMBERED {
            known.clear();
        }
        if let Err(error) = write_one(&client, &mut known, &said).await {
            tracing::debug!(reason = said.reason, %error, "event not written");
        }
    }
}

async fn write_one(
    client: &Client,
    known: &mut HashMap<EventKey, (String, i32)>,
    said: &PendingEvent,
) -> kube::Result<()> {
    let about = &said.about;
    let namespace = about.namespace.clone().unwrap_or_else(|| "default".into());
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let same = (
        about.uid.clone(),
        about.field_path.clone(),
        said.reason.clone(),
        said.message.clone(),
    );
    let now = Time(Timestamp::from_second(said.at.as_second()).unwrap_or(said.at));
    if let Some((name, count)) = known.get_mut(&same) {
        *count += 1;
        let patch = json!({"count": *count, "lastTimestamp": now});
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => return other.map(drop),
        }
    }
    let name = format!(
        "{}.{:x}",
        about.name.as_deref().unwrap_or("unknown"),
        said.at.as_nanosecond()
    );
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        type_: Some(if said.warning { "Warning" } else { "Normal" }.into()),
        reason: Some(said.reason.clone()),
        message: Some(said.message.clone()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource {
            component: Some(said.component.into()),
            host: None,
        }),
        reporting_component: Some(said.component.into()),
        reporting_instance: Some(String::new()),
        ..Event::default()
    };
    api.create(&PostParams::default(), &event).await?;
    known.insert(same, (name, 1));
    Ok(())
}
