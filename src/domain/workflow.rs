//! What a Release does next: a pure function of the Release, its App as frozen when the release
//! began, the approvals, the observed cluster, and the time.
//!
//! [`decide_steps`] keeps no state. Every step can be repeated, and what is done is read from the
//! cluster, so a crash between two steps, or in the middle of one, changes nothing. The status is
//! written before the steps are taken: if the Release has changed meanwhile, the write conflicts
//! and no step is taken.
//!
//! Each kind of task is one function in a file of its own, from a `TaskView` (the release, its App,
//! approvals, workloads and the clock, none of which changes meanwhile) to a `TaskOutcome` (the
//! task's status, steps, and when to look again). `Reducer` folds the outcomes into the next status.
//! A failure is an outcome like any other, decided before steps are made. The questions of the
//! cockpit foretell a release by the same functions ([`forecast_release`]).
//!
//! Tasks run one after another, each when the one before has passed. This guarantees that nothing
//! is deployed without the approval before it, and nothing is cleaned up before production is done.
//! An approval cannot be skipped, and neither can a deploy that is half-way.

mod abort;
mod approval;
mod build;
mod clean_up;
mod deploy;
mod environment;
mod forecast;
mod gate;
mod object_error;
mod objects;
mod outcome;
mod plan;
mod plan_error;
mod proceed;
mod proposal;
mod records;
mod reducer;
mod release_diff;
mod task;
mod task_error;
mod timers;
mod verify;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    batches::WorkloadSeen,
    observe::PodSeen,
    owner::{Owner, OwnershipMarks},
    revision::{FrozenApp, FrozenAppError},
    text::Clean,
    world::ObjectKey,
};
use crate::{
    api::{
        Approval, ClusterName, EnvironmentStatus, InventoryItem, ObjectRef, ProbeResult, ProbeSpec,
        Release, ReleaseStatus, RolloutRecord, Uid, VariableGroup,
    },
    domain::account::Account,
};

pub use approval::{has_uncounted_decision, new_decision};
pub use forecast::{Forecast, ForecastInput, ForecastStep, ForecastStop, forecast_release};
pub use gate::{LaneNotOpen, check_lane_open, find_holder, is_changing};
pub use object_error::{ObjectError, RenderError};
pub use objects::{object_names, objects_to_observe, render_objects, render_placed_objects};
pub use plan::{ReleasePlan, group_names, plan_release, resolve_variables};
pub use plan_error::PlanError;
pub use proposal::{
    EnvironmentChange, Proposal, ProposalCache, ProposalError, bound_images, built_after,
    list_changes, render_proposal,
};
pub use release_diff::{
    EnvironmentDiff, Image, ImageChange, ObjectChange, ObjectFate, OldSide, ReleaseDiff,
    ReleaseDiffLine, ReleaseDiffLineKind, ValueChange, compare_release,
};
pub use timers::Timers;

use reducer::Reducer;

/// Everything that one decision is based on.
pub struct Observed<'a> {
    /// The Release to decide on.
    pub release: &'a Release,
    /// All other Releases that are not over.
    pub others: &'a [&'a Release],
    /// What its clusters show of it.
    pub facts: &'a ReleaseFacts,
    /// Results of this release's last probes.
    pub probes: Option<&'a ProbesSeen>,
    /// Step that failed at the last try.
    pub trouble: Option<&'a StepFailure>,
    /// Timers of this release, by the engine's own clock.
    pub timers: &'a Timers,
    /// Digest of what an approval of this release lets through, cached from the last rendering.
    pub rendered: &'a ProposalCache,
    /// Current time on the engine's monotonic clock; every duration is measured by it.
    pub clock: Duration,
    /// Current wall-clock time, for what people read.
    pub now: Timestamp,
}

/// What its clusters show of a Release.
pub struct ReleaseFacts {
    /// Its App as frozen for this release; or why it is not known.
    pub app: Result<FrozenApp, FrozenAppError>,
    /// Variable groups that its environments name, as far as they exist; used only before it
    /// begins.
    pub groups: BTreeMap<String, VariableGroup>,
    /// Approvals that name this Release.
    pub approvals: Vec<Arc<Approval>>,
    /// The objects named by [`objects_to_observe`] that exist.
    pub objects: BTreeMap<ObjectRef, ObjectSeen>,
    /// Owners of those objects that carry no mark themselves but are in another App's inventory.
    pub claims: BTreeMap<ObjectRef, Owner>,
    /// Those objects that are rolled out in batches.
    pub workloads: BTreeMap<ObjectRef, WorkloadSeen>,
    /// Records of earlier releases for workloads whose latch is on without an annotation that says
    /// whose it is.
    pub records: BTreeMap<ObjectRef, RolloutRecord>,
    /// Number of pods by environment, including terminating ones.
    pub pods: BTreeMap<String, u32>,
    /// Observed routes of the lanes.
    pub routes: RoutesSeen,
    /// Clusters that cannot be reached now, and why. Nothing is known about their objects.
    pub away: BTreeMap<ClusterName, String>,
    /// Objects named by [`objects_to_observe`] that the server refuses to show, and its error.
    pub unseen: BTreeMap<ObjectRef, String>,
    /// Jobs of this release by name.
    pub jobs: BTreeMap<String, JobSeen>,
}

