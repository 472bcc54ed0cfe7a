//! Plan before act: a dangerous wish is first shown whole (what objects, what happens, what kubectl would say, as
//! seen at which version) and is sent only as it was shown. If what it is about moves on meanwhile, it is stale:
//! that is told, and it cannot be confirmed any more.

use kube::ResourceExt;
use tui_input::Input;

use super::{form::Remark, keymap::Action};
use crate::domain::{
    command_line::CommandLine,
    intent::{Intent, Seen, meaning},
    world::World,
};

mod apps;
mod ask;
mod beside;
mod environment;
mod forecast;
mod in_place;
mod lane;
mod release;

pub use apps::{new_apps, words as app_words};
pub use ask::{ask, start};
pub use environment::lock;
pub use lane::{diff, set as set_lane};

/// A question on the screen.
#[derive(Clone, Debug)]
pub struct Question {
    /// `Let batch 2 of spring-cloud-a-7 go?`
    pub title: String,
    /// On the button: `Let it go`.
    pub verb: String,
    /// What is done on yes.
    pub intent: Intent,
    /// What was looked at.
    pub objects: Vec<Shown>,
    /// `label`, words.
    pub facts: Vec<(String, String)>,
    /// What will happen, in order.
    pub happens: Vec<String>,
    /// What should stop whoever reads it.
    pub alarms: Vec<String>,
    /// What should give pause.
    pub doubts: Vec<String>,
    /// A change as lines that go and come.
    pub diff: Vec<Remark>,
    /// The same by other means.
    pub kubectl: Vec<CommandLine>,
    /// The name that must be typed.
    pub typed: Option<(String, Input)>,
    /// Why, for the history.
    pub comment: Option<Input>,
    /// Where the keys are.
    pub focus: Focus,
    /// What moved on.
    pub stale: Option<String>,
    /// First line shown.
    pub top: usize,
    /// How it was asked, to ask again.
    pub again: Option<Action>,
    /// While it is sent: `approval sent`.
    pub sent: String,
    /// What it is about.
    pub about: String,
}

/// Where the keys are in a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// The field for the name.
    Typed,
    /// The field for the comment.
    Comment,
    /// The button that does nothing.
    No,
    /// The button that does it.
    Yes,
}

/// An object as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Plural, group.
    pub resource: String,
    /// Name.
    pub name: String,
    /// An App's environment, when it is only about that.
    pub part: Option<String>,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// What the wish depends on: moves on only when that does, not with every write of a status.
    pub meaning: String,
    /// What runs does not matter to the wish.
    pub spec_only: bool,
}

impl Shown {
    /// An object as it is in a world; none when it is not there.
    pub fn of(world: &World, resource: &str, name: &str, part: Option<&str>) -> Option<Self> {
        let (uid, version, meaning) = match resource {
            "releases" => {
                let release = world.releases.get(name)?;
                (release.uid(), release.resource_version(), meaning(release))
            }
            "lanes" => {
                let lane = world.lanes.get(name)?;
                (
                    lane.uid(),
                    lane.resource_version(),
                    format!("{:?}", lane.spec),
                )
            }
            "apptemplates" => {
                let template = world.templates.get(name)?;
                (
                    template.uid(),
                    template.resource_version(),
                    format!("{:?}", template.spec),
                )
            }
            "apps" => {
                let app = world.apps.get(name)?;
                let part = part.unwrap_or_default();
                let spec = app.spec.environment(part);
                let status = app.status.as_ref().and_then(|s| s.environments.get(part));
                (
                    app.uid(),
                    app.resource_version(),
                    format!("{spec:?} {status:?}"),
                )
            }
            _ => return None,
        };
        Some(Self {
            resource: resource.into(),
            name: name.into(),
            part: part.map(str::to_owned),
            uid: uid.unwrap_or_default(),
            version: version.unwrap_or_default(),
            meaning,
            spec_only: false,
        })
    }

    /// The same, of an environment whatever runs in it.
    pub fn spec_of(world: &World, app: &str, environment: &str) -> Option<Self> {
        let spec = world.apps.get(app)?.spec.environment(environment);
        let shown = Self::of(world, "apps", app, Some(environment))?;
        Some(Self {
            meaning: format!("{spec:?}"),
            spec_only: true,
            ..shown
        })
    }

    /// The object of the same name as it is now.
    fn again(&self, world: &World) -> Option<Self> {
        match (&self.part, self.spec_only) {
            (Some(part), true) => Self::spec_of(world, &self.name, part),
            (part, _) => Self::of(world, &self.resource, &self.name, part.as_deref()),
        }
    }

