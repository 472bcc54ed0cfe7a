//! The state behind the screen, and the messages that change it.
//!
//! Selections are stored by name. The rows of a pane are computed from the world when they are
//! needed, so a selection never points to another object than the one that was chosen.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use crossterm::event::Event;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tui_input::Input;

use super::{
    effect::{Answer, Effect, Fault, IntentOutcome, Returned, Ticket},
    facts::Facts,
    form::Form,
    keymap::{Action, KeyContext},
    options::Options,
    pane::{Pane, trace::TraceState},
    question::Question,
};
use crate::{
    api::{App, ObjectRef, Release},
    domain::{
        edit::EditableKind,
        world::{Link, ObjectKey, World, Worlds},
    },
};

mod log;
mod namespaces;
mod palette;
mod prompt;
mod rows;
mod sort;
mod text;

pub(crate) use log::LogLook;
pub use log::{LogBuffer, LogTarget};
pub use namespaces::{NamespaceScope, NamespaceView};
pub use palette::{Palette, PaletteItem};
pub use prompt::{Prompt, PromptKind};
pub use rows::matches_filter;
pub use sort::{SortColumn, SortOrder, SortableList};
pub use text::{AnswerComparison, ProbeRun, ProbeSlot, ProbeTrace, Source, Text};
pub(crate) use text::{style_described_line, style_yaml_line};

/// All messages that reach the model. Nothing else changes it.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A terminal event: key, paste, resize or focus.
    Input(Event),
    /// The current world.
    World(Arc<World>),
    /// The current worlds of all namespaces.
    Worlds(Arc<Worlds>),
    /// The outcome of an intent.
    Settled(Ticket, Result<IntentOutcome, Fault>),
    /// Part of an answer to a query.
    Answer(Ticket, Answer),
    /// Clock tick: once a second, four times a second while something is in progress.
    Tick(Timestamp),
    /// A program that had the terminal has ended.
    Returned(Ticket, Result<Returned, Fault>),
    /// The terminal is available again after a suspend.
    Resumed,
}

/// An overlay above the panes; the topmost one receives the keys.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// Text to read: logs, YAML, help and so on.
    Text(Box<Text>),
    /// A form.
    Form(Box<Form>),
    /// A confirmation dialog.
    Confirm(Box<Question>),
    /// The palette.
    Palette(Box<Palette>),
    /// A filter being edited, of a pane or of the text below, and its previous value.
    Filter(Input, String),
    /// A word to search or a file name, being typed.
    Prompt(Box<Prompt>),
}

/// An intent that was sent and has no outcome yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Progress text: `approval sent`.
    pub words: String,
    /// Name of the release, App or lane concerned.
    pub about: String,
    /// Its namespace.
    pub namespace: String,
    /// Time when it was sent.
    pub since: Timestamp,
    /// Id of the probe group, for a probe: results of one group are shown together.
    pub probe: Option<u64>,
    /// Id of the run of intents that it belongs to.
    pub run: Option<u64>,
    /// File of the edited text that is written.
    pub draft: Option<String>,
}

impl Pending {
    /// Something that was sent now, by itself.
    pub fn new(words: impl Into<String>, about: &ObjectKey, now: Timestamp) -> Self {
        Self {
            words: words.into(),
            about: about.name.clone(),
            namespace: about.namespace.name.to_string(),
            since: now,
            probe: None,
            run: None,
            draft: None,
        }
    }
}

/// Intents that one answer sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntentRun {
    /// What they do: `approve 12`.
    pub word: String,
    /// Number of intents.
    pub all: usize,
    /// What was done.
    pub done: Vec<String>,
    /// What failed and why.
    pub failed: Vec<String>,
}

/// An object that is being edited.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingEdit {
    /// Kind of the object.
    pub kind: EditableKind,
    /// The object.
    pub object: ObjectRef,
    /// The object that the person started from, once it was read.
    pub before: Arc<Value>,
}

/// A port that is forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortForward {
    /// Pod.
    pub pod: ObjectKey,
    /// Its port.
    pub port: u16,
    /// Port of this machine, once it is known.
    pub local: Option<u16>,
}

