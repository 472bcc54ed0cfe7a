//! The world: everything the cluster says, as one immutable snapshot.
//!
//! `cluster::watch` makes it, the cockpit draws it, `domain` reasons about it. It holds our own
//! resources whole and, of Kubernetes objects, only what is shown, so that 10,000 pods stay small.
//! Foreign text is `Clean` before it gets in.

mod link;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{
    hop::Hop,
    revision::{FrozenApp, Revision},
    rights::Rights,
    text::Clean,
};
use crate::api::{App, AppTemplate, Approval, Lane, LaneGroup, Release, VariableGroup};
pub use link::{Asked, Gap, Link, Trouble};

/// Namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `metadata.namespace`; empty for cluster-scoped kinds. Of another context than home `CONTEXT/NAMESPACE`: no
    /// namespace has a slash.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// Of a context; none is home.
    pub fn of(context: Option<&str>, namespace: &str, name: &str) -> Self {
        let namespace =
            context.map_or_else(|| namespace.to_owned(), |c| format!("{c}/{namespace}"));
        Self {
            namespace,
            name: name.to_owned(),
        }
    }

    /// The context (none: home), and the namespace within it.
    pub fn place(&self) -> (Option<&str>, &str) {
        place(&self.namespace)
    }
}

/// Takes a [`Key::namespace`] apart: the context (none: home), and the namespace within it.
pub fn place(namespace: &str) -> (Option<&str>, &str) {
    match namespace.rsplit_once('/') {
        Some((context, namespace)) => (Some(context), namespace),
        None => (None, namespace),
    }
}

/// Lane groups by name.
pub type LaneGroups = BTreeMap<String, Arc<LaneGroup>>;

/// One snapshot. Cheap to clone: the maps are shared.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Goes up with each change.
    pub revision: u64,
    /// What the cluster is called; changes only when another one is chosen.
    pub place: Clean,
    /// Who acts, where that is not whom the server knows: on a pocket whoever says so.
    pub me: Option<Clean>,
    /// Whether the facts are current.
    pub link: Link,
    /// The other contexts that environments name: each has its own link.
    pub contexts: Arc<BTreeMap<String, Link>>,
    /// What cannot be seen although the server answers: missing rights, kinds that are not installed.
    pub gaps: Arc<Vec<Gap>>,
    /// What this process asks of the API.
    pub asked: Asked,
    /// The namespace of our resources.
    pub namespace: String,
    /// By name.
    pub apps: Arc<BTreeMap<String, Arc<App>>>,
    /// By name.
    pub templates: Arc<BTreeMap<String, Arc<AppTemplate>>>,
    /// By name.
    pub variables: Arc<BTreeMap<String, Arc<VariableGroup>>>,
    /// By name.
    pub releases: Arc<BTreeMap<String, Arc<Release>>>,
    /// What releases were frozen to, by name. Not cleaned: it is what is applied.
    pub revisions: Arc<BTreeMap<String, Arc<Revision>>>,
    /// By name.
    pub approvals: Arc<BTreeMap<String, Arc<Approval>>>,
    /// By name.
    pub groups: Arc<LaneGroups>,
    /// By name.
    pub lanes: Arc<BTreeMap<String, Arc<Lane>>>,
    /// Deployments of Apps.
    pub deployments: Arc<BTreeMap<Key, Workload>>,
    /// StatefulSets of Apps.
    pub stateful: Arc<BTreeMap<Key, Workload>>,
    /// Pods of Apps.
    pub pods: Arc<BTreeMap<Key, Pod>>,
    /// HTTPRoutes of lane groups.
    pub routes: Arc<BTreeMap<Key, Route>>,
    /// Newest last, bounded.
    pub events: Arc<Vec<Event>>,
    /// Newest last, bounded.
    pub hops: Arc<Vec<Arc<Hop>>>,
    /// Hops that came in since the start, also those no longer held.
    pub hops_seen: u64,
    /// Hops that were dropped because they came too fast.
    pub hops_dropped: u64,
    /// Where hops are read from here, and how that goes.
    pub hop_sources: Arc<Vec<HopSourceSeen>>,
    /// Who runs the engine.
    pub engine: Option<Engine>,
    /// What the person who looks may do.
    pub rights: Arc<Rights>,
}

/// One source of hops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopSourceSeen {
    /// `accessLog traefik of gw`.
    pub name: String,
    /// Pods that are followed.
    pub pods: u32,
    /// In words, why it tells nothing.
    pub problem: Option<Clean>,
}

/// The holder of the engine's Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its identity.
    pub holder: Clean,
    /// When it last renewed.
    pub renewed: Option<Timestamp>,
}

/// What kinds of workload are rolled out in batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// New pods come before old ones go.
    #[default]
    Deployment,
    /// Pod by pod, each in the old one's place.
    StatefulSet,
}

