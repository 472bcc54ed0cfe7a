//! Workloads that are rolled out in batches, for callers that do not care about the kind.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::apps::v1::{Deployment, StatefulSet},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::{
    Goal, Latch, Mark, Move, Own, Progress, Records, Undo, foreign, is_on, left, machine,
    records::has_ended, stateful, undo::undo,
};
use crate::{
    api::InventoryItem,
    domain::{
        observe::{self, DeploymentSeen, StatefulSeen, autoscaled},
        world::Workload,
    },
};

/// Whether objects of this kind are patched batch by batch; all others are applied.
pub fn is_rolled(item: &InventoryItem) -> bool {
    item.api_version == "apps/v1" && matches!(item.kind.as_str(), "Deployment" | "StatefulSet")
}

/// Workload as the manifest wants it.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// Manifest of a Deployment.
    Deployment(Box<Deployment>),
    /// Manifest of a StatefulSet.
    StatefulSet(Box<StatefulSet>),
}

/// Workload as observed in the cluster.
#[derive(Clone, Debug)]
pub enum WorkloadSeen {
    /// Deployment with the pods of its ReplicaSets.
    Deployment(Box<DeploymentSeen>),
    /// StatefulSet with its pods.
    StatefulSet(Box<StatefulSeen>),
}

impl Manifest {
    /// Parses a rendered object of a kind that [`is_rolled`]; an error names the object.
    pub fn of(object: &Value) -> Result<Self, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = |e: serde_json::Error| {
            format!(
                "{} {}: {e}",
                text(&object["kind"]),
                text(&object["metadata"]["name"])
            )
        };
        Ok(match object["kind"].as_str() {
            Some("StatefulSet") => Self::StatefulSet(Box::new(
                serde_json::from_value(object.clone()).map_err(told)?,
            )),
            _ => Self::Deployment(Box::new(
                serde_json::from_value(object.clone()).map_err(told)?,
            )),
        })
    }

    /// Number of pods that a rollout covers.
    pub fn size(&self, seen: Option<&WorkloadSeen>) -> u32 {
        match self {
            Self::Deployment(d) => replicas(seen.and_then(WorkloadSeen::deployment), d),
            Self::StatefulSet(s) => stateful::size(seen.and_then(WorkloadSeen::stateful), s),
        }
    }

    /// Same number, from the data of a watch.
    pub fn size_of(&self, live: Option<&Workload>) -> u32 {
        let asked = match self {
            Self::Deployment(d) => d.spec.as_ref().and_then(|s| s.replicas),
            Self::StatefulSet(s) => s.spec.as_ref().and_then(|s| s.replicas),
        };
        let replicas = match (asked, live) {
            (Some(n), Some(w)) if !w.latched && !w.autoscaled => observe::replicas(Some(n)),
            (_, Some(w)) => w.replicas,
            (asked, None) => observe::replicas(asked),
        };
        match (self, live) {
            (Self::StatefulSet(s), Some(live)) => {
                let named = (!live.latched)
                    .then(|| stateful::partition_named(s))
                    .flatten();
                replicas.saturating_sub(named.unwrap_or(live.left_alone))
            }
            _ => replicas,
        }
    }

    /// Whether a new version replaces all pods at once.
    pub fn recreates(&self) -> bool {
        matches!(self, Self::Deployment(d) if Own::of(d).recreates())
    }

    /// Warning to show before it is rolled out over the live workload.
    pub fn told_beforehand(&self, seen: &WorkloadSeen) -> Option<String> {
        match (self, seen) {
            (Self::StatefulSet(s), WorkloadSeen::StatefulSet(seen)) => {
                stateful::told_beforehand(&seen.live, s)
            }
            _ => None,
        }
    }

    /// Whether the live template is the one that the manifest asks for.
    pub fn is_template_of(&self, seen: &WorkloadSeen) -> bool {
        match (self, seen) {
            (Self::Deployment(d), WorkloadSeen::Deployment(seen)) => {
                foreign::is_template(&seen.live, d)
            }
            (Self::StatefulSet(s), WorkloadSeen::StatefulSet(seen)) => {
                stateful::is_template(&seen.live, s)
            }
            _ => false,
        }
    }
}

impl Goal<'_, Manifest> {
    /// Next action of the rollout.
    pub fn next(&self, seen: Option<&WorkloadSeen>) -> Move {
        match self.manifest {
            Manifest::Deployment(d) => {
                machine::next(seen.and_then(WorkloadSeen::deployment), &self.of(&**d))
            }
            Manifest::StatefulSet(s) => {
                stateful::next(seen.and_then(WorkloadSeen::stateful), &self.of(&**s))
            }
        }
    }

    /// Progress of the rollout.
    pub fn progress(&self, seen: Option<&WorkloadSeen>) -> Progress {
        match self.manifest {
            Manifest::Deployment(d) => {
                machine::progress(seen.and_then(WorkloadSeen::deployment), &self.of(&**d))
            }
            Manifest::StatefulSet(s) => {
                stateful::progress(seen.and_then(WorkloadSeen::stateful), &self.of(&**s))
            }
        }
    }
}

