//! Executes steps. Every step is idempotent. The first failure ends the pass and is reported.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::{DynamicObject, Status, response::StatusCause},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Options,
    cache::Cache,
    probes::Probes,
    workloads::{self, WrittenWorkload},
};
use crate::{
    api::{App, EnvironmentStatus, FIELD_MANAGER, InventoryItem, Release, label},
    cluster::error,
    domain::{
        account::Account,
        batches::is_batched,
        command_line::CommandLine,
        owner::{OwnershipMarks, describe_item},
        workflow::{ReleaseStep, StepFailure, object_key},
        world::split_context,
    },
};

/// Failure of a step.
pub(super) struct FailedAttempt {
    pub(super) trouble: StepFailure,
    /// Minimum time before the next try.
    pub(super) wait: Option<Duration>,
    /// The server refused it. A server that has just started refuses everything, so this becomes
    /// permanent only if it lasts.
    pub(super) refused: bool,
}

/// Maximum number of writes after conflicts.
const MAX_CONFLICT_TRIES: usize = 5;

#[tracing::instrument(level = "debug", skip_all, fields(steps = steps.len()))]
pub(super) async fn execute_steps(
    options: &Options,
    cache: &Cache,
    probes: &Probes,
    release: &Release,
    steps: &[ReleaseStep],
) -> Result<(), FailedAttempt> {
    for step in steps {
        begin_write(options, cache, step).await?;
        let (what, done) = take_step(options, cache, probes, release, step).await?;
        // It has changed since it was read: reconcile again.
        if let (
            ReleaseStep::Patch {
                workload, patch, ..
            },
            Err(why),
        ) = (step, &done)
            && error::is_conflict(why)
        {
            cache.conflicts.cancel_write(workload, patch);
            return Ok(());
        }
        options.telemetry.count_step(step, done.is_err());
        done.map_err(|why| failed_step(release, &what, &why))?;
    }
    Ok(())
}

/// Notes the write of an object that others may write too. Fails when they have undone it too often
/// to try again now.
async fn begin_write(
    options: &Options,
    cache: &Cache,
    step: &ReleaseStep,
) -> Result<(), FailedAttempt> {
    let (item, wanted, by) = match step {
        ReleaseStep::Apply { object, by, .. } => (object_key(object), object, by),
        ReleaseStep::Patch {
            workload,
            patch,
            by,
            ..
        } => (workload.clone(), patch, by),
        _ => return Ok(()),
    };
    let Err(undone) = cache.conflicts.begin_write(&item, wanted, Instant::now()) else {
        return Ok(());
    };
    let message = undone.describe_conflict(&item, &other_managers(options, &item, by).await);
    Err(FailedAttempt {
        trouble: StepFailure {
            message,
            permanent: false,
        },
        wait: Some(undone.wait),
        refused: false,
    })
}

/// Takes one step. Returns what it is about, and the server's answer.
async fn take_step(
    options: &Options,
    cache: &Cache,
    probes: &Probes,
    release: &Release,
    step: &ReleaseStep,
) -> Result<(String, kube::Result<()>), FailedAttempt> {
    Ok(match step {
        ReleaseStep::SetEnvironment {
            environment,
            status,
        } => (
            format!("App {}", release.spec.app),
            write_environment_status(options, cache, release, environment, status).await,
        ),
        ReleaseStep::Apply {
            object,
            seen,
            force,
            by,
        } => {
            let item = object_key(object);
            let api = object_api(options, &item, by);
            // An existing workload is never applied over, because that would roll it out at once.
            let done = if is_batched(&item) {
                create_object(&api, object).await.map(drop)
            } else {
                let applied = apply_object(&api, object, seen.as_deref(), *force).await;
                if !matches!(applied, Ok(true)) {
                    cache.conflicts.cancel_write(&item, object);
                }
                applied.map(drop)
            };
            (describe_item(&item), done)
        }
        ReleaseStep::Patch {
            workload,
            patch,
            why,
            by,
        } => {
            let InventoryItem {
                kind,
                namespace,
                name,
                ..
            } = workload;
            tracing::info!(release = release.name_any(), kind, namespace, name, "{why}");
            let client = options.clusters.client_acting_as(by);
            let place = split_context(namespace).1;
            let done = workloads::patch_workload(client, place, workload, patch).await;
            (
                describe_item(workload),
                done.map(|written| record_write(cache, namespace, written)),
            )
        }
        ReleaseStep::CreateJob(object) => create_job(options, release, object).await?,
        ReleaseStep::Delete { item, by } => (
            describe_item(item),
            delete_object(&object_api(options, item, by), item, None).await,
        ),
        ReleaseStep::DeletePod {
            pod,
            version,
            why,
            by,
        } => {
            let InventoryItem {
                namespace, name, ..
            } = pod;
            tracing::info!(release = release.name_any(), namespace, name, "{why}");
            (
                describe_item(pod),
                delete_object(&object_api(options, pod, by), pod, Some(version.clone())).await,
            )
        }
        ReleaseStep::RemoveEnvironment(name) => (
            format!("App {}", release.spec.app),
            remove_environment(options, release, name).await,
        ),
        // Their results are observed in a later pass.
        ReleaseStep::RunProbes {
            task,
            attempt,
            group,
            probes: specs,
        } => {
            let uid = release.uid().unwrap_or_default();
            probes.send_probes(&uid, task, *attempt, group, specs.clone());
            (format!("probes of {task}"), Ok(()))
        }
    })
}

