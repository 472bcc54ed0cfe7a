//! Namespaces of a workspace: that of our resources, and those of the environments in their
//! clusters.

use std::collections::BTreeSet;

use color_eyre::eyre::Result;
use kube::Client;

use super::{get, session::Session};
use crate::{
    api::App,
    domain::world::{Key, place},
};

/// A namespace in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// `None` for the home cluster.
    pub(super) context: Option<String>,
    pub(super) namespace: String,
}

impl Place {
    pub(super) fn client(&self, session: &Session) -> Client {
        session.clusters.of(self.context.as_deref())
    }

    /// `NAMESPACE/NAME` or `CONTEXT/NAMESPACE/NAME`.
    pub(super) fn full(&self, name: &str) -> String {
        format!(
            "{}/{name}",
            Key::of(self.context.as_deref(), &self.namespace, "").namespace
        )
    }
}

/// Splits `[[CONTEXT/]NAMESPACE/]NAME` into a namespace, if it is given, and a name.
pub(super) fn said<'a>(session: &Session, text: &'a str) -> (Option<Place>, &'a str) {
    let Some((namespace, name)) = text.rsplit_once('/') else {
        return (None, text);
    };
    let (context, namespace) = place(namespace);
    let context = session.clusters.canonical(context).map(str::to_owned);
    (
        Some(Place {
            context,
            namespace: namespace.to_owned(),
        }),
        name,
    )
}

/// The namespace of our resources.
pub(super) fn home(session: &Session) -> Place {
    Place {
        context: None,
        namespace: session.namespace.clone(),
    }
}

/// The home namespace first, then those of the environments.
pub(super) async fn all(session: &Session) -> Result<Vec<Place>> {
    let home = home(session);
    let apps: Vec<App> = get::list_if_installed(session).await?;
    let environments = apps.iter().flat_map(|a| &a.spec.environments);
    let others: BTreeSet<Place> = environments
        .map(|e| Place {
            context: session
                .clusters
                .canonical(e.context.as_deref())
                .map(str::to_owned),
            namespace: e.namespace.clone(),
        })
        .filter(|p| *p != home)
        .collect();
    Ok([home].into_iter().chain(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::session::tests::on_refusal;

    #[tokio::test]
    async fn only_what_is_not_installed_has_no_environments() {
        let dir = tempfile::tempdir().unwrap();
        let home = Place {
            context: None,
            namespace: "demo".into(),
        };
        assert_eq!(all(&on_refusal(404, dir.path())).await.unwrap(), [home]);
        let told = all(&on_refusal(403, dir.path()))
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(told, "listing apps in namespace demo: no such luck");
    }
}
