//! Watches one kind in one namespace for good: list, watch and, after a failure, wait and list
//! again.
//!
//! No kind is fetched as metadata only, because more than its metadata is shown of each:
//!
//! | kind | shown besides metadata | selector |
//! |---|---|---|
//! | graylane's kinds | spec and status, whole: dialogs compare them | our namespace |
//! | ControllerRevision | frozen Apps, whole: dialogs show them | App label, our namespace |
//! | Deployment | replicas, images, paused, counts, conditions | labels of App *and* environment |
//! | StatefulSet | replicas, images; counts | labels of App *and* environment |
//! | Pod | images, containers, address, state, restarts | labels of App *and* environment |
//! | HTTPRoute | what its parents report | lane group label, our namespace |
//! | Event | everything | namespace |
//! | Lease | holder and last renewal | its name, our namespace |
//!
//! Events cannot be narrowed further: an API server selects them by only one kind of involved
//! object. ReplicaSets, Services, Jobs and EndpointSlices, which the engine watches, are not shown
//! and not watched here. A row keeps only what is shown of an object.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    coordination::v1::Lease,
    core::v1 as core,
};
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicObject, NamespaceResourceScope},
    runtime::watcher::{self, Event as Seen},
};
use reconcile::{backoff::jitter, watch::RestartingWatch};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::{
    own_object::OwnObject,
    row_object::{IntoRow, RowObject},
    rows::Row,
};
use crate::{
    api::{
        App, AppTemplate, Approval, ClusterName, Lane, LaneGroup, NamespaceRef, Release,
        VariableGroup, label,
    },
    cluster::{error, lean_pod::LeanPod, lease::ENGINE_LEASE, meter::Meter},
    domain::{
        rights::Rights,
        world::{LinkTrouble, ObjectKey, WorkloadKind},
    },
};

/// The kinds that make up a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceKind {
    App,
    Template,
    Variables,
    Release,
    Revision,
    Approval,
    Group,
    Lane,
    Deployment,
    Stateful,
    Pod,
    Route,
    Event,
    Engine,
}

impl SourceKind {
    /// Graylane's own kinds, the engine's Lease and the lanes' routes: in our namespace only.
    pub(super) const HOME: [Self; 10] = [
        Self::App,
        Self::Template,
        Self::Variables,
        Self::Release,
        Self::Revision,
        Self::Approval,
        Self::Group,
        Self::Lane,
        Self::Engine,
        Self::Route,
    ];
    /// All kinds.
    pub(super) const ALL: [Self; 14] = [
        Self::App,
        Self::Template,
        Self::Variables,
        Self::Release,
        Self::Revision,
        Self::Approval,
        Self::Group,
        Self::Lane,
        Self::Deployment,
        Self::Stateful,
        Self::Pod,
        Self::Route,
        Self::Event,
        Self::Engine,
    ];
    /// Kinds of which a namespace has at least one object when graylane is used in it.
    pub(super) const MARKING: [Self; 6] = [
        Self::App,
        Self::Template,
        Self::Variables,
        Self::Release,
        Self::Group,
        Self::Lane,
    ];
    /// In every namespace of an environment, in its context.
    pub(super) const EVERYWHERE: [Self; 4] =
        [Self::Deployment, Self::Stateful, Self::Pod, Self::Event];

    /// The resource name in RBAC's form.
    pub(super) const fn resource(self) -> &'static str {
        match self {
            Self::App => "apps.graylane.dev",
            Self::Template => "apptemplates.graylane.dev",
            Self::Variables => "variablegroups.graylane.dev",
            Self::Release => "releases.graylane.dev",
            Self::Revision => "controllerrevisions.apps",
            Self::Approval => "approvals.graylane.dev",
            Self::Group => "lanegroups.graylane.dev",
            Self::Lane => "lanes.graylane.dev",
            Self::Deployment => WorkloadKind::Deployment.resource(),
            Self::Stateful => WorkloadKind::StatefulSet.resource(),
            Self::Pod => "pods",
            Self::Route => "httproutes.gateway.networking.k8s.io",
            Self::Event => "events",
            Self::Engine => "leases.coordination.k8s.io",
        }
    }

    /// Whether a cluster without this kind still makes a complete world.
    const fn is_optional(self) -> bool {
        matches!(
            self,
            Self::Template
                | Self::Variables
                | Self::Stateful
                | Self::Route
                | Self::Event
                | Self::Engine
        )
    }
}