    /// For the intent.
    pub fn seen(&self) -> Seen {
        if self.resource == "releases" {
            return Seen {
                uid: self.uid.clone(),
                version: None,
                meaning: Some(self.meaning.clone()),
            };
        }
        let version = Some(self.version.clone()).filter(|v| !v.is_empty());
        Seen {
            uid: self.uid.clone(),
            version,
            meaning: None,
        }
    }
}

impl Question {
    /// A question with nothing in it yet.
    fn new(title: String, verb: &str, intent: Intent, about: &str, sent: &str) -> Self {
        Self {
            title,
            verb: verb.into(),
            intent,
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
            sent: sent.into(),
            about: about.into(),
        }
    }

    fn fact(&mut self, label: &str, words: impl Into<String>) {
        self.facts.push((label.into(), words.into()));
    }

    /// Takes a comment. Whoever types writes it: no letter can be a yes.
    fn ask_why(&mut self) {
        self.comment = Some(Input::default());
        self.focus = if self.typed.is_some() {
            Focus::Typed
        } else {
            Focus::Comment
        };
    }

    /// Asks for this name to be typed.
    fn type_name(&mut self, name: &str) {
        // As it is shown, and as it can be typed.
        let name = super::widget::harmless(name).trim().to_owned();
        self.typed = Some((name, Input::default()));
        self.focus = Focus::Typed;
    }

    /// The name, where one must be typed, stands there.
    pub fn is_typed(&self) -> bool {
        self.typed
            .as_ref()
            .is_none_or(|(name, input)| input.value().trim() == name)
    }

    /// It may be done now.
    pub fn may(&self) -> bool {
        self.stale.is_none() && self.is_typed()
    }

    /// Where Tab goes.
    pub fn turn(&mut self) {
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

    /// Somebody has written into it.
    pub fn is_written(&self) -> bool {
        let comment = self.comment.as_ref().is_some_and(|c| !c.value().is_empty());
        comment
            || self
                .typed
                .as_ref()
                .is_some_and(|(_, input)| !input.value().is_empty())
    }

    /// The field that takes letters.
    pub fn input(&mut self) -> Option<&mut Input> {
        match self.focus {
            Focus::Typed => self.typed.as_mut().map(|(_, input)| input),
            Focus::Comment => self.comment.as_mut(),
            Focus::No | Focus::Yes => None,
        }
    }

    /// Looks at the world again. A write that changes nothing of what was shown is taken over; any other makes
    /// the question stale, for good.
    pub fn look(&mut self, world: &World) {
        if self.stale.is_some() {
            return;
        }
        for shown in &mut self.objects {
            let now = shown.again(world);
            let kind = shown.resource.trim_end_matches('s').to_owned();
            match now {
                None => self.stale = Some(format!("{kind} {} is gone", shown.name)),
                Some(now) if now.uid != shown.uid => {
                    self.stale = Some(format!(
                        "{kind} {} was deleted, and a namesake made",
                        shown.name
                    ));
                }
                Some(now) if now.meaning != shown.meaning => {
                    self.stale = Some(format!(
                        "{kind} {} has moved on since this was asked",
                        shown.name
                    ));
                }
                Some(now) => {
                    if let Some(seen) = seen_of(&mut self.intent)
                        .filter(|s| s.uid == now.uid && s.version.is_some())
                    {
                        *seen = now.seen();
                    }
                    *shown = now;
                }
            }
        }
    }

    /// Takes over how things stand now from the same question asked again. What a yes would do may not change under
    /// somebody's eyes: that makes it stale.
    pub fn freshen(&mut self, now: Self) {
        if self.stale.is_some() || self.title != now.title || self.about != now.about {
            return;
        }
        if self.happens != now.happens {
            self.stale = Some("what would happen is not what is shown here any more".into());
            return;
        }
        (self.facts, self.alarms, self.doubts) = (now.facts, now.alarms, now.doubts);
    }

    /// What is sent on yes, with the comment in it.
    pub fn answer(self) -> Intent {
        let text = self
            .comment
            .map(|c| c.value().trim().to_owned())
            .filter(|c| !c.is_empty());
        let mut intent = self.intent;
        if let (Some(text), Intent::Release { comment, .. } | Intent::Teardown { comment, .. }) =
            (text, &mut intent)
        {
            *comment = Some(text);
        }
        intent
    }
}

fn seen_of(intent: &mut Intent) -> Option<&mut Seen> {
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
        | Intent::Probe { .. } => None,
    }
}
