//! Starts releases and teardowns.

use std::collections::{BTreeMap, BTreeSet};

use kube::{
    ResourceExt,
    api::{ListParams, PostParams},
    core::ObjectMeta,
};

use super::{MAX_ATTEMPTS, Outcome, PerformContext, PerformError, Result, api_error, is_conflict};
use crate::{
    api::ClusterName,
    api::{self, App, CleanUpTask, Release, ReleasePhase, ReleaseSpec, VariableGroup, label},
    cluster::owner,
    domain::{
        owner::ClaimedNames,
        prune,
        text::join_lines,
        workflow::{group_names, resolve_variables},
    },
};

/// Creates one Release per App; all are checked before the first one is created.
#[tracing::instrument(level = "debug", skip_all, fields(apps = apps.len(), stage))]
pub(super) async fn start_releases(
    at: &PerformContext<'_>,
    apps: &[String],
    stage: &str,
    images: &BTreeMap<String, BTreeMap<String, String>>,
    comment: Option<String>,
    window: Option<String>,
) -> Result<Outcome> {
    if apps.is_empty() {
        return Err(PerformError::refused_with("no app is named"));
    }
    if let Some(stranger) = images.keys().find(|app| !apps.contains(app)) {
        return Err(PerformError::refused_with(format!(
            "an image is given for {stranger}, which is not released"
        )));
    }
    let all = list_releases(at).await?;
    for (n, name) in apps.iter().enumerate() {
        if apps[..n].contains(name) {
            return Err(PerformError::refused_with(format!("{name} is named twice")));
        }
        let wanted = ReleaseSpec {
            app: name.clone(),
            stage: stage.into(),
            images: images.get(name).cloned().unwrap_or_default(),
            ..ReleaseSpec::default()
        };
        check_startable(at, &wanted, &all).await?;
    }
    // Several Apps share a window, which is named after its first release.
    let window = window.or_else(|| {
        (apps.len() > 1).then(|| format!("window-{}", next_release_name(&apps[0], &all)))
    });
    let mut objects = vec![];
    for name in apps {
        let spec = ReleaseSpec {
            app: name.clone(),
            stage: stage.into(),
            images: images.get(name).cloned().unwrap_or_default(),
            comment: comment.clone(),
            requester: at.by.into(),
            window: window.clone(),
            ..ReleaseSpec::default()
        };
        objects.push(("Release".to_owned(), create_release(at, spec, &all).await?));
    }
    let names: Vec<&str> = objects.iter().map(|(_, name)| name.as_str()).collect();
    Ok(Outcome {
        message: format!("started {}", names.join(", ")),
        objects,
    })
}

/// Refuses a release that could not be deployed, or that another one stands in the way of.
async fn check_startable(
    at: &PerformContext<'_>,
    wanted: &ReleaseSpec,
    all: &[Release],
) -> Result<()> {
    let ReleaseSpec {
        app: name, stage, ..
    } = wanted;
    let app = get_app(at, name).await?;
    if app.spec.stage(stage).is_none() {
        let stages = app.spec.workflow.stages.iter();
        let known: Vec<&str> = stages.map(|s| s.name.as_str()).collect();
        return Err(PerformError::refused_with(format!(
            "app {name} has no stage {stage:?}; it has {}",
            if known.is_empty() {
                "none".into()
            } else {
                known.join(", ")
            }
        )));
    }
    let unknown = |image: &&String| !app.spec.images.contains_key(*image);
    if let Some(image) = wanted.images.keys().find(unknown) {
        let known: Vec<&str> = app.spec.images.keys().map(String::as_str).collect();
        let known = known.join(", ");
        return Err(PerformError::refused_with(format!(
            "app {name} has no image {image:?}; it has {known}"
        )));
    }
    let groups = get_variable_groups(at, &group_names(&app, wanted)).await?;
    // Do not start what cannot be deployed.
    let now = jiff::Timestamp::now();
    resolve_variables(&app, wanted, |name| groups.get(name), now).map_err(|all| {
        PerformError::refused_with(format!(
            "no release of {name} was started\n{}",
            join_lines(&all)
        ))
    })?;
    if let Some(running) = all
        .iter()
        .find(|r| r.spec.app == *name && r.spec.stage == *stage && !is_over(r))
    {
        return Err(PerformError::refused_with(format!(
            "release {} of {name} {stage} is {:?}; end or abort it first",
            running.name_any(),
            release_phase(running)
        )));
    }
    check_ownership(at, &app, stage, &groups).await
}

/// Refuses objects of the stage that belong to another owner, as far as that is known here.
#[tracing::instrument(level = "debug", skip_all, fields(app = app.metadata.name))]
async fn check_ownership(
    at: &PerformContext<'_>,
    app: &App,
    stage: &str,
    groups: &BTreeMap<String, VariableGroup>,
) -> Result<()> {
    let tasks = app
        .spec
        .stage(stage)
        .map(|s| s.tasks.as_slice())
        .unwrap_or_default();
    let deployed = |name: &str| {
        tasks
            .iter()
            .any(|t| t.deploy.as_ref().is_some_and(|d| d.environment == name))
    };
    let known = at
        .namespaced_api::<App>()
        .list(&ListParams::default())
        .await
        .map(|l| l.items)
        .unwrap_or_default();
    let mut problems = {
        // The contexts of the kubeconfig are not known here: the engine checks ownership in remote
        // clusters.
        let is_home = |_: &ClusterName| false;
        let group_of = |name: &str| groups.get(name);
        let mut taken = ClaimedNames::new(&is_home, &group_of);
        known.iter().for_each(|app| taken.add_applied(app));
        taken.find_clashes(app, deployed)
    };
    if problems.is_empty() {
        let home = |cluster: &ClusterName| cluster.is_home().then(|| at.client.clone());
        let group_of = |name: &str| groups.get(name);
        let found = owner::find_problems(&home, &group_of, app, deployed, &known).await;
        problems.extend(found.into_iter().map(|p| p.why));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(PerformError::refused_with(problems.join("\n")))
    }
}

