//! Confirmation dialogs: a dangerous intent is shown in full before it is sent (objects and their
//! versions, effects, the equivalent kubectl command), and is sent exactly as shown. If its objects
//! change meanwhile, the question becomes stale: the dialog says so and can no longer be confirmed.

use tui_input::Input;

use super::{form::Remark, keymap::Action, model::Model, own_commands::PreparedCommand};
use crate::{
    api::{
        AppSpec, AppTemplateSpec, Environment, EnvironmentStatus, LaneGroupSpec, LaneSpec, Uid,
        VariableGroupSpec,
    },
    domain::{
        command_line::CommandLine,
        intent::{Intent, ReleaseState, SeenObject},
        world::World,
    },
};

mod apps;
mod ask;
mod ask_error;
mod changes;
mod edit;
mod environment;
mod forecast;
mod in_place;
mod lane;
mod many;
mod own_command;
mod release;
mod versions;

pub use apps::{ask_to_create_apps, describe_app as app_words};
pub use ask::{ask_to_start, build_question};
pub use ask_error::AskError;
pub use edit::ask_to_save_edit;
pub use environment::ask_to_lock;
pub use lane::{ask_to_set_lane as set_lane, diff_specs};
pub use many::is_about_marked;
pub use own_command::ask_to_run;

/// An open confirmation dialog.
#[derive(Clone, Debug)]
pub struct Question {
    /// `Let batch 2 of spring-cloud-a-7 go?`
    pub title: String,
    /// Label of the button: `Let it go`.
    pub verb: String,
    /// Namespace that the question is about, and the only one that its intent acts in.
    pub namespace: String,
    /// Intent that is sent on yes; none where one of the user's own commands is run.
    pub intent: Option<Intent>,
    /// The user's own command that is run on yes.
    pub own_command: Option<PreparedCommand>,
    /// Intents that are sent with it, each on its own.
    pub further: Vec<PlannedIntent>,
    /// Objects that the intent depends on, as they were seen.
    pub objects: Vec<ObservedObject>,
    /// Facts, as label and text.
    pub facts: Vec<(String, String)>,
    /// What will happen, in order.
    pub happens: Vec<String>,
    /// Reasons not to confirm.
    pub alarms: Vec<String>,
    /// Warnings.
    pub doubts: Vec<String>,
    /// Removed and added lines.
    pub diff: Vec<Remark>,
    /// Equivalent commands.
    pub kubectl: Vec<CommandLine>,
    /// Name that must be typed to confirm, and what was typed.
    pub typed: Option<(String, Input)>,
    /// Comment for the history.
    pub comment: Option<Input>,
    /// The focused field or button.
    pub focus: Focus,
    /// Why the question is stale.
    pub stale: Option<String>,
    /// Index of the first visible line.
    pub top: usize,
    /// Action that leads to the same question again.
    pub again: Option<Action>,
    /// Progress text while the intent is pending: `approval sent`.
    pub sent: String,
    /// Name of the object concerned.
    pub about: String,
    /// File of the edited text that would be written.
    pub draft: Option<String>,
}

/// An intent, and what is told while it is pending.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedIntent {
    /// Namespace that it acts in.
    pub namespace: String,
    /// Intent that is sent.
    pub intent: Intent,
    /// Name of the object concerned.
    pub about: String,
    /// Progress text: `approval sent`.
    pub sent: String,
}

/// The focused part of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// Field for the name.
    Typed,
    /// Field for the comment.
    Comment,
    /// Button that cancels.
    No,
    /// Button that confirms.
    Yes,
}

/// An object as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedObject {
    /// Plural name of the resource.
    pub resource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Environment, when only one environment of an App matters.
    pub part: Option<String>,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// The part of the object that the intent depends on; changes elsewhere do not matter.
    pub basis: IntentBasis,
    /// Only the spec matters, not what is running.
    pub spec_only: bool,
}

/// The part of an object that an intent depends on.
#[derive(Clone, Debug, PartialEq)]
pub enum IntentBasis {
    /// State of a release.
    Release(Box<ReleaseState>),
    /// A lane.
    Lane(Box<LaneSpec>),
    /// A template of Apps.
    AppTemplate(Box<AppTemplateSpec>),
    /// A lane group.
    LaneGroup(Box<LaneGroupSpec>),
    /// A variable group.
    VariableGroup(Box<VariableGroupSpec>),
    /// A whole App.
    App(Box<AppSpec>),
    /// One environment of an App, and what runs there if that matters.
    Environment(Option<Box<Environment>>, Option<Box<EnvironmentStatus>>),
}

