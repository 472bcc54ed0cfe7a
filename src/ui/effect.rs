//! Requests from the cockpit to the rest of the program, and the answers. Both are plain data, so
//! tests can compare them and logs can record them.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::{
    api::{ObjectRef, Served},
    domain::{
        chain::Chain,
        describe::DescribedLine,
        diff::AnswerPair,
        edit::{CheckedEdit, EditDraft},
        intent::{Intent, ProbeRequest},
        lanes::ChainRequests,
        log::{LogEvent, LogRequest},
        text::Clean,
        world::ObjectKey,
    },
    ui::own_commands::PreparedCommand,
};

/// Correlates an answer with the request that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Work to be done outside the pure update function.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Carry out an intent in the namespace that it was made for; answered by `Msg::Settled`.
    Perform(Ticket, String, Intent),
    /// Send requests to the entry of a lane group in this namespace; answered by `Msg::Settled`.
    Probe(Ticket, String, ProbeRequest),
    /// Read something; answered by any number of `Msg::Answer`.
    Query(Ticket, Query),
    /// Cancel a query: nobody reads its answers any more.
    CancelQuery(Ticket),
    /// Retry the connection now.
    Reconnect,
    /// Show another cluster, by the name of a [`ClusterChoice`].
    SwitchCluster(String),
    /// Show another namespace of the same cluster, or all of them.
    SwitchNamespace(ShownNamespace),
    /// Fetch a whole trace from the stores that a lane group names; it arrives with a later world.
    FetchTrace {
        /// Namespace of the lane group.
        namespace: String,
        /// Lane group whose trace stores are asked.
        group: String,
        /// Trace id.
        trace: String,
    },
    /// Copy text to the clipboard, by OSC 52.
    Copy(String),
    /// Redraw every cell.
    Repaint,
    /// Give the terminal to another program; answered by `Msg::Returned` once it has ended.
    Foreground(Ticket, Foreground),
    /// Restore the terminal and stop the process, as Ctrl-Z does.
    Suspend,
    /// End the event loop.
    Quit,
}

/// A program that needs the terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Foreground {
    /// The person's editor, on a text.
    Edit {
        /// Name of the file.
        name: String,
        /// The text.
        text: String,
    },
    /// A shell in a container of a pod.
    Shell {
        /// Pod.
        pod: ObjectKey,
        /// Container.
        container: String,
    },
    /// One of the user's own commands.
    Run(PreparedCommand),
}

/// A program to run in the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForegroundCommand {
    /// What it is called when it fails: `the editor`.
    pub name: String,
    /// Name or path of the program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The command as it is shown before it runs.
    pub shown: Option<String>,
    /// File that the program changes.
    pub file: Option<String>,
}

/// What came of a program that had the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// File that it changed, and its text now.
    pub file: Option<(String, String)>,
    /// What is to be said of it.
    pub words: Option<Clean>,
}

/// What to describe.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribeTarget {
    /// Objects, in order.
    pub objects: Vec<ObjectRef>,
    /// App and environment whose Services are described too.
    pub services_of: Option<(String, String)>,
}

impl DescribeTarget {
    /// One object.
    pub fn of_object(object: ObjectRef) -> Self {
        Self {
            objects: vec![object],
            services_of: None,
        }
    }
}

/// A query: something to read from the cluster, or to ask an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Logs of pods; but for a run before the last restart they are followed.
    Logs {
        /// Namespace of the Apps whose pods they are.
        namespace: String,
        /// Which logs.
        request: LogRequest,
    },
    /// The current state of an object, as YAML.
    Yaml(ObjectRef),
    /// The clusters that can be shown.
    Contexts,
    /// The namespaces of the cluster that can be shown.
    Namespaces,
    /// Both answers to a request, compared: it is sent to the baseline and to gray.
    Comparison {
        /// Namespace of the lane group.
        namespace: String,
        /// Both requests.
        asked: Arc<ChainRequests>,
    },
    /// Objects as a person reads them, with their events.
    Describe(DescribeTarget),
    /// One of graylane's own objects, to be edited.
    Editable(ObjectRef),
    /// Check an edited text, by the server too, without writing it.
    CheckEdit(EditDraft),
    /// Remove the file of an edited text.
    Discard(String),
    /// The ports that the containers of a pod name.
    Ports(ObjectKey),
    /// Forward a port of a pod until the query is cancelled.
    PortForward {
        /// Pod.
        pod: ObjectKey,
        /// Its port.
        port: u16,
    },
    /// Save a text to a new file, which only this user can read.
    Save {
        /// Path as typed; `~/` is the home folder.
        path: String,
        /// The text.
        text: String,
    },
    /// Run a program with these arguments, without a terminal, until the query is cancelled.
    RunCommand(Vec<String>),
}

