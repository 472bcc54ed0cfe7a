//! `get KIND [NAME] [-o …]`: prints objects as tables or data.

mod pods;

use clap::{Args, ValueEnum};
use color_eyre::eyre::{Result, bail};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Global, objects,
    output::{self, Format, Table},
    session::{self, Session},
    tables,
};
use crate::api::{App, AppTemplate, Approval, Lane, LaneGroup, Release, VariableGroup};

#[derive(Debug, Args)]
pub struct GetArgs {
    /// What
    kind: Kind,
    /// Only this one; for environments `gray` (of every app) or `APP/gray`
    name: Option<String>,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Format,
}

impl GetArgs {
    pub(super) const fn for_lanes(name: Option<String>, output: Format) -> Self {
        Self {
            kind: Kind::Lanes,
            name,
            output,
        }
    }
}

/// Kinds that `get` can print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    #[value(alias = "app")]
    Apps,
    #[value(aliases = ["apptemplate", "templates", "template"])]
    Apptemplates,
    #[value(aliases = ["variablegroup"])]
    Variablegroups,
    #[value(aliases = ["environment", "envs", "env"])]
    Environments,
    #[value(alias = "release")]
    Releases,
    #[value(alias = "lane")]
    Lanes,
    #[value(aliases = ["lanegroup", "groups", "group"])]
    Lanegroups,
    #[value(alias = "approval")]
    Approvals,
}

pub(super) async fn print_objects(global: &Global, args: GetArgs) -> Result<()> {
    // Environments are named within each App anyway.
    let is_one = args.kind != Kind::Environments;
    if let (Some(name), true) = (&args.name, global.all_namespaces && is_one) {
        let words = format!("{name} is in one namespace: -n says which; -A lists all");
        return Err(session::usage_error(words));
    }
    let session = session::open(global).await?;
    let now = Timestamp::now();
    let name = args.name.as_deref();
    let format = args.output;
    let text = match args.kind {
        Kind::Apps => {
            format_objects::<App>(&session, name, format, |items, _, wide| {
                tables::apps_table(items, wide, now)
            })
            .await?
        }
        Kind::Apptemplates => {
            let apps: Vec<App> = objects::list_objects(&session).await?;
            format_objects::<AppTemplate>(&session, name, format, |items, namespace, _| {
                let apps = tables::select_namespace(&apps, namespace);
                tables::templates_table(items, &apps, now)
            })
            .await?
        }
        Kind::Variablegroups => {
            let apps: Vec<App> = objects::list_objects(&session).await?;
            format_objects::<VariableGroup>(&session, name, format, |items, namespace, wide| {
                let apps = tables::select_namespace(&apps, namespace);
                tables::variable_groups_table(items, &apps, wide, now)
            })
            .await?
        }
        Kind::Releases => {
            format_objects::<Release>(&session, name, format, |items, _, wide| {
                tables::releases_table(items, wide, now)
            })
            .await?
        }
        Kind::Lanes => {
            format_objects::<Lane>(&session, name, format, |items, _, wide| {
                tables::lanes_table(items, wide, now)
            })
            .await?
        }
        Kind::Lanegroups => {
            format_objects::<LaneGroup>(&session, name, format, |items, _, wide| {
                tables::lane_groups_table(items, wide, now)
            })
            .await?
        }
        Kind::Approvals => {
            format_objects::<Approval>(&session, name, format, |items, _, _| {
                tables::approvals_table(items, now)
            })
            .await?
        }
        Kind::Environments => format_environments(&session, name, format, now).await?,
    };
    output::print(&text)
}