/// Creates a Job, unless this release has created it already.
async fn create_job(
    options: &Options,
    release: &Release,
    object: &Value,
) -> Result<(String, kube::Result<()>), FailedAttempt> {
    let item = object_key(object);
    let api = object_api(options, &item, &Account::deployer(&item.namespace));
    let made = create_object(&api, object).await;
    if matches!(made, Ok(None))
        && let Some(message) = find_foreign_job(&api, &item, release).await
    {
        return Err(FailedAttempt {
            trouble: StepFailure {
                message,
                permanent: true,
            },
            wait: None,
            refused: false,
        });
    }
    Ok((describe_item(&item), made.map(drop)))
}

fn failed_step(release: &Release, what: &str, why: &kube::Error) -> FailedAttempt {
    let mut message = format!("{what}: {}", error::describe_error(why));
    // Fields of other managers stay theirs until a person decides.
    let kept = matches!(why, kube::Error::Api(status) if is_manager_conflict(status));
    if kept {
        let retry = CommandLine::graylane("retry")
            .arg(release.name_any())
            .fixed_args("--force-conflicts");
        message += &format!("; `{retry}` takes these fields over");
    }
    let code = error::status_code(why);
    let permanent = kept || code.is_some_and(|code| matches!(code, 400 | 405 | 415 | 422));
    FailedAttempt {
        trouble: StepFailure { message, permanent },
        wait: None,
        refused: code == Some(403),
    }
}

fn record_write(cache: &Cache, namespace: &str, written: WrittenWorkload) {
    match (
        cache.remote_clusters.split_remote(namespace),
        cache.remote_clusters.get_watched(namespace),
    ) {
        (None, _) => cache.workloads.record_write(written),
        (Some(_), Some(place)) => place.workloads.record_write(written),
        (Some(_), None) => {}
    }
}

/// Reports that the name belongs to a Job that this release did not create.
#[tracing::instrument(level = "debug", skip_all, fields(job = item.name))]
async fn find_foreign_job(
    api: &Api<DynamicObject>,
    item: &InventoryItem,
    release: &Release,
) -> Option<String> {
    let there = api.get_opt(&item.name).await.ok()??;
    let ours = there
        .annotations()
        .get(label::CREATED_BY)
        .is_some_and(|uid| Some(uid) == release.uid().as_ref());
    (!ours).then(|| {
        format!(
            "{} exists already, and not from this release: delete it and retry, or abort",
            describe_item(item)
        )
    })
}

/// Other field managers of an object, as far as they can be read.
#[tracing::instrument(level = "debug", skip_all, fields(kind = item.kind, name = item.name))]
pub(super) async fn other_managers(
    options: &Options,
    item: &InventoryItem,
    by: &Account,
) -> Vec<String> {
    let there = object_api(options, item, by)
        .get_opt(&item.name)
        .await
        .ok()
        .flatten();
    there
        .map(|o| OwnershipMarks::from_metadata(&o.metadata).managers)
        .unwrap_or_default()
}

/// API for the object's kind, acting as a service account.
pub(super) fn object_api(
    options: &Options,
    item: &InventoryItem,
    by: &Account,
) -> Api<DynamicObject> {
    let (resource, client) = (item.api_resource(), options.clusters.client_acting_as(by));
    match split_context(&item.namespace).1 {
        "" => Api::all_with(client, &resource),
        namespace => Api::namespaced_with(client, namespace, &resource),
    }
}