/// A message to the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Time of the message.
    pub time: Timestamp,
    /// Severity.
    pub level: Level,
    /// Message, one line.
    pub text: String,
    /// Further lines.
    pub detail: Vec<String>,
}

/// Severity of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Success.
    Good,
    /// Information.
    Info,
    /// Nothing was done, or it is not possible.
    Warn,
    /// Failure.
    Bad,
}

/// Longest pause that is still part of typing.
const TYPING_PAUSE: SignedDuration = SignedDuration::from_millis(700);

/// Number of notices that are kept.
const MAX_NOTICES: usize = 200;

/// The whole state of the cockpit.
#[derive(Clone, Debug)]
pub struct Model {
    /// Appearance and key bindings.
    pub options: Options,
    /// The latest world, of the current namespace.
    pub world: Arc<World>,
    /// Data derived from the world.
    pub facts: Facts,
    /// Whether all namespaces are shown at once.
    pub shows_all: bool,
    /// The namespaces beside the current one, where all are shown.
    pub others: BTreeMap<String, Arc<NamespaceView>>,
    /// State of the connection when it was last told.
    pub link: Link,
    /// Current time.
    pub now: Timestamp,
    /// The engine's last Lease renewal by the engine's clock, and when it was first seen by ours.
    pub heard: (Option<Timestamp>, Timestamp),
    /// Spinner counter; it stands still while nothing goes on.
    pub beat: u64,
    /// Terminal size in columns and rows.
    pub size: (u16, u16),
    /// The focused pane.
    pub pane: Pane,
    /// The focused pane fills the screen.
    pub zoom: bool,
    /// The Environments pane shows the pods of the selected environment.
    pub drilled: bool,
    /// Name of the selected App.
    pub app: Option<String>,
    /// Name of its selected environment.
    pub environment: Option<String>,
    /// Key of the selected pod.
    pub pod: Option<ObjectKey>,
    /// Name of the release that was chosen; `None` follows the App.
    pub release: Option<String>,
    /// Name of its selected task; `None` follows the release.
    pub task: Option<String>,
    /// Name of the selected lane.
    pub lane: Option<String>,
    /// What is left out of comparisons, as it is typed: `$.time; cache-control`.
    pub ignored: String,
    /// The marked Apps.
    pub marked: BTreeSet<ObjectKey>,
    /// Filters by pane.
    pub filters: BTreeMap<Pane, String>,
    /// Orders of lists by their names, where another than the default was chosen.
    pub sort_orders: BTreeMap<&'static str, SortOrder>,
    /// Columns by which the lists of panes are scrolled to the right.
    pub scrolled: BTreeMap<Pane, usize>,
    /// What was chosen in the Trace pane.
    pub trace: TraceState,
    /// Open overlays from bottom to top.
    pub overlays: Vec<Overlay>,
    /// Show times in logs that are opened from now on.
    pub timestamps: bool,
    /// Do not wrap texts that are opened from now on.
    pub unwrapped: bool,
    /// The file that was saved to last.
    pub saved_to: Option<String>,
    /// Objects that are being edited, by the ticket of what is waited for.
    pub edits: BTreeMap<Ticket, PendingEdit>,
    /// Ports that are forwarded, by the ticket of the query that does so.
    pub forwards: BTreeMap<Ticket, PortForward>,
    /// Intents without an outcome yet.
    pub pending: BTreeMap<Ticket, Pending>,
    /// Runs of intents that have no outcome yet, by id.
    pub runs: BTreeMap<u64, IntentRun>,
    /// Notices, newest first.
    pub notices: VecDeque<Notice>,
    /// Actions that change something are disabled.
    pub read_only: bool,
    /// The newest notice was seen: a key was pressed since.
    pub noticed: bool,
    /// Until this time letters are ignored, because they were typed for a dialog that has closed.
    pub letters_ignored_until: Option<Timestamp>,
    next: u64,
}

