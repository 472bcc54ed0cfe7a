//! Carries out intents: the only way in which people change anything, from the terminal UI and from
//! the command line.
//!
//! An intent is checked against the objects as they are now, not as a screen showed them; a change
//! in between is reported and not overwritten. Every write carries the resource version that was
//! read.

mod app;
mod decision;
mod edit;
mod lane;
mod release;
mod start;

pub use edit::{check_edit, read_editable};
pub use lane::{LaneFindings, check_lane};

use kube::{Client, ResourceExt};
use serde::Serialize;

use super::{error, rights};
use crate::{
    api::{App, AppTemplate, NamespaceRef, Uid},
    domain::{
        apps::Setting,
        intent::{Intent, SeenObject},
        release_intents::Refusal,
        rights::Right,
    },
};

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The message for people.
    pub message: String,
    /// Kind and name of each object that was created or changed, in order.
    pub objects: Vec<(String, String)>,
}

impl Outcome {
    fn for_object(kind: &str, name: &str, message: String) -> Self {
        Self {
            message,
            objects: vec![(kind.to_owned(), name.to_owned())],
        }
    }

    /// Names of the Releases among the objects.
    pub fn release_names(&self) -> impl Iterator<Item = &str> {
        self.objects
            .iter()
            .filter(|(kind, _)| kind == "Release")
            .map(|(_, name)| name.as_str())
    }
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PerformError {
    /// An object changed after the person looked at it.
    #[error("{what} has changed since you looked: {why}. Nothing was done; look again")]
    Stale {
        /// Which object.
        what: String,
        /// The reason.
        why: String,
    },
    /// It was done, but a contrary decision of someone else came first or outweighs it.
    #[error("{what}: {why}")]
    Outrun {
        /// Which object.
        what: String,
        /// The reason.
        why: String,
    },
    /// It makes no sense in the current state.
    #[error("{0}")]
    Refused(String),
    /// The cluster refused.
    #[error("{what}: {why}")]
    Api {
        /// What was tried.
        what: String,
        /// The server's message.
        why: String,
    },
}

impl PerformError {
    fn refused_with(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}

/// Converts the refusal of a wish.
fn refusal_error(why: Refusal) -> PerformError {
    match why {
        Refusal::NotApplicable(why) => PerformError::Refused(why),
        Refusal::TooLate(what, why) => PerformError::Stale { what, why },
    }
}

type Result<T, E = PerformError> = std::result::Result<T, E>;

/// How often a write is retried after a conflict.
const MAX_ATTEMPTS: usize = 8;

/// Carries out `intent` for the person `by`, on graylane's resources in `namespace`.
#[tracing::instrument(level = "info", skip_all, fields(namespace, by))]
pub async fn perform_intent(
    client: &Client,
    namespace: &str,
    by: &str,
    intent: Intent,
) -> Result<Outcome> {
    if by.is_empty() {
        return Err(PerformError::refused_with(
            "this server does not say who you are (Kubernetes 1.28 and newer do)",
        ));
    }
    // If the server does not answer this check, the write itself is tried.
    let right = Right::for_intent(&intent);
    if matches!(rights::has_right(client, right, namespace).await, Ok(false)) {
        rights::note_refusal();
        return Err(PerformError::Refused(
            right.describe_missing(&NamespaceRef::at_home(namespace)),
        ));
    }
    let at = PerformContext {
        client,
        namespace,
        by,
    };
    match intent {
        Intent::StartRelease {
            apps,
            stage,
            images,
            comment,
            window,
        } => start::start_releases(&at, &apps, &stage, &images, comment, window).await,
        Intent::Teardown {
            app,
            environment,
            comment,
        } => start::start_teardown(&at, &app, &environment, comment).await,
        Intent::Release {
            name,
            seen,
            wish,
            comment,
        } => release::apply_wish(&at, &name, seen.as_ref(), wish, comment).await,
        Intent::CreateApps {
            template,
            seen,
            names,
            settings,
        } => app::create_apps(&at, &template, seen.as_ref(), &names, &settings).await,
        Intent::StopTheLine => release::stop_the_line(&at).await,
        Intent::SetLane { name, seen, spec } => {
            lane::set_lane(&at, &name, seen.as_ref(), spec).await
        }
        Intent::EnableLane {
            name,
            seen,
            enabled,
        } => lane::enable_lane(&at, &name, seen.as_ref(), enabled).await,
        Intent::EditObject {
            kind,
            name,
            before,
            after,
        } => edit::edit_object(&at, kind, &name, &before, &after).await,
        Intent::DeleteLane { name, seen } => lane::delete_lane(&at, &name, seen.as_ref()).await,
        Intent::Lock {
            app,
            environment,
            seen,
            lock,
        } => release::set_lock(&at, &app, &environment, seen.as_ref(), lock).await,
    }
}

/// The Apps that [`Intent::CreateApps`] would create, and the template that was read. Everything is
/// validated, by the server too, and nothing is created.
pub async fn plan_apps(
    client: &Client,
    namespace: &str,
    template: &str,
    names: &[String],
    settings: &[Setting],
) -> Result<(Vec<App>, AppTemplate)> {
    app::plan_apps(
        &PerformContext {
            client,
            namespace,
            by: "",
        },
        template,
        None,
        names,
        settings,
    )
    .await
}

/// Where an intent is carried out, and for whom.
struct PerformContext<'a> {
    client: &'a Client,
    namespace: &'a str,
    by: &'a str,
}

impl PerformContext<'_> {
    fn namespaced_api<K>(&self) -> kube::Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        kube::Api::namespaced(self.client.clone(), self.namespace)
    }
}

/// Converts an API error of the named action; a conflict means stale data.
fn api_error(what: impl Into<String>) -> impl FnOnce(kube::Error) -> PerformError {
    let what = what.into();
    move |e| match error::status_code(&e) {
        Some(409) => PerformError::Stale {
            what,
            why: error::describe_error(&e),
        },
        Some(403) => {
            rights::note_refusal();
            PerformError::Api {
                what,
                why: error::describe_error(&e),
            }
        }
        _ => PerformError::Api {
            what,
            why: error::describe_error(&e),
        },
    }
}

/// Checks that an object is the one that the person saw.
fn check_unchanged(what: &str, seen: Option<&SeenObject>, object: &impl ResourceExt) -> Result<()> {
    let Some(seen) = seen else { return Ok(()) };
    let stale = |why: &str| {
        Err(PerformError::Stale {
            what: what.into(),
            why: why.into(),
        })
    };
    if Uid::from_meta(object.meta()) != seen.uid {
        return stale("it was deleted and recreated");
    }
    match (&seen.version, object.resource_version()) {
        (Some(version), now) if now.as_ref() != Some(version) => stale("somebody wrote it"),
        _ => Ok(()),
    }
}

/// Whether a write failed with a conflict and may be retried.
fn is_conflict<T>(written: &Result<T, kube::Error>) -> bool {
    matches!(written, Err(e) if error::is_conflict(e))
}
