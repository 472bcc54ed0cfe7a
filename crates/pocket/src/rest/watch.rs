//! The watch request: streams the changes after a version as one JSON document a line, until the
//! client disconnects or its time is up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::convert::ServedObject;
use super::error::{ApiError, Result};
use super::registry::Resource;
use super::reply::{BoxError, Reply, View};
use super::selector::Selector;
use super::{ApiServer, Call, read};
use crate::store::{Change, ChangeKind, Listing, ObjectVersion, Store};

/// Kubernetes ends a watch without a timeout after 30 to 60 minutes.
const MAX_WATCH_DURATION: Duration = Duration::from_mins(45);
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);

struct Watch {
    store: Store,
    resource: Arc<Resource>,
    namespace: Option<String>,
    selector: Selector,
    view: View,
    out: mpsc::Sender<Bytes>,
    first: bool,
}

/// What a client asked for.
struct WatchPlan {
    start: WatchStart,
    send_items: bool,
    /// A bookmark follows the objects that there are.
    initial: bool,
    bookmarks: bool,
    deadline: Instant,
}

enum WatchStart {
    /// The changes after this version.
    After(u64),
    /// These objects, and then changes.
    Objects(Listing),
}

/// The client has disconnected.
struct ClientGone;

impl ApiServer {
    pub(super) fn watch_objects(&self, call: &Call) -> Result<Reply> {
        let selector = call.parse_selector()?;
        let asked: Option<u64> = call.query.resource_version().map_err(|mut error| {
            // Kubernetes answers this with an internal error.
            error.code = http::StatusCode::INTERNAL_SERVER_ERROR;
            error.reason = "";
            error.message = error.message.replacen("invalid resource version: ", "", 1);
            error
        })?;
        read::check_list_options(call)?;
        let timeout = call
            .query
            .parse_number("timeoutSeconds")?
            .filter(|seconds| *seconds > 0)
            .map_or(MAX_WATCH_DURATION, Duration::from_secs);
        // Subscribe before the first read, so that no change is missed in between.
        // Subscribe before the first read, so that no change is missed in between.
        let latest = self.store().subscribe(&call.resource.storage);
        let plan = WatchPlan {
            start: self.find_watch_start(call, asked)?,
            send_items: !matches!(call.query.get("sendInitialEvents"), Some("false")),
            initial: call.query.has_flag("sendInitialEvents"),
            bookmarks: call.query.has_flag("allowWatchBookmarks"),
            deadline: Instant::now() + timeout,
        };
        let (out, lines) = mpsc::channel(64);
        let watch = Watch {
            store: self.store().clone(),
            resource: call.resource.clone(),
            namespace: call.namespace.clone(),
            selector,
            view: call.view,
            out,
            first: true,
        };
        let closing = self.closing().clone();
        tokio::spawn(watch.run(plan, latest, closing));
        let stream = tokio_stream::wrappers::ReceiverStream::new(lines);
        Ok(Reply::Stream {
            content_type: "application/json",
            stream: stream.map(Ok::<_, BoxError>).boxed(),
        })
    }

    /// No version, or 0, means: the current objects first, then changes.
    fn find_watch_start(&self, call: &Call, asked: Option<u64>) -> Result<WatchStart> {
        let storage = &call.resource.storage;
        match asked {
            Some(rv) if rv > 0 && !call.query.has_flag("sendInitialEvents") => {
                self.store().changes_since(storage, rv)?;
                Ok(WatchStart::After(rv))
            }
            asked => {
                let listing = self.store().list(storage, call.namespace.as_deref());
                read::check_not_future(asked, listing.rv)?;
                Ok(WatchStart::Objects(listing))
            }
        }
    }
}

impl Watch {
    /// Sends what there is and then every change, until the client disconnects or its time is up.
    async fn run(
        mut self,
        plan: WatchPlan,
        mut latest: watch::Receiver<u64>,
        closing: CancellationToken,
    ) {
        let mut bookmark =
            tokio::time::interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
        let Ok(mut rv) = self.begin(&plan).await else {
            return;
        };
        loop {
            match self.catch_up(rv).await {
                Ok(upto) => rv = upto,
                Err(ClientGone) => return,
            }
            tokio::select! {
                changed = latest.changed() => if changed.is_err() { return },
                _ = bookmark.tick(), if plan.bookmarks => {
                    let Ok(upto) = self.catch_up(rv).await else { return };
                    rv = upto;
                    if self.send_bookmark(rv, false).await.is_err() { return }
                }
                () = self.out.closed() => return,
                () = closing.cancelled() => return,
                () = tokio::time::sleep_until(plan.deadline) => return,
            }
        }
    }

