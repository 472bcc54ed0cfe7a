//! What the cockpit asks the rest of the program to do, and what it is told: plain data, so that a test can
//! compare it and a log can hold it.

use std::collections::BTreeMap;

use crate::{
    api::Served,
    domain::{chain::Chain, intent::Intent, text::Clean, world::Key},
};

/// Ties an answer to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Carry a wish out; answered by `Msg::Settled`.
    Perform(Ticket, Intent),
    /// Read something; answered by any number of `Msg::Answer`.
    Ask(Ticket, Ask),
    /// Its reader is gone: stop answering.
    Drop(Ticket),
    /// Try the connection again now.
    Reconnect,
    /// Look at another cluster, by the name of a [`Choice`].
    Switch(String),
    /// Fetch a whole trace from the stores that a lane group names; it comes with the next worlds.
    FetchTrace {
        /// The lane group.
        group: String,
        /// The trace id.
        trace: String,
    },
    /// To the clipboard, by OSC 52.
    Copy(String),
    /// Draw every cell anew.
    Repaint,
    /// Give the terminal back and stop, as Ctrl-Z does.
    Suspend,
    /// End the loop.
    Quit,
}

/// Something to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A pod's logs: the last `tail` lines, and then every new one.
    Logs {
        /// The pod.
        pod: Key,
        /// One container; none is the first.
        container: Option<String>,
        /// How many old lines.
        tail: u32,
        /// Of the run before the last restart.
        previous: bool,
    },
    /// An object as it is now, as YAML.
    Yaml(Object),
    /// Which clusters could be looked at.
    Contexts,
}

/// A cluster that could be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// By which it is chosen.
    pub name: String,
    /// What it is called once it is shown.
    pub place: String,
    /// Its address.
    pub server: Clean,
    /// The namespace that is looked at.
    pub namespace: Clean,
    /// kubectl uses it.
    pub current: bool,
}

/// One object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// Plural and group, as kubectl takes them: `releases.graylane.dev`, `pods`, `deployments.apps`.
    pub resource: String,
    /// Namespace and name.
    pub key: Key,
}

impl Object {
    /// One of our own resources.
    pub fn ours(plural: &str, namespace: &str, name: &str) -> Self {
        let key = Key {
            namespace: namespace.into(),
            name: name.into(),
        };
        Self {
            resource: format!("{plural}.{}", crate::api::GROUP),
            key,
        }
    }

    /// `pods/demo/spring-cloud-a-…`, for titles.
    pub fn title(&self) -> String {
        let kind = self.resource.split('.').next().unwrap_or_default();
        format!("{kind}/{}", self.key.name)
    }
}

/// Part of an answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// More lines.
    Lines(Vec<Clean>),
    /// The clusters that there are.
    Choices(Vec<Choice>),
    /// That was all.
    End,
    /// It cannot be read, or not any more.
    Failed(Fault),
}

/// What went wrong, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// One line: what failed, where, what to do.
    pub text: Clean,
    /// More, for whoever opens it.
    pub detail: Vec<Clean>,
    /// The world had moved on: what was confirmed is not what is there.
    pub moved_on: bool,
}

impl Fault {
    /// Of one line.
    pub fn new(text: &str) -> Self {
        Self {
            text: Clean::from_untrusted(text),
            ..Self::default()
        }
    }
}

/// What came of a wish.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// One line: `release spring-cloud-a-7 started`.
    pub text: Clean,
    /// Names of Releases that it made, to be selected.
    pub releases: Vec<String>,
    /// For a probe: one for each request.
    pub probes: Vec<Probed>,
}

/// One probe request and its chains.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probed {
    /// Path and query, as asked.
    pub path: String,
    /// None when there was no answer.
    pub status: Option<u16>,
    /// Milliseconds to the end of the answer.
    pub latency_ms: f64,
    /// Tag that the entry gave; none is the baseline.
    pub lane: Option<String>,
    /// The ways it took.
    pub chains: Vec<Chain>,
    /// App to the side that ought to answer.
    pub expected: BTreeMap<String, Served>,
    /// All is well.
    pub passed: bool,
    /// `ok`, `leak down`, `failed`, …
    pub verdict: String,
    /// In words, what is wrong.
    pub problems: Vec<String>,
    /// The body, cleaned; newlines are kept.
    pub body: Clean,
}
