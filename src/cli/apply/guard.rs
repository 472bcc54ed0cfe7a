//! Approvals that these files would weaken: whoever may not do so is told before anything is written.

use kube::{Api, ResourceExt};

use super::{files::Object, lanes::of};
use crate::{
    api::App,
    cli::session::Session,
    cluster::rights,
    domain::{guard::weakened, rights::Right},
};

/// Problems, each with file and line; nothing where the server lets us, or does not say.
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