impl WorkloadKind {
    /// As kubectl takes it.
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
    /// Which of them.
    pub kind: WorkloadKind,
    /// Namespace and name.
    pub key: Key,
    /// `graylane.dev/app`.
    pub app: Option<String>,
    /// `graylane.dev/environment`.
    pub environment: Option<String>,
    /// Wanted.
    pub replicas: u32,
    /// Serving.
    pub ready: u32,
    /// Of the newest template.
    pub updated: u32,
    /// By which pods of the newest template say so ([`Pod::hash`]); only a StatefulSet's controller tells it.
    pub revision: Option<String>,
    /// Of a StatefulSet: how many pods its user's own partition leaves alone, whatever is rolled out.
    pub left_alone: u32,
    /// Ready for long enough, as Kubernetes counts (0 of the new version while the latch is on).
    pub available: u32,
    /// Images of the newest template.
    pub images: Vec<Clean>,
    /// Digest of the manifest that it was applied from.
    pub applied: Option<String>,
    /// An autoscaler sets its replicas.
    pub autoscaled: bool,
    /// It takes a new version all at once: strategy Recreate.
    pub recreates: bool,
    /// `spec.paused`.
    pub paused: bool,
    /// The batch latch is on.
    pub latched: bool,
    /// Why it is not well, from its conditions.
    pub message: Option<Clean>,
    /// And it will not get well by waiting: its pods cannot be made, or their time is over.
    pub stuck: bool,
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub key: Key,
    /// `graylane.dev/app`.
    pub app: Option<String>,
    /// `graylane.dev/environment`.
    pub environment: Option<String>,
    /// Lane tag (`alicloud.service.tag`); none is baseline.
    pub tag: Option<String>,
    /// The ReplicaSet or StatefulSet that owns it.
    pub owner: Option<String>,
    /// `pod-template-hash`, or a StatefulSet's revision: pods of one version share it.
    pub hash: Option<String>,
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `status.podIP`.
    pub address: Option<String>,
    /// `Running`, `Pending`, `CrashLoopBackOff`, `Terminating`, … as kubectl's STATUS column.
    pub state: Clean,
    /// Serves.
    pub ready: bool,
    /// Is being deleted.
    pub terminating: bool,
    /// Sum over containers.
    pub restarts: u32,
    /// Images of its containers.
    pub images: Vec<Clean>,
    /// Names of its containers.
    pub containers: Vec<Clean>,
    /// `metadata.creationTimestamp`, as kubectl counts a pod's age.
    pub born: Option<Timestamp>,
    /// Why it is not ready.
    pub message: Option<Clean>,
}

/// One HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Namespace and name.
    pub key: Key,
    /// `graylane.dev/lane-group`.
    pub group: Option<String>,
    /// Taken by its parents' controllers; none while nobody has answered.
    pub accepted: Option<bool>,
    /// The controller's words.
    pub message: Option<Clean>,
}

/// One Kubernetes Event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When it last happened.
    pub time: Option<Timestamp>,
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// `Kind`, of the object it is about.
    pub kind: Clean,
    /// The object it is about.
    pub object: Key,
    /// One word.
    pub reason: Clean,
    /// In words.
    pub message: Clean,
    /// How often.
    pub count: u32,
}

impl World {
    /// Who acts here; empty until it is known.
    pub fn acting(&self) -> &str {
        self.me
            .as_deref()
            .or(self.rights.who.as_deref())
            .unwrap_or_default()
    }

    /// The hops that came since so many were seen, and whether some of them are no longer held.
    pub fn hops_since(&self, seen: u64) -> (&[Arc<Hop>], bool) {
        // A world of another connection counts anew.
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

    /// The hops of a trace, each as it was told last.
    pub fn hops_of_trace(&self, trace: &str) -> Vec<Arc<Hop>> {
        let mut hops: Vec<Arc<Hop>> = vec![];
        for hop in self.hops.iter().filter(|h| h.trace == trace) {
            match hops.iter_mut().find(|h| hop.amends && h.span == hop.span) {
                Some(before) => before.clone_from(hop),
                None => hops.push(hop.clone()),
            }
        }
        hops
    }

    /// What cannot be seen of these kinds.
    pub fn gap(&self, resources: &[&str]) -> Option<&Gap> {
        self.gaps.iter().find(|g| resources.contains(&g.resource))
    }

    /// The App as a release has it; none where what it was frozen to is not seen (yet).
    pub fn frozen(&self, release: &Release) -> Option<FrozenApp> {
        let name = release.status.as_ref()?.revision.as_ref()?;
        Some(FrozenApp::of(
            self.apps.get(&release.spec.app)?,
            self.revisions.get(name)?,
        ))
    }

    /// The pods of an App's environment.
    pub fn pods_of<'a>(
        &'a self,
        app: &'a str,
        environment: &'a str,
    ) -> impl Iterator<Item = &'a Pod> + 'a {
        self.pods.values().filter(move |p| {
            p.app.as_deref() == Some(app) && p.environment.as_deref() == Some(environment)
        })
    }

    /// The Deployments and StatefulSets of an App's environment.
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

    /// Whether an App has a pod of that lane that serves now.
    pub fn gray_ready(&self, app: &str, tag: &str) -> bool {
        self.pods.values().any(|p| {
            p.app.as_deref() == Some(app)
                && p.tag.as_deref() == Some(tag)
                && p.ready
                && !p.terminating
        })
    }
}
