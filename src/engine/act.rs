//! Takes steps. Each can be repeated; the first that fails ends the look and is told.

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::{DynamicObject, Status, response::StatusCause},
};
use serde_json::Value;

use super::{
    Options,
    cache::Cache,
    probes::Probes,
    workloads::{self, Written},
};
use crate::{
    api::{App, EnvironmentStatus, FIELD_MANAGER, InventoryItem, Release},
    cluster::error,
    domain::{
        batches::is_rolled,
        workflow::{Step, Trouble, key},
        world::place,
    },
};

/// Why a step could not be taken.
pub(super) struct NotDone {
    pub(super) trouble: Trouble,
    /// It was not permitted. A server that has just started says so to everybody: permanent it is when it stays so.
    pub(super) refused: bool,
}

/// Writes again after somebody else's write came in between, this often.
const TRIES: usize = 5;

pub(super) async fn steps(
    options: &Options,
    cache: &Cache,
    probes: &Probes,
    release: &Release,
    steps: &[Step],
) -> Result<(), NotDone> {
    for step in steps {
        let (what, done) = match step {
            Step::SetEnvironment { environment, status } => {
                let done = environment_status(options, cache, release, environment, status).await;
                (format!("App {}", release.spec.app), done)
            }
            // Never applied over one that is there: that would roll it at once.
            Step::Apply { object, .. } if is_rolled(&key(object)) => {
                let item = key(object);
                (named(&item), create(options, &item, object).await)
            }
            Step::Apply { object, force } => {
                let item = key(object);
                (named(&item), apply(options, &item, object, *force).await)
            }
            Step::Patch { workload, patch, why } => {
                let InventoryItem { kind, namespace, name, .. } = workload;
                tracing::info!(release = release.name_any(), kind, namespace, name, "{why}");
                let (client, inner) = cluster_of(options, namespace);
                match workloads::patch(client, inner, workload, patch).await {
                    // It is not as it was seen: look again, decide anew.
                    Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
                    done => (named(workload), done.map(|written| remember(cache, namespace, written))),
                }
            }
            Step::CreateJob(object) => {
                let item = key(object);
                (named(&item), create(options, &item, object).await)
            }
            Step::Delete(item) => (named(item), delete(options, item, None).await),
            Step::DeletePod { pod, version, why } => {
                let InventoryItem { namespace, name, .. } = pod;
                tracing::info!(release = release.name_any(), namespace, name, "{why}");
                (named(pod), delete(options, pod, Some(version.clone())).await)
            }
            Step::RunProbes { task, attempt, group, probes: specs } => {
                let uid = release.uid().unwrap_or_default();
                probes.send(&uid, task, *attempt, group, specs.clone());
                options.telemetry.step(step, false);
                continue;
            }
            Step::RemoveEnvironment(name) => {
                (format!("App {}", release.spec.app), remove_environment(options, release, name).await)
            }
        };
        options.telemetry.step(step, done.is_err());
        if let Err(why) = done {
            let mut message = format!("{what}: {}", error::words(&why));
            // What another hand has it keeps, until a person decides.
            let kept = matches!(&why, kube::Error::Api(status) if conflicts(status));
            if kept {
                let name = release.name_any();
                message += &format!("; `graylane retry {name} --force-conflicts` takes these fields over");
            }
            let code = error::code(&why);
            let permanent = kept || code.is_some_and(|code| matches!(code, 400 | 405 | 415 | 422));
            return Err(NotDone { trouble: Trouble { message, permanent }, refused: code == Some(403) });
        }
    }
    Ok(())
}

fn remember(cache: &Cache, namespace: &str, written: Written) {
    match (cache.elsewhere.of(namespace), cache.elsewhere.known(namespace)) {
        (None, _) => cache.workloads.remember(written),
        (Some(_), Some(place)) => place.workloads.remember(written),
        (Some(_), None) => {}
    }
}

fn named(item: &InventoryItem) -> String {
    if item.namespace.is_empty() {
        format!("{} {}", item.kind, item.name)
    } else {
        format!("{} {}/{}", item.kind, item.namespace, item.name)
    }
}

fn api(options: &Options, item: &InventoryItem) -> Api<DynamicObject> {
    let resource = item.resource();
    let (client, namespace) = cluster_of(options, &item.namespace);
    if namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, namespace, &resource)
    }
}

