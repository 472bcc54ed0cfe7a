//! How an App has left its template: what it says otherwise than an App that is made from the template now.

use serde::Serialize;
use serde_json::Value;

use super::{Setting, make};
use crate::api::{App, AppSpec, AppTemplate};

/// One place where they differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Within the spec: `environments[gray].rollout.batches`; items of lists that have names go by these.
    pub path: String,
    /// What the template says; none: nothing.
    pub template: Option<Value>,
    /// What the App says; none: nothing.
    pub app: Option<Value>,
}

/// A whole comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// As an App of that name would be made now.
    pub template: AppSpec,
    /// As it is.
    pub app: AppSpec,
    /// Where they differ, in order.
    pub changes: Vec<Change>,
}

/// Compares an App with what the template would make now, with what was set when it was made. A lock is no difference: it
/// says what may happen now, not what the App is.
pub fn compare(
    template: &AppTemplate,
    app: &App,
    settings: &[Setting],
) -> Result<Comparison, String> {
    let name = app.metadata.name.as_deref().unwrap_or_default();
    let mut wanted = make::spec(&template.spec, name, settings)?;
    let mut found = app.spec.clone();
    for environment in wanted
        .environments
        .iter_mut()
        .chain(&mut found.environments)
    {
        environment.lock = None;
    }
    let json = |spec: &AppSpec| serde_json::to_value(spec).map_err(|e| e.to_string());
    let mut changes = vec![];
    walk(
        "",
        Some(&json(&wanted)?),
        Some(&json(&found)?),
        &mut changes,
    );
    Ok(Comparison {
        template: wanted,
        app: found,
        changes,
    })
}

fn walk(path: &str, template: Option<&Value>, app: Option<&Value>, out: &mut Vec<Change>) {
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
            keys.for_each(|key| walk(&below(key), t.get(key), a.get(key), out));
        }
        (Some(Value::Array(t)), Some(Value::Array(a))) => match (names(t), names(a)) {
            (Some(named), Some(those)) => {
                let all = named
                    .iter()
                    .chain(those.iter().filter(|n| !named.contains(n)));
                let of =
                    |list: &'_ [Value], name: &str| list.iter().position(|v| v["name"] == name);
                for name in all {
                    let (t, a) = (of(t, name).map(|at| &t[at]), of(a, name).map(|at| &a[at]));
                    walk(&format!("{path}[{name}]"), t, a, out);
                }
                let kept = |list: &[&str], other: &[&str]| -> Vec<Value> {
                    list.iter()
                        .filter(|n| other.contains(n))
                        .map(|n| Value::from(*n))
                        .collect()
                };
                let (before, after) = (kept(&named, &those), kept(&those, &named));
                if before != after {
                    let (path, list) = (format!("{path} (order)"), |l: Vec<Value>| {
                        Some(Value::Array(l))
                    });
                    out.push(Change {
                        path,
                        template: list(before),
                        app: list(after),
                    });
                }
            }
            _ => out.push(Change {
                path: path.into(),
                template: template.cloned(),
                app: app.cloned(),
            }),
        },
        _ => out.push(Change {
            path: path.into(),
            template: template.cloned(),
            app: app.cloned(),
        }),
    }
}

/// The items' names, when each has one of its own.
fn names(list: &[Value]) -> Option<Vec<&str>> {
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