async fn format_objects<T>(
    session: &Session,
    name: Option<&str>,
    format: Format,
    table: impl Fn(&[T], &str, bool) -> Table,
) -> Result<String>
where
    T: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let mut items = match name {
        Some(name) => vec![objects::get_object::<T>(session, name).await?],
        None => objects::list_objects::<T>(session).await?,
    };
    for item in &mut items {
        item.meta_mut().managed_fields = None;
    }
    match format {
        Format::Json | Format::Yaml if name.is_some() => output::format_value(&items[0], format),
        Format::Json | Format::Yaml => output::format_list(&items, format),
        Format::Name => Ok(objects::list_names(session, &items)),
        Format::Table | Format::Wide => {
            let of = |items: &[T], namespace: &str| table(items, namespace, format == Format::Wide);
            Ok(render_table(
                &tables::by_namespace(session, &items, of),
                session,
            ))
        }
    }
}

fn render_table(table: &Table, session: &Session) -> String {
    if table.is_empty() {
        if session.lists_all {
            say!("Nothing in any namespace.");
        } else {
            say!("Nothing in namespace {}.", session.namespace);
        }
        return String::new();
    }
    table.render()
}

async fn format_environments(
    session: &Session,
    name: Option<&str>,
    format: Format,
    now: Timestamp,
) -> Result<String> {
    let apps: Vec<App> = objects::list_objects(session).await?;
    let (of_app, of_name) = match name.map(|n| n.split_once('/').unwrap_or(("", n))) {
        Some((app, name)) => (Some(app).filter(|a| !a.is_empty()), Some(name)),
        None => (None, None),
    };
    let mut rows = vec![];
    for app in apps
        .iter()
        .filter(|a| of_app.is_none_or(|n| a.name_any() == n))
    {
        for environment in app
            .spec
            .environments
            .iter()
            .filter(|e| of_name.is_none_or(|n| e.name == n))
        {
            rows.push((app, environment));
        }
    }
    if let Some(name) = name
        && rows.is_empty()
    {
        let known = environment_names(&apps);
        bail!(
            "no environment {name}; there {}",
            objects::describe_names(&known)
        );
    }
    let (pods, warnings) = pods::count_pods(session, &rows).await?;
    warnings.iter().for_each(|w| say!("warning: {w}"));
    let found: Vec<_> = rows
        .into_iter()
        .zip(pods)
        .map(|((app, environment), pods)| tables::EnvironmentRow {
            app,
            environment,
            pods,
        })
        .collect();
    match format {
        Format::Json | Format::Yaml if of_app.is_some() => {
            output::format_value(&found[0].to_json()?, format)
        }
        Format::Json | Format::Yaml => {
            let to_json = |row: &tables::EnvironmentRow<'_>| {
                let mut value = row.to_json()?;
                if let (Some(fields), true) = (value.as_object_mut(), session.lists_all) {
                    let namespace = row.app.namespace().unwrap_or_default();
                    fields.insert("namespace".into(), namespace.into());
                }
                Ok(value)
            };
            let items = found.iter().map(to_json).collect::<Result<Vec<_>>>()?;
            output::format_list(&items, format)
        }
        Format::Name => Ok(found
            .iter()
            .map(|r| {
                let name = format!("{}/{}", r.app.name_any(), r.environment.name);
                objects::qualify_name(session, r.app, &name) + "\n"
            })
            .collect()),
        Format::Table | Format::Wide => {
            let table =
                |found: &[_]| tables::environments_table(found, format == Format::Wide, now);
            let mut all = Table::new(&[]);
            if session.lists_all {
                for own in found.chunk_by(|a, b| a.app.namespace() == b.app.namespace()) {
                    let namespace = own.first().and_then(|row| row.app.namespace());
                    let namespace = namespace.unwrap_or_default();
                    all.append(table(own).with_first_column("NAMESPACE", &namespace));
                }
            } else {
                all = table(&found);
            }
            Ok(render_table(&all, session))
        }
    }
}

/// `APP/ENVIRONMENT` of all, sorted.
fn environment_names(apps: &[App]) -> Vec<String> {
    let mut known: Vec<String> = apps
        .iter()
        .flat_map(|a| {
            a.spec
                .environments
                .iter()
                .map(|e| format!("{}/{}", a.name_any(), e.name))
        })
        .collect();
    known.sort();
    known
}
