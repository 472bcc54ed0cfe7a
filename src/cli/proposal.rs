//! Describes what a release would apply as a change to what runs.

use std::{collections::BTreeMap, sync::Arc};

use color_eyre::eyre::Report;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, ResourceExt, api::ListParams};

use super::{objects, session::Session};
use crate::{
    api::{Release, label},
    cluster::{
        error,
        revision::{ProposalReadError, Proposed, read_proposal},
    },
    domain::{
        revision::{Revision, short_name},
        text::unified_diff,
        workflow::{built_after, list_changes},
    },
};

/// What a release would apply, or what runs instead of it, cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum DescribeProposalError {
    /// What it would apply is not known.
    #[error("{0}")]
    Proposal(ProposalReadError),
    /// The revisions of its App cannot be listed.
    #[error("listing revisions of {app}: {}", error::describe_error(.error))]
    Revisions {
        /// Name of the App.
        app: String,
        /// The client's error.
        error: Box<kube::Error>,
    },
    /// The releases of its App cannot be listed.
    #[error("{0:#}")]
    Releases(Report),
}

/// What a release applies after a task is approved (`None`: all that it deploys): its digest, and a
/// description for people.
pub(super) async fn describe_proposal(
    session: &Session,
    release: &Release,
    task: Option<&str>,
) -> Result<(String, String), DescribeProposalError> {
    let Proposed {
        app,
        is_changed,
        proposal,
    } = read_proposal(&session.client, &session.namespace, release, task)
        .await
        .map_err(DescribeProposalError::Proposal)?;
    let of = &release.spec.app;
    let revisions = list_revisions(session, of).await?;
    let releases = list_releases(session, of).await?;
    let mut words = format!(
        "revision {}, {}\n",
        short_name(app.revision().name()),
        proposal.digest
    );
    if is_changed {
        words += &format!(
            "App {of} has changed since this release began: the release does not use the change\n"
        );
    }
    for change in list_changes(&app, &proposal, releases.iter(), |name| {
        revisions.get(name).cloned()
    }) {
        let environment = &change.environment;
        let before = change.before.as_deref();
        if before.is_none() {
            words += &format!(
                "environment {environment}: what runs there is not from a frozen release; everything is shown\n"
            );
        }
        let before = before.unwrap_or_default();
        words += &if before == change.after {
            format!("environment {environment}: nothing changes\n")
        } else {
            format!(
                "--- {environment} as it runs\n+++ {environment} as it would be\n{}",
                unified_diff(before, &change.after)
            )
        };
    }
    let status = release.status.clone().unwrap_or_default();
    for image in task
        .map(|task| built_after(&app, &release.spec, &status, task))
        .unwrap_or_default()
    {
        words += &format!("image {image} is built after this: its result is deployed unseen\n");
    }
    if proposal.environments.is_empty() {
        words += "nothing is deployed after it\n";
    }
    Ok((proposal.digest, words))
}

/// The revisions of an App by name; those that cannot be used are left out.
pub(super) async fn list_revisions(
    session: &Session,
    app: &str,
) -> Result<BTreeMap<String, Arc<Revision>>, DescribeProposalError> {
    let own = ListParams::default().labels(&format!("{}={app}", label::REVISION_OF));
    let api: Api<ControllerRevision> = Api::namespaced(session.client.clone(), &session.namespace);
    let revisions = api
        .list(&own)
        .await
        .map_err(|error| DescribeProposalError::Revisions {
            app: app.to_owned(),
            error: Box::new(error),
        })?;
    Ok(revisions
        .iter()
        .filter_map(|r| Some((r.name_any(), Arc::new(Revision::from_object(r).ok()?))))
        .collect())
}

/// The releases of an App.
pub(super) async fn list_releases(
    session: &Session,
    app: &str,
) -> Result<Vec<Release>, DescribeProposalError> {
    let mut releases: Vec<Release> = objects::list_objects(session)
        .await
        .map_err(DescribeProposalError::Releases)?;
    releases.retain(|r| r.spec.app == app);
    Ok(releases)
}
