//! The values that an environment's manifests read, the reach of its variable groups, and how an
//! App differs from its template.

use std::collections::BTreeMap;

use crate::{
    api::VariableGroup,
    domain::{
        apps::{self, Comparison},
        variables::{self, Origin},
    },
    ui::{model::Model, theme::Role, widget::RichText},
};

/// Each value with its origin; then each variable group with the environments that it reaches.
pub(super) fn variable_lines(model: &Model, name: &str, environment: &str) -> Vec<RichText> {
    let world = &model.world;
    let found = world
        .apps
        .get(name)
        .and_then(|app| Some((app, app.spec.environment(environment)?)));
    let Some((app, environment)) = found else {
        return vec![RichText::styled(
            Role::Warn,
            format!("app {name} has no environment {environment} any more"),
        )];
    };
    let group_of = |group: &str| world.variables.get(group).map(|g| &**g);
    let mut lines = vec![];
    match variables::resolve_effective_values(name, &app.spec, environment, group_of) {
        Ok(values) => {
            let most = values
                .iter()
                .map(|v| crate::domain::text::display_width(&v.key))
                .max()
                .unwrap_or(0);
            lines.extend(values.iter().map(|value| value_line(value, most)));
            let last = variables::deployed_release(app, &environment.name)
                .and_then(|r| world.releases.get(r));
            let pending =
                variables::pending_changes(&values, last.map(|r| &**r), &environment.name);
            if !pending.is_empty() {
                lines.push(RichText::new());
                lines.push(RichText::styled(Role::Warn, "The next release changes"));
                lines.extend(
                    pending
                        .iter()
                        .map(|p| RichText::styled(Role::Warn, format!("  {p}"))),
                );
            }
        }
        Err(all) => {
            lines.extend(all.iter().map(|wrong| {
                RichText::styled(Role::Bad, format!("{}: {}", wrong.path, wrong.why))
            }));
            lines.push(RichText::styled(
                Role::Muted,
                "no release can deploy here before that is fixed",
            ));
        }
    }
    for group in &environment.variable_groups {
        let Some(found) = group_of(group) else {
            continue;
        };
        lines.push(RichText::new());
        lines.extend(reach_lines(model, group, found));
    }
    if environment.variable_groups.is_empty() {
        lines.push(RichText::new());
        lines.push(RichText::styled(
            Role::Muted,
            "this environment names no variable group (variableGroups)",
        ));
    }
    lines
}

/// A value with where it is from, and what it takes precedence over.
fn value_line(value: &variables::EffectiveValue, most: usize) -> RichText {
    let role = if value.from == Origin::Environment {
        Role::Muted
    } else {
        Role::Accent
    };
    let mut line = RichText::new()
        .add_column(Role::Title, &value.key, most + 2)
        .add(Role::Text, variables::format_value(&value.value))
        .add(role, format!("  from {}", value.from));
    if !value.over.is_empty() {
        let over: Vec<String> = value.over.iter().map(ToString::to_string).collect();
        line = line.add(Role::Muted, format!(", over {}", over.join(", ")));
    }
    line
}

fn reach_lines(model: &Model, name: &str, group: &VariableGroup) -> Vec<RichText> {
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
        RichText::styled(Role::Title, format!("Group {name}"))
            .add(Role::Muted, format!(" {of}{described}")),
    ];
    let apps = model.world.apps.values().map(|app| &**app);
    let reached = variables::find_reached(name, apps, |group| {
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
        RichText::styled(Role::Muted, "  a change reaches ")
            .add(Role::Text, format!("{app}: {}", places.join(", ")))
    };
    lines.extend(by_app.into_iter().map(line));
    lines
}

/// Differences between an App and its template, path by path.
pub(super) fn template_lines(model: &Model, name: &str, template: &str) -> Vec<RichText> {
    let world = &model.world;
    let (app, of) = match (world.apps.get(name), world.templates.get(template)) {
        (Some(app), Some(of)) => (app, of),
        (None, _) => return vec![RichText::styled(Role::Warn, format!("app {name} is gone"))],
        (_, None) => {
            return vec![RichText::styled(
                Role::Warn,
                format!("template {template} is gone"),
            )];
        }
    };
    let changes =
        match apps::compare_with_template(of, app, &apps::recorded_settings(app, template)) {
            Ok(Comparison { changes, .. }) => changes,
            Err(why) => return vec![RichText::styled(Role::Bad, why.to_string())],
        };
    if changes.is_empty() {
        return vec![RichText::styled(
            Role::Ok,
            format!("{name} is what template {template} makes"),
        )];
    }
    let mut lines = vec![RichText::styled(
        Role::Muted,
        "- what the template makes now, + what the app is",
    )];
    for change in changes {
        lines.push(RichText::new());
        lines.push(RichText::styled(Role::Title, change.path));
        for (role, sign, value) in [
            (Role::Bad, '-', change.template),
            (Role::Ok, '+', change.app),
        ] {
            let text = match &value {
                // Multi-line text, as in a manifest.
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) => variables::format_value(value),
                None => continue,
            };
            lines.extend(
                text.lines()
                    .map(|line| RichText::styled(role, format!("{sign} {line}"))),
            );
        }
    }
    lines
}