    /// Sends what the client asked for before changes; returns the version that it has reached.
    async fn begin(&mut self, plan: &WatchPlan) -> Result<u64, ClientGone> {
        let listing = match &plan.start {
            WatchStart::After(rv) => return Ok(*rv),
            WatchStart::Objects(listing) => listing,
        };
        if plan.send_items {
            self.send_initial_events(&listing.items).await?;
        }
        if plan.initial {
            self.send_bookmark(listing.rv, true).await?;
        }
        Ok(listing.rv)
    }
    /// `object` is JSON text.
    async fn send_line(&mut self, kind: &str, object: &[u8]) -> Result<(), ClientGone> {
        let line = [
            b"{\"type\":\"",
            kind.as_bytes(),
            b"\",\"object\":",
            object,
            b"}\n",
        ]
        .concat();
        self.first = false;
        self.out.send(line.into()).await.map_err(|_| ClientGone)
    }

    async fn send_event(&mut self, kind: &str, object: &ServedObject) -> Result<(), ClientGone> {
        let event = self.view.render_event(&self.resource, object, self.first);
        self.send_line(kind, &event).await
    }

    async fn send_initial_events(
        &mut self,
        items: &[Arc<ObjectVersion>],
    ) -> Result<(), ClientGone> {
        for item in items {
            let object = ServedObject::from_version(&self.resource, item);
            if self.is_selected(&object) {
                self.send_event("ADDED", &object).await?;
            }
        }
        Ok(())
    }

    fn is_selected(&self, object: &ServedObject) -> bool {
        self.selector.is_empty() || self.selector.matches(&object.value())
    }

    async fn send_bookmark(&mut self, rv: u64, initial_end: bool) -> Result<(), ClientGone> {
        let mut metadata = json!({"resourceVersion": rv.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = self
            .view
            .render_bookmark(&self.resource, metadata, self.first);
        self.send_line("BOOKMARK", object.to_string().as_bytes())
            .await
    }

    /// Sends the changes after `rv`; returns the version that it has reached.
    async fn catch_up(&mut self, rv: u64) -> Result<u64, ClientGone> {
        match self.store.changes_since(&self.resource.storage, rv) {
            Ok((changes, upto)) => {
                for change in changes {
                    if let Some((kind, object)) = self.to_watch_event(&change) {
                        self.send_event(kind, &object).await?;
                    }
                }
                Ok(upto)
            }
            // The history no longer reaches back that far: the client has to list again.
            Err(old) => {
                let status = ApiError::from(old).to_status();
                self.send_line("ERROR", status.to_string().as_bytes())
                    .await?;
                Err(ClientGone)
            }
        }
    }

    /// The event that a change means for this watch: an object that enters its selection is ADDED,
    /// one that leaves it is DELETED.
    fn to_watch_event(&self, change: &Change) -> Option<(&'static str, ServedObject)> {
        if self
            .namespace
            .as_ref()
            .is_some_and(|n| *n != change.namespace)
        {
            return None;
        }
        let now = ServedObject::from_version(&self.resource, change.after());
        let was = change
            .before()
            .map(|before| ServedObject::from_version(&self.resource, before));
        let selected_before = was.as_ref().is_some_and(|was| self.is_selected(was));
        let selected_now = change.kind != ChangeKind::Deleted && self.is_selected(&now);
        match (selected_before, selected_now) {
            (false, true) => Some(("ADDED", now)),
            (true, true) => Some(("MODIFIED", now)),
            (true, false) if change.kind == ChangeKind::Deleted => Some(("DELETED", now)),
            (true, false) => {
                // The last selected state, with the version at which the object left the selection.
                let mut last = (*was?.value()).clone();
                last["metadata"]["resourceVersion"] = change.rv.to_string().into();
                Some(("DELETED", ServedObject::Converted(Arc::new(last))))
            }
            (false, false) => None,
        }
    }
}
