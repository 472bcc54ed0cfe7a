//! What a Release does next: a pure function of the Release, its App as it was frozen when the release began, the
//! approvals, what is seen of the cluster, and the time.
//!
//! [`decide`] remembers nothing. Every step can be repeated, and what was done is read off the cluster, so a
//! crash between any two steps, or in the middle of one, changes nothing. The status is written before the
//! steps are taken: a look at a Release that has moved on meanwhile comes to nothing.
//!
//! Tasks run one after the other, each when the one before it is passed. That alone keeps the promises: no
//! deploy without the approval before it, no clean-up before production is done. An approval cannot be
//! skipped, and neither can a deploy that stands half-way.

mod abort;
mod approval;
mod build;
mod clean_up;
mod deploy;
mod environment;
mod forecast;
mod gate;
mod objects;
mod plan;
mod proposal;
mod records;
mod run;
mod timers;
mod verify;

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    batches::WorkloadSeen,
    observe::PodSeen,
    owner::{Marks, Owner},
    revision::FrozenApp,
};
use crate::{
    api::{
        Approval, EnvironmentStatus, InventoryItem, ProbeResult, ProbeSpec, Release, ReleasePhase,
        ReleaseStatus, RolloutRecord, VariableGroup,
    },
    domain::account::Account,
};

pub use approval::{decision, is_undecided};
pub use forecast::{Forecast, ForecastInput, ForecastStep, Stop, forecast_release};
pub use gate::{holder, is_at_work, lane_open};
pub use objects::{key, looked_at, named_by, placed, rendered};
pub use plan::{Plan, group_names, plan, values};
pub use proposal::{Change, Proposal, Rendered, bound_images, built_after, changes, proposal};
pub use timers::Timers;

/// Namespace and name.
pub type Name = (String, String);

/// What one look sees.
pub struct Observed<'a> {
    /// The Release.
    pub release: &'a Release,
    /// Its App, as it was frozen for this release; or why it is not known, in words.
    pub app: Result<&'a FrozenApp, &'a str>,
    /// The variable groups that its environments name, as far as they are there; only before it begins.
    pub groups: &'a BTreeMap<String, VariableGroup>,
    /// Every other Release that is not over.
    pub others: &'a [&'a Release],
    /// The Approvals that name it.
    pub approvals: &'a [&'a Approval],
    /// Of what [`looked_at`] names, what is there.
    pub objects: &'a BTreeMap<InventoryItem, ObjectSeen>,
    /// Of those, what stands in another App's inventory and bears no mark itself: whose it is.
    pub claims: &'a BTreeMap<InventoryItem, Owner>,
    /// Of those, what is rolled out in batches, without uids.
    pub workloads: &'a BTreeMap<InventoryItem, WorkloadSeen>,
    /// Of those whose latch is on with nothing that tells whose: what an earlier release has kept of it.
    pub records: &'a BTreeMap<InventoryItem, RolloutRecord>,
    /// Environment to pods that are there, terminating ones too.
    pub pods: &'a BTreeMap<String, u32>,
    /// Services that a lane's route sends requests to.
    pub routes: &'a RoutesSeen,
    /// Contexts that cannot be looked at now, and why. Of their objects nothing is known.
    pub away: &'a BTreeMap<String, String>,
    /// Of what [`looked_at`] names, what the server refuses to show, and its words.
    pub unseen: &'a BTreeMap<InventoryItem, String>,
    /// Jobs of this release, by name.
    pub jobs: &'a BTreeMap<String, JobSeen>,
    /// What the last probes of this release saw.
    pub probes: Option<&'a ProbesSeen>,
    /// A step that went wrong at the last try.
    pub trouble: Option<&'a Trouble>,
    /// What of it has begun, by the engine's own watch.
    pub timers: &'a Timers,
    /// What an approval of it lets through, as it was last rendered.
    pub rendered: &'a Rendered,
    /// Now on that watch: it only ever goes forward, and nothing is measured by another.
    pub clock: Duration,
    /// Now on the wall, for what is written down for people.
    pub now: Timestamp,
}

/// One object that was or will be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectSeen {
    /// `metadata.uid`
    pub uid: String,
    /// Digest of the manifest that it was applied from.
    pub applied: Option<String>,
    /// Uid of the Release that made it.
    pub created_by: Option<String>,
    /// `metadata.resourceVersion`
    pub version: String,
    /// What it says of whose it is.
    pub marks: Marks,
    /// Is being deleted.
    pub terminating: bool,
}

