//! Fills a cluster with the sample workspace. Every step checks what exists first, so seeding can
//! be interrupted anywhere and resumes where it was.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::ObjectMeta,
    runtime::wait::await_condition,
};
use serde_json::json;

use super::samples::{SAMPLES, Sample, TRAFFIC};
use crate::{
    api::{self, App, Control, ObjectRef, Release, ReleasePhase, ReleaseSpec},
    cluster::{error, yaml::api_for_object},
    domain::command_line::CommandLine,
};

/// Namespace of the demo's resources, production and gray.
pub const NAMESPACE: &str = "demo";
/// Stage that deploys the first version; removed from the Apps afterwards.
const BASELINE: &str = "baseline";
/// Annotation on the namespace once the workspace was complete: from then on it belongs to the
/// user.
const SEEDED: &str = "graylane.dev/seeded";
/// C first: a pod gets the addresses of the Services that exist when it starts.
pub const DEPLOY_ORDER: [&str; 3] = ["spring-cloud-c", "spring-cloud-b", "spring-cloud-a"];

/// Why the workspace could not be created.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// A request failed.
    #[error("seeding the demo: {what}: {why}")]
    Refused {
        /// Object or action concerned.
        what: String,
        /// Error of the API server.
        why: String,
    },
    /// The release of the first version did not succeed.
    #[error("the baseline of {app} is {phase:?}: {message}\nSee `{}`", CommandLine::graylane("release show").arg(release))]
    Baseline {
        /// App of the release.
        app: String,
        /// Name of the release.
        release: String,
        /// Phase in which it ended.
        phase: ReleasePhase,
        /// Message of the release's status.
        message: String,
    },
}

fn refused_error(what: impl Into<String>) -> impl FnOnce(kube::Error) -> SeedError {
    let what = what.into();
    move |e| SeedError::Refused {
        what,
        why: error::describe_error(&e),
    }
}

/// Creates the workspace unless it was complete before. The definitions must be installed, and an
/// engine and a pocket must run, or the baseline is never deployed. `progress` is called with a
/// description of each step.
pub async fn seed_workspace(
    client: &Client,
    mut progress: impl FnMut(String),
) -> Result<(), SeedError> {
    if is_seeded(client).await? {
        return Ok(());
    }
    for sample in &SAMPLES {
        create_missing(client, sample).await?;
    }
    for app in DEPLOY_ORDER {
        progress(format!("deploying {app}"));
        start_baseline(client, app).await?;
        tokio::select! {
            () = wait_for_service(client, app) => {}
            // A failed release creates no Service.
            failed = wait_for_baseline(client, app) => failed?,
        }
    }
    for app in DEPLOY_ORDER {
        progress(format!("waiting for {app}"));
        wait_for_baseline(client, app).await?;
        remove_baseline_stage(client, app).await?;
    }
    create_missing(client, &TRAFFIC).await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mark = json!({"metadata": {"annotations": {SEEDED: env!("CARGO_PKG_VERSION")}}});
    let marked = namespaces
        .patch(NAMESPACE, &PatchParams::default(), &Patch::Merge(&mark))
        .await;
    marked.map(drop).map_err(refused_error("namespace demo"))
}

/// Whether the workspace was complete once.
pub async fn is_seeded(client: &Client) -> Result<bool, SeedError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces
        .get_opt(NAMESPACE)
        .await
        .map_err(refused_error("namespace demo"))?;
    Ok(found.is_some_and(|n| n.annotations().contains_key(SEEDED)))
}

/// Creates the objects of a file that do not exist.
pub async fn create_missing(client: &Client, sample: &Sample) -> Result<(), SeedError> {
    for object in sample.parse_objects() {
        let wanted = ObjectRef::from_object(&object);
        let what = format!("{} {}", wanted.kind, wanted.key.name);
        let api = api_for_object(client, &wanted)
            .await
            .map_err(refused_error(&what))?;
        if api
            .get_metadata_opt(&wanted.key.name)
            .await
            .map_err(refused_error(&what))?
            .is_none()
        {
            let params = PatchParams::apply(api::FIELD_MANAGER);
            api.patch(&wanted.key.name, &params, &Patch::Apply(&object))
                .await
                .map_err(refused_error(&what))?;
        }
    }
    Ok(())
}

fn baseline_release_name(app: &str) -> String {
    format!("{app}-{BASELINE}")
}

/// Creates a Release for the engine with all batches allowed in advance.
async fn start_baseline(client: &Client, app: &str) -> Result<(), SeedError> {
    let releases: Api<Release> = Api::namespaced(client.clone(), NAMESPACE);
    let name = baseline_release_name(app);
    if releases
        .get_opt(&name)
        .await
        .map_err(refused_error(&name))?
        .is_some()
    {
        return Ok(());
    }
    let spec = ReleaseSpec {
        app: app.into(),
        stage: BASELINE.into(),
        images: [("backend".to_owned(), format!("{app}:v1"))].into(),
        comment: Some("the first version".into()),
        requester: "graylane demo".into(),
        control: Control {
            allow: [("deploy-prod".to_owned(), 100)].into(),
            ..Control::default()
        },
        ..ReleaseSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        ..ObjectMeta::default()
    };
    let params = PostParams {
        field_manager: Some(api::FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    releases
        .create(
            &params,
            &Release {
                metadata,
                spec,
                status: None,
            },
        )
        .await
        .map(drop)
        .map_err(refused_error(name))
}

/// Waits until an App's Service exists.
async fn wait_for_service(client: &Client, app: &str) {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let there = |service: Option<&Service>| service.is_some();
    while await_condition(services.clone(), app, there).await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the baseline release of an App has ended; an error unless it succeeded.
async fn wait_for_baseline(client: &Client, app: &str) -> Result<(), SeedError> {
    let releases: Api<Release> = Api::namespaced(client.clone(), NAMESPACE);
    let name = baseline_release_name(app);
    let ended = |release: Option<&Release>| {
        let status = release.and_then(|r| r.status.as_ref());
        status.is_some_and(|s| s.phase.is_final() || s.phase == ReleasePhase::Failed)
    };
    loop {
        match await_condition(releases.clone(), &name, ended).await {
            Ok(release) => {
                let status = release.and_then(|r| r.status).unwrap_or_default();
                if status.phase == ReleasePhase::Succeeded {
                    return Ok(());
                }
                let (phase, message) = (status.phase, status.message.unwrap_or_default());
                return Err(SeedError::Baseline {
                    app: app.into(),
                    release: name,
                    phase,
                    message,
                });
            }
            // A watch may break: try again.
            Err(why) => {
                tracing::debug!(%name, %why, "waiting for the baseline");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Removes the stage of the first version: later releases to production need an approval.
async fn remove_baseline_stage(client: &Client, app: &str) -> Result<(), SeedError> {
    let apps: Api<App> = Api::namespaced(client.clone(), NAMESPACE);
    loop {
        let found = apps.get(app).await.map_err(refused_error(app))?;
        let stages = &found.spec.workflow.stages;
        let left: Vec<_> = stages.iter().filter(|s| s.name != BASELINE).collect();
        if left.len() == stages.len() {
            return Ok(());
        }
        let patch = json!({
            "metadata": {"resourceVersion": found.resource_version()},
            "spec": {"workflow": {"stages": left}},
        });
        let params = PatchParams {
            field_manager: Some(api::FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        match apps.patch(app, &params, &Patch::Merge(&patch)).await {
            // The engine updates the status of the same object: read it again.
            Err(e) if error::is_conflict(&e) => tokio::task::yield_now().await,
            done => return done.map(drop).map_err(refused_error(app)),
        }
    }
}
