//! Resolves the values that manifests read as `{{ .Values.x }}`. The environment's own values
//! override those of the App's groups, which override those of the namespace's groups. Among groups
//! of the same kind the later one wins, as in Kubernetes' `envFrom`.
//!
//! A release copies the groups' values when it starts ([`crate::api::ReleaseStatus::variables`])
//! and deploys this copy. A change of a group therefore reaches an environment with its next
//! release and never affects a release that is running or waiting for approval.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use super::text::join_lines;
use crate::api::{
    App, AppSpec, Environment, EnvironmentState, Release, VariableGroup, VariableGroupSpec,
};

/// Looks up a variable group by name.
pub type GroupLookup<'a> = &'a (dyn Fn(&str) -> Option<&'a VariableGroup> + Sync);

/// Values by key.
pub type Values = BTreeMap<String, Value>;

/// Reserved key for the environment's namespace; a group must not set it.
pub const NAMESPACE: &str = "namespace";

/// Where a value comes from, in increasing precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "name")]
pub enum Origin {
    /// A variable group of the namespace.
    NamespaceGroup(String),
    /// A variable group of the App.
    AppGroup(String),
    /// The environment itself.
    Environment,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NamespaceGroup(name) => write!(f, "group {name} of the namespace"),
            Self::AppGroup(name) => write!(f, "group {name} of the app"),
            Self::Environment => f.write_str("the environment"),
        }
    }
}

/// The effective value of one key in an environment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveValue {
    /// `KEY` in `{{ .Values.KEY }}`.
    pub key: String,
    /// The effective value.
    pub value: Value,
    /// Source of the value.
    pub from: Origin,
    /// Sources that this one overrides, lowest precedence first.
    pub over: Vec<Origin>,
}

/// A group that an environment names but cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("app {app}, environment {environment}, {path}: {why}")]
pub struct UnresolvedGroup {
    /// Name of the App.
    pub app: String,
    /// Name of the environment.
    pub environment: String,
    /// Field path in the App.
    pub path: String,
    /// Reason, for the user.
    pub why: String,
}

/// Formats the problems, one per line.
pub fn format_unresolved(all: &[UnresolvedGroup]) -> String {
    join_lines(all)
}

/// Resolves the groups that an environment names, lowest precedence first. All errors are returned
/// at once, with their field paths in the App.
fn resolve_layers<'g>(
    app: &str,
    spec: &AppSpec,
    environment: &Environment,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup>,
) -> Result<Vec<(Origin, &'g Values)>, Vec<UnresolvedGroup>> {
    let at = spec
        .environments
        .iter()
        .position(|e| e.name == environment.name)
        .unwrap_or(0);
    let (mut found, mut problems) = (vec![], vec![]);
    for (n, name) in environment.variable_groups.iter().enumerate() {
        let mut wrong = |why: String| {
            problems.push(UnresolvedGroup {
                app: app.to_owned(),
                environment: environment.name.clone(),
                path: format!("spec.environments[{at}].variableGroups[{n}]"),
                why,
            });
        };
        if environment.variable_groups[..n].contains(name) {
            wrong(format!("variable group {name} is named twice"));
            continue;
        }
        let Some(group) = group_of(name) else {
            wrong(format!(
                "there is no variable group {name}; `graylane get variablegroups` lists those that are there"
            ));
            continue;
        };
        let owner = group.spec.app.as_deref();
        if let Some(other) = owner.filter(|o| *o != app) {
            wrong(format!("variable group {name} is app {other}'s own"));
            continue;
        }
        if let Some(why) = explain_unusable(&group.spec) {
            wrong(format!("variable group {name}: {why}"));
            continue;
        }
        let origin = if owner.is_some() {
            Origin::AppGroup(name.clone())
        } else {
            Origin::NamespaceGroup(name.clone())
        };
        found.push((origin, &group.spec.values));
    }
    // A stable sort keeps the environment's order among groups of the same kind.
    found.sort_by_key(|(origin, _)| matches!(origin, Origin::AppGroup(_)));
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(problems)
    }
}

/// Explains why no App can use a group; `None` if it is valid.
pub fn explain_unusable(group: &VariableGroupSpec) -> Option<String> {
    if group.values.contains_key(NAMESPACE) {
        return Some(format!(
            "{NAMESPACE:?} is the environment's own: set it there"
        ));
    }
    group
        .values
        .contains_key("")
        .then(|| "a value has an empty key".into())
}

/// The values from an environment's groups, without its own values.
pub fn resolve_shared_values<'g>(
    app: &str,
    spec: &AppSpec,
    environment: &Environment,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup>,
) -> Result<Values, Vec<UnresolvedGroup>> {
    let layers = resolve_layers(app, spec, environment, group_of)?;
    Ok(layers
        .into_iter()
        .flat_map(|(_, values)| values.clone())
        .collect())
}