/// Lane routes as the gateways have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutesSeen {
    /// Services that a route names as backend.
    pub backends: std::collections::BTreeSet<Name>,
    /// Of those: what is wrong with such a route, in words.
    pub troubles: BTreeMap<Name, String>,
    /// Some route was written that its gateways have not answered yet.
    pub pending: bool,
    /// By lane group: an enabled lane of it that does not lead to what this release has brought.
    pub closed: BTreeMap<String, Closed>,
}

/// A lane that does not lead to a gray version that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// In words, which one and why.
    pub why: String,
    /// It waits for other releases, for as long as those take.
    pub waits: bool,
}

/// One Job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobSeen {
    /// Where it is.
    pub item: InventoryItem,
    /// It ended well; with the image's digest where it told one.
    pub succeeded: bool,
    /// `sha256:…`
    pub digest: Option<String>,
    /// It ended badly, in words.
    pub failed: Option<String>,
    /// How far it is, in words.
    pub message: Option<String>,
}

/// What the probes of a verify task saw.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbesSeen {
    /// The task.
    pub task: String,
    /// Its attempt.
    pub attempt: u32,
    /// Under way now.
    pub running: bool,
    /// How long ago the last ones came back, and what they saw; or why none could be sent.
    pub last: Option<(Duration, Result<Vec<ProbeResult>, String>)>,
}

/// Why a step could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In words: what, where, why.
    pub message: String,
    /// Trying again without a change will not help (invalid, another manager has it, refused for good).
    pub permanent: bool,
}

/// One thing to do. Taken in order; the first that fails ends the look.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write this into the App's status.
    SetEnvironment {
        /// Which.
        environment: String,
        /// What is to stand there.
        status: Box<EnvironmentStatus>,
    },
    /// Server-side-apply the whole object.
    Apply {
        /// What.
        object: Value,
        /// The resourceVersion that was seen; none: it was not there. Of another one nothing was decided.
        seen: Option<String>,
        /// Also fields that another manager has: somebody asked for it.
        force: bool,
        /// As whom.
        by: Account,
    },
    /// One merge patch of a workload, with the resourceVersion it was made from.
    Patch {
        /// Which.
        workload: InventoryItem,
        /// The patch.
        patch: Value,
        /// In words.
        why: &'static str,
        /// As whom.
        by: Account,
    },
    /// Create it, unless it is there; as whoever deploys to its namespace.
    CreateJob(Value),
    /// Delete it, if its uid is still that.
    Delete {
        /// What, with its uid.
        item: InventoryItem,
        /// As whom.
        by: Account,
    },
    /// Delete this pod of a workload that goes on without it, if it is still as it was seen.
    DeletePod {
        /// Which, with its uid.
        pod: InventoryItem,
        /// The resourceVersion that it was seen at: it may have become Ready since.
        version: String,
        /// In words.
        why: String,
        /// As whom.
        by: Account,
    },
    /// Send these, and tell in the next look what they saw.
    RunProbes {
        /// The task.
        task: String,
        /// Its attempt.
        attempt: u32,
        /// The lane group whose entry is asked.
        group: String,
        /// What to send.
        probes: Vec<ProbeSpec>,
    },
    /// Take the environment out of the App's spec.
    RemoveEnvironment(String),
}

impl Step {
    fn delete_pod(workload: &InventoryItem, pod: PodSeen, why: String, by: Account) -> Self {
        let PodSeen {
            name, uid, version, ..
        } = pod;
        let namespace = workload.namespace.clone();
        let pod = InventoryItem {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace,
            name,
            uid,
        };
        Self::DeletePod {
            pod,
            version,
            why,
            by,
        }
    }
}

/// The answer of one look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What is to stand in the Release's status; written first.
    pub status: ReleaseStatus,
    /// What is to be done then.
    pub steps: Vec<Step>,
    /// When to look again though nothing has changed.
    pub look_again: Option<SignedDuration>,
}

/// One look at a Release.
pub fn decide(observed: &Observed) -> Decision {
    let mut run = run::Run::new(observed);
    if run.status.phase.is_final() {
        return run.end();
    }
    run.tell_wishes();
    if run.status.tasks.is_empty() {
        if !run.begin() {
            return run.end();
        }
    } else if run.status.revision.is_none() {
        run.bind_late();
    }
    let aborting =
        observed.release.spec.control.abort || run.status.phase == ReleasePhase::Aborting;
    if aborting {
        abort::decide(&mut run);
    } else {
        run.tasks();
    }
    run.end()
}

#[cfg(test)]
mod tests;
