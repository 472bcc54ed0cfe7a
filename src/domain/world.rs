//! The world: everything known of the cluster, as one immutable snapshot.
//!
//! `cluster::watch` builds it, the cockpit draws it, `domain` reasons about it. It contains our own
//! resources in full, but of Kubernetes objects only what is shown, so that 10,000 pods stay small.
//! Text from outside is converted to `Clean` first.

mod link;
mod pace;
mod pods;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{
    hop::Hop,
    revision::{FrozenApp, Revision},
    rights::Rights,
    text::Clean,
};
pub use crate::api::ObjectKey;
use crate::api::{
    App, AppTemplate, Approval, ClusterName, Lane, LaneGroup, Release, Uid, VariableGroup,
};
pub use link::{ApiUsage, Link, LinkTrouble, WatchGap};
pub use pace::pause_after_world;
pub use pods::{PodChange, Pods, pod_changes, pods_by_key};

/// Lane groups by name.
pub type LaneGroups = BTreeMap<String, Arc<LaneGroup>>;

/// One snapshot. Cloning is cheap, because the maps are shared.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Increases with every change.
    pub revision: u64,
    /// Name of the cluster; changes only when another one is chosen.
    pub cluster_name: Clean,
    /// User name where the server does not know the user, as in pocket.
    pub me: Option<Clean>,
    /// Whether the data is current.
    pub link: Link,
    /// Remote clusters that environments name, each with its own link.
    pub clusters: Arc<BTreeMap<ClusterName, Link>>,
    /// What cannot be watched although the server answers: missing rights, kinds that are not
    /// installed.
    pub gaps: Arc<Vec<WatchGap>>,
    /// Requests of this process to the API.
    pub asked: ApiUsage,
    /// Home namespace, which contains our resources.
    pub namespace: String,
    /// Apps by name.
    pub apps: Arc<BTreeMap<String, Arc<App>>>,
    /// AppTemplates by name.
    pub templates: Arc<BTreeMap<String, Arc<AppTemplate>>>,
    /// VariableGroups by name.
    pub variables: Arc<BTreeMap<String, Arc<VariableGroup>>>,
    /// Releases by name.
    pub releases: Arc<BTreeMap<String, Arc<Release>>>,
    /// Frozen revisions by name. Not cleaned, because they are applied.
    pub revisions: Arc<BTreeMap<String, Arc<Revision>>>,
    /// Approvals by name.
    pub approvals: Arc<BTreeMap<String, Arc<Approval>>>,
    /// Lane groups by name.
    pub groups: Arc<LaneGroups>,
    /// Lanes by name.
    pub lanes: Arc<BTreeMap<String, Arc<Lane>>>,
    /// Deployments of Apps.
    pub deployments: Arc<BTreeMap<ObjectKey, Workload>>,
    /// StatefulSets of Apps.
    pub stateful: Arc<BTreeMap<ObjectKey, Workload>>,
    /// Pods of Apps.
    pub pods: Arc<Pods>,
    /// HTTPRoutes of lane groups.
    pub routes: Arc<BTreeMap<ObjectKey, Route>>,
    /// Kubernetes Events, newest last, bounded.
    pub events: Arc<Vec<Event>>,
    /// Hops, newest last, bounded.
    pub hops: Arc<Vec<Arc<Hop>>>,
    /// Number of hops received since the start, including those no longer kept.
    pub hops_seen: u64,
    /// Number of hops dropped because they arrived too fast.
    pub hops_dropped: u64,
    /// Hop sources that this process reads, and their state.
    pub hop_sources: Arc<Vec<HopSourceSeen>>,
    /// Current holder of the engine's Lease.
    pub engine: Option<EngineHolder>,
    /// Rights of the current user.
    pub rights: Arc<Rights>,
}

/// All namespaces of a cluster that have resources of graylane, each with a world of its own.
#[derive(Clone, Debug, Default)]
pub struct Worlds {
    /// What they share: the connection and what cannot be read. It has no objects.
    pub cluster: World,
    /// Worlds by namespace.
    pub by_namespace: BTreeMap<String, Arc<World>>,
}

/// What the cockpit shows: one namespace, or all of them at once.
#[derive(Clone, Debug)]
pub enum ShownWorlds {
    /// One namespace.
    One(Box<World>),
    /// All namespaces.
    All(Box<Worlds>),
}

