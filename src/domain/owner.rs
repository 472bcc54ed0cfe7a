//! Whose an object is: one environment of one App, and nobody else's.
//!
//! An object says so itself, by labels; what graylane applied before it wrote them is proved by the inventory in the
//! App's status together with our field manager. What bears no mark is not ours, whatever it is named: it is written
//! only once somebody has adopted it. All who write (adopt, apply, start, the engine) and all who delete ask here.

mod taken;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{command_line::CommandLine, text::Clean};
use crate::api::{App, FIELD_MANAGER, InventoryItem, label};

pub use taken::Taken;

/// One environment of one App.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The namespace of the App; none: not known.
    pub home: Option<String>,
    /// The App's name.
    pub app: String,
    /// The environment's name.
    pub environment: String,
}

/// What an object says of whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// `graylane.dev/app`
    pub app: Option<String>,
    /// `graylane.dev/environment`
    pub environment: Option<String>,
    /// `graylane.dev/app-namespace`
    pub home: Option<String>,
    /// `graylane.dev/lane-group`
    pub lane_group: Option<String>,
    /// `graylane.dev/component`
    pub component: Option<String>,
    /// Kind and name of the controller that makes it.
    pub controller: Option<String>,
    /// graylane has written some of it.
    pub by_us: bool,
    /// Other managers of its fields, newest first, no more than a few.
    pub managers: Vec<String>,
}

/// Whose an object is, as one environment sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This environment's.
    Ours,
    /// Another environment's.
    Theirs(Owner),
    /// Somebody makes it and would make it again, in words.
    Made(String),
    /// Nobody's that is known: never adopted.
    Nobodys,
}

impl Owner {
    /// An environment of an App.
    pub fn of(app: &App, environment: &str) -> Self {
        Self {
            home: app.metadata.namespace.clone(),
            app: app.metadata.name.clone().unwrap_or_default(),
            environment: environment.to_owned(),
        }
    }

    /// `environment prod of app web`, with the App's namespace where it is another than `seen_from`.
    pub fn words(&self, seen_from: Option<&str>) -> String {
        let clean = |text: &str| Clean::from_untrusted(text).to_string();
        let environment = match self.environment.as_str() {
            "" => "an environment".to_owned(),
            name => format!("environment {}", clean(name)),
        };
        let far = self
            .home
            .as_deref()
            .filter(|home| seen_from.is_some_and(|from| from != *home));
        let far = far.map_or_else(String::new, |home| format!(" in namespace {}", clean(home)));
        format!("{environment} of app {}{far}", clean(&self.app))
    }

    /// Another environment of the same App.
    fn may_be_former(&self, me: &Self) -> bool {
        !self.is(me)
            && self.is(&Self {
                environment: self.environment.clone(),
                ..me.clone()
            })
    }

    /// An environment that this App had under another name, and has no longer: what it made is the App's to take over.
    pub fn is_former(&self, me: &Self, app: &App) -> bool {
        self.may_be_former(me) && app.spec.environment(&self.environment).is_none()
    }

    fn is(&self, other: &Self) -> bool {
        let home = self
            .home
            .as_ref()
            .zip(other.home.as_ref())
            .is_none_or(|(a, b)| a == b);
        home && self.app == other.app && self.environment == other.environment
    }
}

impl Marks {
    /// As its metadata has them.
    pub fn of(meta: &ObjectMeta) -> Self {
        let label = |key: &str| meta.labels.as_ref()?.get(key).cloned();
        let controller = meta
            .owner_references
            .iter()
            .flatten()
            .find(|r| r.controller == Some(true));
        let mut entries: Vec<_> = meta
            .managed_fields
            .iter()
            .flatten()
            .filter(|e| e.subresource.as_deref().is_none_or(str::is_empty))
            .collect();
        entries.sort_by_key(|e| std::cmp::Reverse(e.time.as_ref().map(|t| t.0)));
        let ours = |manager: &str| manager == FIELD_MANAGER;
        let names = || entries.iter().filter_map(|e| e.manager.as_deref());
        let mut managers: Vec<String> = vec![];
        for name in names().filter(|name| !ours(name)) {
            let name = Clean::bounded(name, 60).to_string();
            if !managers.contains(&name) && managers.len() < 3 {
                managers.push(name);
            }
        }
        Self {
            app: label(label::APP),
            environment: label(label::ENVIRONMENT),
            home: meta
                .annotations
                .as_ref()
                .and_then(|a| a.get(label::HOME))
                .cloned(),
            lane_group: label(label::LANE_GROUP),
            component: label(label::COMPONENT),
            controller: controller
                .map(|c| Clean::from_untrusted(&format!("{} {}", c.kind, c.name)).to_string()),
            by_us: names().any(ours),
            managers,
        }
    }

