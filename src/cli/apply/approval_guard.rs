//! Finds approvals that the files would weaken, so that a user who may not do that is told before
//! anything is written.

use kube::{Api, ResourceExt};

use super::{files::ManifestObject, lanes::parse_home_objects};
use crate::{
    api::{App, NamespaceRef},
    cli::session::Session,
    cluster::rights,
    domain::{approval_guard::find_weakened_approvals, rights::Right},
};

/// Problems, each with file and line. Empty if the user has the right, or if the server does not
/// say.
pub(super) async fn check_approvals(session: &Session, objects: &[ManifestObject]) -> Vec<String> {
    let api: Api<App> = Api::namespaced(session.client.clone(), &session.namespace);
    let mut problems = vec![];
    for (object, app) in parse_home_objects::<App>(session, objects, "App") {
        let Ok(Some(before)) = api.get_opt(&app.name_any()).await else {
            continue;
        };
        let place = object.source_location("spec.workflow");
        let told = find_weakened_approvals(&before.spec.workflow, &app.spec.workflow).into_iter();
        problems.extend(told.map(|why| format!("{place}: {}: {why}", object.short_name())));
    }
    if problems.is_empty()
        || !matches!(
            rights::has_right(&session.client, Right::Weaken, &session.namespace).await,
            Ok(false)
        )
    {
        return vec![];
    }
    problems
        .push(Right::Weaken.describe_missing(&NamespaceRef::at_home(session.namespace.as_str())));
    problems
}