impl Model {
    /// A model before the first world.
    pub fn new(options: Options, now: Timestamp) -> Self {
        let mut model = Self {
            read_only: options.read_only,
            world: Arc::default(),
            facts: Facts::default(),
            shows_all: false,
            others: BTreeMap::new(),
            link: Link::default(),
            now,
            heard: (None, now),
            beat: 0,
            size: (80, 24),
            pane: Pane::default(),
            zoom: false,
            drilled: false,
            app: None,
            environment: None,
            pod: None,
            release: None,
            task: None,
            lane: None,
            ignored: String::new(),
            marked: BTreeSet::new(),
            filters: BTreeMap::new(),
            sort_orders: BTreeMap::new(),
            scrolled: BTreeMap::new(),
            trace: TraceState::default(),
            overlays: vec![],
            timestamps: false,
            unwrapped: false,
            saved_to: None,
            edits: BTreeMap::new(),
            forwards: BTreeMap::new(),
            pending: BTreeMap::new(),
            runs: BTreeMap::new(),
            notices: VecDeque::new(),
            noticed: true,
            letters_ignored_until: None,
            next: 0,
            options,
        };
        for fault in std::mem::take(&mut model.options.faults) {
            model.add_notice(Level::Warn, fault, vec![]);
        }
        model
    }

    /// Returns a new ticket.
    pub fn next_ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// Begins a run of several intents; returns its id.
    pub fn begin_run(&mut self, word: &str, all: usize) -> u64 {
        let id = self.next_ticket().0;
        let run = IntentRun {
            word: word.into(),
            all,
            ..IntentRun::default()
        };
        self.runs.insert(id, run);
        id
    }

    /// Adds a notice.
    pub fn add_notice(&mut self, level: Level, text: impl AsRef<str>, detail: Vec<String>) {
        let text = super::widget::sanitize_text(text.as_ref()).into_owned();
        self.notices.push_front(Notice {
            time: self.now,
            level,
            text,
            detail,
        });
        self.notices.truncate(MAX_NOTICES);
        self.noticed = false;
    }

    /// Ignores letters for a moment: they belong to what the user was typing.
    pub fn ignore_letters(&mut self) {
        self.letters_ignored_until = self.now.checked_add(TYPING_PAUSE).ok();
    }

    /// Shows a release until another one is chosen. The App's current release is followed instead
    /// of pinned, so that a newer one replaces it.
    pub fn pin_release(&mut self, name: String) {
        let shown = self.app.as_ref().and_then(|app| self.facts.release_of(app));
        self.release = (shown != Some(&name)).then_some(name);
        self.task = None;
    }

    /// The App's release that all panes refer to: the chosen one, else the one in progress.
    pub fn release_of(&self, app: &str) -> Option<&String> {
        let held = self
            .release
            .as_ref()
            .filter(|_| self.app.as_deref() == Some(app));
        let own = |name: &&String| {
            self.world
                .releases
                .get(*name)
                .is_some_and(|r| r.spec.app == app)
        };
        held.filter(own).or_else(|| self.facts.active_of(app))
    }

    /// The same for an App of any namespace: a release is chosen in the current one only.
    pub fn release_in<'a>(&'a self, scope: NamespaceScope<'a>, app: &str) -> Option<&'a String> {
        if scope.name() == self.world.namespace {
            self.release_of(app)
        } else {
            scope.facts.active_of(app)
        }
    }

    /// Whether the shown release is an older one that was chosen.
    pub fn is_release_pinned(&self) -> bool {
        let Some((name, release)) = self.selected_release() else {
            return false;
        };
        self.release.as_ref() == Some(name)
            && self.facts.release_of(&release.spec.app) != Some(name)
    }

    /// Key of an action, for use in sentences.
    pub fn key_for(&self, context: KeyContext, action: Action) -> String {
        self.options.keymap.key_within(context, action)
    }

    /// The active key contexts, the most specific first.
    pub fn active_contexts(&self) -> Vec<KeyContext> {
        match self.overlays.last() {
            Some(Overlay::Text(_)) => vec![KeyContext::Text, KeyContext::Move],
            Some(Overlay::Form(_)) => vec![KeyContext::Form],
            Some(Overlay::Confirm(_)) => vec![KeyContext::Confirm],
            Some(Overlay::Palette(_) | Overlay::Filter(..) | Overlay::Prompt(_)) => {
                vec![KeyContext::Line]
            }
            None => self.pane.key_contexts(),
        }
    }

