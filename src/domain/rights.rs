//! What the person may do, as the cluster says: known before it is tried, so that it can be told before it is tried.
//! What is not known is not forbidden here: the server has the last word.

use std::{collections::BTreeSet, fmt};

use super::{
    intent::{Intent, ReleaseWish},
    text::Clean,
    world::place,
};
use crate::api::GROUP;

/// A right that something here needs, in some namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Start a release, or a teardown.
    Start,
    /// Pause, let go on, abort, retry, skip.
    Steer,
    /// Say yes or no.
    Approve,
    /// Make an App.
    NewApp,
    /// Make a lane.
    NewLane,
    /// Edit a lane, switch it on or off.
    EditLane,
    /// Delete a lane.
    DeleteLane,
    /// Lock or unlock an environment.
    Lock,
    /// Weaken or remove an App's approvals ([`super::guard`]); an admission policy asks for it.
    Weaken,
    /// Read a pod's log.
    Logs,
}

impl Right {
    /// All that is asked about in the namespace of our resources.
    pub const HOME: [Self; 9] = [
        Self::Start,
        Self::Steer,
        Self::Approve,
        Self::NewApp,
        Self::NewLane,
        Self::EditLane,
        Self::DeleteLane,
        Self::Lock,
        Self::Logs,
    ];
    /// All that is asked about in the namespaces of environments.
    pub const AWAY: [Self; 1] = [Self::Logs];

    /// Verb, group, resource and subresource, as RBAC has them.
    pub const fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Start => ("create", GROUP, "releases", ""),
            Self::Steer => ("patch", GROUP, "releases", ""),
            Self::Approve => ("create", GROUP, "approvals", ""),
            Self::NewApp => ("create", GROUP, "apps", ""),
            Self::NewLane => ("create", GROUP, "lanes", ""),
            Self::EditLane => ("update", GROUP, "lanes", ""),
            Self::DeleteLane => ("delete", GROUP, "lanes", ""),
            Self::Lock => ("patch", GROUP, "apps", ""),
            Self::Weaken => ("weaken-approvals", GROUP, "apps", ""),
            Self::Logs => ("get", "", "pods", "log"),
        }
    }

    /// What an intent needs, in the namespace of our resources.
    pub const fn of(intent: &Intent) -> Option<Self> {
        Some(match intent {
            Intent::StartRelease { .. } | Intent::Teardown { .. } => Self::Start,
            Intent::Release {
                wish: ReleaseWish::Decide { .. },
                ..
            } => Self::Approve,
            Intent::Release { .. } | Intent::StopTheLine => Self::Steer,
            Intent::CreateApps { .. } => Self::NewApp,
            Intent::SetLane { seen: None, .. } => Self::NewLane,
            Intent::SetLane { .. } | Intent::EnableLane { .. } => Self::EditLane,
            Intent::DeleteLane { .. } => Self::DeleteLane,
            Intent::Lock { .. } => Self::Lock,
            Intent::Probe { .. } => return None,
        })
    }

    /// What is told to whom it lacks; of another context than home the namespace is as [`super::world::Key`] has it.
    pub fn refusal(self, namespace: &str) -> String {
        match place(namespace) {
            (None, namespace) => format!("not permitted: needs {self} in namespace {namespace}"),
            (Some(context), namespace) => {
                format!("not permitted: needs {self} in namespace {namespace} of context {context}")
            }
        }
    }
}

/// `create approvals.graylane.dev`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, group, resource, sub) = self.parts();
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if sub.is_empty() {
            Ok(())
        } else {
            write!(f, "/{sub}")
        }
    }
}

/// What one person lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Whom the cluster takes us for; none when it does not say.
    pub who: Option<Clean>,
    /// By namespace, of another context than home as [`super::world::Key`] has it.
    pub lacking: BTreeSet<(String, Right)>,
}

impl Rights {
    /// Why it may not be done, in words; nothing when it may, or when nobody knows.
    pub fn missing(&self, right: Right, namespace: &str) -> Option<String> {
        self.lacking
            .contains(&(namespace.to_owned(), right))
            .then(|| right.refusal(namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_as_rbac_writes_it_and_the_unknown_is_allowed() {
        let rights = Rights {
            who: None,
            lacking: [
                ("demo".into(), Right::Approve),
                ("test".into(), Right::Logs),
            ]
            .into(),
        };
        let told = rights.missing(Right::Approve, "demo").unwrap();
        assert_eq!(
            told,
            "not permitted: needs create approvals.graylane.dev in namespace demo"
        );
        assert_eq!(
            rights.missing(Right::Logs, "test").unwrap(),
            "not permitted: needs get pods/log in namespace test"
        );
        assert_eq!(rights.missing(Right::Approve, "test"), None);
        assert_eq!(Rights::default().missing(Right::Start, "demo"), None);
    }
}
