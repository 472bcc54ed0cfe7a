//! What a release was frozen to, and what it would apply: read from the cluster for approvers.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, Client, ResourceExt};

use super::error;
use crate::{
    api::{App, Release},
    domain::{
        revision::{FrozenApp, Revision, RevisionError},
        text::join_lines,
        workflow::{Proposal, ProposalError, render_proposal},
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
) -> kube::Result<Result<Revision, RevisionError>> {
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    Ok(match api.get_opt(name).await? {
        Some(found) => Revision::from_object(&found),
        None => Err(RevisionError::Gone(name.to_owned())),
    })
}

/// What a release would apply is not known.
#[derive(Debug, thiserror::Error)]
pub enum ProposalReadError {
    /// The cluster refused, or did not answer.
    #[error("reading {what}: {}", error::describe_error(.error))]
    Api {
        /// Kind and name of what was read.
        what: String,
        /// The client's error.
        error: kube::Error,
    },
    /// The release has no revision.
    #[error("release {0} is not frozen yet: an engine of this version must see it first")]
    NotFrozen(String),
    /// The release's App was deleted.
    #[error("there is no app {app} in namespace {namespace}")]
    NoApp {
        /// Name of the App.
        app: String,
        /// Namespace of the release.
        namespace: String,
    },
    /// The release's revision cannot be used.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// Some of it cannot be rendered.
    #[error("{}", join_lines(.0))]
    Render(Vec<ProposalError>),
    /// The engine has rendered something else.
    #[error(
        "the engine would apply something else than this graylane renders for release {0}: are both of one version?"
    )]
    OtherDigest(String),
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
#[tracing::instrument(level = "debug", skip_all, fields(namespace, release = release.metadata.name))]
pub async fn read_frozen_app(
    client: &Client,
    namespace: &str,
    release: &Release,
) -> Result<(FrozenApp, bool), ProposalReadError> {
    let name = release.name_any();
    let failed = |what: String| move |error| ProposalReadError::Api { what, error };
    let Some(revision) = release.status.as_ref().and_then(|s| s.revision.as_ref()) else {
        return Err(ProposalReadError::NotFrozen(name));
    };
    let apps: Api<App> = Api::namespaced(client.clone(), namespace);
    let of = &release.spec.app;
    let app = apps
        .get_opt(of)
        .await
        .map_err(failed(format!("app {of}")))?;
    let app = app.ok_or_else(|| ProposalReadError::NoApp {
        app: of.clone(),
        namespace: namespace.to_owned(),
    })?;
    let revision = read_revision(client, namespace, revision)
        .await
        .map_err(failed(format!("ControllerRevision {revision}")))??;
    let is_changed = revision.is_changed(&app);
    Ok((FrozenApp::for_revision(&app, &revision.into()), is_changed))
}

/// What a release applies after a task is approved; without a task, everything that it deploys.
///
/// # Errors
///
/// As [`read_frozen_app`]; or when something cannot be rendered, or the engine would apply
/// something else.
#[tracing::instrument(level = "debug", skip_all, fields(namespace, release = release.metadata.name))]
pub async fn read_proposal(
    client: &Client,
    namespace: &str,
    release: &Release,
    task: Option<&str>,
) -> Result<Proposed, ProposalReadError> {
    let (name, status) = (
        release.name_any(),
        release.status.clone().unwrap_or_default(),
    );
    let (app, is_changed) = read_frozen_app(client, namespace, release).await?;
    let proposal =
        render_proposal(&app, &release.spec, &status, task).map_err(ProposalReadError::Render)?;
    let known = status
        .tasks
        .iter()
        .find(|t| Some(t.name.as_str()) == task)
        .and_then(|t| t.digest.as_ref());
    if known.is_some_and(|known| *known != proposal.digest) {
        return Err(ProposalReadError::OtherDigest(name));
    }
    Ok(Proposed {
        app,
        is_changed,
        proposal,
    })
}