/// All values that manifests can read in an environment, sorted by key, with their sources.
pub fn resolve_effective_values<'g>(
    app: &str,
    spec: &AppSpec,
    environment: &Environment,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup>,
) -> Result<Vec<EffectiveValue>, Vec<UnresolvedGroup>> {
    let mut layers = resolve_layers(app, spec, environment, group_of)?;
    let namespace = Values::from([(NAMESPACE.to_owned(), environment.namespace.as_str().into())]);
    if !environment.values.contains_key(NAMESPACE) {
        layers.push((Origin::Environment, &namespace));
    }
    layers.push((Origin::Environment, &environment.values));
    let mut all: BTreeMap<&String, EffectiveValue> = BTreeMap::new();
    for (origin, values) in layers {
        for (key, value) in values {
            let before = all
                .remove(key)
                .map(|e| [e.over, vec![e.from]].concat())
                .unwrap_or_default();
            let now = EffectiveValue {
                key: key.clone(),
                value: value.clone(),
                from: origin.clone(),
                over: before,
            };
            all.insert(key, now);
        }
    }
    Ok(all.into_values().collect())
}

/// An environment that uses a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReachedEnvironment {
    /// Name of the App.
    pub app: String,
    /// Name of the environment.
    pub environment: String,
    /// Keys of the group that a higher precedence overrides there.
    pub hidden: Vec<String>,
}

impl ReachedEnvironment {
    /// `APP/ENVIRONMENT`.
    pub fn place(&self) -> String {
        format!("{}/{}", self.app, self.environment)
    }
}

impl fmt::Display for ReachedEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        if self.hidden.is_empty() {
            Ok(())
        } else {
            write!(f, " (not its {})", self.hidden.join(", "))
        }
    }
}

/// Finds the environments that use a group, with the keys that are overridden there.
pub fn find_reached<'a, 'g>(
    group: &str,
    apps: impl IntoIterator<Item = &'a App>,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup> + Copy,
) -> Vec<ReachedEnvironment> {
    let is_it = |origin: &Origin| match origin {
        Origin::NamespaceGroup(name) | Origin::AppGroup(name) => name == group,
        Origin::Environment => false,
    };
    let mut all = vec![];
    for app in apps {
        let name = app.metadata.name.clone().unwrap_or_default();
        for environment in app
            .spec
            .environments
            .iter()
            .filter(|e| e.variable_groups.iter().any(|g| g == group))
        {
            let found = resolve_effective_values(&name, &app.spec, environment, group_of)
                .unwrap_or_default();
            let hidden = found
                .into_iter()
                .filter(|e| e.over.iter().any(is_it))
                .map(|e| e.key)
                .collect();
            all.push(ReachedEnvironment {
                app: name.clone(),
                environment: environment.name.clone(),
                hidden,
            });
        }
    }
    all.sort();
    all
}

/// A change that the next release would make to a value from a variable group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingChange {
    /// `KEY` in `{{ .Values.KEY }}`.
    pub key: String,
    /// Value that the last release deployed; `None` when no group gave one.
    pub deployed: Option<Value>,
    /// Value that the next release would deploy; `None` when no group gives one any more.
    pub next: Option<Value>,
}

impl fmt::Display for PendingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".into(), format_value);
        write!(
            f,
            "{}: {} → {}",
            self.key,
            say(&self.deployed),
            say(&self.next)
        )
    }
}

/// Formats a value on one line: text without line breaks or tabs verbatim, anything else as JSON.
pub fn format_value(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains(['\n', '\r', '\t']) => text.clone(),
        other => other.to_string(),
    }
}

/// Name of the release that is deployed, or being deployed, in an environment.
pub fn deployed_release<'a>(app: &'a App, environment: &str) -> Option<&'a str> {
    let status = app.status.as_ref()?.environments.get(environment)?;
    let runs = matches!(
        status.state,
        EnvironmentState::Running | EnvironmentState::Deploying | EnvironmentState::Error
    );
    status.release.as_deref().filter(|_| runs)
}

/// What the next release would change in the values from an environment's groups. `last` is the
/// release deployed there; without it, or before it has tasks, the result is empty.
pub fn pending_changes(
    now: &[EffectiveValue],
    last: Option<&Release>,
    environment: &str,
) -> Vec<PendingChange> {
    let Some(status) = last
        .and_then(|r| r.status.as_ref())
        .filter(|s| !s.tasks.is_empty())
    else {
        return vec![];
    };
    let deployed = status
        .variables
        .get(environment)
        .cloned()
        .unwrap_or_default();
    let own = |key: &String| {
        now.iter()
            .any(|e| e.key == *key && e.from == Origin::Environment)
    };
    let of_groups = now.iter().filter(|e| e.from != Origin::Environment);
    let next: Values = of_groups
        .map(|e| (e.key.clone(), e.value.clone()))
        .collect();
    let keys = changed_keys(&deployed, &next)
        .into_iter()
        .filter(|k| !own(k));
    keys.map(|key| PendingChange {
        deployed: deployed.get(&key).cloned(),
        next: next.get(&key).cloned(),
        key,
    })
    .collect()
}

/// Keys whose values differ, or that exist on only one side.
pub fn changed_keys(before: &Values, after: &Values) -> Vec<String> {
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|k| before.get(*k) != after.get(*k))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
