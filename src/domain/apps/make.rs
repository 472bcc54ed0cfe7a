//! Creates Apps from a template, names and settings. All problems are reported together, and
//! nothing is created while there are any.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Setting, find_problems};
use crate::{
    api::{App, AppSpec, AppTemplate, AppTemplateSpec, ObjectRef, VariableGroup, label},
    domain::{template, variables, workflow::render_placed_objects},
};

/// Placeholder for the App's name.
const NAME: &str = "${APP}";

/// Texts that are Go templates and get the name from `.AppStack.appName`.
const GO_TEMPLATES: [&str; 2] = ["manifests.template", "workflow.stages.tasks.build.job"];

/// Objects that exist already.
pub struct ExistingObjects<'a> {
    /// Apps of the namespace.
    pub apps: Vec<&'a App>,
    /// Variable groups of the namespace, by name.
    pub groups: BTreeMap<&'a str, &'a VariableGroup>,
}

/// Creates the Apps with these names from the template and the settings.
pub fn make_apps(
    template: &AppTemplate,
    names: &[String],
    settings: &[Setting],
    around: &ExistingObjects<'_>,
) -> Result<Vec<App>, Vec<String>> {
    let mut told = vec![];
    if names.is_empty() {
        told.push("no app is named".to_owned());
    }
    for (n, name) in names.iter().enumerate() {
        if let Some(why) = name_problem(name) {
            told.push(format!("{name:?} cannot be the name of an app: {why}"));
        } else if names[..n].contains(name) {
            told.push(format!("{name} is named twice"));
        } else if around
            .apps
            .iter()
            .any(|a| a.metadata.name.as_ref() == Some(name))
        {
            told.push(format!("app {name} exists already"));
        }
    }
    told.extend(setting_problems(template, names, settings));
    if !told.is_empty() {
        return Err(told);
    }
    let mut made = vec![];
    for name in names {
        match make_app(template, name, settings) {
            Ok(app) => made.push(app),
            Err(why) => told.push(format!("app {name}: {why}")),
        }
    }
    let mut owners = inventory_owners(&around.apps);
    for app in &made {
        told.extend(app_problems(app, around, &mut owners));
    }
    if told.is_empty() { Ok(made) } else { Err(told) }
}

/// Spec of a newly created App of this name.
pub(super) fn make_spec(
    template: &AppTemplateSpec,
    name: &str,
    settings: &[Setting],
) -> serde_json::Result<AppSpec> {
    let mut value = serde_json::to_value(&template.app)?;
    insert_name(&mut value, name, "");
    let mut spec: AppSpec = serde_json::from_value(value)?;
    for setting in settings_for_app(settings, name) {
        for environment in spec
            .environments
            .iter_mut()
            .filter(|e| setting.applies_to(e))
        {
            environment
                .values
                .insert(setting.key.clone(), setting.value.clone());
        }
    }
    Ok(spec)
}

/// Settings for one App, lowest precedence first: a setting for one App wins over one for all Apps,
/// and then a setting for one environment wins, whatever their order.
fn settings_for_app<'s>(settings: &'s [Setting], name: &str) -> Vec<&'s Setting> {
    let mut mine: Vec<&Setting> = settings
        .iter()
        .filter(|s| s.app.as_deref().is_none_or(|app| app == name))
        .collect();
    mine.sort_by_key(|s| (s.app.is_some(), s.environment.is_some()));
    mine
}

/// Creates an App with annotations about its origin.
fn make_app(template: &AppTemplate, name: &str, settings: &[Setting]) -> serde_json::Result<App> {
    let mut app = App::new(name, make_spec(&template.spec, name, settings)?);
    // Recorded as they apply to this App, so that the same App can be created again.
    let mut mine = vec![];
    for environment in &app.spec.environments {
        let keys: BTreeSet<&String> = settings_for_app(settings, name)
            .iter()
            .filter(|s| s.applies_to(environment))
            .map(|s| &s.key)
            .collect();
        for (key, value) in environment
            .values
            .iter()
            .filter(|(key, _)| keys.contains(key))
        {
            let environment = Some(environment.name.clone());
            mine.push(
                Setting {
                    app: None,
                    environment,
                    key: key.clone(),
                    value: value.clone(),
                }
                .to_string(),
            );
        }
    }
    let mut annotations = BTreeMap::from([(
        label::TEMPLATE.to_owned(),
        template.metadata.name.clone().unwrap_or_default(),
    )]);
    if !mine.is_empty() {
        annotations.insert(label::TEMPLATE_SET.into(), serde_json::to_string(&mine)?);
    }
    app.metadata.annotations = Some(annotations);
    Ok(app)
}

