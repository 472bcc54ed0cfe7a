//! Finds approvals that the files would weaken, so that a user who may not do that is told before
//! anything is written.

use kube::{Api, ResourceExt};

use super::{files::Object, lanes::of};
use crate::{
    api::App,
    cli::session::Session,
    cluster::rights,
    domain::{guard::weakened, rights::Right},
};

/// Problems, each with file and line. Empty if the user has the right, or if the server does not
/// say.
pub(super) async fn check(session: &Session, objects: &[Object]) -> Vec<String> {
    let api: Api<App> = Api::namespaced(session.client.clone(), &session.namespace);
    let mut problems = vec![];
    for (object, app) in of::<App>(session, objects, "App") {
        let Ok(Some(before)) = api.get_opt(&app.name_any()).await else {
            continue;
        };
        let place = object.place("spec.workflow");
        let told = weakened(&before.spec.workflow, &app.spec.workflow).into_iter();
        problems.extend(told.map(|why| format!("{place}: {}: {why}", object.words())));
    }
    if problems.is_empty()
        || !matches!(
            rights::may(&session.client, Right::Weaken, &session.namespace).await,
            Ok(false)
        )
    {
        return vec![];
    }
    problems.push(Right::Weaken.refusal(&session.namespace));
    problems
}
