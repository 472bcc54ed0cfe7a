//! Reports which environments a changed variable group reaches, and which groups an App names in
//! vain.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::{files::ManifestObject, lanes::parse_home_objects};
use crate::{
    api::{App, Release, VariableGroup},
    cli::{objects, session::Session},
    cluster::error,
    domain::variables::{self, Values},
};

/// Variable groups before and after the change, and the Apps and releases that use them.
#[derive(Default)]
pub(super) struct VariableImpact {
    /// Warnings, each with file and line.
    pub(super) warnings: Vec<String>,
    apps: Vec<App>,
    releases: Vec<Release>,
    /// Groups as they were, replaced by those of the files once these are recorded.
    groups: BTreeMap<String, VariableGroup>,
    /// Values before the change, by group.
    before: BTreeMap<String, Values>,
    noted: Vec<String>,
    session: String,
}

/// Reads the current state before anything is written.
pub(super) async fn read_impact(session: &Session, objects: &[ManifestObject]) -> VariableImpact {
    let apps = parse_home_objects::<App>(session, objects, "App");
    let groups = parse_home_objects::<VariableGroup>(session, objects, "VariableGroup");
    let names_groups = |app: &App| {
        app.spec
            .environments
            .iter()
            .any(|e| !e.variable_groups.is_empty())
    };
    if groups.is_empty() && !apps.iter().any(|(_, app)| names_groups(app)) {
        return VariableImpact::default();
    }
    let mut reach = VariableImpact {
        session: session.namespace.clone(),
        ..VariableImpact::default()
    };
    // Objects that the user may not list are only warned about. A cluster without our definitions
    // has none.
    let mut seen = |what: &str, why: kube::Error| {
        if error::status_code(&why) != Some(404) {
            let why = error::describe_error(&why);
            reach.warnings.push(format!(
                "which environments the variable groups reach is not known: {what} cannot be listed: {why}"
            ));
        }
    };
    let live: Vec<VariableGroup> = list_or_tell(session, "variable groups", &mut seen).await;
    let there: Vec<App> = list_or_tell(session, "apps", &mut seen).await;
    reach.releases = list_or_tell(session, "releases", &mut seen).await;
    reach.before = live
        .iter()
        .map(|g| (g.name_any(), g.spec.values.clone()))
        .collect();
    reach.groups = live
        .into_iter()
        .chain(groups.into_iter().map(|(_, g)| g))
        .map(|g| (g.name_any(), g))
        .collect();
    for (object, app) in &apps {
        let wrong = value_problems(object, app, &reach.groups);
        reach.warnings.extend(wrong);
    }
    let all: BTreeMap<String, App> = there
        .into_iter()
        .chain(apps.into_iter().map(|(_, app)| app))
        .map(|a| (a.name_any(), a))
        .collect();
    reach.apps = all.into_values().collect();
    reach
}

/// All objects of a kind; none, and a word to `seen`, where they cannot be listed.
async fn list_or_tell<K>(
    session: &Session,
    what: &str,
    seen: &mut impl FnMut(&str, kube::Error),
) -> Vec<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    objects::try_list_objects::<K>(session)
        .await
        .unwrap_or_else(|why| {
            seen(what, why);
            vec![]
        })
}

/// Why no release can deploy to environments of an App.
fn value_problems(
    object: &ManifestObject,
    app: &App,
    groups: &BTreeMap<String, VariableGroup>,
) -> Vec<String> {
    let mut problems = vec![];
    for environment in &app.spec.environments {
        let found =
            variables::resolve_shared_values(&app.name_any(), &app.spec, environment, |name| {
                groups.get(name)
            });
        for wrong in found.err().into_iter().flatten() {
            let (place, why) = (object.source_location(&wrong.path), wrong.why);
            let what = format!(
                "{}: environment {}: {why}",
                object.short_name(),
                environment.name
            );
            problems.push(format!(
                "{place}: {what}; no release can deploy there before that is fixed"
            ));
        }
    }
    problems
}

impl VariableImpact {
    /// Records a group as it was written, or would be in a dry run.
    pub(super) fn record_group(
        &mut self,
        object: &ManifestObject,
        written: Option<&serde_json::Value>,
    ) {
        let value = written.unwrap_or(&object.value);
        let is_ours =
            object.gvk().kind == "VariableGroup" && object.gvk().group == crate::api::GROUP;
        let home = value["metadata"]["namespace"]
            .as_str()
            .is_none_or(|n| n == self.session);
        if !is_ours || !home {
            return;
        }
        if let Ok(group) = serde_json::from_value::<VariableGroup>(value.clone()) {
            let name = group.name_any();
            let before = self.before.get(&name).cloned().unwrap_or_default();
            if before != group.spec.values || !self.before.contains_key(&name) {
                self.noted.push(name.clone());
            }
            self.groups.insert(name, group);
        }
    }

    /// One line for each change and the environments that it reaches.
    pub(super) fn describe_impact(&self, dry_run: bool) -> Vec<String> {
        let mut lines = vec![];
        for name in &self.noted {
            let Some(group) = self.groups.get(name) else {
                continue;
            };
            let before = self.before.get(name).cloned().unwrap_or_default();
            let keys = variables::changed_keys(&before, &group.spec.values).join(", ");
            let reached = variables::find_reached(name, &self.apps, |name| self.groups.get(name));
            let would = if dry_run { "would change" } else { "changes" };
            if reached.is_empty() {
                lines.push(format!("  {name} {would} {keys}: no environment names it"));
                continue;
            }
            let places: Vec<String> = reached.iter().map(ToString::to_string).collect();
            let places = places.join(", ");
            lines.push(format!(
                "  {name} {would} {keys} with the next release of {places}; nothing before"
            ));
            let running = self.releases.iter().filter(|r| {
                let over = r.status.as_ref().is_some_and(|s| s.phase.is_final());
                !over && reached.iter().any(|to| to.app == r.spec.app)
            });
            let running: Vec<String> = running.map(ResourceExt::name_any).collect();
            if !running.is_empty() {
                lines.push(format!(
                    "  under way, and keeping what they began with: {}",
                    running.join(", ")
                ));
            }
        }
        lines
    }
}