/// Creates a Release that only tears down one environment.
#[tracing::instrument(level = "debug", skip_all, fields(app = name, environment))]
pub(super) async fn start_teardown(
    at: &PerformContext<'_>,
    name: &str,
    environment: &str,
    comment: Option<String>,
) -> Result<Outcome> {
    let app = get_app(at, name).await?;
    let found = app.spec.environment(environment);
    if found.is_none() && app.left_behind(environment).is_none() {
        let known: Vec<&str> = app
            .spec
            .environments
            .iter()
            .map(|e| e.name.as_str())
            .collect();
        let known = known.join(", ");
        return Err(PerformError::refused_with(format!(
            "app {name} has no environment {environment:?}; it has {known}"
        )));
    }
    if let Some(lock) = found.and_then(|e| e.lock.as_ref()) {
        return Err(PerformError::refused_with(format!(
            "{environment} of {name} is locked by {}: {}",
            lock.by, lock.reason
        )));
    }
    let all = list_releases(at).await?;
    let same = |r: &&Release| {
        r.spec.app == name
            && r.spec
                .teardown
                .as_ref()
                .is_some_and(|t| t.environment == environment)
            && !is_over(r)
    };
    if let Some(running) = all.iter().find(same) {
        return Err(PerformError::refused_with(format!(
            "release {} tears it down already",
            running.name_any()
        )));
    }
    let spec = ReleaseSpec {
        app: name.into(),
        teardown: Some(CleanUpTask {
            environment: environment.into(),
            remove_environment: false,
        }),
        comment,
        requester: at.by.into(),
        ..ReleaseSpec::default()
    };
    let made = create_release(at, spec, &all).await?;
    Ok(Outcome::for_object(
        "Release",
        &made,
        format!("started {made}: {environment} of {name} is torn down"),
    ))
}

async fn get_app(at: &PerformContext<'_>, name: &str) -> Result<App> {
    let found = at
        .namespaced_api::<App>()
        .get_opt(name)
        .await
        .map_err(api_error(format!("reading app {name}")))?;
    found.ok_or_else(|| {
        PerformError::refused_with(format!(
            "there is no app {name} in namespace {}",
            at.namespace
        ))
    })
}

/// The variable groups of these names that exist.
pub(super) async fn get_variable_groups(
    at: &PerformContext<'_>,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, VariableGroup>> {
    let mut found = BTreeMap::new();
    for name in names {
        let group = at.namespaced_api::<VariableGroup>().get_opt(name).await;
        if let Some(group) = group.map_err(api_error(format!("reading variable group {name}")))? {
            found.insert(name.clone(), group);
        }
    }
    Ok(found)
}

async fn list_releases(at: &PerformContext<'_>) -> Result<Vec<Release>> {
    let listed = at
        .namespaced_api::<Release>()
        .list(&ListParams::default())
        .await;
    listed
        .map(|l| l.items)
        .map_err(api_error("listing releases"))
}

fn release_phase(release: &Release) -> ReleasePhase {
    release.status.as_ref().map(|s| s.phase).unwrap_or_default()
}

fn is_over(release: &Release) -> bool {
    release_phase(release).is_final()
}

/// `APP-N`, with N above all of the App's releases. The highest one is never pruned, so no name is
/// used twice.
fn next_release_name(app: &str, all: &[Release]) -> String {
    let highest = all
        .iter()
        .filter_map(|r| prune::release_number(app, &r.name_any()))
        .max();
    format!("{app}-{}", highest.unwrap_or_default().saturating_add(1))
}

#[tracing::instrument(level = "debug", skip_all, fields(app = spec.app))]
async fn create_release(
    at: &PerformContext<'_>,
    spec: ReleaseSpec,
    all: &[Release],
) -> Result<String> {
    let params = PostParams {
        field_manager: Some(api::FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    let labels: BTreeMap<String, String> = [(label::APP.to_owned(), spec.app.clone())].into();
    let mut name = next_release_name(&spec.app, all);
    for _ in 0..MAX_ATTEMPTS {
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        };
        let made = at
            .namespaced_api()
            .create(
                &params,
                &Release {
                    metadata,
                    spec: spec.clone(),
                    status: None,
                },
            )
            .await;
        if is_conflict(&made) {
            // Someone else took this number first.
            name = next_release_name(&spec.app, &list_releases(at).await?);
            continue;
        }
        return made
            .map(|_| name.clone())
            .map_err(api_error(format!("starting {name}")));
    }
    Err(PerformError::refused_with(format!(
        "too many people start releases of {} at once; try again",
        spec.app
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_name_is_above_all_of_the_app_and_no_others() {
        let of = |name: &str| Release {
            metadata: ObjectMeta {
                name: Some(name.into()),
                ..ObjectMeta::default()
            },
            ..Release::default()
        };
        let all = [
            of("a-2"),
            of("a-10"),
            of("a-baseline"),
            of("a-b-99"),
            of("b-50"),
        ];
        assert_eq!(next_release_name("a", &all), "a-11");
        assert_eq!(next_release_name("c", &all), "c-1");
    }
}