/// Identifies one watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceId {
    pub(super) cluster: ClusterName,
    pub(super) kind: SourceKind,
    /// Empty for all namespaces at once.
    pub(super) namespace: Arc<str>,
}

impl SourceId {
    /// The namespace of its objects.
    pub(super) fn namespace_ref(&self) -> NamespaceRef {
        NamespaceRef::new(self.cluster.clone(), Arc::clone(&self.namespace))
    }
}

/// A message to the hub.
pub(super) enum HubMessage {
    From(SourceId, SourceChange),
    /// Whether the server of a cluster answers, and if not, why.
    Server(ClusterName, Result<(), SourceFailure>),
    /// What we may do.
    Rights(Rights),
    /// The state of the hop sources that are followed from here.
    HopSources(Vec<crate::domain::world::HopSourceSeen>),
}

/// A failure: its class and its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceFailure {
    pub(super) trouble: LinkTrouble,
    pub(super) why: String,
}

#[derive(Clone, Debug)]
pub(super) enum SourceChange {
    Begin,
    Listed(ObjectKey, Box<Row>),
    Ready,
    Set(ObjectKey, Box<Row>),
    Gone(ObjectKey),
    Broken(SourceFailure),
    /// The server answers, but does not return this kind: its rows are removed.
    Unavailable(SourceFailure),
}

const BACKOFF_MOST: Duration = Duration::from_secs(10);
/// How soon to retry a kind that the cluster lacks or does not let us read.
const ABSENT_PAUSE: Duration = Duration::from_secs(30);
/// A server that has just started refuses everyone until it has read its RBAC rules: rows are kept
/// for this many refusals.
const MAX_REFUSALS: u32 = 5;

/// Where a watch reports, and its request meter.
pub(super) struct Reporter {
    pub(super) id: SourceId,
    pub(super) out: Sender<HubMessage>,
    pub(super) meter: Arc<Meter>,
    /// Whether rows of an earlier watch are shown.
    pub(super) shown: bool,
}

/// Runs one watch until `stop`.
pub(super) async fn run_watch(client: Client, to: Reporter, stop: CancellationToken) {
    let plain = watcher::Config::default;
    // Pods of builds have an App but no environment: no pane shows them.
    let ours = || plain().labels(&format!("{},{}", label::APP, label::ENVIRONMENT));
    let task = async {
        match to.id.kind {
            SourceKind::App => watch_rows::<OwnObject<App>>(client, plain(), &to).await,
            SourceKind::Template => {
                watch_rows::<OwnObject<AppTemplate>>(client, plain(), &to).await;
            }
            SourceKind::Variables => {
                watch_rows::<OwnObject<VariableGroup>>(client, plain(), &to).await;
            }
            SourceKind::Release => watch_rows::<OwnObject<Release>>(client, plain(), &to).await,
            SourceKind::Approval => watch_rows::<OwnObject<Approval>>(client, plain(), &to).await,
            SourceKind::Group => watch_rows::<OwnObject<LaneGroup>>(client, plain(), &to).await,
            SourceKind::Lane => watch_rows::<OwnObject<Lane>>(client, plain(), &to).await,
            SourceKind::Revision => {
                let config = plain().labels(label::REVISION_OF);
                watch_rows::<ControllerRevision>(client, config, &to).await;
            }
            SourceKind::Deployment => watch_rows::<Deployment>(client, ours(), &to).await,
            SourceKind::Stateful => watch_rows::<StatefulSet>(client, ours(), &to).await,
            SourceKind::Pod => watch_rows::<LeanPod>(client, ours(), &to).await,
            SourceKind::Route => {
                let api = dynamic_api_in(client, &to.id.namespace, &http_routes());
                watch_objects(api, plain().labels(label::LANE_GROUP), &to).await;
            }
            SourceKind::Event => watch_rows::<core::Event>(client, plain(), &to).await,
            SourceKind::Engine => {
                let config = plain().fields(&format!("metadata.name={ENGINE_LEASE}"));
                watch_rows::<Lease>(client, config, &to).await;
            }
        }
    };
    stop.run_until_cancelled(task).await;
}

