//! Workloads that are rolled out in batches, for callers that do not care about the kind.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::apps::v1::{Deployment, StatefulSet},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::{
    DeploymentSettings, Goal, Latch, Progress, Records, RolloutAction, RolloutMark, UndoAction,
    foreign, is_latch_on, machine, orphaned, records::has_ended, stateful, undo::undo_rollout,
};
use crate::{
    api::{ObjectRef, Uid},
    domain::{
        observe::{self, DeploymentSeen, StatefulSeen, is_autoscaled},
        world::Workload,
    },
};

/// Whether objects of this kind are patched batch by batch; all others are applied.
pub fn is_batched(object: &ObjectRef) -> bool {
    object.api_version == "apps/v1" && matches!(object.kind.as_str(), "Deployment" | "StatefulSet")
}

/// Workload as the manifest wants it.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// Manifest of a Deployment.
    Deployment(Box<Deployment>),
    /// Manifest of a StatefulSet.
    StatefulSet(Box<StatefulSet>),
}

/// A rendered object is not of the kind that it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name}: {reason}")]
pub struct ManifestError {
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Message of the JSON parser.
    pub reason: String,
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
    /// Parses a rendered object of a kind that [`is_batched`].
    pub fn from_object(object: &Value) -> Result<Self, ManifestError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = |e: serde_json::Error| ManifestError {
            kind: text(&object["kind"]),
            name: text(&object["metadata"]["name"]),
            reason: e.to_string(),
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
    pub fn rollout_size(&self, seen: Option<&WorkloadSeen>) -> u32 {
        match self {
            Self::Deployment(d) => {
                deployment_replicas(seen.and_then(WorkloadSeen::as_deployment), d)
            }
            Self::StatefulSet(s) => {
                stateful::rollout_size(seen.and_then(WorkloadSeen::as_stateful), s)
            }
        }
    }

    /// Same number, from the data of a watch.
    pub fn rollout_size_from_watch(&self, live: Option<&Workload>) -> u32 {
        let asked = match self {
            Self::Deployment(d) => d.spec.as_ref().and_then(|s| s.replicas),
            Self::StatefulSet(s) => s.spec.as_ref().and_then(|s| s.replicas),
        };
        let replicas = match (asked, live) {
            (Some(n), Some(w)) if !w.latched && !w.autoscaled => {
                observe::replicas_or_default(Some(n))
            }
            (_, Some(w)) => w.replicas,
            (asked, None) => observe::replicas_or_default(asked),
        };
        match (self, live) {
            (Self::StatefulSet(s), Some(live)) => {
                let named = (!live.latched)
                    .then(|| stateful::named_partition(s))
                    .flatten();
                replicas.saturating_sub(named.unwrap_or(live.left_alone))
            }
            _ => replicas,
        }
    }

    /// Whether a new version replaces all pods at once.
    pub fn uses_recreate(&self) -> bool {
        matches!(self, Self::Deployment(d) if DeploymentSettings::from_deployment(d).uses_recreate())
    }

    /// Warning to show before it is rolled out over the live workload.
    pub fn warn_beforehand(&self, seen: &WorkloadSeen) -> Option<String> {
        match (self, seen) {
            (Self::StatefulSet(s), WorkloadSeen::StatefulSet(seen)) => {
                stateful::warn_beforehand(&seen.live, s)
            }
            _ => None,
        }
    }

    /// Whether the live template is the one that the manifest asks for.
    pub fn is_template_of(&self, seen: &WorkloadSeen) -> bool {
        match (self, seen) {
            (Self::Deployment(d), WorkloadSeen::Deployment(seen)) => {
                foreign::has_wanted_template(&seen.live, d)
            }
            (Self::StatefulSet(s), WorkloadSeen::StatefulSet(seen)) => {
                stateful::has_wanted_template(&seen.live, s)
            }
            _ => false,
        }
    }
}

impl Goal<'_, Manifest> {
    /// Next action of the rollout.
    pub fn next_action(&self, seen: Option<&WorkloadSeen>) -> RolloutAction {
        match self.manifest {
            Manifest::Deployment(d) => machine::next_action(
                seen.and_then(WorkloadSeen::as_deployment),
                &self.with_manifest(&**d),
            ),
            Manifest::StatefulSet(s) => stateful::next_action(
                seen.and_then(WorkloadSeen::as_stateful),
                &self.with_manifest(&**s),
            ),
        }
    }

