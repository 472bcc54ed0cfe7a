//! Reads graylane's objects for commands, with errors that name what there is instead.

use color_eyre::eyre::{Result, eyre};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::session::{self, Session, api_error};
use crate::{
    api::{App, Environment, LaneGroup},
    cluster::error,
};

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
    if let Some(object) = api
        .get_opt(name)
        .await
        .map_err(api_error(format!("reading {name}")))?
    {
        Ok(object)
    } else {
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

/// Names, one a line; of all namespaces as `NAMESPACE/NAME`.
pub(super) fn list_names(session: &Session, items: &[impl ResourceExt]) -> String {
    items
        .iter()
        .map(|i| qualify_name(session, i, &i.name_any()) + "\n")
        .collect()
}

pub(super) fn qualify_name(session: &Session, object: &impl ResourceExt, name: &str) -> String {
    match object.namespace().filter(|_| session.lists_all) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}