/// Watches a kind in the namespace of `to`; an empty one means all namespaces.
async fn watch_rows<K>(client: Client, config: watcher::Config, to: &Reporter)
where
    K: IntoRow
        + Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + 'static,
{
    let namespace: &str = &to.id.namespace;
    let api: Api<RowObject<K>> = if namespace.is_empty() {
        Api::all(client)
    } else {
        Api::namespaced(client, namespace)
    };
    watch_objects(api, config, to).await;
}

/// As [`watch_rows`] chooses it, for a kind that is known at run time.
fn dynamic_api_in(
    client: Client,
    namespace: &str,
    resource: &ApiResource,
) -> Api<RowObject<DynamicObject>> {
    if namespace.is_empty() {
        Api::all_with(client, resource)
    } else {
        Api::namespaced_with(client, namespace, resource)
    }
}

fn http_routes() -> ApiResource {
    ApiResource {
        group: "gateway.networking.k8s.io".into(),
        version: "v1".into(),
        api_version: "gateway.networking.k8s.io/v1".into(),
        kind: "HTTPRoute".into(),
        plural: "httproutes".into(),
    }
}

async fn watch_objects<K>(api: Api<RowObject<K>>, config: watcher::Config, to: &Reporter)
where
    K: IntoRow + Clone + DeserializeOwned + std::fmt::Debug + 'static,
{
    let mut namespaces = SeenNamespaces::of_cluster(to.id.cluster.clone());
    let send = |change| to.out.send(HubMessage::From(to.id.clone(), change));
    let mut watch = RestartingWatch::new(api, config, BACKOFF_MOST);
    let mut expired = false;
    // Whether rows are shown, and how often the watch was refused since it was healthy: a user who
    // may list but not watch gets a list from time to time.
    let (mut shown, mut refused) = (to.shown, 0);
    loop {
        let error = match watch.next_event().await {
            Err(error) => error,
            Ok(event) => {
                match &event {
                    Seen::InitDone => shown = true,
                    Seen::Apply(_) => expired = false,
                    _ => {}
                }
                if let Some(change) = to_change(event, &mut namespaces)
                    && send(change).await.is_err()
                {
                    return;
                }
                continue;
            }
        };
        let lost = to_source_failure(&error);
        if watch.was_healthy() {
            refused = 0;
        }
        // An expired resource version is no fault: list again at once, but not repeatedly without a
        // pause.
        if lost.trouble == LinkTrouble::Expired && !std::mem::replace(&mut expired, true) {
            continue;
        }
        let absent = match lost.trouble {
            LinkTrouble::Forbidden => !shown || refused >= MAX_REFUSALS,
            LinkTrouble::Missing => to.id.kind.is_optional(),
            _ => false,
        };
        shown &= !absent;
        refused = if lost.trouble == LinkTrouble::Forbidden {
            refused + 1
        } else {
            0
        };
        let change = if absent {
            SourceChange::Unavailable(lost)
        } else {
            SourceChange::Broken(lost)
        };
        if send(change).await.is_err() {
            return;
        }
        let pause = watch.next_pause();
        to.meter
            .sleep_or_retry(if absent { jitter(ABSENT_PAUSE) } else { pause })
            .await;
    }
}

/// Namespaces of the objects that a watch has told of. The keys of all objects of one share its
/// name.
struct SeenNamespaces {
    cluster: ClusterName,
    names: BTreeSet<Arc<str>>,
}

impl SeenNamespaces {
    const fn of_cluster(cluster: ClusterName) -> Self {
        Self {
            cluster,
            names: BTreeSet::new(),
        }
    }

    /// The key of an object.
    fn key_of(&mut self, object: &impl Resource) -> ObjectKey {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let shared = self.names.get(namespace).cloned().unwrap_or_else(|| {
            let name = Arc::<str>::from(namespace);
            self.names.insert(Arc::clone(&name));
            name
        });
        ObjectKey::new(
            NamespaceRef::new(self.cluster.clone(), shared),
            meta.name.clone().unwrap_or_default(),
        )
    }
}

/// What a watch's event changes; `None` for a listed object that is not shown.
fn to_change<K: IntoRow>(
    event: Seen<RowObject<K>>,
    namespaces: &mut SeenNamespaces,
) -> Option<SourceChange> {
    match event {
        Seen::Init => Some(SourceChange::Begin),
        Seen::InitApply(object) => {
            let key = namespaces.key_of(&object);
            let row = object.row?;
            Some(SourceChange::Listed(
                key.clone(),
                Box::new(row.with_key(key)),
            ))
        }
        Seen::InitDone => Some(SourceChange::Ready),
        Seen::Apply(object) => {
            let key = namespaces.key_of(&object);
            // An object that does not fit its schema (any more) is not shown.
            Some(match object.row {
                Some(row) => SourceChange::Set(key.clone(), Box::new(row.with_key(key))),
                None => SourceChange::Gone(key),
            })
        }
        Seen::Delete(object) => Some(SourceChange::Gone(namespaces.key_of(&object))),
    }
}

