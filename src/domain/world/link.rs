//! State of the connections to clusters: whether data is current, what is wrong, what cannot be
//! watched, and how many requests were made.

use jiff::Timestamp;

use crate::{api::ClusterName, domain::text::Clean};

/// Whether the data of a cluster is current.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Nothing has been received yet.
    #[default]
    Connecting,
    /// All watches are running.
    Live,
    /// The data dates from `since`.
    Stale {
        /// When the first watch failed.
        since: Timestamp,
        /// Kind of problem.
        trouble: LinkTrouble,
        /// Explanation.
        why: Clean,
    },
}

impl Link {
    /// Since when the data is out of date, and why. `None` while it is current.
    pub const fn stale_since(&self) -> Option<(Timestamp, LinkTrouble, &Clean)> {
        match self {
            Self::Stale {
                since,
                trouble,
                why,
            } => Some((*since, *trouble, why)),
            Self::Connecting | Self::Live => None,
        }
    }
}

/// Problem with the connection to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkTrouble {
    /// The server does not answer.
    Offline,
    /// This machine was suspended, and nothing has been received since.
    Slept,
    /// Authentication failed: credentials are missing or expired, or their plugin fails (401).
    Unauthorized,
    /// The server asked for fewer requests (429).
    Throttled,
    /// The resource version is too old for the server (410).
    Expired,
    /// The server fails (5xx and others).
    Failing,
    /// A right is missing (403).
    Forbidden,
    /// The server does not have the kind (404).
    Missing,
}

impl LinkTrouble {
    /// One or two words for a badge.
    pub const fn badge_text(self) -> &'static str {
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

    /// Explanation in a short sentence.
    pub const fn as_sentence(self) -> &'static str {
        match self {
            Self::Offline => "the cluster does not answer",
            Self::Slept => "this machine slept",
            Self::Unauthorized => "the credentials are gone or have expired",
            Self::Throttled => "the server asks for fewer requests",
            Self::Expired => "the server has dropped its history; everything is read again",
            Self::Failing => "the server fails",
            Self::Forbidden => "not permitted",
            Self::Missing => "graylane is not installed in this cluster",
        }
    }

    /// What the user can do. `None` if there is nothing to do but wait.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Unauthorized => Some("log in as for kubectl: `kubectl get ns` asks"),
            Self::Missing => Some("graylane install brings it"),
            Self::Offline
            | Self::Slept
            | Self::Throttled
            | Self::Expired
            | Self::Failing
            | Self::Forbidden => None,
        }
    }
}

/// Resource that cannot be watched while other watches work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchGap {
    /// Cluster.
    pub cluster: ClusterName,
    /// Plural with its group, as in RBAC: `pods`, `deployments.apps`.
    pub resource: &'static str,
    /// Namespace of the watch; `None` where all of them are watched at once.
    pub namespace: Option<String>,
    /// [`LinkTrouble::Forbidden`] or [`LinkTrouble::Missing`].
    pub trouble: LinkTrouble,
    /// Since when it cannot be watched.
    pub since: Timestamp,
    /// Message of the server.
    pub why: Clean,
}

impl WatchGap {
    /// Description for users: `not permitted: list pods in demo-test`
    pub fn describe_gap(&self) -> String {
        let place = self
            .cluster
            .context()
            .map_or_else(String::new, |c| format!(" of {c}"));
        if self.trouble == LinkTrouble::Missing {
            format!("not installed: {}{place}", self.resource)
        } else {
            let resource = self.resource;
            match &self.namespace {
                Some(name) => format!("not permitted: list {resource} in {name}{place}"),
                None => format!("not permitted: list {resource} in all namespaces{place}"),
            }
        }
    }
}

/// Number of requests that this process has sent to the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiUsage {
    /// All requests.
    pub total: u64,
    /// Requests in the last minute.
    pub minute: u32,
    /// Requests answered with 429.
    pub throttled: u64,
    /// The server accepts no requests before this time.
    pub until: Option<Timestamp>,
    /// Number of open watches.
    pub watches: u32,
}