impl Default for ShownWorlds {
    fn default() -> Self {
        World::default().into()
    }
}

impl From<World> for ShownWorlds {
    fn from(world: World) -> Self {
        Self::One(Box::new(world))
    }
}

impl ShownWorlds {
    /// The world with the state of the connection.
    pub const fn cluster(&self) -> &World {
        match self {
            Self::One(world) => world,
            Self::All(worlds) => &worlds.cluster,
        }
    }

    /// The same for changing it.
    pub const fn cluster_mut(&mut self) -> &mut World {
        match self {
            Self::One(world) => world,
            Self::All(worlds) => &mut worlds.cluster,
        }
    }
}

/// One source of hops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopSourceSeen {
    /// Name: `accessLog traefik of gw`.
    pub name: String,
    /// Number of pods whose logs are followed.
    pub pods: u32,
    /// Problem with the source.
    pub problem: Option<Clean>,
}

impl HopSourceSeen {
    /// Says that a namespace is not followed, where all are shown and there are more than `most`.
    pub fn not_followed(most: usize) -> Self {
        let words = format!(
            "requests are followed in {most} namespaces at once, and this is one more: show it alone (-n NAME)"
        );
        Self {
            problem: Some(Clean::from(words)),
            ..Self::default()
        }
    }

    /// Why nothing of the namespace is followed.
    pub fn why_not_followed(&self) -> Option<&Clean> {
        self.problem.as_ref().filter(|_| self.name.is_empty())
    }
}

/// The holder of the engine's Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineHolder {
    /// Identity of the holder.
    pub holder: Clean,
    /// Last renewal, in steps of ten seconds.
    pub renewed: Option<Timestamp>,
}

/// Kinds of workload that are rolled out in batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// New pods start before old ones are removed.
    #[default]
    Deployment,
    /// Each pod is replaced in place, one by one.
    StatefulSet,
}

impl WorkloadKind {
    /// `kind` of its objects.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// Resource name for kubectl.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Deployment => "deployments.apps",
            Self::StatefulSet => "statefulsets.apps",
        }
    }
}

/// One Deployment or StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Namespace and name.
    pub key: ObjectKey,
    /// `graylane.dev/app`.
    pub app: Option<String>,
    /// `graylane.dev/environment`.
    pub environment: Option<String>,
    /// Desired number of pods.
    pub replicas: u32,
    /// Number of ready pods.
    pub ready: u32,
    /// Number of pods of the newest template.
    pub updated: u32,
    /// Value of [`Pod::hash`] for pods of the newest template. Only StatefulSets report it.
    pub revision: Option<String>,
    /// For a StatefulSet: number of pods that the user's own partition excludes from rollouts.
    pub left_alone: u32,
    /// Number of available pods, as Kubernetes counts them (0 of the new version while the latch is
    /// on).
    pub available: u32,
    /// Images of the newest template.
    pub images: Vec<Clean>,
    /// Digest of the manifest that was applied.
    pub applied: Option<String>,
    /// Whether an autoscaler sets its replicas.
    pub autoscaled: bool,
    /// Whether the strategy is Recreate, which replaces all pods at once.
    pub recreates: bool,
    /// `spec.paused`.
    pub paused: bool,
    /// Whether the batch latch is on.
    pub latched: bool,
    /// Problem that its conditions report.
    pub message: Option<Clean>,
    /// Whether waiting will not help: its pods cannot be created, or the deadline has passed.
    pub stuck: bool,
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `graylane.dev/app`.
    pub app: Option<String>,
    /// `graylane.dev/environment`.
    pub environment: Option<String>,
    /// Lane tag (`alicloud.service.tag`). `None` is baseline.
    pub tag: Option<String>,
    /// Name of the ReplicaSet or StatefulSet that owns it.
    pub owner: Option<String>,
    /// `pod-template-hash`, or the revision of a StatefulSet. Pods of one version share it.
    pub hash: Option<String>,
    /// `metadata.uid`.
    pub uid: Option<Uid>,
    /// `status.podIP`.
    pub address: Option<String>,
    /// Status as in kubectl's STATUS column: `Running`, `Pending`, `CrashLoopBackOff`,
    /// `Terminating`, …
    pub state: Clean,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Restarts of all containers.
    pub restarts: u32,
    /// Images of its containers.
    pub images: Vec<Clean>,
    /// Names of its containers.
    pub containers: Vec<Clean>,
    /// `metadata.creationTimestamp`, from which kubectl computes the age.
    pub born: Option<Timestamp>,
    /// Why it is not ready.
    pub message: Option<Clean>,
}

