//! The values that an environment's manifests read, the reach of its variable groups, and how an
//! App differs from its template.

use std::collections::BTreeMap;

use crate::{
    api::VariableGroup,
    domain::{
        apps::{self, Comparison},
        variables::{self, Origin},
    },
    ui::{model::Model, theme::Role, widget::Rich},
};

/// Each value with its origin; then each variable group with the environments that it reaches.
pub(super) fn variables(model: &Model, name: &str, environment: &str) -> Vec<Rich> {
    let world = &model.world;
    let found = world
        .apps
        .get(name)
        .and_then(|app| Some((app, app.spec.environment(environment)?)));
    let Some((app, environment)) = found else {
        return vec![Rich::of(
            Role::Warn,
            format!("app {name} has no environment {environment} any more"),
        )];
    };
    let group_of = |group: &str| world.variables.get(group).map(|g| &**g);
    let mut lines = vec![];
    match variables::effective(name, &app.spec, environment, group_of) {
        Ok(values) => {
            let most = values
                .iter()
                .map(|v| crate::domain::text::width(&v.key))
                .max()
                .unwrap_or(0);
            for value in &values {
                let role = if value.from == Origin::Environment {
                    Role::Muted
                } else {
                    Role::Accent
                };
                let mut line = Rich::new()
                    .col(Role::Title, &value.key, most + 2)
                    .add(Role::Text, variables::shown(&value.value))
                    .add(role, format!("  from {}", value.from));
                if !value.over.is_empty() {
                    let over: Vec<String> = value.over.iter().map(ToString::to_string).collect();
                    line = line.add(Role::Muted, format!(", over {}", over.join(", ")));
                }
                lines.push(line);
            }
            let last =
                variables::deployed_by(app, &environment.name).and_then(|r| world.releases.get(r));
            let pending = variables::pending(&values, last.map(|r| &**r), &environment.name);
            if !pending.is_empty() {
                lines.push(Rich::new());
                lines.push(Rich::of(Role::Warn, "The next release changes"));
                lines.extend(
                    pending
                        .iter()
                        .map(|p| Rich::of(Role::Warn, format!("  {p}"))),
                );
            }
        }
        Err(all) => {
            lines.extend(
                all.iter()
                    .map(|wrong| Rich::of(Role::Bad, format!("{}: {}", wrong.path, wrong.why))),
            );
            lines.push(Rich::of(
                Role::Muted,
                "no release can deploy here before that is mended",
            ));
        }
    }
    for group in &environment.variable_groups {
        let Some(found) = group_of(group) else {
            continue;
        };
        lines.push(Rich::new());
        lines.extend(reach(model, group, found));
    }
    if environment.variable_groups.is_empty() {
        lines.push(Rich::new());
        lines.push(Rich::of(
            Role::Muted,
            "this environment names no variable group (variableGroups)",
        ));
    }
    lines
}

fn reach(model: &Model, name: &str, group: &VariableGroup) -> Vec<Rich> {
    let of = group.spec.app.as_ref().map_or_else(
        || "of the namespace".to_owned(),
        |app| format!("of app {app}"),
    );
    let described = group
        .spec
        .description
        .as_ref()
        .map(|d| format!(": {d}"))
        .unwrap_or_default();
    let mut lines = vec![
        Rich::of(Role::Title, format!("Group {name}"))
            .add(Role::Muted, format!(" {of}{described}")),
    ];
    let apps = model.world.apps.values().map(|app| &**app);
    let reached = variables::reached(name, apps, |group| {
        model.world.variables.get(group).map(|g| &**g)
    });
    let mut by_app: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for place in &reached {
        let hidden = if place.hidden.is_empty() {
            String::new()
        } else {
            format!(" (not its {})", place.hidden.join(", "))
        };
        by_app
            .entry(&place.app)
            .or_default()
            .push(format!("{}{hidden}", place.environment));
    }
    let line = |(app, places): (&str, Vec<String>)| {
        Rich::of(Role::Muted, "  a change reaches ")
            .add(Role::Text, format!("{app}: {}", places.join(", ")))
    };
    lines.extend(by_app.into_iter().map(line));
    lines
}

/// Differences between an App and its template, path by path.
pub(super) fn template(model: &Model, name: &str, template: &str) -> Vec<Rich> {
    let world = &model.world;
    let (app, of) = match (world.apps.get(name), world.templates.get(template)) {
        (Some(app), Some(of)) => (app, of),
        (None, _) => return vec![Rich::of(Role::Warn, format!("app {name} is gone"))],
        (_, None) => return vec![Rich::of(Role::Warn, format!("template {template} is gone"))],
    };
    let changes = match apps::compare(of, app, &apps::recorded(app, template)) {
        Ok(Comparison { changes, .. }) => changes,
        Err(why) => return vec![Rich::of(Role::Bad, why)],
    };
    if changes.is_empty() {
        return vec![Rich::of(
            Role::Ok,
            format!("{name} is as template {template} makes it"),
        )];
    }
    let mut lines = vec![Rich::of(
        Role::Muted,
        "- as the template makes it now, + as the app is",
    )];
    for change in changes {
        lines.push(Rich::new());
        lines.push(Rich::of(Role::Title, change.path));
        for (role, sign, value) in [
            (Role::Bad, '-', change.template),
            (Role::Ok, '+', change.app),
        ] {
            let text = match &value {
                // Multi-line text, as in a manifest.
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) => variables::shown(value),
                None => continue,
            };
            lines.extend(
                text.lines()
                    .map(|line| Rich::of(role, format!("{sign} {line}"))),
            );
        }
    }
    lines
}
