//! How current a world is: its links, what is wrong with them, what they cannot show, and what was asked over them.

use jiff::Timestamp;

use crate::domain::text::Clean;

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
            Self::Stale {
                since,
                trouble,
                why,
            } => Some((*since, *trouble, why)),
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
            Self::Offline
            | Self::Slept
            | Self::Throttled
            | Self::Expired
            | Self::Failing
            | Self::Forbidden => None,
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
        let place = self
            .context
            .as_ref()
            .map_or_else(String::new, |c| format!(" of {c}"));
        match self.trouble {
            Trouble::Missing => format!("not installed: {}{place}", self.resource),
            _ => format!(
                "not permitted: list {} in {}{place}",
                self.resource, self.namespace
            ),
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