impl ObservedObject {
    /// An object of the world; `None` when it does not exist.
    pub fn from_world(
        world: &World,
        resource: &str,
        name: &str,
        part: Option<&str>,
    ) -> Option<Self> {
        let (metadata, basis) = match (resource, part) {
            ("releases", _) => {
                let release = world.releases.get(name)?;
                let state = ReleaseState::from_release(release);
                (&release.metadata, IntentBasis::Release(Box::new(state)))
            }
            ("lanes", _) => {
                let lane = world.lanes.get(name)?;
                (&lane.metadata, IntentBasis::Lane(boxed(&lane.spec)))
            }
            ("apptemplates", _) => {
                let template = world.templates.get(name)?;
                let basis = IntentBasis::AppTemplate(boxed(&template.spec));
                (&template.metadata, basis)
            }
            ("lanegroups", _) => {
                let group = world.groups.get(name)?;
                (&group.metadata, IntentBasis::LaneGroup(boxed(&group.spec)))
            }
            ("variablegroups", _) => {
                let group = world.variables.get(name)?;
                let basis = IntentBasis::VariableGroup(boxed(&group.spec));
                (&group.metadata, basis)
            }
            ("apps", None) => {
                let app = world.apps.get(name)?;
                (&app.metadata, IntentBasis::App(boxed(&app.spec)))
            }
            ("apps", Some(part)) => {
                let app = world.apps.get(name)?;
                let spec = app.spec.environment(part);
                let status = app.status.as_ref().and_then(|s| s.environments.get(part));
                let basis = IntentBasis::Environment(spec.map(boxed), status.map(boxed));
                (&app.metadata, basis)
            }
            _ => return None,
        };
        Some(Self {
            resource: resource.into(),
            namespace: world.namespace.clone(),
            name: name.into(),
            part: part.map(str::to_owned),
            uid: Uid::from_meta(metadata),
            version: metadata.resource_version.clone().unwrap_or_default(),
            basis,
            spec_only: false,
        })
    }

    /// An environment of an App, by its spec only.
    pub fn spec_from_world(world: &World, app: &str, environment: &str) -> Option<Self> {
        let spec = world.apps.get(app)?.spec.environment(environment);
        let shown = Self::from_world(world, "apps", app, Some(environment))?;
        Some(Self {
            basis: IntentBasis::Environment(spec.map(boxed), None),
            spec_only: true,
            ..shown
        })
    }

    /// The object of the same name in another world.
    fn observe_again(&self, world: &World) -> Option<Self> {
        match (&self.part, self.spec_only) {
            (Some(part), true) => Self::spec_from_world(world, &self.name, part),
            (part, _) => Self::from_world(world, &self.resource, &self.name, part.as_deref()),
        }
    }

    /// The precondition for the intent.
    pub fn to_seen(&self) -> SeenObject {
        if let IntentBasis::Release(state) = &self.basis {
            return SeenObject {
                uid: self.uid.clone(),
                version: None,
                state: Some(state.clone()),
            };
        }
        let version = Some(self.version.clone()).filter(|v| !v.is_empty());
        SeenObject {
            uid: self.uid.clone(),
            version,
            state: None,
        }
    }
}

fn boxed<T: Clone>(part: &T) -> Box<T> {
    Box::new(part.clone())
}

impl Question {
    /// A question about an intent, without contents.
    fn new(title: String, verb: &str, intent: Intent, about: &str, sent: &str) -> Self {
        Self {
            intent: Some(intent),
            sent: sent.into(),
            about: about.into(),
            ..Self::empty(title, verb)
        }
    }

    /// A question about nothing yet.
    fn empty(title: String, verb: &str) -> Self {
        Self {
            title,
            verb: verb.into(),
            namespace: String::new(),
            intent: None,
            own_command: None,
            further: vec![],
            objects: vec![],
            facts: vec![],
            happens: vec![],
            alarms: vec![],
            doubts: vec![],
            diff: vec![],
            kubectl: vec![],
            typed: None,
            comment: None,
            focus: Focus::No,
            stale: None,
            top: 0,
            again: None,
            sent: String::new(),
            about: String::new(),
            draft: None,
        }
    }

    /// Binds the question to the current namespace, and names that where several are shown.
    #[must_use]
    pub fn in_namespace_of(mut self, model: &Model) -> Self {
        self.namespace.clone_from(&model.world.namespace);
        if model.shows_all {
            let commands = std::mem::take(&mut self.kubectl).into_iter();
            self.kubectl = commands.map(|line| model.place_command(line)).collect();
            self.facts
                .insert(0, ("namespace".into(), self.namespace.clone()));
        }
        self
    }

    fn add_fact(&mut self, label: &str, words: impl Into<String>) {
        self.facts.push((label.into(), words.into()));
    }

    /// Adds a comment field and focuses a text field, so that no typed letter can confirm.
    fn ask_for_comment(&mut self) {
        self.comment = Some(Input::default());
        self.focus = if self.typed.is_some() {
            Focus::Typed
        } else {
            Focus::Comment
        };
    }

