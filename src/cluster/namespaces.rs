//! The namespaces that one may see, with the Apps and releases in each.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::error::status_code;
use crate::api::{App, Release};

/// What is in one namespace.
#[derive(Clone, Debug, Default)]
pub struct NamespaceContents {
    /// Number of Apps.
    pub apps: usize,
    /// Its releases.
    pub releases: Vec<Release>,
}

/// Lists namespaces by name. Who may not list namespaces sees those that have Apps; who may not list
/// Apps everywhere sees no more than names. The error is that of the namespaces, where neither is
/// allowed.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn list_namespaces(
    client: &Client,
) -> Result<BTreeMap<String, NamespaceContents>, kube::Error> {
    let all = ListParams::default();
    let (namespaces, apps, releases) = (
        Api::<Namespace>::all(client.clone()),
        Api::<App>::all(client.clone()),
        Api::<Release>::all(client.clone()),
    );
    let (names, apps, releases) = tokio::join!(
        namespaces.list_metadata(&all),
        apps.list_metadata(&all),
        releases.list(&all)
    );
    let mut found: BTreeMap<String, NamespaceContents> = BTreeMap::new();
    let apps = unless_hidden(apps.map(|list| list.items))?;
    match names {
        Ok(names) => {
            let names = names.items.into_iter().map(|n| n.name_any());
            found.extend(names.map(|name| (name, NamespaceContents::default())));
        }
        Err(why) if status_code(&why) == Some(403) && apps.is_some() => {}
        Err(why) => return Err(why),
    }
    for app in apps.unwrap_or_default() {
        found
            .entry(app.namespace().unwrap_or_default())
            .or_default()
            .apps += 1;
    }
    for release in unless_hidden(releases.map(|list| list.items))?.unwrap_or_default() {
        let namespace = release.namespace().unwrap_or_default();
        found.entry(namespace).or_default().releases.push(release);
    }
    Ok(found)
}

/// `None` for what one may not list or what is not installed.
fn unless_hidden<T>(listed: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match listed {
        Ok(items) => Ok(Some(items)),
        Err(why) if matches!(status_code(&why), Some(403 | 404)) => Ok(None),
        Err(why) => Err(why),
    }
}