impl WorkloadSeen {
    /// Labels of the pods that it makes.
    pub fn labels_of_pods(&self) -> Option<&BTreeMap<String, String>> {
        let template = match self {
            Self::Deployment(seen) => seen.live.spec.as_ref().map(|s| &s.template),
            Self::StatefulSet(seen) => seen.live.spec.as_ref().map(|s| &s.template),
        };
        template?.metadata.as_ref()?.labels.as_ref()
    }

    /// Metadata of the live object.
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Deployment(seen) => &seen.live.metadata,
            Self::StatefulSet(seen) => &seen.live.metadata,
        }
    }

    /// The rollout that is in progress on it.
    pub fn mark(&self) -> Option<Mark> {
        Mark::of(self.meta()).ok().flatten()
    }

    /// The rollout of this release in progress on it, from its annotation or from the release's own
    /// record.
    pub fn mark_of(&self, release_uid: &str, records: &Records) -> Option<Mark> {
        let own = |m: &Mark| m.release_uid == release_uid;
        self.mark().filter(own).or_else(|| {
            let kept = self.begun(release_uid, records)?;
            (!has_ended(self.meta(), &kept)).then(|| kept.mark())
        })
    }

    /// Recorded latch of a rollout of this release that has begun.
    fn begun(&self, release_uid: &str, records: &Records) -> Option<Latch<Value, Value>> {
        records.begun(release_uid, |_, state| match self {
            Self::Deployment(seen) => records
                .latch()
                .is_some_and(|l| left::shows(&seen.live, &l, state)),
            Self::StatefulSet(seen) => records
                .latch()
                .is_some_and(|l| stateful::shows(&seen.live, &l)),
        })
    }

    /// Whether its latch is on, or may be, with no annotation that says whose it is.
    pub fn is_nobodys(&self) -> bool {
        match self {
            Self::Deployment(seen) => is_on(&seen.live) && self.mark().is_none(),
            Self::StatefulSet(seen) => stateful::may_be_left(seen),
        }
    }

    /// Next action on the way back of a release. A workload that is half-way in another release is
    /// left alone.
    pub fn undo(&self, release_uid: &str, records: &Records) -> Undo {
        let own = self.begun(release_uid, records).is_some();
        let of_another = |m: &Mark| {
            m.release_uid != release_uid && (!own || records.is_under_way(&m.release_uid))
        };
        if self.mark().is_some_and(|m| of_another(&m)) {
            return Undo::Done;
        }
        match self {
            Self::Deployment(seen) => undo(seen, release_uid, records),
            Self::StatefulSet(seen) => stateful::undo(seen, release_uid, records),
        }
    }

    /// Warning when its own settings replace pods at the cost of pods that serve.
    pub fn cost(&self) -> Option<&'static str> {
        match self {
            Self::Deployment(seen) => Own::of(&seen.live)
                .recreates()
                .then_some("strategy Recreate: one batch, all pods at once"),
            Self::StatefulSet(_) => Some(
                "a StatefulSet has no pods above its replicas: while one is replaced, one fewer serves",
            ),
        }
    }

    fn deployment(&self) -> Option<&DeploymentSeen> {
        if let Self::Deployment(seen) = self {
            Some(seen)
        } else {
            None
        }
    }

    fn stateful(&self) -> Option<&StatefulSeen> {
        if let Self::StatefulSet(seen) = self {
            Some(seen)
        } else {
            None
        }
    }
}

fn replicas(seen: Option<&DeploymentSeen>, manifest: &Deployment) -> u32 {
    let asked = manifest.spec.as_ref().and_then(|s| s.replicas);
    planned(asked, seen.map(|s| (&s.live.metadata, s.replicas())))
}

/// Replicas to plan a rollout for: those of the manifest, unless a rollout is in progress or
/// something else scales the workload.
pub(super) fn planned(asked: Option<i32>, live: Option<(&ObjectMeta, u32)>) -> u32 {
    match (asked, live) {
        (asked, None) => observe::replicas(asked),
        (Some(n), Some((meta, _)))
            if Mark::of(meta).ok().flatten().is_none() && !autoscaled(meta) =>
        {
            observe::replicas(Some(n))
        }
        (_, Some((_, replicas))) => replicas,
    }
}
