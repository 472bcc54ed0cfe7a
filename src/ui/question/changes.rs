//! What a release changes, in short, as a fact of a question.

use super::Question;
use crate::{
    api::Release,
    domain::{revision::FrozenApp, workflow::compare_release},
    ui::{
        keymap::{Action, KeyContext},
        model::Model,
    },
};

/// Adds one fact per environment: images, and how many values, objects and lines differ. What
/// cannot be rendered is told by others.
pub(super) fn add_changes(
    model: &Model,
    question: &mut Question,
    app: &FrozenApp,
    release: &Release,
) {
    let world = &model.world;
    let releases = world.releases_of(&release.spec.app);
    let revision_of = |name: &str| world.revisions.get(name).cloned();
    let Ok(diff) = compare_release(app, release, releases, revision_of) else {
        return;
    };
    for environment in &diff.environments {
        let words = format!(
            "{}: {}; {}",
            environment.environment,
            environment.summary(),
            environment.against
        );
        question.add_fact("changes", words);
    }
    // Before a release begins there is none to open.
    if release
        .metadata
        .name
        .as_ref()
        .is_some_and(|n| !n.is_empty())
    {
        let key = model.key_for(KeyContext::Release, Action::ReleaseDiff);
        question.add_fact("changes", format!("{key} on the release shows all of it"));
    }
}