    /// Requires this name to be typed.
    fn require_typed_name(&mut self, name: &str) {
        // The name as it is displayed, so that it can be typed.
        let name = super::widget::sanitize_text(name).trim().to_owned();
        self.typed = Some((name, Input::default()));
        self.focus = Focus::Typed;
    }

    /// Whether the required name, if any, was typed.
    pub fn is_typed(&self) -> bool {
        self.typed
            .as_ref()
            .is_none_or(|(name, input)| input.value().trim() == name)
    }

    /// Whether the question can be confirmed now.
    pub fn can_confirm(&self) -> bool {
        self.stale.is_none() && self.is_typed()
    }

    /// Moves the focus to the next field or button.
    pub fn move_focus(&mut self) {
        let mut order = vec![];
        if self.typed.is_some() {
            order.push(Focus::Typed);
        }
        if self.comment.is_some() {
            order.push(Focus::Comment);
        }
        order.extend([Focus::No, Focus::Yes]);
        let at = order.iter().position(|f| *f == self.focus).unwrap_or(0);
        self.focus = order
            .get((at + 1) % order.len())
            .copied()
            .unwrap_or(Focus::No);
    }

    /// Whether something was typed.
    pub fn has_input(&self) -> bool {
        let comment = self.comment.as_ref().is_some_and(|c| !c.value().is_empty());
        comment
            || self
                .typed
                .as_ref()
                .is_some_and(|(_, input)| !input.value().is_empty())
    }

    /// The focused text field.
    pub fn focused_input(&mut self) -> Option<&mut Input> {
        match self.focus {
            Focus::Typed => self.typed.as_mut().map(|(_, input)| input),
            Focus::Comment => self.comment.as_mut(),
            Focus::No | Focus::Yes => None,
        }
    }

    /// Compares the objects with the current worlds, each with that of its namespace. Changes that
    /// do not affect the intent are adopted; any other change makes the question stale for good.
    pub fn check_stale(&mut self, model: &Model) {
        if self.stale.is_some() {
            return;
        }
        for shown in &mut self.objects {
            let scope = model.scope_of(&shown.namespace);
            let now = scope.and_then(|scope| shown.observe_again(scope.world));
            let kind = shown.resource.trim_end_matches('s').to_owned();
            match now {
                None => self.stale = Some(format!("{kind} {} is gone", shown.name)),
                Some(now) if now.uid != shown.uid => {
                    self.stale = Some(format!("{kind} {} was deleted and recreated", shown.name));
                }
                Some(now) if now.basis != shown.basis => {
                    self.stale = Some(format!(
                        "{kind} {} has changed since this was asked",
                        shown.name
                    ));
                }
                Some(now) => {
                    if let Some(seen) = self
                        .intent
                        .as_mut()
                        .and_then(seen_mut)
                        .filter(|s| s.uid == now.uid && s.version.is_some())
                    {
                        *seen = now.to_seen();
                    }
                    *shown = now;
                }
            }
        }
    }

    /// Adopts facts and warnings from the same question built again. When the effects differ, the
    /// question becomes stale: what a yes does must not change while it is on the screen.
    pub fn refresh_from(&mut self, now: Self) {
        let of = |q: &Self| (q.title.clone(), q.about.clone(), q.namespace.clone());
        if self.stale.is_some() || of(self) != of(&now) {
            return;
        }
        if self.happens != now.happens {
            self.stale = Some("what would happen is no longer what is shown here".into());
            return;
        }
        (self.facts, self.alarms, self.doubts) = (now.facts, now.alarms, now.doubts);
    }

    /// The intents to send, each with the comment.
    pub fn into_intents(self) -> Vec<PlannedIntent> {
        let text = self
            .comment
            .map(|c| c.value().trim().to_owned())
            .filter(|c| !c.is_empty());
        let (about, sent, namespace) = (self.about, self.sent, self.namespace);
        let first = self.intent.map(|intent| PlannedIntent {
            namespace,
            intent,
            about,
            sent,
        });
        let mut all: Vec<PlannedIntent> = first.into_iter().chain(self.further).collect();
        for planned in &mut all {
            if let (
                Some(text),
                Intent::Release { comment, .. } | Intent::Teardown { comment, .. },
            ) = (&text, &mut planned.intent)
            {
                *comment = Some(text.clone());
            }
        }
        all
    }
}

fn seen_mut(intent: &mut Intent) -> Option<&mut SeenObject> {
    match intent {
        Intent::Release { seen, .. }
        | Intent::SetLane { seen, .. }
        | Intent::EnableLane { seen, .. }
        | Intent::DeleteLane { seen, .. }
        | Intent::CreateApps { seen, .. }
        | Intent::Lock { seen, .. } => seen.as_mut(),
        Intent::StartRelease { .. }
        | Intent::StopTheLine
        | Intent::Teardown { .. }
        | Intent::EditObject { .. } => None,
    }
}