/// A cluster that can be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterChoice {
    /// Name used to select it.
    pub name: String,
    /// Label in the header while this cluster is shown.
    pub place: String,
    /// API server address.
    pub server: Clean,
    /// Namespace to show.
    pub namespace: Clean,
    /// Whether this is kubectl's current context.
    pub current: bool,
    /// Namespace of it that was chosen before, which is shown instead.
    pub chosen: Option<ShownNamespace>,
}

impl ClusterChoice {
    /// What the header shows once this is chosen.
    pub fn shown_place(&self) -> String {
        self.chosen.as_ref().map_or_else(
            || self.place.clone(),
            |namespace| namespace.place_in(&self.place),
        )
    }
}

/// A namespace that can be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceChoice {
    /// Its name.
    pub name: Clean,
    /// Number of Apps in it.
    pub apps: usize,
    /// Releases in it that wait for a person, with what they wait for; the most urgent first.
    pub waiting: Vec<Clean>,
}

/// What the header shows before the name of a context.
const CONTEXT: &str = "context ";

/// What the header shows for a context of kubectl's files.
pub fn place_of_context(name: &str) -> String {
    [CONTEXT, name].concat()
}

/// The context of what the header shows, where it is one of kubectl's files.
pub fn context_of_place(place: &str) -> Option<&str> {
    cluster_of_place(place).strip_prefix(CONTEXT)
}

/// What separates a cluster from a namespace in the header.
const NAMESPACE_OF: &str = ", namespace ";

/// What the header shows after a cluster of which all namespaces are shown.
const ALL_OF: &str = ", all namespaces";

/// What of a cluster is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownNamespace {
    /// One namespace.
    One(String),
    /// All of them at once.
    All,
}

impl ShownNamespace {
    /// What the header shows for it.
    pub fn place_in(&self, cluster: &str) -> String {
        match self {
            Self::One(namespace) => place_of_namespace(cluster, namespace),
            Self::All => [cluster, ALL_OF].concat(),
        }
    }
}

/// What the header shows for a chosen namespace of a cluster.
pub fn place_of_namespace(cluster: &str, namespace: &str) -> String {
    format!("{cluster}{NAMESPACE_OF}{namespace}")
}

/// The cluster of what the header shows.
pub fn cluster_of_place(place: &str) -> &str {
    if let Some(cluster) = place.strip_suffix(ALL_OF) {
        return cluster;
    }
    place
        .rsplit_once(NAMESPACE_OF)
        .map_or(place, |(cluster, _)| cluster)
}

/// Part of the answer to an [`Query`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// More lines of text.
    Lines(Vec<Clean>),
    /// More of logs.
    Log(Vec<LogEvent>),
    /// More of a description.
    Described(Vec<DescribedLine>),
    /// The object to be edited.
    Editable(Arc<Value>),
    /// The server would take the edited text.
    EditChecked(CheckedEdit),
    /// Ports of a pod, each with its name.
    Ports(Vec<(String, u16)>),
    /// The port of this machine that is forwarded.
    Forwarding(u16),
    /// The text was saved to this file.
    Saved(Clean),
    /// The text was not saved.
    NotSaved(Fault),
    /// The clusters to choose from.
    Choices(Vec<ClusterChoice>),
    /// The namespaces to choose from.
    Namespaces(Vec<NamespaceChoice>),
    /// Both answers, to be compared.
    Compared(Box<AnswerPair>),
    /// The answer is complete.
    End,
    /// The object cannot be read, or no longer.
    Failed(Fault),
}

/// An error, as text for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// One line: what failed, where, and what to do about it.
    pub text: Clean,
    /// Further lines, shown in the notices.
    pub detail: Vec<Clean>,
    /// The object changed since it was confirmed, so nothing was done.
    pub moved_on: bool,
}

impl Fault {
    /// A fault of one line, without details.
    pub fn new(text: &str) -> Self {
        Self {
            text: Clean::from_untrusted(text),
            ..Self::default()
        }
    }
}

/// Result of an intent that was carried out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntentOutcome {
    /// One line: `release spring-cloud-a-7 started`.
    pub text: Clean,
    /// Names of the releases that were created; the cockpit selects them.
    pub releases: Vec<String>,
    /// Probe results, one per request; empty for other intents.
    pub probes: Vec<ProbeOutcome>,
}

/// Result of one probe request, with its chains.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeOutcome {
    /// Path and query of the request.
    pub path: String,
    /// Trace id; empty when nothing was sent.
    pub trace: String,
    /// HTTP status; `None` when there was no answer.
    pub status: Option<u16>,
    /// Time until the response was complete, in milliseconds.
    pub latency_ms: f64,
    /// Tag that the entry set; `None` is the baseline.
    pub lane: Option<String>,
    /// Chains of hops that the request caused.
    pub chains: Vec<Chain>,
    /// Expected side for each App.
    pub expected: BTreeMap<String, Served>,
    /// Whether the probe passed.
    pub passed: bool,
    /// `ok`, `leak down`, `failed`, …
    pub verdict: String,
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
    /// Response body without control characters; newlines are kept.
    pub body: Clean,
}