/// The object with the context removed from its namespace.
fn strip_context(object: &Value) -> Value {
    let mut object = object.clone();
    let Some((Some(_), namespace)) = object["metadata"]["namespace"].as_str().map(split_context)
    else {
        return object;
    };
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

/// Server-side apply on top of what was observed, with its resourceVersion as a precondition. An
/// object that was not there is created. Returns false if the object has changed since; the next
/// pass handles that. Fields of other managers are taken over only with `force`; fields that our
/// own rollout patches wrote are always ours.
#[tracing::instrument(level = "debug", skip_all, fields(force))]
pub(super) async fn apply_object(
    api: &Api<DynamicObject>,
    object: &Value,
    seen: Option<&str>,
    force: bool,
) -> kube::Result<bool> {
    let Some(version) = seen else {
        return create_then_own(api, object).await;
    };
    let (name, params, mut object) = (
        object_key(object).name,
        PatchParams::apply(FIELD_MANAGER),
        strip_context(object),
    );
    if !version.is_empty() {
        object["metadata"]["resourceVersion"] = version.into();
    }
    let object = &object;
    let done = match api.patch(&name, &params, &Patch::Apply(object)).await {
        Err(kube::Error::Api(status)) if status.code == 409 && !is_manager_conflict(&status) => {
            return Ok(false);
        }
        Err(kube::Error::Api(status))
            if force && is_manager_conflict(&status) || conflicts_only_with_us(&status) =>
        {
            api.patch(&name, &params.force(), &Patch::Apply(object))
                .await?
        }
        done => done?,
    };
    // An engine was killed while it created the object: the apply now owns everything still named.
    let fields = done.metadata.managed_fields.clone().unwrap_or_default();
    let (made, others): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .partition(|e| is_create_entry(e) && has_content_fields(e));
    if !made.is_empty() {
        rewrite_managed_fields(api, &done, others, None).await?;
    }
    Ok(true)
}

/// Creates an object. Returns false if somebody else, perhaps another owner, has created it
/// meanwhile. Apply has no precondition that an object is absent, but create has. The created
/// fields are then transferred to our apply manager, so that later applies remove what the
/// manifests no longer name. Only after that the object is marked as applied.
#[tracing::instrument(level = "debug", skip_all)]
async fn create_then_own(api: &Api<DynamicObject>, object: &Value) -> kube::Result<bool> {
    let mut first = object.clone();
    let annotations = first
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    let applied = annotations.and_then(|all| all.shift_remove(label::APPLIED));
    let Some(mut made) = create_object(api, &first).await? else {
        return Ok(false);
    };
    for left in (0..MAX_CONFLICT_TRIES).rev() {
        let mut fields = made.metadata.managed_fields.clone().unwrap_or_default();
        fields
            .iter_mut()
            .filter(|e| is_create_entry(e))
            .for_each(|e| e.operation = Some("Apply".into()));
        match rewrite_managed_fields(api, &made, fields, applied.clone()).await {
            // Its controllers write to it at once.
            Err(kube::Error::Api(status)) if status.code == 409 && left > 0 => {
                match api.get_opt(&made.name_any()).await? {
                    Some(there) if there.uid() == made.uid() => made = there,
                    _ => return Ok(false),
                }
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(false),
            done => return done.map(|()| true),
        }
    }
    Ok(false)
}

/// Whether the entry is from a create of ours.
fn is_create_entry(entry: &ManagedFieldsEntry) -> bool {
    let whole = entry.subresource.as_deref().is_none_or(str::is_empty);
    whole
        && entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.operation.as_deref() == Some("Update")
}

/// Whether it has more than metadata, which adoption writes too.
fn has_content_fields(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().and_then(|f| f.0.as_object());
    fields.is_some_and(|fields| fields.keys().any(|key| key != "f:metadata"))
}

/// Replaces the managed fields of an object as it was read, and optionally sets what it was applied
/// from.
#[tracing::instrument(level = "debug", skip_all)]
async fn rewrite_managed_fields(
    api: &Api<DynamicObject>,
    seen: &DynamicObject,
    fields: Vec<ManagedFieldsEntry>,
    applied: Option<Value>,
) -> kube::Result<()> {
    let mut patch = vec![
        json!({"op": "replace", "path": "/metadata/managedFields", "value": fields}),
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": seen.resource_version()}),
    ];
    patch.extend(applied.map(|applied| match seen.annotations().is_empty() {
        true => json!({"op": "add", "path": "/metadata/annotations", "value": {label::APPLIED: applied}}),
        false => {
            let path = format!("/metadata/annotations/{}", label::APPLIED.replace('/', "~1"));
            json!({"op": "add", "path": path, "value": applied})
        }
    }));
    let patch: json_patch::Patch =
        serde_json::from_value(patch.into()).map_err(kube::Error::SerdeError)?;
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    api.patch(&seen.name_any(), &params, &Patch::Json::<()>(patch))
        .await
        .map(drop)
}

/// Whether all conflicts are with ourselves. A patch is a different *operation* than an apply, and
/// so a different field owner.
fn conflicts_only_with_us(status: &Status) -> bool {
    let us = format!("conflict with \"{FIELD_MANAGER}\"");
    is_manager_conflict(status)
        && status_causes(status)
            .iter()
            .all(|c| c.message.starts_with(&us))
}

/// Whether another field manager owns a field of the apply.
pub(super) fn is_manager_conflict(status: &Status) -> bool {
    status.code == 409
        && status_causes(status)
            .iter()
            .any(|c| c.reason == "FieldManagerConflict")
}

fn status_causes(status: &Status) -> &[StatusCause] {
    status
        .details
        .as_ref()
        .map(|d| d.causes.as_slice())
        .unwrap_or_default()
}

/// Creates an object. `None` if one with that name exists.
#[tracing::instrument(level = "debug", skip_all)]
async fn create_object(
    api: &Api<DynamicObject>,
    object: &Value,
) -> kube::Result<Option<DynamicObject>> {
    let object: DynamicObject =
        serde_json::from_value(strip_context(object)).map_err(kube::Error::SerdeError)?;
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    match api.create(&params, &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        done => done.map(Some),
    }
}

/// Deletes an object if it still has this UID (and this version, if given), so that a new object of
/// the same name stays.
#[tracing::instrument(level = "debug", skip_all, fields(kind = item.kind, namespace = item.namespace, name = item.name))]
async fn delete_object(
    api: &Api<DynamicObject>,
    item: &InventoryItem,
    version: Option<String>,
) -> kube::Result<()> {
    let uid = Some(item.uid.clone()).filter(|uid| !uid.is_empty());
    let preconditions = Some(Preconditions {
        uid,
        resource_version: version,
    });
    let params = DeleteParams {
        preconditions,
        ..DeleteParams::background()
    };
    match api.delete(&item.name, &params).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => done.map(drop),
    }
}

fn apps_api(options: &Options) -> Api<App> {
    Api::namespaced(options.client.clone(), &options.namespace)
}

#[tracing::instrument(level = "debug", skip_all, fields(app = release.spec.app, environment))]
async fn write_environment_status(
    options: &Options,
    cache: &Cache,
    release: &Release,
    environment: &str,
    status: &EnvironmentStatus,
) -> kube::Result<()> {
    for left in (0..MAX_CONFLICT_TRIES).rev() {
        let mut app = apps_api(options).get(&release.spec.app).await?;
        if app
            .status
            .as_ref()
            .and_then(|s| s.environments.get(environment))
            == Some(status)
        {
            cache.apps.record_write(&app);
            return Ok(());
        }
        app.set_environment_status(environment, status.clone());
        match apps_api(options)
            .replace_status(&release.spec.app, &PostParams::default(), &app)
            .await
        {
            Err(kube::Error::Api(s)) if s.code == 409 && left > 0 => {}
            done => return done.map(|written| cache.apps.record_write(&written)),
        }
    }
    Ok(())
}

#[tracing::instrument(level = "debug", skip_all, fields(app = release.spec.app, environment))]
async fn remove_environment(
    options: &Options,
    release: &Release,
    environment: &str,
) -> kube::Result<()> {
    for left in (0..MAX_CONFLICT_TRIES).rev() {
        let mut app = apps_api(options).get(&release.spec.app).await?;
        if app.spec.environment(environment).is_none() {
            return Ok(());
        }
        app.spec.environments.retain(|e| e.name != environment);
        match apps_api(options)
            .replace(&release.spec.app, &PostParams::default(), &app)
            .await
        {
            Err(kube::Error::Api(s)) if s.code == 409 && left > 0 => {}
            done => return done.map(drop),
        }
    }
    Ok(())
}
