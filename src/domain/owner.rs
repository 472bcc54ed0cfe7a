//! Ownership of objects: an object belongs to one environment of one App.
//!
//! Labels on the object name its owner. For objects that graylane applied before it wrote these
//! labels, the inventory in the App's status together with our field manager is the proof. An
//! unmarked object is not ours, whatever its name: it is written only after it has been adopted.
//! Everything that writes objects (adopt, apply, start, the engine) or deletes them checks
//! ownership here.

mod claimed_names;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{command_line::CommandLine, text::Clean};
use crate::api::{App, FIELD_MANAGER, InventoryItem, ObjectKey, ObjectRef, Uid, label};

pub use claimed_names::ClaimedNames;

/// One environment of one App.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Namespace of the App. `None` if not known.
    pub home: Option<String>,
    /// Name of the App.
    pub app: String,
    /// Name of the environment.
    pub environment: String,
}

/// What an object's metadata says about its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnershipMarks {
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
    /// Kind and name of the controller that owns it.
    pub controller: Option<String>,
    /// Whether graylane manages some of its fields.
    pub by_us: bool,
    /// Other managers of its fields, newest first, at most three.
    pub managers: Vec<String>,
}

/// Owner of an object, from the view of one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It belongs to this environment.
    Ours,
    /// It belongs to another environment.
    Theirs(Owner),
    /// Another controller (as named here) manages it and would create it again.
    Managed(String),
    /// It has no known owner and was never adopted.
    Unowned,
}

impl Owner {
    /// Owner for an environment of an App.
    pub fn for_environment(app: &App, environment: &str) -> Self {
        Self {
            home: app.metadata.namespace.clone(),
            app: app.metadata.name.clone().unwrap_or_default(),
            environment: environment.to_owned(),
        }
    }

    /// `environment prod of app web`, with the App's namespace if it differs from `seen_from`.
    pub fn describe_owner(&self, seen_from: Option<&str>) -> String {
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

    /// Whether it is another environment of the same App.
    fn may_be_former(&self, me: &Self) -> bool {
        !self.is_same_owner(me)
            && self.is_same_owner(&Self {
                environment: self.environment.clone(),
                ..me.clone()
            })
    }

    /// Whether it is an environment that this App no longer has, for example after a rename. The
    /// App may take over its objects.
    pub fn is_former(&self, me: &Self, app: &App) -> bool {
        self.may_be_former(me) && app.spec.environment(&self.environment).is_none()
    }

    fn is_same_owner(&self, other: &Self) -> bool {
        let home = self
            .home
            .as_ref()
            .zip(other.home.as_ref())
            .is_none_or(|(a, b)| a == b);
        home && self.app == other.app && self.environment == other.environment
    }
}

impl OwnershipMarks {
    /// Reads the marks from an object's metadata.
    pub fn from_metadata(meta: &ObjectMeta) -> Self {
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

    /// Owner that the labels name.
    pub fn owner(&self) -> Option<Owner> {
        let app = self.app.clone()?;
        Some(Owner {
            home: self.home.clone(),
            app,
            environment: self.environment.clone().unwrap_or_default(),
        })
    }

    /// Describes the controller that manages it and would create it again.
    fn describe_maker(&self) -> Option<String> {
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

/// Determines the owner of an object. `noted` is the owner whose inventory has the object with the
/// same UID.
pub fn determine_ownership(marks: &OwnershipMarks, me: &Owner, noted: Option<&Owner>) -> Ownership {
    match marks.owner() {
        Some(owner) if owner.is_same_owner(me) => return Ownership::Ours,
        // An incomplete mark does not count: somebody removed the rest.
        Some(owner) if !owner.environment.is_empty() || owner.app != me.app => {
            return Ownership::Theirs(owner);
        }
        _ => {}
    }
    if let Some(maker) = marks.describe_maker() {
        return Ownership::Managed(maker);
    }
    match noted.filter(|_| marks.by_us) {
        Some(owner) if owner.is_same_owner(me) => Ownership::Ours,
        Some(owner) => Ownership::Theirs(owner.clone()),
        None => Ownership::Unowned,
    }
}

/// Environment among these Apps whose inventory has this object.
pub fn find_in_inventories<'a>(
    apps: impl IntoIterator<Item = &'a App>,
    object: &ObjectRef,
    uid: &Uid,
) -> Option<Owner> {
    let same = |i: &InventoryItem| !uid.is_empty() && i.uid == *uid && is_same(&i.object, object);
    apps.into_iter().find_map(|app| {
        let mut all = app.status.iter().flat_map(|s| &s.environments);
        let found = all.find(|(_, status)| status.inventory.iter().any(same));
        found.map(|(environment, _)| Owner::for_environment(app, environment))
    })
}

/// Whether both name the same object, in any version of the API.
pub fn is_same(a: &ObjectRef, b: &ObjectRef) -> bool {
    fn identity_parts(o: &ObjectRef) -> (&str, &str, &ObjectKey) {
        (api_group(&o.api_version), &o.kind, &o.key)
    }
    identity_parts(a) == identity_parts(b)
}

/// `apps` of `apps/v1`.
fn api_group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Explains why an environment must not write an object, and what to do. `None` if it may.
pub fn explain_refusal(
    object: &ObjectRef,
    whose: &Ownership,
    marks: &OwnershipMarks,
    me: &Owner,
) -> Option<String> {
    let what = describe_object(object);
    Some(match whose {
        Ownership::Ours => return None,
        // The App may have renamed the environment; then it can no longer be torn down.
        Ownership::Theirs(owner) if owner.may_be_former(me) => format!(
            "{what} belongs to {}, and an object has one owner: give this one another name, or tear that \
            environment down \
             first; where the App has it no longer, {}",
            owner.describe_owner(me.home.as_deref()),
            adopt_hint(object, me)
        ),
        Ownership::Theirs(owner) => format!(
            "{what} belongs to {}, and an object has one owner: give this one another name, or take it out of the \
            other's \
             manifests and tear that down first",
            owner.describe_owner(me.home.as_deref())
        ),
        Ownership::Managed(maker) => {
            format!(
                "{what} is made by {maker}, which would undo what graylane writes: give this one another name"
            )
        }
        Ownership::Unowned => {
            let by = if marks.managers.is_empty() {
                String::new()
            } else {
                format!(" (written by {})", marks.managers.join(", "))
            };
            format!(
                "{what} exists already and belongs to no App{by}, so it is not overwritten: {}, or give this one \
                another name",
                adopt_hint(object, me)
            )
        }
    })
}

/// The command that adopts an object for this environment.
fn adopt_hint(object: &ObjectRef, me: &Owner) -> String {
    let (kind, name) = (object.kind.to_lowercase(), &object.key.name);
    let line = CommandLine::graylane("adopt").arg(format!("{kind}/{name}"));
    let line = line
        .option("--app", &me.app)
        .option("--environment", &me.environment)
        .option_if("-n", me.home.as_deref());
    // A name that cannot be quoted is left out.
    let line = if line.to_shell_line().is_some() {
        line
    } else {
        CommandLine::graylane("adopt")
    };
    format!("`{line}` adopts it")
}

/// `Service demo/web`.
pub fn describe_object(object: &ObjectRef) -> String {
    let ObjectRef { kind, key, .. } = object;
    let text = match &*key.namespace.to_string() {
        "" => object.kind_and_name(),
        namespace => format!("{kind} {namespace}/{}", key.name),
    };
    Clean::from_untrusted(&text).to_string()
}

#[cfg(test)]
mod tests;