    /// Whose it says it is.
    pub fn owner(&self) -> Option<Owner> {
        let app = self.app.clone()?;
        Some(Owner {
            home: self.home.clone(),
            app,
            environment: self.environment.clone().unwrap_or_default(),
        })
    }

    /// What makes it and would make it again, in words.
    fn maker(&self) -> Option<String> {
        let clean = |text: &String| Clean::from_untrusted(text).to_string();
        let group = self
            .lane_group
            .as_ref()
            .map(|g| format!("lane group {}", clean(g)));
        let own = || {
            self.component
                .as_ref()
                .map(|c| format!("graylane itself ({})", clean(c)))
        };
        group.or_else(own).or_else(|| self.controller.clone())
    }
}

/// Whose an object is. `noted` is whose inventory holds it with that very uid.
pub fn whose(marks: &Marks, me: &Owner, noted: Option<&Owner>) -> Whose {
    match marks.owner() {
        Some(owner) if owner.is(me) => return Whose::Ours,
        // Half a mark is none: somebody took the rest away.
        Some(owner) if !owner.environment.is_empty() || owner.app != me.app => {
            return Whose::Theirs(owner);
        }
        _ => {}
    }
    if let Some(maker) = marks.maker() {
        return Whose::Made(maker);
    }
    match noted.filter(|_| marks.by_us) {
        Some(owner) if owner.is(me) => Whose::Ours,
        Some(owner) => Whose::Theirs(owner.clone()),
        None => Whose::Nobodys,
    }
}

/// The environment of these Apps whose inventory holds the very object.
pub fn noted<'a>(
    apps: impl IntoIterator<Item = &'a App>,
    item: &InventoryItem,
    uid: &str,
) -> Option<Owner> {
    let same = |i: &InventoryItem| !uid.is_empty() && i.uid == uid && is_same(i, item);
    apps.into_iter().find_map(|app| {
        let mut all = app.status.iter().flat_map(|s| &s.environments);
        let found = all.find(|(_, status)| status.inventory.iter().any(same));
        found.map(|(environment, _)| Owner::of(app, environment))
    })
}

/// Whether two items name one object: the version of the API it is asked by does not matter.
pub fn is_same(a: &InventoryItem, b: &InventoryItem) -> bool {
    fn parts(i: &InventoryItem) -> (&str, &str, &str, &str) {
        (group(&i.api_version), &i.kind, &i.namespace, &i.name)
    }
    parts(a) == parts(b)
}

/// `apps` of `apps/v1`.
fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Why an environment must not write an object, and what to do about it; none when it may.
pub fn refusal(item: &InventoryItem, whose: &Whose, marks: &Marks, me: &Owner) -> Option<String> {
    let what = named(item);
    Some(match whose {
        Whose::Ours => return None,
        // It may have been renamed: then nobody is left to tear it down.
        Whose::Theirs(owner) if owner.may_be_former(me) => format!(
            "{what} belongs to {}, and an object has one owner: name this one otherwise, or tear that environment down \
             first; where the App has it no longer, {}",
            owner.words(me.home.as_deref()),
            adopting(item, me)
        ),
        Whose::Theirs(owner) => format!(
            "{what} belongs to {}, and an object has one owner: name this one otherwise, or take it out of the other's \
             manifests and tear that down first",
            owner.words(me.home.as_deref())
        ),
        Whose::Made(maker) => {
            format!(
                "{what} is made by {maker}, which would undo what graylane writes: name this one otherwise"
            )
        }
        Whose::Nobodys => {
            let by = if marks.managers.is_empty() {
                String::new()
            } else {
                format!(" (written by {})", marks.managers.join(", "))
            };
            format!(
                "{what} is there already and belongs to no App{by}, so it is not written over: {}, or name this one \
                 otherwise",
                adopting(item, me)
            )
        }
    })
}

/// How an object is made this environment's.
fn adopting(item: &InventoryItem, me: &Owner) -> String {
    let line =
        CommandLine::graylane("adopt").arg(format!("{}/{}", item.kind.to_lowercase(), item.name));
    let line = line
        .option("--app", &me.app)
        .option("--environment", &me.environment);
    // A name that cannot be quoted is left out.
    let line = if line.shown().is_some() {
        line
    } else {
        CommandLine::graylane("adopt")
    };
    format!("`{line}` makes it its own")
}

/// `Service demo/web`.
pub fn named(item: &InventoryItem) -> String {
    let text = match item.namespace.as_str() {
        "" => format!("{} {}", item.kind, item.name),
        namespace => format!("{} {namespace}/{}", item.kind, item.name),
    };
    Clean::from_untrusted(&text).to_string()
}

#[cfg(test)]
mod tests;
