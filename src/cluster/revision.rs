//! What a release was frozen to, and what it would apply: read from the cluster for approvers.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, Client, ResourceExt};

use super::error;
use crate::{
    api::{App, Release},
    domain::{
        revision::{FrozenApp, Revision},
        workflow::{Proposal, render_proposal},
    },
};

/// The revision of that name, or why there is none.
///
/// # Errors
///
/// When the server does not answer, or does not return it.
pub async fn read_revision(
    client: &Client,
    namespace: &str,
    name: &str,
) -> kube::Result<Result<Revision, String>> {
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    Ok(match api.get_opt(name).await? {
        Some(found) => Revision::from_object(&found),
        None => Err(format!(
            "ControllerRevision {name}, which this release is of, is gone: make the App what it was, or abort"
        )),
    })
}

/// What a release would apply.
pub struct Proposed {
    /// The App as it was frozen for the release.
    pub app: FrozenApp,
    /// Whether the App has changed since the release began.
    pub is_changed: bool,
    /// The objects and their digest.
    pub proposal: Proposal,
}

/// The App as frozen for a release, and whether the App has changed since the release began.
///
/// # Errors
///
/// When the release is not frozen yet, or something is missing.
pub async fn read_frozen_app(
    client: &Client,
    namespace: &str,
    release: &Release,
) -> Result<(FrozenApp, bool), String> {
    let name = release.name_any();
    let told = |what: String| {
        move |e: kube::Error| format!("reading {what}: {}", error::describe_error(&e))
    };
    let Some(revision) = release.status.as_ref().and_then(|s| s.revision.as_ref()) else {
        return Err(format!(
            "release {name} is not frozen yet: an engine of this version has to look at it first"
        ));
    };
    let apps: Api<App> = Api::namespaced(client.clone(), namespace);
    let of = &release.spec.app;
    let app = apps.get_opt(of).await.map_err(told(format!("app {of}")))?;
    let app = app.ok_or_else(|| format!("there is no app {of} in namespace {namespace}"))?;
    let revision = read_revision(client, namespace, revision)
        .await
        .map_err(told(format!("ControllerRevision {revision}")))??;
    let is_changed = revision.is_changed(&app);
    Ok((FrozenApp::for_revision(&app, &revision.into()), is_changed))
}

/// What a release applies after a task is approved; without a task, everything that it deploys.
///
/// # Errors
///
/// As [`read_frozen_app`]; or when something cannot be rendered, or the engine would apply something else.
pub async fn read_proposal(
    client: &Client,
    namespace: &str,
    release: &Release,
    task: Option<&str>,
) -> Result<Proposed, String> {
    let (name, status) = (
        release.name_any(),
        release.status.clone().unwrap_or_default(),
    );
    let (app, is_changed) = read_frozen_app(client, namespace, release).await?;
    let proposal =
        render_proposal(&app, &release.spec, &status, task).map_err(|all| all.join("\n"))?;
    let known = status
        .tasks
        .iter()
        .find(|t| Some(t.name.as_str()) == task)
        .and_then(|t| t.digest.as_ref());
    if known.is_some_and(|known| *known != proposal.digest) {
        return Err(format!(
            "the engine would apply something else than this graylane renders for release {name}: are both of one version?"
        ));
    }
    Ok(Proposed {
        app,
        is_changed,
        proposal,
    })
}