    /// Progress of the rollout.
    pub fn progress(&self, seen: Option<&WorkloadSeen>) -> Progress {
        match self.manifest {
            Manifest::Deployment(d) => machine::measure_progress(
                seen.and_then(WorkloadSeen::as_deployment),
                &self.with_manifest(&**d),
            ),
            Manifest::StatefulSet(s) => stateful::measure_progress(
                seen.and_then(WorkloadSeen::as_stateful),
                &self.with_manifest(&**s),
            ),
        }
    }
}

impl WorkloadSeen {
    /// Labels of the pods that it makes.
    pub fn pod_labels(&self) -> Option<&BTreeMap<String, String>> {
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
    pub fn mark(&self) -> Option<RolloutMark> {
        RolloutMark::from_meta(self.meta()).ok().flatten()
    }

    /// The rollout of this release in progress on it, from its annotation or from the release's own
    /// record.
    pub fn mark_of(&self, release_uid: &Uid, records: &Records) -> Option<RolloutMark> {
        let own = |m: &RolloutMark| m.release_uid == *release_uid;
        self.mark().filter(own).or_else(|| {
            let kept = self.begun_latch(release_uid, records)?;
            (!has_ended(self.meta(), &kept)).then(|| kept.to_mark())
        })
    }

    /// Recorded latch of a rollout of this release that has begun.
    fn begun_latch(&self, release_uid: &Uid, records: &Records) -> Option<Latch<Value, Value>> {
        records.begun_latch(release_uid, |_, state| match self {
            Self::Deployment(seen) => records
                .parse_latch()
                .is_some_and(|l| orphaned::shows_rollout(&seen.live, &l, state)),
            Self::StatefulSet(seen) => records
                .parse_latch()
                .is_some_and(|l| stateful::shows_rollout(&seen.live, &l)),
        })
    }

    /// Whether its latch is on, or may be, with no annotation that says whose it is.
    pub fn is_orphaned(&self) -> bool {
        match self {
            Self::Deployment(seen) => is_latch_on(&seen.live) && self.mark().is_none(),
            Self::StatefulSet(seen) => stateful::may_be_orphaned(seen),
        }
    }

    /// Next action on the way back of a release. A workload that is half-way in another release is
    /// left alone.
    pub fn undo(&self, release_uid: &Uid, records: &Records) -> UndoAction {
        let own = self.begun_latch(release_uid, records).is_some();
        let of_another = |m: &RolloutMark| {
            m.release_uid != *release_uid && (!own || records.is_under_way(&m.release_uid))
        };
        if self.mark().is_some_and(|m| of_another(&m)) {
            return UndoAction::Done;
        }
        match self {
            Self::Deployment(seen) => undo_rollout(seen, release_uid, records),
            Self::StatefulSet(seen) => stateful::undo_rollout(seen, release_uid, records),
        }
    }

    /// Warning when its own settings replace pods at the cost of pods that serve.
    pub fn describe_cost(&self) -> Option<&'static str> {
        match self {
            Self::Deployment(seen) => DeploymentSettings::from_deployment(&seen.live)
                .uses_recreate()
                .then_some("strategy Recreate: one batch, all pods at once"),
            Self::StatefulSet(_) => Some(
                "a StatefulSet has no pods above its replicas: while one is replaced, one fewer serves",
            ),
        }
    }

    fn as_deployment(&self) -> Option<&DeploymentSeen> {
        if let Self::Deployment(seen) = self {
            Some(seen)
        } else {
            None
        }
    }

    fn as_stateful(&self) -> Option<&StatefulSeen> {
        if let Self::StatefulSet(seen) = self {
            Some(seen)
        } else {
            None
        }
    }
}

fn deployment_replicas(seen: Option<&DeploymentSeen>, manifest: &Deployment) -> u32 {
    let asked = manifest.spec.as_ref().and_then(|s| s.replicas);
    plan_replicas(asked, seen.map(|s| (&s.live.metadata, s.replicas())))
}

/// Replicas to plan a rollout for: those of the manifest, unless a rollout is in progress or
/// something else scales the workload.
pub(super) fn plan_replicas(asked: Option<i32>, live: Option<(&ObjectMeta, u32)>) -> u32 {
    match (asked, live) {
        (asked, None) => observe::replicas_or_default(asked),
        (Some(n), Some((meta, _)))
            if RolloutMark::from_meta(meta).ok().flatten().is_none() && !is_autoscaled(meta) =>
        {
            observe::replicas_or_default(Some(n))
        }
        (_, Some((_, replicas))) => replicas,
    }
}
