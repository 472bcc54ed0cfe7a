//! What a person can wish. The cockpit's keys and the command line make these, `cluster::perform` carries
//! them out; each names what was seen, so that a stale wish is refused.

use std::collections::BTreeMap;

use super::{apps::Setting, wishes::as_wished};
use crate::api::{Control, Decision, EnvironmentLock, LaneSpec, ProbeSpec, Release};

/// The resourceVersion (or uid) of what the person was looking at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`; none: whatever it is now.
    pub version: Option<String>,
    /// [`meaning`] of a Release, whose status is written too often for its version to tell anything; none: whatever.
    pub meaning: Option<String>,
}

/// What a wish about a Release depends on: where it stands once the engine has followed what is wanted of it, and what
/// that is; not every write.
pub fn meaning(release: &Release) -> String {
    let status = as_wished(release);
    let tasks: Vec<_> = status
        .tasks
        .iter()
        .map(|t| (&t.name, t.phase, t.attempt, &t.batches))
        .collect();
    let control = Control {
        last: None,
        ..release.spec.control.clone()
    };
    format!("{:?} {:?} {tasks:?} {control:?}", status.phase, status.task)
}

/// A wish.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Start one run of one stage of each App; several share a window.
    StartRelease {
        /// The Apps.
        apps: Vec<String>,
        /// The stage, of each.
        stage: String,
        /// Existing images by App and image name.
        images: BTreeMap<String, BTreeMap<String, String>>,
        /// Why.
        comment: Option<String>,
        /// The window; none lets several Apps share a new one.
        window: Option<String>,
    },
    /// Something about one release.
    Release {
        /// Its name.
        name: String,
        /// What was looked at; none skips the check (command line).
        seen: Option<Seen>,
        /// What to do.
        wish: ReleaseWish,
        /// Why.
        comment: Option<String>,
    },
    /// Make Apps from a template.
    CreateApps {
        /// The AppTemplate.
        template: String,
        /// What was looked at.
        seen: Option<Seen>,
        /// The new Apps.
        names: Vec<String>,
        /// Values of their environments.
        settings: Vec<Setting>,
    },
    /// Hold every running release.
    StopTheLine,
    /// Create or replace a lane.
    SetLane {
        /// Its name.
        name: String,
        /// What was looked at; none creates.
        seen: Option<Seen>,
        /// The whole new spec.
        spec: LaneSpec,
    },
    /// Enable or disable a lane.
    EnableLane {
        /// Its name.
        name: String,
        /// What was looked at.
        seen: Option<Seen>,
        /// On or off.
        enabled: bool,
    },
    /// Delete a lane.
    DeleteLane {
        /// Its name.
        name: String,
        /// What was looked at.
        seen: Option<Seen>,
    },
    /// Take down what an App has in an environment: a Release with only that clean-up.
    Teardown {
        /// The App.
        app: String,
        /// The environment.
        environment: String,
        /// Why.
        comment: Option<String>,
    },
    /// Lock or unlock an environment.
    Lock {
        /// The App.
        app: String,
        /// The environment.
        environment: String,
        /// What was looked at (the App).
        seen: Option<Seen>,
        /// None unlocks.
        lock: Option<EnvironmentLock>,
    },
    /// Send requests at a group's entry and see their chains.
    Probe {
        /// The lane group.
        group: String,
        /// What to send and expect.
        probe: ProbeSpec,
    },
}

/// What can be wished of a release.
#[derive(Clone, Debug, PartialEq)]
pub enum ReleaseWish {
    /// Yes or no to an approval task.
    Decide {
        /// The task.
        task: String,
        /// Its attempt.
        attempt: u32,
        /// Yes or no.
        decision: Decision,
        /// Digest of what was shown ([`super::workflow::Proposal`]); none: of what would be applied now.
        digest: Option<String>,
    },
    /// Let a proceed task, or a deploy's batch, through.
    Allow {
        /// The task.
        task: String,
        /// The batch up to which it may go; 1 for a proceed task.
        batch: u32,
    },
    /// Hold.
    Pause,
    /// Go on.
    Resume,
    /// Roll back and end.
    Abort,
    /// Try a failed task again.
    Retry {
        /// The task.
        task: String,
        /// Take fields that another manager has.
        force: bool,
    },
    /// Go past a failed or waiting task.
    Skip {
        /// The task.
        task: String,
    },
}