    /// The selected App.
    pub fn selected_app(&self) -> Option<&Arc<App>> {
        self.app.as_ref().and_then(|name| self.world.apps.get(name))
    }

    /// The release shown: the chosen one, else the selected App's release in progress, else its
    /// newest.
    pub fn selected_release(&self) -> Option<(&String, &Arc<Release>)> {
        let app = self.app.as_ref()?;
        let own = |name: &&String| {
            self.world
                .releases
                .get(*name)
                .is_some_and(|r| r.spec.app == *app)
        };
        let name = self
            .release
            .as_ref()
            .filter(own)
            .or_else(|| self.facts.release_of(app))?;
        self.world.releases.get_key_value(name)
    }

    /// Whether something moves on the screen without input, so that ticks are needed four times a
    /// second.
    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty()
            || self.scopes().any(|scope| scope.is_advancing(self.now))
            || self.is_loading()
    }

    fn is_loading(&self) -> bool {
        self.world.link == Link::Connecting
            || self
                .overlays
                .iter()
                .any(|o| matches!(o, Overlay::Text(t) if t.loading))
    }

    /// The pending intent that concerns this object of a namespace.
    pub fn pending_about(&self, namespace: &str, name: &str) -> Option<&Pending> {
        let mut all = self.pending.values();
        all.find(|p| p.about == name && p.namespace == namespace)
    }

    /// Shows another cluster. Everything about the old one leaves the screen, including open
    /// dialogs; intents that were sent to it stay pending.
    pub fn switch_cluster(&mut self, place: &str) -> Vec<Effect> {
        let mut effects = vec![];
        while !self.overlays.is_empty() {
            effects.extend(self.close_overlay());
        }
        effects.extend(
            self.forwards
                .keys()
                .map(|ticket| Effect::CancelQuery(*ticket)),
        );
        // What was read or checked there for an editor comes to nothing.
        for ticket in self.edits.keys() {
            self.pending.remove(ticket);
        }
        let mut fresh = Self::new(
            Options {
                place: place.to_owned(),
                ..self.options.clone()
            },
            self.now,
        );
        (fresh.size, fresh.pane, fresh.zoom, fresh.beat) =
            (self.size, self.pane, self.zoom, self.beat);
        (fresh.read_only, fresh.next) = (self.read_only, self.next);
        fresh.trace.each = self.trace.each;
        fresh.ignored.clone_from(&self.ignored);
        (fresh.timestamps, fresh.unwrapped) = (self.timestamps, self.unwrapped);
        fresh.sort_orders = std::mem::take(&mut self.sort_orders);
        fresh.notices = std::mem::take(&mut self.notices);
        fresh.pending = std::mem::take(&mut self.pending);
        fresh.runs = std::mem::take(&mut self.runs);
        for pending in fresh.pending.values_mut() {
            pending.about.clear();
            pending.words = format!("{}: {}", self.options.place, pending.words);
        }
        *self = fresh;
        self.add_notice(Level::Info, format!("now showing {place}"), vec![]);
        effects
    }

    /// Closes the topmost overlay and cancels its query.
    pub fn close_overlay(&mut self) -> Vec<Effect> {
        match self.overlays.pop() {
            Some(Overlay::Text(text)) => text.ticket.map(Effect::CancelQuery).into_iter().collect(),
            Some(Overlay::Palette(palette)) => {
                if let Some(theme) = palette.theme_before {
                    self.options.theme = *theme;
                }
                palette
                    .ticket
                    .map(Effect::CancelQuery)
                    .into_iter()
                    .collect()
            }
            Some(Overlay::Confirm(question)) => {
                if question.has_input() {
                    self.ignore_letters();
                }
                if let Some(path) = question.draft {
                    let words = format!("not saved; the text is kept in {path}");
                    self.add_notice(Level::Info, words, vec![]);
                }
                vec![]
            }
            _ => vec![],
        }
    }
}
