//! Namespaces of a workspace: that of our resources, and those of the environments in their
//! clusters.

use std::collections::BTreeSet;

use color_eyre::eyre::Result;

use super::{objects, session::Session};
use crate::api::{App, NamespaceRef};

/// Splits `[[CONTEXT/]NAMESPACE/]NAME` into a namespace, if it is given, and a name.
pub(super) fn parse_object_path<'a>(
    session: &Session,
    text: &'a str,
) -> (Option<NamespaceRef>, &'a str) {
    let Some((namespace, name)) = text.rsplit_once('/') else {
        return (None, text);
    };
    let namespace = session.clusters.normalize_namespace(&namespace.into());
    (Some(namespace), name)
}

/// The namespace of our resources.
pub(super) fn home_namespace(session: &Session) -> NamespaceRef {
    NamespaceRef::at_home(session.namespace.as_str())
}

/// The home namespace first, then those of the environments.
pub(super) async fn all_namespaces(session: &Session) -> Result<Vec<NamespaceRef>> {
    let home = home_namespace(session);
    let apps: Vec<App> = objects::list_if_installed(session).await?;
    let environments = apps.iter().flat_map(|a| &a.spec.environments);
    let others: BTreeSet<NamespaceRef> = environments
        .map(|e| session.clusters.namespace_of(e))
        .filter(|p| *p != home)
        .collect();
    Ok([home].into_iter().chain(others).collect())
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use super::*;
    use crate::cli::session::tests::on_refusal;

    #[tokio::test]
    async fn only_what_is_not_installed_has_no_environments() {
        let dir = tempfile::tempdir().unwrap();
        let home = NamespaceRef::at_home("demo");
        assert_eq!(
            all_namespaces(&on_refusal(404, dir.path())).await.unwrap(),
            [home]
        );
        let told = all_namespaces(&on_refusal(403, dir.path()))
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(told, "listing apps in namespace demo: no such luck");
    }
}
