//! Watches the metadata of every served kind; kinds come and go with their definitions.

use super::GarbageCollector;
use futures::{FutureExt, StreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::discovery::{Discovery, verbs};
use kube::runtime::{WatchStreamExt, watcher, watcher::Event};
use kube::{Api, ResourceExt};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Delay after a failed discovery request.
const DISCOVERY_RETRY: Duration = Duration::from_secs(1);

/// Group and plural name: identifies a kind independent of its version.
pub(super) type KindId = (String, String);

struct KindWatch {
    resource: Arc<ApiResource>,
    stop: CancellationToken,
}

/// Kinds that can be watched, patched and deleted. Events are left out: there are many, and they
/// have no owners.
pub(super) fn watchable_kinds(served: &Discovery) -> BTreeMap<KindId, Arc<ApiResource>> {
    const NEEDED: [&str; 5] = [
        verbs::GET,
        verbs::LIST,
        verbs::WATCH,
        verbs::PATCH,
        verbs::DELETE,
    ];
    let all = served
        .groups()
        .flat_map(|group| group.resources_by_stability());
    all.filter(|(resource, can)| {
        resource.kind != "Event" && NEEDED.iter().all(|verb| can.supports_operation(verb))
    })
    .map(|(resource, _)| {
        (
            (resource.group.clone(), resource.plural.clone()),
            Arc::new(resource),
        )
    })
    .collect()
}

/// Watches the resource definitions and updates the set of watched kinds until `stop` is cancelled.
pub(super) async fn watch_definitions(
    garbage: Arc<GarbageCollector>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> =
        Api::all(garbage.client.clone());
    let events = watcher(definitions, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut watched = BTreeMap::new();
    // Generation of each definition; status changes are frequent and irrelevant here.
    let (mut known, mut changed): (HashMap<String, Option<i64>>, bool) = (HashMap::new(), false);
    loop {
        let Some(Some(event)) = stop.run_until_cancelled(events.next()).await else {
            return;
        };
        let mut next = Some(event);
        while let Some(event) = next {
            match event {
                Ok(Event::Init) => known.clear(),
                Ok(Event::InitApply(one) | Event::Apply(one)) => {
                    let generation = one.metadata.generation;
                    changed |= known.insert(one.name_any(), generation) != Some(generation);
                }
                Ok(Event::InitDone) => changed = true,
                Ok(Event::Delete(one)) => changed |= known.remove(&one.name_any()).is_some(),
                Err(error) => tracing::debug!(%error, "watching definitions"),
            }
            // Several definitions that are created at once count as one change.
            next = events.next().now_or_never().flatten();
        }
        while changed {
            match Discovery::new(garbage.client.clone())
                .run_aggregated()
                .await
            {
                Ok(served) => {
                    changed = false;
                    garbage.update_watches(served, &mut watched, &tracker, &stop);
                }
                Err(error) => {
                    tracing::warn!(%error, "what is served is not known; will retry");
                    if stop
                        .run_until_cancelled(tokio::time::sleep(DISCOVERY_RETRY))
                        .await
                        .is_none()
                    {
                        return;
                    }
                }
            }
        }
    }
}

impl GarbageCollector {
    fn update_watches(
        self: &Arc<Self>,
        served: Discovery,
        watched: &mut BTreeMap<KindId, KindWatch>,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let kinds = watchable_kinds(&served);
        self.lock_state().served = Some(Arc::new(served));
        watched.retain(|id, old| {
            let now = kinds.get(id);
            let same = now == Some(&old.resource);
            if !same {
                old.stop.cancel();
                let mut state = self.lock_state();
                state.listing.remove(id);
                if now.is_none() {
                    let look = state.graph.remove_kind(&old.resource);
                    self.enqueue_nodes(look);
                }
            }
            same
        });
        for (id, resource) in kinds {
            if watched.contains_key(&id) {
                continue;
            }
            self.lock_state().listing.insert(id.clone());
            let stop = stop.child_token();
            let all = self.clone().watch_kind(id.clone(), resource.clone());
            tracker.spawn(stop.clone().run_until_cancelled_owned(all));
            watched.insert(id, KindWatch { resource, stop });
        }
    }

    /// Watches all objects of a kind and updates the graph.
    async fn watch_kind(self: Arc<Self>, id: KindId, resource: Arc<ApiResource>) {
        let api: Api<PartialObjectMeta<DynamicObject>> =
            Api::all_with(self.client.clone(), &*resource);
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            let mut state = self.lock_state();
            let look = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    vec![]
                }
                Ok(Event::InitApply(one)) => {
                    listed.extend(one.uid());
                    state.graph.update_object(&resource, &one.metadata)
                }
                Ok(Event::InitDone) => {
                    state.listing.remove(&id);
                    state
                        .graph
                        .replace_kind(&resource, &std::mem::take(&mut listed))
                }
                Ok(Event::Apply(one)) => state.graph.update_object(&resource, &one.metadata),
                Ok(Event::Delete(one)) => state.graph.remove_object(&one.uid().unwrap_or_default()),
                Err(error) => {
                    tracing::debug!(kind = resource.kind, %error, "watch");
                    vec![]
                }
            };
            drop(state);
            self.enqueue_nodes(look);
        }
    }
}