/// Name of the template that an App was created from.
pub fn template_name(app: &App) -> Option<&str> {
    app.metadata
        .annotations
        .as_ref()?
        .get(label::TEMPLATE)
        .map(String::as_str)
}

/// Settings that the App was created with from this template. Unreadable ones are ignored.
pub fn recorded_settings(app: &App, template: &str) -> Vec<Setting> {
    let text = app
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(label::TEMPLATE_SET));
    let texts: Vec<String> = text
        .and_then(|t| serde_json::from_str(t).ok())
        .unwrap_or_default();
    if template_name(app) == Some(template) {
        texts.iter().filter_map(|t| t.parse().ok()).collect()
    } else {
        vec![]
    }
}

/// Inserts the name into every text except Go templates, which have `.AppStack.appName`.
fn insert_name(value: &mut Value, name: &str, at: &str) {
    match value {
        Value::String(text) if text.contains(NAME) => *text = replace_name(text, name),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| insert_name(item, name, at)),
        Value::Object(map) => {
            if map.keys().any(|k| k.contains(NAME)) {
                let old = std::mem::take(map);
                map.extend(old.into_iter().map(|(k, v)| (replace_name(&k, name), v)));
            }
            for (key, value) in map {
                let below = if at.is_empty() {
                    key.clone()
                } else {
                    format!("{at}.{key}")
                };
                if !GO_TEMPLATES.contains(&below.as_str()) {
                    insert_name(value, name, &below);
                }
            }
        }
        _ => {}
    }
}

fn replace_name(text: &str, name: &str) -> String {
    // `$${APP}` becomes a literal `${APP}`.
    text.split(&format!("${NAME}"))
        .map(|part| part.replace(NAME, name))
        .collect::<Vec<_>>()
        .join(NAME)
}

/// Why a name is invalid. It is also used as a label value and usually as the name of a Service.
fn name_problem(name: &str) -> Option<&'static str> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    match name {
        n if n.len() > 63 => Some("it has more than 63 characters"),
        n if !n.chars().all(inner) => Some("it may have only lower-case letters, digits, - and ."),
        n if !edge(n.chars().next()) || !edge(n.chars().last()) => {
            Some("it must begin and end with a letter or digit")
        }
        // RFC 1123: each part between dots must begin and end like this as well.
        n if n
            .split('.')
            .any(|l| !edge(l.chars().next()) || !edge(l.chars().last())) =>
        {
            Some("each part between dots must begin and end with a letter or digit")
        }
        _ => None,
    }
}

/// Settings for unknown Apps or environments, and settings that no template reads.
fn setting_problems(template: &AppTemplate, names: &[String], settings: &[Setting]) -> Vec<String> {
    let spec = &template.spec.app;
    let known = readable_value_keys(spec);
    let environments: Vec<&str> = spec.environments.iter().map(|e| e.name.as_str()).collect();
    let mut told = vec![];
    for (n, setting) in settings.iter().enumerate() {
        if let Some(app) = setting.app.as_ref().filter(|app| !names.contains(app)) {
            told.push(format!("--set {setting}: app {app} is not being made"));
        }
        if let Some(name) = setting
            .environment
            .as_deref()
            .filter(|e| !environments.contains(e))
        {
            let there = environments.join(", ");
            told.push(format!(
                "--set {setting}: the template has no environment {name}; it has {there}"
            ));
        }
        if let Some(known) = known.as_ref().filter(|known| !known.contains(&setting.key)) {
            let known = known
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            let known = if known.is_empty() {
                "no value at all".into()
            } else {
                known
            };
            told.push(format!(
                "--set {setting}: the template reads no .Values.{}; it reads {known}",
                setting.key
            ));
        }
        let same = |s: &&Setting| {
            (&s.app, &s.environment, &s.key) == (&setting.app, &setting.environment, &setting.key)
        };
        if let Some(other) = settings[..n].iter().find(same) {
            told.push(format!("--set {setting}: it is set twice, also as {other}"));
        }
    }
    told
}

