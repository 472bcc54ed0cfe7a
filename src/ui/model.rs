//! Everything the screen is drawn from, and everything that can change it.
//!
//! What is selected is held by name. The rows of a pane are worked out from the world each time they are
//! wanted, so that no index can point at another object than the one that was chosen.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use crossterm::event::Event;
use jiff::{SignedDuration, Timestamp};
use tui_input::Input;

use super::{
    effect::{Answer, Done, Effect, Fault, Ticket},
    facts::Facts,
    form::Form,
    keymap::{Action, Context},
    options::Options,
    question::Question,
};
use crate::{
    api::{App, Environment, Lane, Release},
    domain::{
        chain::{Chain, Group, GroupKey},
        world::{Key, World},
    },
};

mod palette;
mod rows;
mod text;

pub use palette::{Goal, Palette};
pub use rows::matches;
pub(crate) use text::yaml_line;
pub use text::{Came, LogOf, Source, Text};

/// Everything that can reach the model. Nothing else changes it.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key, a paste, a new size, the focus.
    Input(Event),
    /// The world as it is now.
    World(Arc<World>),
    /// A wish was carried out, or not.
    Settled(Ticket, Result<Done, Fault>),
    /// Part of something that was asked for.
    Answer(Ticket, Answer),
    /// The clock: once a second, four times while something is busy.
    Tick(Timestamp),
    /// The terminal is ours again after a stop.
    Resumed,
}

/// One of the five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pane {
    /// 1
    #[default]
    Apps,
    /// 2
    Environments,
    /// 3
    Rollout,
    /// 4
    Lanes,
    /// 5
    Trace,
}

impl Pane {
    /// In the order of their keys.
    pub const ALL: [Self; 5] = [
        Self::Apps,
        Self::Environments,
        Self::Rollout,
        Self::Lanes,
        Self::Trace,
    ];

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Apps => "Apps",
            Self::Environments => "Environments",
            Self::Rollout => "Rollout",
            Self::Lanes => "Lanes",
            Self::Trace => "Trace",
        }
    }

    /// What goes there.
    pub const fn action(self) -> Action {
        match self {
            Self::Apps => Action::PaneApps,
            Self::Environments => Action::PaneEnvironments,
            Self::Rollout => Action::PaneRollout,
            Self::Lanes => Action::PaneLanes,
            Self::Trace => Action::PaneTrace,
        }
    }
}

/// What lies on top of the panes; the last one has the keys.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// Something to read.
    Text(Box<Text>),
    /// Something to fill in.
    Form(Box<Form>),
    /// Something to decide.
    Confirm(Box<Question>),
    /// Something to find.
    Palette(Box<Palette>),
    /// The filter of a pane (or of the text beneath) under edit; what it was before.
    Filter(Input, String),
}

/// A wish that was sent and not answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// `approval sent`
    pub words: String,
    /// The release, app or lane it is about.
    pub about: String,
    /// When.
    pub since: Timestamp,
    /// It is a probe: its results are to be shown together with those of the other probes of this group.
    pub probe: Option<u64>,
}

/// Something that was reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// When.
    pub time: Timestamp,
    /// How bad.
    pub level: Level,
    /// One line.
    pub text: String,
    /// More.
    pub detail: Vec<String>,
}

/// A list of chains that is held still.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// Every chain.
    pub chains: Arc<Vec<Arc<Chain>>>,
    /// Their groups.
    pub groups: Arc<Vec<Group>>,
}

/// How bad a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Done.
    Good,
    /// To know.
    Info,
    /// Not done, or not possible.
    Warn,
    /// Failed.
    Bad,
}

/// Whoever writes does not stop for longer between two words.
const PAUSE: SignedDuration = SignedDuration::from_millis(700);

/// So many notices are kept.
const NOTICES: usize = 200;