/// Probes the server regularly, because a connection may die without an error, and a machine may be
/// suspended.
pub(super) async fn probe_server(
    client: Client,
    cluster: ClusterName,
    out: Sender<HubMessage>,
    meter: Arc<Meter>,
    stop: CancellationToken,
) {
    const EVERY: Duration = Duration::from_secs(10);
    const WHILE_LOST: Duration = Duration::from_secs(2);
    const ANSWER: Duration = Duration::from_secs(4);
    let say = |said| out.send(HubMessage::Server(cluster.clone(), said));
    let task = async {
        let mut every = EVERY;
        loop {
            if let Some(slept) = sleep_detecting_suspend(&meter, jitter(every)).await {
                let why = format!("this machine slept for {} s", slept.as_secs());
                if say(Err(SourceFailure {
                    trouble: LinkTrouble::Slept,
                    why,
                }))
                .await
                .is_err()
                {
                    return;
                }
            }
            let said = match tokio::time::timeout(ANSWER, client.apiserver_version()).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(e)) => match error::classify_error(&e) {
                    // Any answer counts: the version is not readable for everyone.
                    LinkTrouble::Forbidden | LinkTrouble::Missing => Ok(()),
                    trouble => Err(SourceFailure {
                        trouble,
                        why: error::describe_error(&e),
                    }),
                },
                Err(_) if meter.request_stats().until.is_some() => Ok(()),
                Err(_) => {
                    let why = format!("the server has not answered for {} s", ANSWER.as_secs());
                    Err(SourceFailure {
                        trouble: LinkTrouble::Offline,
                        why,
                    })
                }
            };
            every = if said.is_ok() { EVERY } else { WHILE_LOST };
            if say(said).await.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(task).await;
}

/// Sleeps; returns early, with the duration, when the machine was suspended.
async fn sleep_detecting_suspend(meter: &Meter, pause: Duration) -> Option<Duration> {
    const STEP: Duration = Duration::from_secs(2);
    let (end, epoch) = (tokio::time::Instant::now() + pause, meter.epoch());
    while meter.epoch() == epoch {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return None;
        }
        let (wall, clock) = (std::time::SystemTime::now(), std::time::Instant::now());
        meter.sleep_or_retry(left.min(STEP)).await;
        if let Some(slept) = suspended_for(wall.elapsed().unwrap_or_default(), clock.elapsed()) {
            return Some(slept);
        }
    }
    None
}

/// The wall clock advances while a machine is suspended, the monotonic clock does not.
fn suspended_for(wall: Duration, clock: Duration) -> Option<Duration> {
    wall.checked_sub(clock)
        .filter(|slept| *slept > Duration::from_secs(5))
}

fn to_source_failure(error: &watcher::Error) -> SourceFailure {
    SourceFailure {
        trouble: error::classify_watch_error(error),
        why: error::describe_watch_error(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_namespace_share_its_name() {
        let mut seen = SeenNamespaces::of_cluster("far".into());
        let mut key = |namespace: &str, name: &str| {
            let mut pod = core::Pod::default();
            pod.metadata.namespace = Some(namespace.into());
            pod.metadata.name = Some(name.into());
            seen.key_of(&pod)
        };
        let (one, two, other) = (key("demo", "a"), key("demo", "b"), key("prod", "a"));
        assert_eq!(one, ObjectKey::new("far/demo".into(), "a"));
        assert!(Arc::ptr_eq(&one.namespace.name, &two.namespace.name));
        assert_eq!(other, ObjectKey::new("far/prod".into(), "a"));
    }

    #[test]
    fn a_clock_that_jumped_is_a_sleep_and_a_late_wake_up_is_none() {
        let s = Duration::from_secs;
        assert_eq!(suspended_for(s(3600), s(2)), Some(s(3598)));
        assert_eq!(suspended_for(s(30), s(29)), None);
        assert_eq!(suspended_for(s(1), s(2)), None, "set back");
    }
}
