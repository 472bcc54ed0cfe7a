//! The world: everything the cluster says, as one immutable snapshot.
//!
//! `cluster::watch` makes it, the cockpit draws it, `domain` reasons about it. It holds our own
//! resources whole and, of Kubernetes objects, only what is shown, so that 10,000 pods stay small.
//! Foreign text is `Clean` before it gets in.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{hop::Hop, rights::Rights, text::Clean};
use crate::api::{App, Approval, Lane, LaneGroup, Release};

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
        let namespace = context.map_or_else(|| namespace.to_owned(), |c| format!("{c}/{namespace}"));
        Self { namespace, name: name.to_owned() }
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

/// One snapshot. Cheap to clone: the maps are shared.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Goes up with each change.
    pub revision: u64,
    /// What the cluster is called; changes only when another one is chosen.
    pub place: Clean,
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
    pub releases: Arc<BTreeMap<String, Arc<Release>>>,
    /// By name.
    pub approvals: Arc<BTreeMap<String, Arc<Approval>>>,
    /// By name.
    pub groups: Arc<BTreeMap<String, Arc<LaneGroup>>>,
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
    /// Who runs the engine.
    pub engine: Option<Engine>,
    /// What the person who looks may do.
    pub rights: Arc<Rights>,
}

/// Whether what the world says is current.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Nothing has come yet.
    #[default]
    Connecting,
    /// All watches run.
    Live,
    /// Facts are as of `since`.
    Stale {
        /// When the first watch broke.
        since: Timestamp,
        /// What kind of trouble it is.
        trouble: Trouble,
        /// In words.
        why: Clean,
    },
}

impl Link {
    /// Since when the facts are old, and why; none while they are current.
    pub const fn stale(&self) -> Option<(Timestamp, Trouble, &Clean)> {
        match self {
            Self::Stale { since, trouble, why } => Some((*since, *trouble, why)),
            Self::Connecting | Self::Live => None,
        }
    }
}

/// What can be wrong between here and a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Nobody answers.
    Offline,
    /// This machine slept; nothing has been heard since.
    Slept,
    /// Nobody can prove who we are: credentials are gone, expired, or their plugin fails (401).
    Unauthorized,
    /// The server asked for fewer requests (429).
    Throttled,
    /// What was being read is older than what the server remembers (410).
    Expired,
    /// The server answers, and not what was asked (5xx and others).
    Failing,
    /// The right is missing (403).
    Forbidden,
    /// The server has no such kind (404).
    Missing,
}

impl Trouble {
    /// In a word or two, for a badge.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Offline => "OFFLINE",
            Self::Slept => "SLEPT",
            Self::Unauthorized => "CREDENTIALS GONE",
            Self::Throttled => "THROTTLED",
            Self::Expired => "READING ANEW",
            Self::Failing => "SERVER FAILS",
            Self::Forbidden => "NOT PERMITTED",
            Self::Missing => "NOT INSTALLED",
        }
    }

    /// In words.
    pub const fn told(self) -> &'static str {
        match self {
            Self::Offline => "the cluster does not answer",
            Self::Slept => "this machine slept",
            Self::Unauthorized => "the credentials are gone or have expired",
            Self::Throttled => "the server asks for fewer requests",
            Self::Expired => "the server has forgotten; all is read anew",
            Self::Failing => "the server fails",
            Self::Forbidden => "not permitted",
            Self::Missing => "graylane is not installed in this cluster",
        }
    }

    /// What a person can do; none where waiting is all.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Unauthorized => Some("log in outside (kubectl get ns would ask)"),
            Self::Missing => Some("graylane install brings it"),
            Self::Offline | Self::Slept | Self::Throttled | Self::Expired | Self::Failing | Self::Forbidden => None,
        }
    }
}

/// Something that one watch cannot see, while the others live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The context; none is the home cluster.
    pub context: Option<String>,
    /// Plural, with its group as RBAC writes it: `pods`, `deployments.apps`.
    pub resource: &'static str,
    /// Where.
    pub namespace: String,
    /// [`Trouble::Forbidden`] or [`Trouble::Missing`].
    pub trouble: Trouble,
    /// Since when.
    pub since: Timestamp,
    /// The server's words.
    pub why: Clean,
}

impl Gap {
    /// `not permitted: list pods in demo-test`
    pub fn words(&self) -> String {
        let place = self.context.as_ref().map_or_else(String::new, |c| format!(" of {c}"));
        match self.trouble {
            Trouble::Missing => format!("not installed: {}{place}", self.resource),
            _ => format!("not permitted: list {} in {}{place}", self.resource, self.namespace),
        }
    }
}

/// Requests to the API since the start of this process, by this use of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// All.
    pub total: u64,
    /// In the last minute.
    pub minute: u32,
    /// Answered with 429.
    pub throttled: u64,
    /// Not before then will the server hear more.
    pub until: Option<Timestamp>,
    /// Watches that are held open.
    pub watches: u32,
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
    /// `spec.paused`.
    pub paused: bool,
    /// The batch latch is on.
    pub latched: bool,
    /// Why it is not well, from its conditions.
    pub message: Option<Clean>,
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
    /// What cannot be seen of these kinds.
    pub fn gap(&self, resources: &[&str]) -> Option<&Gap> {
        self.gaps.iter().find(|g| resources.contains(&g.resource))
    }

    /// The pods of an App's environment.
    pub fn pods_of<'a>(&'a self, app: &'a str, environment: &'a str) -> impl Iterator<Item = &'a Pod> + 'a {
        self.pods
            .values()
            .filter(move |p| p.app.as_deref() == Some(app) && p.environment.as_deref() == Some(environment))
    }

    /// The Deployments and StatefulSets of an App's environment.
    pub fn workloads_of<'a>(&'a self, app: &'a str, environment: &'a str) -> impl Iterator<Item = &'a Workload> + 'a {
        self.deployments
            .values()
            .chain(self.stateful.values())
            .filter(move |w| w.app.as_deref() == Some(app) && w.environment.as_deref() == Some(environment))
    }

    /// Whether an App has a pod of that lane that serves now.
    pub fn gray_ready(&self, app: &str, tag: &str) -> bool {
        self.pods
            .values()
            .any(|p| p.app.as_deref() == Some(app) && p.tag.as_deref() == Some(tag) && p.ready && !p.terminating)
    }
}