/// The whole state of the screen.
#[derive(Clone, Debug)]
pub struct Model {
    /// How things look; which keys there are.
    pub options: Options,
    /// The world as last seen.
    pub world: Arc<World>,
    /// Worked out from it.
    pub facts: Facts,
    /// The clock.
    pub now: Timestamp,
    /// When the engine last renewed its Lease, by the clock of its own, and when that was first seen here.
    pub heard: (Option<Timestamp>, Timestamp),
    /// The spinner's place.
    pub beat: u64,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Which pane has the keys.
    pub pane: Pane,
    /// It has the whole screen.
    pub zoom: bool,
    /// The Environments pane shows the environment's pods.
    pub drilled: bool,
    /// Selected App.
    pub app: Option<String>,
    /// Selected environment of it.
    pub environment: Option<String>,
    /// Selected pod of it.
    pub pod: Option<Key>,
    /// Release looked at; none follows the App.
    pub release: Option<String>,
    /// Selected task of it; none follows the release.
    pub task: Option<String>,
    /// Selected lane.
    pub lane: Option<String>,
    /// Selected chain; none is always the newest.
    pub chain: Option<String>,
    /// Every request by itself instead of groups of them.
    pub each: bool,
    /// Selected group of chains; none is always the most urgent one.
    pub group: Option<Arc<GroupKey>>,
    /// The group whose requests are looked at.
    pub inside: Option<Arc<GroupKey>>,
    /// Marked Apps.
    pub marked: BTreeSet<String>,
    /// By pane.
    pub filters: BTreeMap<Pane, String>,
    /// Only wrong chains.
    pub only_wrong: bool,
    /// What the list showed when it was frozen.
    pub frozen: Option<Frozen>,
    /// From bottom to top.
    pub overlays: Vec<Overlay>,
    /// Sent wishes.
    pub pending: BTreeMap<Ticket, Pending>,
    /// Newest first.
    pub notices: VecDeque<Notice>,
    /// No changing keys.
    pub read_only: bool,
    /// The newest notice was seen: a key was pressed since.
    pub noticed: bool,
    /// Until then letters press nothing: they are meant for a question that has closed.
    pub letters_mean_nothing: Option<Timestamp>,
    next: u64,
}

impl Model {
    /// Before anything is known.
    pub fn new(options: Options, now: Timestamp) -> Self {
        let mut model = Self {
            read_only: options.read_only,
            world: Arc::default(),
            facts: Facts::default(),
            now,
            heard: (None, now),
            beat: 0,
            size: (80, 24),
            pane: Pane::Apps,
            zoom: false,
            drilled: false,
            app: None,
            environment: None,
            pod: None,
            release: None,
            task: None,
            lane: None,
            chain: None,
            each: false,
            group: None,
            inside: None,
            marked: BTreeSet::new(),
            filters: BTreeMap::new(),
            only_wrong: false,
            frozen: None,
            overlays: vec![],
            pending: BTreeMap::new(),
            notices: VecDeque::new(),
            noticed: true,
            letters_mean_nothing: None,
            next: 0,
            options,
        };
        for fault in std::mem::take(&mut model.options.faults) {
            model.notice(Level::Warn, fault, vec![]);
        }
        model
    }

    /// A new ticket.
    pub fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// Reports.
    pub fn notice(&mut self, level: Level, text: impl AsRef<str>, detail: Vec<String>) {
        let text = super::widget::harmless(text.as_ref()).into_owned();
        self.notices.push_front(Notice {
            time: self.now,
            level,
            text,
            detail,
        });
        self.notices.truncate(NOTICES);
        self.noticed = false;
    }

    /// Letters that follow are the rest of what somebody was writing.
    pub fn ignore_letters(&mut self) {
        self.letters_mean_nothing = self.now.checked_add(PAUSE).ok();
    }

    /// Looks at a release until another one is chosen. The one that is shown anyway is not held: a newer one is taken up.
    pub fn look_at(&mut self, name: String) {
        let shown = self.app.as_ref().and_then(|app| self.facts.release_of(app));
        self.release = (shown != Some(&name)).then_some(name);
        self.task = None;
    }

    /// The release of an App that every pane means: the one that is looked at, else the one under way.
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

    /// An older release than the one that would be shown by itself is looked at.
    pub fn is_held(&self) -> bool {
        let Some((name, release)) = self.selected_release() else {
            return false;
        };
        self.release.as_ref() == Some(name)
            && self.facts.release_of(&release.spec.app) != Some(name)
    }

    /// The key of an action, for sentences that speak of it.
    pub fn key(&self, context: Context, action: Action) -> String {
        self.options.keymap.within(context, action)
    }

    /// The contexts in force, the narrowest first.
    pub fn contexts(&self) -> Vec<Context> {
        match self.overlays.last() {
            Some(Overlay::Text(_)) => vec![Context::Text, Context::Move],
            Some(Overlay::Form(_)) => vec![Context::Form],
            Some(Overlay::Confirm(_)) => vec![Context::Confirm],
            Some(Overlay::Palette(_) | Overlay::Filter(..)) => vec![Context::Line],
            None => match self.pane {
                Pane::Apps => vec![
                    Context::Apps,
                    Context::Release,
                    Context::Move,
                    Context::Global,
                ],
                Pane::Environments => vec![
                    Context::Environments,
                    Context::Release,
                    Context::Move,
                    Context::Global,
                ],
                Pane::Rollout => vec![Context::Release, Context::Move, Context::Global],
                Pane::Lanes => vec![Context::Lanes, Context::Move, Context::Global],
                Pane::Trace => vec![Context::Trace, Context::Move, Context::Global],
            },
        }
    }

