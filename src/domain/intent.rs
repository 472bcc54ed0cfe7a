//! What a person can ask the program to do. The cockpit and the command line create intents, and
//! `cluster::perform` carries them out. Each records what the person saw, so that an outdated
//! intent is refused.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{apps::Setting, edit::EditableKind, release_intents::expected_status};
use crate::api::{
    BatchStatus, Control, Decision, EnvironmentLock, LaneSpec, ProbeSpec, Release, ReleasePhase,
    TaskPhase, TaskStatus, Uid,
};

/// Version of the object that the person saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenObject {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`. `None` accepts any version.
    pub version: Option<String>,
    /// State of a Release, whose status changes too often to compare resource versions. `None`
    /// accepts any state.
    pub state: Option<Box<ReleaseState>>,
}

/// State that an intent about a Release depends on: the expected status and what people have asked
/// for. Not every write changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseState {
    phase: ReleasePhase,
    /// Name of the current task.
    task: Option<String>,
    tasks: Vec<TaskState>,
    /// Without the last request, which is only for the history.
    control: Control,
}

/// State of one task of a [`ReleaseState`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct TaskState {
    name: String,
    phase: TaskPhase,
    attempt: u32,
    batches: Vec<BatchStatus>,
}

impl ReleaseState {
    /// State of a release now.
    pub fn from_release(release: &Release) -> Self {
        let status = expected_status(release);
        let state = |task: TaskStatus| TaskState {
            name: task.name,
            phase: task.phase,
            attempt: task.attempt,
            batches: task.batches,
        };
        Self {
            phase: status.phase,
            task: status.task,
            tasks: status.tasks.into_iter().map(state).collect(),
            control: Control {
                last: None,
                ..release.spec.control.clone()
            },
        }
    }
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Start one run of a stage for each App. Several Apps share a window.
    StartRelease {
        /// Names of the Apps.
        apps: Vec<String>,
        /// Stage to run for each App.
        stage: String,
        /// Existing images by App and image name.
        images: BTreeMap<String, BTreeMap<String, String>>,
        /// Reason.
        comment: Option<String>,
        /// Window. `None` creates a new one for several Apps.
        window: Option<String>,
    },
    /// Do something with one release.
    Release {
        /// Name of the release.
        name: String,
        /// What the person saw. `None` skips the check (command line).
        seen: Option<SeenObject>,
        /// What to do.
        wish: ReleaseIntent,
        /// Reason.
        comment: Option<String>,
    },
    /// Create Apps from a template.
    CreateApps {
        /// Name of the AppTemplate.
        template: String,
        /// What the person saw.
        seen: Option<SeenObject>,
        /// Names of the new Apps.
        names: Vec<String>,
        /// Values for their environments.
        settings: Vec<Setting>,
    },
    /// Pause every running release.
    StopTheLine,
    /// Create or replace a lane.
    SetLane {
        /// Name of the lane.
        name: String,
        /// What the person saw. `None` creates the lane.
        seen: Option<SeenObject>,
        /// New spec.
        spec: LaneSpec,
    },
    /// Enable or disable a lane.
    EnableLane {
        /// Name of the lane.
        name: String,
        /// What the person saw.
        seen: Option<SeenObject>,
        /// Whether to enable it.
        enabled: bool,
    },
    /// Delete a lane.
    DeleteLane {
        /// Name of the lane.
        name: String,
        /// What the person saw.
        seen: Option<SeenObject>,
    },
    /// Replace one of graylane's own objects by an edited one.
    EditObject {
        /// Kind of the object.
        kind: EditableKind,
        /// Name of the object.
        name: String,
        /// The object that the person started from; any other one is not overwritten.
        before: Arc<Value>,
        /// The object to write.
        after: Arc<Value>,
    },
    /// Tear down an App's environment: a Release with only a clean-up.
    Teardown {
        /// Name of the App.
        app: String,
        /// Name of the environment.
        environment: String,
        /// Reason.
        comment: Option<String>,
    },
    /// Lock or unlock an environment.
    Lock {
        /// Name of the App.
        app: String,
        /// Name of the environment.
        environment: String,
        /// What the person saw of the App.
        seen: Option<SeenObject>,
        /// New lock. `None` unlocks.
        lock: Option<EnvironmentLock>,
    },
}

/// Requests to a lane group's entry, whose chains are reported. They change nothing of the cluster,
/// so they are no [`Intent`].
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeRequest {
    /// Name of the lane group.
    pub group: String,
    /// Request to send and its expected result.
    pub probe: ProbeSpec,
}

/// What a person can ask of a release.
#[derive(Clone, Debug, PartialEq)]
pub enum ReleaseIntent {
    /// Decide on an approval task: an Approval of its own.
    Decide(TaskDecision),
    /// Change what the release may do: a level in its [`Control`].
    Control(ControlIntent),
}

/// A person's decision on an approval task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDecision {
    /// Name of the task.
    pub task: String,
    /// Attempt of the task.
    pub attempt: u32,
    /// Whether it is approved.
    pub decision: Decision,
    /// Digest of what was shown ([`super::workflow::Proposal`]). `None` means what would be applied
    /// now.
    pub digest: Option<String>,
}

/// What a person can ask for in the [`Control`] of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlIntent {
    /// Let a proceed task or a batch of a deploy through.
    Allow {
        /// Name of the task.
        task: String,
        /// Last batch that may start; 1 for a proceed task.
        batch: u32,
    },
    /// Pause the release.
    Pause,
    /// Resume the release.
    Resume,
    /// Roll back and end the release.
    Abort,
    /// Retry a failed task.
    Retry {
        /// Name of the task.
        task: String,
        /// Take over fields from other field managers.
        force: bool,
    },
    /// Skip a failed or waiting task.
    Skip {
        /// Name of the task.
        task: String,
    },
}

impl From<TaskDecision> for ReleaseIntent {
    fn from(decision: TaskDecision) -> Self {
        Self::Decide(decision)
    }
}

impl From<ControlIntent> for ReleaseIntent {
    fn from(intent: ControlIntent) -> Self {
        Self::Control(intent)
    }
}
