//! Difference between an App and the App that its template would create now.

use serde::Serialize;
use serde_json::Value;

use super::{Setting, make};
use crate::api::{App, AppSpec, AppTemplate};

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Path in the spec: `environments[gray].rollout.batches`. Items of lists with names are
    /// identified by name.
    pub path: String,
    /// Value in the template. `None` if it has none.
    pub template: Option<Value>,
    /// Value in the App. `None` if it has none.
    pub app: Option<Value>,
}

/// Result of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Spec that the template would give now.
    pub template: AppSpec,
    /// Current spec of the App.
    pub app: AppSpec,
    /// Differences, in order.
    pub changes: Vec<FieldChange>,
}

/// Compares an App with what the template and the recorded settings would give now. Locks are
/// ignored, because they are state, not configuration.
pub fn compare_with_template(
    template: &AppTemplate,
    app: &App,
    settings: &[Setting],
) -> serde_json::Result<Comparison> {
    let name = app.metadata.name.as_deref().unwrap_or_default();
    let mut wanted = make::make_spec(&template.spec, name, settings)?;
    let mut found = app.spec.clone();
    for environment in wanted
        .environments
        .iter_mut()
        .chain(&mut found.environments)
    {
        environment.lock = None;
    }
    let mut changes = vec![];
    collect_changes(
        "",
        Some(&serde_json::to_value(&wanted)?),
        Some(&serde_json::to_value(&found)?),
        &mut changes,
    );
    Ok(Comparison {
        template: wanted,
        app: found,
        changes,
    })
}

fn collect_changes(
    path: &str,
    template: Option<&Value>,
    app: Option<&Value>,
    out: &mut Vec<FieldChange>,
) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match (template, app) {
        (t, a) if t == a => {}
        (Some(Value::Object(t)), Some(Value::Object(a))) => {
            let keys = t.keys().chain(a.keys().filter(|k| !t.contains_key(*k)));
            keys.for_each(|key| collect_changes(&below(key), t.get(key), a.get(key), out));
        }
        (Some(Value::Array(t)), Some(Value::Array(a)))
            if distinct_names(t).is_some() && distinct_names(a).is_some() =>
        {
            collect_list_changes(path, t, a, out);
        }
        _ => out.push(FieldChange {
            path: path.into(),
            template: template.cloned(),
            app: app.cloned(),
        }),
    }
}

/// Compares two lists whose items have unique names.
fn collect_list_changes(path: &str, template: &[Value], app: &[Value], out: &mut Vec<FieldChange>) {
    let (Some(named), Some(those)) = (distinct_names(template), distinct_names(app)) else {
        return;
    };
    let all = named
        .iter()
        .chain(those.iter().filter(|n| !named.contains(n)));
    for name in all {
        let of = |list: &'_ [Value]| list.iter().position(|v| v["name"] == *name);
        let (t, a) = (
            of(template).map(|at| &template[at]),
            of(app).map(|at| &app[at]),
        );
        collect_changes(&format!("{path}[{name}]"), t, a, out);
    }
    let kept = |list: &[&str], other: &[&str]| -> Vec<Value> {
        list.iter()
            .filter(|n| other.contains(n))
            .map(|n| Value::from(*n))
            .collect()
    };
    let (before, after) = (kept(&named, &those), kept(&those, &named));
    if before != after {
        out.push(FieldChange {
            path: format!("{path} (order)"),
            template: Some(Value::Array(before)),
            app: Some(Value::Array(after)),
        });
    }
}

/// Names of the items, if each has a unique one.
fn distinct_names(list: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = list
        .iter()
        .map(|v| v["name"].as_str())
        .collect::<Option<_>>()?;
    let distinct = names
        .iter()
        .enumerate()
        .all(|(n, name)| !names[..n].contains(name));
    distinct.then_some(names)
}
