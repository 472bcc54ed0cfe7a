//! Rights of the current user in the cluster, checked in advance so that missing ones can be
//! reported before an attempt. An unknown right counts as granted: the server decides.

use std::{collections::BTreeSet, fmt};

use super::{
    intent::{Intent, ReleaseIntent},
    text::Clean,
};
use crate::api::{GROUP, NamespaceRef};

/// A right that an operation needs in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Start a release or a teardown.
    Start,
    /// Pause, resume, proceed, abort, retry or skip.
    Steer,
    /// Create Approvals.
    Approve,
    /// Create an App.
    NewApp,
    /// Create a lane.
    NewLane,
    /// Edit, enable or disable a lane.
    EditLane,
    /// Delete a lane.
    DeleteLane,
    /// Lock or unlock an environment.
    Lock,
    /// Weaken or remove an App's approvals ([`super::approval_guard`]). An admission policy checks it.
    Weaken,
    /// Read the logs of pods.
    Logs,
    /// Edit an App.
    EditApp,
    /// Edit an AppTemplate.
    EditTemplate,
    /// Edit a VariableGroup.
    EditVariables,
    /// Edit a LaneGroup.
    EditGroup,
    /// Open a shell in a pod.
    Shell,
    /// Forward a port of a pod.
    PortForward,
}

impl Right {
    /// Rights that are checked in the home namespace.
    pub const HOME: [Self; 15] = [
        Self::Start,
        Self::Steer,
        Self::Approve,
        Self::NewApp,
        Self::NewLane,
        Self::EditLane,
        Self::DeleteLane,
        Self::Lock,
        Self::Logs,
        Self::EditApp,
        Self::EditTemplate,
        Self::EditVariables,
        Self::EditGroup,
        Self::Shell,
        Self::PortForward,
    ];
    /// Rights that are checked in the namespaces of environments.
    pub const ENVIRONMENT: [Self; 3] = [Self::Logs, Self::Shell, Self::PortForward];

    /// Verb, group, resource and subresource, as in RBAC.
    pub const fn rbac_parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
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
            Self::EditApp => ("update", GROUP, "apps", ""),
            Self::EditTemplate => ("update", GROUP, "apptemplates", ""),
            Self::EditVariables => ("update", GROUP, "variablegroups", ""),
            Self::EditGroup => ("update", GROUP, "lanegroups", ""),
            Self::Shell => ("create", "", "pods", "exec"),
            Self::PortForward => ("create", "", "pods", "portforward"),
        }
    }

    /// Right that an intent needs in the home namespace.
    pub const fn for_intent(intent: &Intent) -> Self {
        match intent {
            Intent::StartRelease { .. } | Intent::Teardown { .. } => Self::Start,
            Intent::Release {
                wish: ReleaseIntent::Decide(_),
                ..
            } => Self::Approve,
            Intent::Release {
                wish: ReleaseIntent::Control(_),
                ..
            }
            | Intent::StopTheLine => Self::Steer,
            Intent::CreateApps { .. } => Self::NewApp,
            Intent::SetLane { seen: None, .. } => Self::NewLane,
            Intent::SetLane { .. } | Intent::EnableLane { .. } => Self::EditLane,
            Intent::DeleteLane { .. } => Self::DeleteLane,
            Intent::EditObject { kind, .. } => kind.right(),
            Intent::Lock { .. } => Self::Lock,
        }
    }

    /// Message for a user who lacks the right in a namespace.
    pub fn describe_missing(self, namespace: &NamespaceRef) -> String {
        let NamespaceRef {
            cluster,
            name: namespace,
        } = namespace;
        match cluster.context() {
            None => format!("not permitted: needs {self} in namespace {namespace}"),
            Some(context) => {
                format!("not permitted: needs {self} in namespace {namespace} of context {context}")
            }
        }
    }
}

/// As RBAC names it: `create approvals.graylane.dev`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, group, resource, sub) = self.rbac_parts();
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

/// Rights that the current user lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// User name that the cluster reports. `None` if it reports none.
    pub who: Option<Clean>,
    /// Missing rights by namespace.
    pub lacking: BTreeSet<(NamespaceRef, Right)>,
}

impl Rights {
    /// Explains why an operation is not permitted. `None` if it is, or if that is not known.
    pub fn explain_missing(&self, right: Right, namespace: &NamespaceRef) -> Option<String> {
        self.lacking
            .contains(&(namespace.clone(), right))
            .then(|| right.describe_missing(namespace))
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
        let told = rights
            .explain_missing(Right::Approve, &"demo".into())
            .unwrap();
        assert_eq!(
            told,
            "not permitted: needs create approvals.graylane.dev in namespace demo"
        );
        assert_eq!(
            rights.explain_missing(Right::Logs, &"test".into()).unwrap(),
            "not permitted: needs get pods/log in namespace test"
        );
        assert_eq!(rights.explain_missing(Right::Approve, &"test".into()), None);
        assert_eq!(
            Rights::default().explain_missing(Right::Start, &"demo".into()),
            None
        );
    }
}