/// One HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `graylane.dev/lane-group`.
    pub group: Option<String>,
    /// Whether all parents' controllers accepted it. `None` until one has answered.
    pub accepted: Option<bool>,
    /// Message of the controller.
    pub message: Option<Clean>,
}

/// One Kubernetes Event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Time of the last occurrence.
    pub time: Option<Timestamp>,
    /// Whether the type is `Warning` rather than `Normal`.
    pub warning: bool,
    /// Kind of the object that it is about.
    pub kind: Clean,
    /// Object that it is about.
    pub object: ObjectKey,
    /// Machine-readable reason.
    pub reason: Clean,
    /// Message.
    pub message: Clean,
    /// Number of occurrences.
    pub count: u32,
}

impl World {
    /// Name of the current user; empty until it is known.
    pub fn acting_user(&self) -> &str {
        self.me
            .as_deref()
            .or(self.rights.who.as_deref())
            .unwrap_or_default()
    }

    /// Hops received after the first `seen` ones, and whether some of them are no longer kept.
    pub fn hops_since(&self, seen: u64) -> (&[Arc<Hop>], bool) {
        // After a reconnect the count starts again.
        let fresh = if self.hops_seen < seen {
            self.hops_seen
        } else {
            self.hops_seen - seen
        };
        let fresh = usize::try_from(fresh).unwrap_or(usize::MAX);
        let first = self.hops.len().saturating_sub(fresh);
        (
            self.hops.get(first..).unwrap_or_default(),
            seen > 0 && fresh > self.hops.len(),
        )
    }

    /// Hops of a trace, each in its latest version.
    pub fn hops_of_trace(&self, trace: &str) -> Vec<Arc<Hop>> {
        let mut hops: Vec<Arc<Hop>> = vec![];
        for hop in self.hops.iter().filter(|h| h.trace == trace) {
            match hops.iter_mut().find(|earlier| hop.replaces(earlier)) {
                Some(before) => before.clone_from(hop),
                None => hops.push(hop.clone()),
            }
        }
        hops
    }

    /// First gap in watching these kinds.
    pub fn find_gap(&self, resources: &[&str]) -> Option<&WatchGap> {
        self.gaps.iter().find(|g| resources.contains(&g.resource))
    }

    /// App as a release sees it. `None` if its revision has not been observed (yet).
    pub fn frozen_app(&self, release: &Release) -> Option<FrozenApp> {
        let name = release.status.as_ref()?.revision.as_ref()?;
        Some(FrozenApp::for_revision(
            self.apps.get(&release.spec.app)?,
            self.revisions.get(name)?,
        ))
    }

    /// Releases of an App.
    pub fn releases_of<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a Release> + Clone {
        let all = self.releases.values().map(|r| &**r);
        all.filter(move |r| r.spec.app == app)
    }

    /// Pods of an App's environment.
    pub fn pods_of<'a>(
        &'a self,
        app: &'a str,
        environment: &'a str,
    ) -> impl Iterator<Item = &'a Pod> + 'a {
        let all = self.pods.values().map(|p| &**p);
        all.filter(move |p| {
            p.app.as_deref() == Some(app) && p.environment.as_deref() == Some(environment)
        })
    }

    /// Deployments and StatefulSets of an App's environment.
    pub fn workloads_of<'a>(
        &'a self,
        app: &'a str,
        environment: &'a str,
    ) -> impl Iterator<Item = &'a Workload> + 'a {
        self.deployments
            .values()
            .chain(self.stateful.values())
            .filter(move |w| {
                w.app.as_deref() == Some(app) && w.environment.as_deref() == Some(environment)
            })
    }

    /// Whether an App has a ready pod of that lane.
    pub fn has_ready_gray_pod(&self, app: &str, tag: &str) -> bool {
        self.pods.values().any(|p| {
            p.app.as_deref() == Some(app)
                && p.tag.as_deref() == Some(tag)
                && p.ready
                && !p.terminating
        })
    }
}
