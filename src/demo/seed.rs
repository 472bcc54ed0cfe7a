//! Fills a cluster with the sample workspace. Every step looks first, so that it can be interrupted anywhere
//! and starts again where it was.

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
    api::{self, App, Control, Release, ReleasePhase, ReleaseSpec},
    cluster::{
        error,
        yaml::{ObjectRef, api_of},
    },
    domain::command_line::CommandLine,
};

/// The namespace of the demo's resources, production and gray.
pub const NAMESPACE: &str = "demo";
/// The stage that brings the first version; it is taken out of the Apps afterwards.
const BASELINE: &str = "baseline";
/// Stands on the namespace once the workspace was complete: from then on it is the user's.
const SEEDED: &str = "graylane.dev/seeded";
/// C first: a pod learns of the Services that are there when it starts.
pub const ORDER: [&str; 3] = ["spring-cloud-c", "spring-cloud-b", "spring-cloud-a"];

/// Why the workspace is not there.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Something was not taken.
    #[error("seeding the demo: {what}: {why}")]
    Refused {
        /// Which object, or what was done.
        what: String,
        /// In words.
        why: String,
    },
    /// The first version did not come up.
    #[error("the baseline of {app} is {phase:?}: {message}\nSee `{}`", CommandLine::graylane("release show").arg(release))]
    Baseline {
        /// Which App.
        app: String,
        /// Its release.
        release: String,
        /// How it ended.
        phase: ReleasePhase,
        /// In words.
        message: String,
    },
}

fn refused(what: impl Into<String>) -> impl FnOnce(kube::Error) -> SeedError {
    let what = what.into();
    move |e| SeedError::Refused {
        what,
        why: error::words(&e),
    }
}

/// Brings the workspace, unless it was there once. The definitions must be installed, an engine and a pocket be at
/// work, or the baseline never comes. `progress` is told each step in words.
pub async fn seed(client: &Client, mut progress: impl FnMut(String)) -> Result<(), SeedError> {
    if is_seeded(client).await? {
        return Ok(());
    }
    for sample in &SAMPLES {
        create_missing(client, sample).await?;
    }
    for app in ORDER {
        progress(format!("deploying {app}"));
        start_baseline(client, app).await?;
        tokio::select! {
            () = service(client, app) => {}
            // A release that failed will bring no Service.
            failed = baseline(client, app) => failed?,
        }
    }
    for app in ORDER {
        progress(format!("waiting for {app}"));
        baseline(client, app).await?;
        forget_baseline(client, app).await?;
    }
    create_missing(client, &TRAFFIC).await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mark = json!({"metadata": {"annotations": {SEEDED: env!("CARGO_PKG_VERSION")}}});
    let marked = namespaces
        .patch(NAMESPACE, &PatchParams::default(), &Patch::Merge(&mark))
        .await;
    marked.map(drop).map_err(refused("namespace demo"))
}

/// Whether the workspace was complete once.
pub async fn is_seeded(client: &Client) -> Result<bool, SeedError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces
        .get_opt(NAMESPACE)
        .await
        .map_err(refused("namespace demo"))?;
    Ok(found.is_some_and(|n| n.annotations().contains_key(SEEDED)))
}

/// Creates the objects of a file that are not there.
pub async fn create_missing(client: &Client, sample: &Sample) -> Result<(), SeedError> {
    for object in sample.objects() {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(|v| v.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let wanted = ObjectRef {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        };
        let what = format!("{} {}", wanted.kind, wanted.name);
        let api = api_of(client, &wanted).await.map_err(refused(&what))?;
        if api
            .get_metadata_opt(&wanted.name)
            .await
            .map_err(refused(&what))?
            .is_none()
        {
            let params = PatchParams::apply(api::FIELD_MANAGER);
            api.patch(&wanted.name, &params, &Patch::Apply(&object))
                .await
                .map_err(refused(&what))?;
        }
    }
    Ok(())
}

fn release_of(app: &str) -> String {
    format!("{app}-{BASELINE}")
}

/// A real Release through the engine; all its batches are let through beforehand.
async fn start_baseline(client: &Client, app: &str) -> Result<(), SeedError> {
    let releases: Api<Release> = Api::namespaced(client.clone(), NAMESPACE);
    let name = release_of(app);
    if releases
        .get_opt(&name)
        .await
        .map_err(refused(&name))?
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
        .map_err(refused(name))
}

/// Until an App's Service is there.
async fn service(client: &Client, app: &str) {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let there = |service: Option<&Service>| service.is_some();
    while await_condition(services.clone(), app, there).await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Until the baseline of an App succeeded; an error when it did not.
async fn baseline(client: &Client, app: &str) -> Result<(), SeedError> {
    let releases: Api<Release> = Api::namespaced(client.clone(), NAMESPACE);
    let name = release_of(app);
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
            // A watch breaks now and then: look again.
            Err(why) => {
                tracing::debug!(%name, %why, "waiting for the baseline");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Takes the stage of the first version out: production goes through an approval from now on.
async fn forget_baseline(client: &Client, app: &str) -> Result<(), SeedError> {
    let apps: Api<App> = Api::namespaced(client.clone(), NAMESPACE);
    loop {
        let found = apps.get(app).await.map_err(refused(app))?;
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
            // The engine writes the status of the same object: take it as it is now.
            Err(e) if error::is_conflict(&e) => tokio::task::yield_now().await,
            done => return done.map(drop).map_err(refused(app)),
        }
    }
}