/// The cluster of a namespace, and what it is called there.
fn cluster_of<'a>(options: &Options, namespace: &'a str) -> (kube::Client, &'a str) {
    match place(namespace) {
        (None, namespace) => (options.client.clone(), namespace),
        (context, namespace) => (options.clusters.of(context), namespace),
    }
}

/// As its own cluster knows it.
fn at_place(object: &Value) -> Value {
    let mut object = object.clone();
    let Some((Some(_), namespace)) = object["metadata"]["namespace"].as_str().map(place) else { return object };
    let namespace = namespace.to_owned();
    if let Some(meta) = object["metadata"].as_object_mut() {
        if namespace.is_empty() {
            meta.remove("namespace");
        } else {
            meta.insert("namespace".into(), namespace.into());
        }
    }
    object
}

/// The object, if it is there.
pub(super) async fn get(options: &Options, item: &InventoryItem) -> kube::Result<Option<DynamicObject>> {
    api(options, item).get_opt(&item.name).await
}

/// Server-side apply. Other hands' fields are taken only where somebody has asked for it; what our own patches of a
/// rollout wrote is ours.
pub(super) async fn apply(options: &Options, item: &InventoryItem, object: &Value, force: bool) -> kube::Result<()> {
    let (api, params, object) = (api(options, item), PatchParams::apply(FIELD_MANAGER), &at_place(object));
    match api.patch(&item.name, &params, &Patch::Apply(object)).await {
        Err(kube::Error::Api(status)) if force && conflicts(&status) || only_ours(&status) => {
            api.patch(&item.name, &params.force(), &Patch::Apply(object)).await.map(drop)
        }
        done => done.map(drop),
    }
}

/// Every conflict of an apply is with ourselves: a patch is another *operation*, and so another owner.
fn only_ours(status: &Status) -> bool {
    let us = format!("conflict with \"{FIELD_MANAGER}\"");
    conflicts(status) && causes(status).iter().all(|c| c.message.starts_with(&us))
}

/// Another manager has a field of the apply.
pub(super) fn conflicts(status: &Status) -> bool {
    status.code == 409 && causes(status).iter().any(|c| c.reason == "FieldManagerConflict")
}

fn causes(status: &Status) -> &[StatusCause] {
    status.details.as_ref().map(|d| d.causes.as_slice()).unwrap_or_default()
}

async fn create(options: &Options, item: &InventoryItem, object: &Value) -> kube::Result<()> {
    let object: DynamicObject = serde_json::from_value(at_place(object)).map_err(kube::Error::SerdeError)?;
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    match api(options, item).create(&params, &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        done => done.map(drop),
    }
}

/// Deletes it if it still is the very one, and of this version if one is named: a namesake made by somebody else stays.
async fn delete(options: &Options, item: &InventoryItem, version: Option<String>) -> kube::Result<()> {
    let uid = Some(item.uid.clone()).filter(|uid| !uid.is_empty());
    let preconditions = Some(Preconditions { uid, resource_version: version });
    let params = DeleteParams { preconditions, ..DeleteParams::background() };
    match api(options, item).delete(&item.name, &params).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => done.map(drop),
    }
}

fn apps(options: &Options) -> Api<App> {
    Api::namespaced(options.client.clone(), &options.namespace)
}

async fn environment_status(
    options: &Options,
    cache: &Cache,
    release: &Release,
    environment: &str,
    status: &EnvironmentStatus,
) -> kube::Result<()> {
    for left in (0..TRIES).rev() {
        let mut app = apps(options).get(&release.spec.app).await?;
        if app.status.as_ref().and_then(|s| s.environments.get(environment)) == Some(status) {
            cache.apps.remember(app);
            return Ok(());
        }
        app.note(environment, status.clone());
        match apps(options).replace_status(&release.spec.app, &PostParams::default(), &app).await {
            Err(kube::Error::Api(s)) if s.code == 409 && left > 0 => {}
            done => return done.map(|written| cache.apps.remember(written)),
        }
    }
    Ok(())
}

async fn remove_environment(options: &Options, release: &Release, environment: &str) -> kube::Result<()> {
    for left in (0..TRIES).rev() {
        let mut app = apps(options).get(&release.spec.app).await?;
        if app.spec.environment(environment).is_none() {
            return Ok(());
        }
        app.spec.environments.retain(|e| e.name != environment);
        match apps(options).replace(&release.spec.app, &PostParams::default(), &app).await {
            Err(kube::Error::Api(s)) if s.code == 409 && left > 0 => {}
            done => return done.map(drop),
        }
    }
    Ok(())
}
