//! What manifests read as `{{ .Values.x }}`: the environment's own values over those of its App's groups over those of
//! the namespace's groups. Among groups of the same kind the one that is named later wins, as in Kubernetes' `envFrom`.
//!
//! A release takes the groups' values when it begins ([`crate::api::ReleaseStatus::variables`]) and deploys these. So a
//! change of a group reaches an environment with its next release, and nothing that runs or is being approved.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use crate::api::{
    App, AppSpec, Environment, EnvironmentState, Release, VariableGroup, VariableGroupSpec,
};

/// Finds a variable group by its name.
pub type GroupOf<'a> = &'a (dyn Fn(&str) -> Option<&'a VariableGroup> + Sync);

/// Values by key.
pub type Values = BTreeMap<String, Value>;

/// The key that is always the environment's own: its `namespace`.
pub const NAMESPACE: &str = "namespace";

/// Where a value comes from, the stronger the later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "name")]
pub enum Origin {
    /// A group of the namespace.
    NamespaceGroup(String),
    /// A group of the App.
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

/// One value that an environment's manifests read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// `{{ .Values.KEY }}`.
    pub key: String,
    /// What it is.
    pub value: Value,
    /// Who says so.
    pub from: Origin,
    /// Who says otherwise and does not win, the weakest first.
    pub over: Vec<Origin>,
}

/// A group that an environment names and cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The App.
    pub app: String,
    /// Its environment.
    pub environment: String,
    /// The place in the App.
    pub path: String,
    /// In words.
    pub why: String,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            app,
            environment,
            path,
            why,
        } = self;
        write!(f, "app {app}, environment {environment}, {path}: {why}")
    }
}

/// All of them, one a line.
pub fn lines(all: &[Unresolved]) -> String {
    all.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The groups that an environment names, the weakest first. Errors name the place in the App, all at once.
fn layers<'g>(
    app: &str,
    spec: &AppSpec,
    environment: &Environment,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup>,
) -> Result<Vec<(Origin, &'g Values)>, Vec<Unresolved>> {
    let at = spec
        .environments
        .iter()
        .position(|e| e.name == environment.name)
        .unwrap_or(0);
    let (mut found, mut problems) = (vec![], vec![]);
    for (n, name) in environment.variable_groups.iter().enumerate() {
        let mut wrong = |why: String| {
            problems.push(Unresolved {
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
        if let Some(why) = unusable(&group.spec) {
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
    // Stable: among equals the order of the environment stays.
    found.sort_by_key(|(origin, _)| matches!(origin, Origin::AppGroup(_)));
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(problems)
    }
}

/// Why a group can be used by nobody.
pub fn unusable(group: &VariableGroupSpec) -> Option<String> {
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

/// What the groups of an environment give it, without its own values.
pub fn shared<'g>(
    app: &str,
    spec: &AppSpec,
    environment: &Environment,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup>,
) -> Result<Values, Vec<Unresolved>> {
    let layers = layers(app, spec, environment, group_of)?;
    Ok(layers
        .into_iter()
        .flat_map(|(_, values)| values.clone())
        .collect())
}

/// All that the manifests read in an environment, in order of the keys, and where each value comes from.
pub fn effective<'g>(
    app: &str,
    spec: &AppSpec,
    environment: &Environment,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup>,
) -> Result<Vec<Effective>, Vec<Unresolved>> {
    let mut layers = layers(app, spec, environment, group_of)?;
    let namespace = Values::from([(NAMESPACE.to_owned(), environment.namespace.as_str().into())]);
    if !environment.values.contains_key(NAMESPACE) {
        layers.push((Origin::Environment, &namespace));
    }
    layers.push((Origin::Environment, &environment.values));
    let mut all: BTreeMap<&String, Effective> = BTreeMap::new();
    for (origin, values) in layers {
        for (key, value) in values {
            let before = all
                .remove(key)
                .map(|e| [e.over, vec![e.from]].concat())
                .unwrap_or_default();
            let now = Effective {
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

/// An environment that a group reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    /// The App.
    pub app: String,
    /// Its environment.
    pub environment: String,
    /// Keys of the group that something stronger hides there.
    pub hidden: Vec<String>,
}

impl Reached {
    /// `APP/ENVIRONMENT`.
    pub fn place(&self) -> String {
        format!("{}/{}", self.app, self.environment)
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        if self.hidden.is_empty() {
            Ok(())
        } else {
            write!(f, " (not its {})", self.hidden.join(", "))
        }
    }
}

/// The environments that name a group, and what of it something stronger hides there.
pub fn reached<'a, 'g>(
    group: &str,
    apps: impl IntoIterator<Item = &'a App>,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup> + Copy,
) -> Vec<Reached> {
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
            let found = effective(&name, &app.spec, environment, group_of).unwrap_or_default();
            let hidden = found
                .into_iter()
                .filter(|e| e.over.iter().any(is_it))
                .map(|e| e.key)
                .collect();
            all.push(Reached {
                app: name.clone(),
                environment: environment.name.clone(),
                hidden,
            });
        }
    }
    all.sort();
    all
}

/// What the next release changes of what a variable group gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// `{{ .Values.KEY }}`.
    pub key: String,
    /// As the last release deployed it; none: it had no such value of a group.
    pub deployed: Option<Value>,
    /// As the next one would; none: no group gives it any more.
    pub next: Option<Value>,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".into(), shown);
        write!(
            f,
            "{}: {} → {}",
            self.key,
            say(&self.deployed),
            say(&self.next)
        )
    }
}

/// A value on one line: a text as it is, anything else as JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains(['\n', '\r', '\t']) => text.clone(),
        other => other.to_string(),
    }
}

/// The release that what runs in an environment is of.
pub fn deployed_by<'a>(app: &'a App, environment: &str) -> Option<&'a str> {
    let status = app.status.as_ref()?.environments.get(environment)?;
    let runs = matches!(
        status.state,
        EnvironmentState::Running | EnvironmentState::Deploying | EnvironmentState::Error
    );
    status.release.as_deref().filter(|_| runs)
}

/// What the next release to an environment would change of the values of its groups; `last` is the release that what
/// runs there is of. Nothing where that is not known.
pub fn pending(now: &[Effective], last: Option<&Release>, environment: &str) -> Vec<Pending> {
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
    keys.map(|key| Pending {
        deployed: deployed.get(&key).cloned(),
        next: next.get(&key).cloned(),
        key,
    })
    .collect()
}

/// Keys whose values differ, or that only one side has.
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
