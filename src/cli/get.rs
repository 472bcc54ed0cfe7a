//! `get KIND [NAME] [-o …]`: prints objects as tables or data.

mod pods;
pub(super) mod tables;

use clap::{Args, ValueEnum};
use color_eyre::eyre::{Result, bail, eyre};
use jiff::Timestamp;
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Global,
    output::{self, Format, Table},
    session::{self, Session, api_error},
};
use crate::{
    api::{App, AppTemplate, Approval, Environment, Lane, LaneGroup, Release, VariableGroup},
    cluster::error,
};

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
            let apps: Vec<App> = list_objects(&session).await?;
            format_objects::<AppTemplate>(&session, name, format, |items, namespace, _| {
                let apps = tables::select_namespace(&apps, namespace);
                tables::templates_table(items, &apps, now)
            })
            .await?
        }
        Kind::Variablegroups => {
            let apps: Vec<App> = list_objects(&session).await?;
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

/// All objects of a kind, oldest first.
pub(super) async fn list_objects<T>(session: &Session) -> Result<Vec<T>>
where
    T: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    try_list_objects(session)
        .await
        .map_err(api_error(describe_listing::<T>(session)))
}

/// The same, but empty if graylane is not installed. Other errors are returned.
pub(super) async fn list_if_installed<T>(session: &Session) -> Result<Vec<T>>
where
    T: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    match try_list_objects(session).await {
        Err(e) if error::status_code(&e) == Some(404) => Ok(vec![]),
        items => items.map_err(api_error(describe_listing::<T>(session))),
    }
}

pub(super) fn describe_listing<T: Resource<DynamicType = ()>>(session: &Session) -> String {
    let plural = T::plural(&());
    if session.lists_all {
        format!("listing {plural} in all namespaces (-n NAME lists those of one)")
    } else {
        format!("listing {plural} in namespace {}", session.namespace)
    }
}

pub(super) async fn try_list_objects<T>(session: &Session) -> kube::Result<Vec<T>>
where
    T: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<T> = if session.lists_all {
        Api::all(session.client.clone())
    } else {
        Api::namespaced(session.client.clone(), &session.namespace)
    };
    let mut items = api.list(&ListParams::default()).await?.items;
    items.sort_by_key(|i| {
        (
            i.namespace(),
            i.meta().creation_timestamp.as_ref().map(|t| t.0),
            i.name_any(),
        )
    });
    Ok(items)
}

/// One object by name.
pub(super) async fn get_object<T>(session: &Session, name: &str) -> Result<T>
where
    T: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<T> = Api::namespaced(session.client.clone(), &session.namespace);
    match api
        .get_opt(name)
        .await
        .map_err(api_error(format!("reading {name}")))?
    {
        Some(object) => Ok(object),
        None => {
            let mut known: Vec<String> = list_objects::<T>(session)
                .await?
                .iter()
                .map(ResourceExt::name_any)
                .collect();
            known.sort();
            let kind = T::kind(&());
            Err(eyre!(
                "no {kind} {name} in namespace {}; there {}",
                session.namespace,
                describe_names(&known)
            ))
        }
    }
}

/// The lane group of this name, or the only one.
pub(super) async fn resolve_group(session: &Session, name: Option<&str>) -> Result<LaneGroup> {
    if let Some(name) = name {
        return get_object(session, name).await;
    }
    let mut all: Vec<LaneGroup> = list_objects(session).await?;
    if all.len() == 1 {
        return Ok(all.remove(0));
    }
    let known: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
    Err(session::usage_error(format!(
        "which lane group? Name it with --group; there {}",
        describe_names(&known)
    )))
}

/// An environment of an App.
pub(super) fn find_environment<'a>(app: &'a App, name: &str) -> Result<&'a Environment> {
    let known = || {
        describe_names(
            &app.spec
                .environments
                .iter()
                .map(|e| e.name.clone())
                .collect::<Vec<_>>(),
        )
    };
    let found = app.spec.environment(name);
    found.ok_or_else(|| {
        eyre!(
            "app {} has no environment {name}; there {}",
            app.name_any(),
            known()
        )
    })
}

/// Lists known names for an error message: `is none`, `is only a`, or `are a, b`, cut after 12.
pub(super) fn describe_names(known: &[String]) -> String {
    match known {
        [] => "is none".into(),
        [one] => format!("is only {one}"),
        many if many.len() <= 12 => format!("are {}", many.join(", ")),
        many => format!("are {} and {} more", many[..12].join(", "), many.len() - 12),
    }
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
        Some(name) => vec![get_object::<T>(session, name).await?],
        None => list_objects::<T>(session).await?,
    };
    for item in &mut items {
        item.meta_mut().managed_fields = None;
    }
    match format {
        Format::Json | Format::Yaml if name.is_some() => output::format_value(&items[0], format),
        Format::Json | Format::Yaml => output::format_list(&items, format),
        Format::Name => Ok(list_names(session, &items)),
        Format::Table | Format::Wide => {
            let of = |items: &[T], namespace: &str| table(items, namespace, format == Format::Wide);
            Ok(render_table(
                &tables::by_namespace(session, &items, of),
                session,
            ))
        }
    }
}

/// Names, one a line; of all namespaces as `NAMESPACE/NAME`.
pub(super) fn list_names(session: &Session, items: &[impl ResourceExt]) -> String {
    items
        .iter()
        .map(|i| qualify_name(session, i, &i.name_any()) + "\n")
        .collect()
}

fn qualify_name(session: &Session, object: &impl ResourceExt, name: &str) -> String {
    match object.namespace().filter(|_| session.lists_all) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
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
    let apps: Vec<App> = list_objects(session).await?;
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
        bail!("no environment {name}; there {}", describe_names(&known));
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
                qualify_name(session, r.app, &name) + "\n"
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