    /// The selected App.
    pub fn selected_app(&self) -> Option<&Arc<App>> {
        self.app.as_ref().and_then(|name| self.world.apps.get(name))
    }

    /// The selected environment of it.
    pub fn selected_environment(&self) -> Option<&Environment> {
        let app = self.selected_app()?;
        let named = self
            .environment
            .as_ref()
            .and_then(|name| app.spec.environment(name));
        named.or_else(|| app.spec.environments.first())
    }

    /// The release looked at: the chosen one, else the one under way, else the newest of the selected App.
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

    /// The selected lane.
    pub fn selected_lane(&self) -> Option<(&String, &Arc<Lane>)> {
        let named = self
            .lane
            .as_ref()
            .and_then(|name| self.world.lanes.get_key_value(name));
        named.or_else(|| {
            self.lanes()
                .first()
                .and_then(|name| self.world.lanes.get_key_value(*name))
        })
    }

    /// The Trace pane shows groups of chains.
    pub const fn is_grouped(&self) -> bool {
        !self.each && self.inside.is_none()
    }

    /// The selected group of chains; none chosen, or one that is gone, is the most urgent one.
    pub fn selected_group(&self) -> Option<&Group> {
        let groups = self.groups();
        let chosen = self
            .group
            .as_ref()
            .and_then(|key| groups.iter().find(|g| g.key == *key).copied());
        chosen.or_else(|| groups.first().copied())
    }

    /// The selected chain; none chosen is the newest. Of a group the newest one with what is worst about it.
    pub fn selected_chain(&self) -> Option<&Arc<Chain>> {
        if self.is_grouped() {
            return self
                .selected_group()
                .map(|g| g.worst.as_ref().map_or(&g.newest, |(_, chain)| chain));
        }
        let chains = self.chains();
        let chosen = self
            .chain
            .as_ref()
            .and_then(|id| chains.iter().find(|c| c.id == *id).copied());
        chosen.or_else(|| chains.first().copied())
    }

    /// Something moves on the screen by itself: the clock is needed four times a second.
    pub fn is_busy(&self) -> bool {
        let turning = |name: &String| {
            self.world
                .releases
                .get(name)
                .is_some_and(|r| super::facts::turn(r).is_busy())
        };
        !self.pending.is_empty() || self.facts.active.iter().any(turning) || self.is_loading()
    }

    fn is_loading(&self) -> bool {
        self.world.link == crate::domain::world::Link::Connecting
            || self
                .overlays
                .iter()
                .any(|o| matches!(o, Overlay::Text(t) if t.loading))
    }

    /// A wish about this object is on its way.
    pub fn pending_about(&self, name: &str) -> Option<&Pending> {
        self.pending.values().find(|p| p.about == name)
    }

    /// Another cluster is looked at from now on: nothing of the old one stays on the screen, and no question about it
    /// can be answered any more. What was sent there is still waited for.
    pub fn switch(&mut self, place: &str) -> Vec<Effect> {
        let mut effects = vec![];
        while !self.overlays.is_empty() {
            effects.extend(self.close());
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
        (fresh.read_only, fresh.each, fresh.next) = (self.read_only, self.each, self.next);
        fresh.notices = std::mem::take(&mut self.notices);
        fresh.pending = std::mem::take(&mut self.pending);
        for pending in fresh.pending.values_mut() {
            pending.about.clear();
            pending.words = format!("{}: {}", self.options.place, pending.words);
        }
        *self = fresh;
        self.notice(Level::Info, format!("now looking at {place}"), vec![]);
        effects
    }

    /// Closes the top overlay; whoever answered it may stop.
    pub fn close(&mut self) -> Vec<Effect> {
        match self.overlays.pop() {
            Some(Overlay::Text(text)) => text.ticket.map(Effect::Drop).into_iter().collect(),
            Some(Overlay::Palette(palette)) => {
                palette.ticket.map(Effect::Drop).into_iter().collect()
            }
            Some(Overlay::Confirm(question)) if question.is_written() => {
                self.ignore_letters();
                vec![]
            }
            _ => vec![],
        }
    }
}