/// One object that was or will be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectSeen {
    /// `metadata.uid`
    pub uid: Uid,
    /// Digest of the manifest that it was applied from.
    pub applied: Option<String>,
    /// Uid of the Release that created it.
    pub created_by: Option<Uid>,
    /// `metadata.resourceVersion`
    pub version: String,
    /// Its labels and annotations that say who owns it.
    pub marks: OwnershipMarks,
    /// It is being deleted.
    pub terminating: bool,
}

/// Lane routes as the gateways have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutesSeen {
    /// Services that a route names as backend.
    pub backends: BTreeSet<ObjectKey>,
    /// What is wrong with the routes to such a Service.
    pub troubles: BTreeMap<ObjectKey, String>,
    /// Some route was written that its gateways have not acknowledged yet.
    pub pending: bool,
    /// By lane group: an enabled lane that does not lead to what this release has deployed.
    pub closed: BTreeMap<String, ClosedLane>,
}

/// A lane that does not lead to an existing gray version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosedLane {
    /// Which lane, and why.
    pub why: String,
    /// It waits for other releases, for as long as they take.
    pub waits: bool,
}

/// A build Job as observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobSeen {
    /// Identifies the Job.
    pub item: InventoryItem,
    /// It succeeded.
    pub succeeded: bool,
    /// Digest of the image that it built (`sha256:…`), if it reported one.
    pub digest: Option<String>,
    /// Why it failed.
    pub failed: Option<String>,
    /// Progress message.
    pub message: Option<String>,
}

/// Probes could not be sent. Holds the reason in the words of whoever sends them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProbeFailure(pub Clean);

/// Results of the probes of a verify task.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbesSeen {
    /// Name of the task.
    pub task: String,
    /// Attempt of the task.
    pub attempt: u32,
    /// Probes are in progress now.
    pub running: bool,
    /// How long ago the last probes returned, and their results; or why none could be sent.
    pub last: Option<(Duration, Result<Vec<ProbeResult>, ProbeFailure>)>,
}

/// A step that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFailure {
    /// Message for people: what, where and why.
    pub message: String,
    /// Retrying without a change will not help (invalid, owned by another field manager, or
    /// denied).
    pub permanent: bool,
}

/// One write or other action of the engine. Steps are taken in order; the first that fails ends the
/// pass.
#[derive(Clone, Debug, PartialEq)]
pub enum ReleaseStep {
    /// Write the status of an environment into the App.
    SetEnvironment {
        /// Name of the environment.
        environment: String,
        /// The new status.
        status: Box<EnvironmentStatus>,
    },
    /// Server-side apply the whole object.
    Apply {
        /// The object to apply.
        object: Value,
        /// The resourceVersion that was seen; `None` when it did not exist. The apply is valid for
        /// this version only.
        seen: Option<String>,
        /// Also take fields of other field managers, because somebody asked for it.
        force: bool,
        /// Account to act as.
        by: Account,
    },
    /// Send one merge patch to a workload, with the resourceVersion it was made from.
    Patch {
        /// The workload to patch.
        workload: ObjectRef,
        /// The merge patch.
        patch: Value,
        /// What the patch does.
        why: &'static str,
        /// Account to act as.
        by: Account,
    },
    /// Create this Job unless it exists, as the deployer of its namespace.
    CreateJob(Value),
    /// Delete an object if it still has this uid.
    Delete {
        /// The object, with its uid.
        item: InventoryItem,
        /// Account to act as.
        by: Account,
    },
    /// Delete a pod that blocks its workload, if it is unchanged since it was seen.
    DeletePod {
        /// The pod, with its uid.
        pod: InventoryItem,
        /// The resourceVersion at which it was seen: it may have become Ready since.
        version: String,
        /// Why it is deleted.
        why: String,
        /// Account to act as.
        by: Account,
    },
    /// Send these probes; their results are observed in the next pass.
    RunProbes {
        /// Name of the task.
        task: String,
        /// Attempt of the task.
        attempt: u32,
        /// Lane group whose entry receives the probes.
        group: String,
        /// The probes to send.
        probes: Vec<ProbeSpec>,
    },
    /// Remove the environment from the App's spec.
    RemoveEnvironment(String),
}

impl ReleaseStep {
    /// Creates an object that was not there.
    fn create(object: Value, by: Account) -> Self {
        Self::Apply {
            object,
            seen: None,
            force: false,
            by,
        }
    }

    fn patch(workload: &ObjectRef, patch: Value, why: &'static str, by: Account) -> Self {
        Self::Patch {
            workload: workload.clone(),
            patch,
            why,
            by,
        }
    }

    fn delete_pod(workload: &ObjectRef, pod: PodSeen, why: String, by: Account) -> Self {
        let PodSeen {
            name, uid, version, ..
        } = pod;
        let key = ObjectKey::new(workload.key.namespace.clone(), name);
        Self::DeletePod {
            pod: InventoryItem::new(ObjectRef::pod(key), uid),
            version,
            why,
            by,
        }
    }
}

/// Result of one reconcile pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// New status of the Release; written first.
    pub status: ReleaseStatus,
    /// Steps to take afterwards.
    pub steps: Vec<ReleaseStep>,
    /// When to reconcile again even if nothing has changed.
    pub look_again: Option<SignedDuration>,
}

/// Decides what a Release does next.
pub fn decide_steps(observed: &Observed) -> Decision {
    let mut reducer = Reducer::from_observed(observed);
    if !reducer.status.phase.is_final() {
        reducer.record_wish();
        if plan::ensure_begun(&mut reducer) {
            reducer.decide_tasks();
        }
    }
    reducer.into_decision()
}

#[cfg(test)]
mod tests;