/// Keys that the manifests read or the environments set. `None` if a manifest reads all values at
/// once.
fn readable_value_keys(spec: &AppSpec) -> Option<BTreeSet<String>> {
    let mut known: BTreeSet<String> = spec
        .environments
        .iter()
        .flat_map(|e| e.values.keys().cloned())
        .collect();
    for manifest in &spec.manifests {
        for found in
            template::find_placeholders(&manifest.name, &manifest.template).unwrap_or_default()
        {
            match found.path.as_str() {
                ".Values" | "." | "" => return None,
                ".AppStack.replicas" => drop(known.insert("replicas".into())),
                path => {
                    let first = path
                        .strip_prefix(".Values.")
                        .and_then(|p| p.split(['.', '[']).next());
                    known.extend(first.map(str::to_owned));
                }
            }
        }
    }
    Some(known)
}

/// Object to the environment and App that own it.
type OwnersByObject = BTreeMap<ObjectRef, String>;

fn inventory_owners(apps: &[&App]) -> OwnersByObject {
    let mut all = OwnersByObject::new();
    for app in apps {
        for (environment, status) in app.status.iter().flat_map(|s| &s.environments) {
            let who = format!(
                "{environment} of app {}",
                app.metadata.name.as_deref().unwrap_or_default()
            );
            let objects = status.inventory.iter().map(|i| i.object.clone());
            all.extend(objects.map(|object| (object, who.clone())));
        }
    }
    all
}

/// Problems that would prevent releases of a new App. Its objects are added to `owners`.
fn app_problems(
    app: &App,
    around: &ExistingObjects<'_>,
    owners: &mut OwnersByObject,
) -> Vec<String> {
    let name = app.metadata.name.as_deref().unwrap_or_default();
    let mut told: Vec<String> = find_problems(&app.spec)
        .into_iter()
        .map(|(path, why)| format!("app {name}: spec.{path}: {why}"))
        .collect();
    for environment in &app.spec.environments {
        let place = format!("app {name}, environment {}", environment.name);
        if !is_namespace_name(&environment.namespace) {
            told.push(format!(
                "{place}: {:?} cannot be the name of a namespace",
                environment.namespace
            ));
        }
        let shared = variables::resolve_shared_values(name, &app.spec, environment, |group| {
            around.groups.get(group).copied()
        });
        let objects = match shared {
            Ok(shared) => {
                render_placed_objects(app, environment, &shared, &default_images(&app.spec))
            }
            Err(all) => {
                told.extend(all.iter().map(ToString::to_string));
                continue;
            }
        };
        match objects {
            Ok(objects) => {
                for object in objects.iter().map(ObjectRef::from_object) {
                    if let Some(who) = owners.get(&object) {
                        let ObjectRef { kind, key, .. } = &object;
                        told.push(format!(
                            "{place}: {kind} {}/{} belongs to {who}: put .AppStack.appName and .AppStack.envName into \
                            its name",
                            key.namespace, key.name
                        ));
                    } else {
                        owners.insert(object, format!("{} of app {name}", environment.name));
                    }
                }
            }
            Err(all) => told.extend(all.iter().map(|why| format!("{place}: {why}"))),
        }
    }
    told
}

/// A reference for every image. Names of objects do not depend on images.
fn default_images(spec: &AppSpec) -> BTreeMap<String, String> {
    let to_be = |(name, source): (&String, &crate::api::ImageSource)| {
        (
            name.clone(),
            source
                .default
                .clone()
                .unwrap_or_else(|| format!("{}:none", source.repository)),
        )
    };
    spec.images.iter().map(to_be).collect()
}

fn is_namespace_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
