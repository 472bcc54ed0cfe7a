//! Finds what ran in an environment before a release.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Image, OldSide, read_images, read_values};
use crate::{
    api::{Environment, EnvironmentState, RecordedTime, Release, ReleaseStatus, TaskKind},
    domain::{
        revision::{FrozenApp, Revision},
        variables::Values,
        workflow::proposal::{LastDeploy, find_last_deploy},
    },
};

/// One side of a comparison.
#[derive(Default)]
pub(super) struct OldState {
    pub(super) images: BTreeMap<String, Image>,
    pub(super) values: Values,
    pub(super) objects: Vec<Value>,
}

/// What ran in an environment before the release with this status began to deploy there. `others`
/// are the App's other releases.
pub(super) fn find_old<'r>(
    app: &FrozenApp,
    status: &ReleaseStatus,
    name: &str,
    others: impl Iterator<Item = &'r Release> + Clone,
    revision_of: impl Fn(&str) -> Option<Arc<Revision>>,
) -> (OldSide, OldState) {
    let task = status
        .tasks
        .iter()
        .find(|t| t.kind == TaskKind::Deploy && t.environment.as_deref() == Some(name));
    let begun = task.filter(|t| t.started_at.is_some());
    // An old release is compared with what was before it, not with what came after.
    let begun_at = begun.and_then(|t| t.started_at.as_ref());
    let last_deploy = |environment: &str| {
        let deploy = find_last_deploy(
            environment,
            others
                .clone()
                .filter(|r| begun_at.is_none_or(|at| is_deployed_before(r, environment, at))),
        );
        deploy.filter(|d| d.status.revision.is_some())
    };
    let render = |deploy: &LastDeploy<'_>| {
        let (environment, objects) = deploy.render_for(app, name, &revision_of)?;
        Some(OldState {
            images: read_images(&deploy.task.new_images, deploy.status),
            values: read_values(&environment, deploy.status),
            objects,
        })
    };
    let release_name =
        |deploy: &LastDeploy<'_>| deploy.release.metadata.name.clone().unwrap_or_default();
    for baseline in baselines(app, name) {
        let deploy = last_deploy(&baseline.name);
        if let Some((deploy, state)) = deploy.and_then(|d| render(&d).map(|state| (d, state))) {
            let side = OldSide::Baseline {
                release: release_name(&deploy),
                environment: baseline.name.clone(),
            };
            return (side, state);
        }
    }
    let told = app.status.as_ref().and_then(|s| s.environments.get(name));
    let was_empty = begun.map_or_else(
        || {
            let state = told.map(|s| s.state).unwrap_or_default();
            matches!(state, EnvironmentState::New | EnvironmentState::Cleaned)
        },
        |t| t.old_version.is_none() && t.old_images.is_empty(),
    );
    if was_empty {
        return (OldSide::Nothing, OldState::default());
    }
    let deploy = last_deploy(name);
    if let Some((deploy, state)) = deploy.and_then(|d| render(&d).map(|state| (d, state))) {
        let side = OldSide::Release {
            release: release_name(&deploy),
        };
        return (side, state);
    }
    let images = begun.map(|t| &t.old_images).or(told.map(|s| &s.images));
    let images = images.map(|images| read_images(images, &ReleaseStatus::default()));
    let state = OldState {
        images: images.unwrap_or_default(),
        ..OldState::default()
    };
    (OldSide::Unknown, state)
}

/// The environments that a gray one stands beside, the nearest first; none for others.
fn baselines<'a>(app: &'a FrozenApp, name: &str) -> impl Iterator<Item = &'a Environment> {
    let gray = app
        .spec
        .environment(name)
        .filter(|e| e.lane.is_some())
        .map(|e| (e.namespace.clone(), e.context.clone()));
    let all = app.spec.environments.iter().rev();
    all.filter(move |e| {
        let place = (e.namespace.clone(), e.context.clone());
        e.lane.is_none() && gray.as_ref() == Some(&place)
    })
}

/// Whether a release had deployed to an environment by this time.
fn is_deployed_before(release: &Release, environment: &str, at: &RecordedTime) -> bool {
    let tasks = release.status.iter().flat_map(|s| &s.tasks);
    tasks
        .filter(|t| t.kind == TaskKind::Deploy && t.environment.as_deref() == Some(environment))
        .any(|t| t.finished_at.as_ref().is_some_and(|end| end <= at))
}
