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
    workloads::{self, Written},
};
use crate::{
    api::{App, EnvironmentStatus, FIELD_MANAGER, InventoryItem, Release, label},
    cluster::error,
    domain::{
        account::Account,
        batches::is_rolled,
        command_line::CommandLine,
        owner::{Marks, named},
        workflow::{Step, Trouble, key},
        world::place,
    },
};

/// Failure of a step.
pub(super) struct NotDone {
    pub(super) trouble: Trouble,
    /// Minimum time before the next try.
    pub(super) wait: Option<Duration>,
    /// The server refused it. A server that has just started refuses everything, so this becomes
    /// permanent only if it lasts.
    pub(super) refused: bool,
}

/// Maximum number of writes after conflicts.
const TRIES: usize = 5;

pub(super) async fn steps(
    options: &Options,
    cache: &Cache,
    probes: &Probes,
    release: &Release,
    steps: &[Step],
) -> Result<(), NotDone> {
    for step in steps {
        if let Step::Apply {
            object: wanted, by, ..
        }
        | Step::Patch {
            patch: wanted, by, ..
        } = step
        {
            let item = if let Step::Patch { workload, .. } = step {
                workload.clone()
            } else {
                key(wanted)
            };
            if let Err(undone) = cache.fights.may(&item, wanted, Instant::now()) {
                let message = undone.words(&item, &managers(options, &item, by).await);
                let wait = Some(undone.wait);
                return Err(NotDone {
                    trouble: Trouble {
                        message,
                        permanent: false,
                    },
                    wait,
                    refused: false,
                });
            }
        }
        let (what, done) = match step {
            Step::SetEnvironment {
                environment,
                status,
            } => {
                let done = environment_status(options, cache, release, environment, status).await;
                (format!("App {}", release.spec.app), done)
            }
            // An existing workload is never applied over, because that would roll it out at once.
            Step::Apply { object, by, .. } if is_rolled(&key(object)) => {
                let item = key(object);
                (
                    named(&item),
                    create(&api(options, &item, by), object).await.map(drop),
                )
            }
            Step::Apply {
                object,
                seen,
                force,
                by,
            } => {
                let item = key(object);
                let applied =
                    apply(&api(options, &item, by), object, seen.as_deref(), *force).await;
                if !matches!(applied, Ok(true)) {
                    cache.fights.forget(&item, object);
                }
                (named(&item), applied.map(drop))
            }
            Step::Patch {
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
                match workloads::patch(
                    options.clusters.acting_as(by),
                    place(namespace).1,
                    workload,
                    patch,
                )
                .await
                {
                    // It has changed since it was read: reconcile again.
                    Err(kube::Error::Api(status)) if status.code == 409 => {
                        cache.fights.forget(workload, patch);
                        return Ok(());
                    }
                    done => (
                        named(workload),
                        done.map(|written| remember(cache, namespace, written)),
                    ),
                }
            }
            Step::CreateJob(object) => {
                let item = key(object);
                let api = api(options, &item, &Account::deployer(&item.namespace));
                let made = create(&api, object).await;
                if matches!(made, Ok(None))
                    && let Some(message) = somebody_elses(&api, &item, release).await
                {
                    return Err(NotDone {
                        trouble: Trouble {
                            message,
                            permanent: true,
                        },
                        wait: None,
                        refused: false,
                    });
                }
                (named(&item), made.map(drop))
            }
            Step::Delete { item, by } => (
                named(item),
                delete(&api(options, item, by), item, None).await,
            ),
            Step::DeletePod {
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
                    named(pod),
                    delete(&api(options, pod, by), pod, Some(version.clone())).await,
                )
            }
            Step::RunProbes {
                task,
                attempt,
                group,
                probes: specs,
            } => {
                let uid = release.uid().unwrap_or_default();
                probes.send(&uid, task, *attempt, group, specs.clone());
                options.telemetry.step(step, false);
                continue;
            }
            Step::RemoveEnvironment(name) => (
                format!("App {}", release.spec.app),
                remove_environment(options, release, name).await,
            ),
        };
        options.telemetry.step(step, done.is_err());
        if let Err(why) = done {
            let mut message = format!("{what}: {}", error::words(&why));
            // Fields of other managers stay theirs until a person decides.
            let kept = matches!(&why, kube::Error::Api(status) if conflicts(status));
            if kept {
                let retry = CommandLine::graylane("retry")
                    .arg(release.name_any())
                    .flag("--force-conflicts");
                message += &format!("; `{retry}` takes these fields over");
            }
            let code = error::code(&why);
            let permanent = kept || code.is_some_and(|code| matches!(code, 400 | 405 | 415 | 422));
            let trouble = Trouble { message, permanent };
            return Err(NotDone {
                trouble,
                wait: None,
                refused: code == Some(403),
            });
        }
    }
    Ok(())
}

fn remember(cache: &Cache, namespace: &str, written: Written) {
    match (
        cache.elsewhere.of(namespace),
        cache.elsewhere.known(namespace),
    ) {
        (None, _) => cache.workloads.remember(written),
        (Some(_), Some(place)) => place.workloads.remember(written),
        (Some(_), None) => {}
    }
}

/// Reports that the name belongs to a Job that this release did not create.
async fn somebody_elses(
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
            "{} is there already, and this release has not made it: delete it and retry, or abort",
            named(item)
        )
    })
}

/// Other field managers of an object, as far as they can be read.
pub(super) async fn managers(options: &Options, item: &InventoryItem, by: &Account) -> Vec<String> {
    let there = api(options, item, by)
        .get_opt(&item.name)
        .await
        .ok()
        .flatten();
    there
        .map(|o| Marks::of(&o.metadata).managers)
        .unwrap_or_default()
}

/// API for the object's kind, acting as a service account.
pub(super) fn api(options: &Options, item: &InventoryItem, by: &Account) -> Api<DynamicObject> {
    let (resource, client) = (item.resource(), options.clusters.acting_as(by));
    match place(&item.namespace).1 {
        "" => Api::all_with(client, &resource),
        namespace => Api::namespaced_with(client, namespace, &resource),
    }
}

/// The object with the context removed from its namespace.
fn at_place(object: &Value) -> Value {
    let mut object = object.clone();
    let Some((Some(_), namespace)) = object["metadata"]["namespace"].as_str().map(place) else {
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
pub(super) async fn apply(
    api: &Api<DynamicObject>,
    object: &Value,
    seen: Option<&str>,
    force: bool,
) -> kube::Result<bool> {
    let Some(version) = seen else {
        return make(api, object).await;
    };
    let (name, params, mut object) = (
        key(object).name,
        PatchParams::apply(FIELD_MANAGER),
        at_place(object),
    );
    if !version.is_empty() {
        object["metadata"]["resourceVersion"] = version.into();
    }
    let object = &object;
    let done = match api.patch(&name, &params, &Patch::Apply(object)).await {
        Err(kube::Error::Api(status)) if status.code == 409 && !conflicts(&status) => {
            return Ok(false);
        }
        Err(kube::Error::Api(status)) if force && conflicts(&status) || only_ours(&status) => {
            api.patch(&name, &params.force(), &Patch::Apply(object))
                .await?
        }
        done => done?,
    };
    // An engine was killed while it created the object: the apply now owns everything still named.
    let fields = done.metadata.managed_fields.clone().unwrap_or_default();
    let (made, others): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .partition(|e| is_making(e) && has_content(e));
    if !made.is_empty() {
        rewrite(api, &done, others, None).await?;
    }
    Ok(true)
}

/// Creates an object. Returns false if somebody else, perhaps another owner, has created it
/// meanwhile. Apply has no precondition that an object is absent, but create has. The created
/// fields are then transferred to our apply manager, so that later applies remove what the
/// manifests no longer name. Only after that the object is marked as applied.
async fn make(api: &Api<DynamicObject>, object: &Value) -> kube::Result<bool> {
    let mut first = object.clone();
    let annotations = first
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    let applied = annotations.and_then(|all| all.shift_remove(label::APPLIED));
    let Some(mut made) = create(api, &first).await? else {
        return Ok(false);
    };
    for left in (0..TRIES).rev() {
        let mut fields = made.metadata.managed_fields.clone().unwrap_or_default();
        fields
            .iter_mut()
            .filter(|e| is_making(e))
            .for_each(|e| e.operation = Some("Apply".into()));
        match rewrite(api, &made, fields, applied.clone()).await {
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
fn is_making(entry: &ManagedFieldsEntry) -> bool {
    let whole = entry.subresource.as_deref().is_none_or(str::is_empty);
    whole
        && entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.operation.as_deref() == Some("Update")
}

/// Whether it has more than metadata, which adoption writes too.
fn has_content(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().and_then(|f| f.0.as_object());
    fields.is_some_and(|fields| fields.keys().any(|key| key != "f:metadata"))
}

/// Replaces the managed fields of an object as it was read, and optionally sets what it was applied
/// from.
async fn rewrite(
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
fn only_ours(status: &Status) -> bool {
    let us = format!("conflict with \"{FIELD_MANAGER}\"");
    conflicts(status) && causes(status).iter().all(|c| c.message.starts_with(&us))
}

/// Whether another field manager owns a field of the apply.
pub(super) fn conflicts(status: &Status) -> bool {
    status.code == 409
        && causes(status)
            .iter()
            .any(|c| c.reason == "FieldManagerConflict")
}

fn causes(status: &Status) -> &[StatusCause] {
    status
        .details
        .as_ref()
        .map(|d| d.causes.as_slice())
        .unwrap_or_default()
}

/// Creates an object. `None` if one with that name exists.
async fn create(api: &Api<DynamicObject>, object: &Value) -> kube::Result<Option<DynamicObject>> {
    let object: DynamicObject =
        serde_json::from_value(at_place(object)).map_err(kube::Error::SerdeError)?;
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
async fn delete(
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
        if app
            .status
            .as_ref()
            .and_then(|s| s.environments.get(environment))
            == Some(status)
        {
            cache.apps.remember(app);
            return Ok(());
        }
        app.note(environment, status.clone());
        match apps(options)
            .replace_status(&release.spec.app, &PostParams::default(), &app)
            .await
        {
            Err(kube::Error::Api(s)) if s.code == 409 && left > 0 => {}
            done => return done.map(|written| cache.apps.remember(written)),
        }
    }
    Ok(())
}

async fn remove_environment(
    options: &Options,
    release: &Release,
    environment: &str,
) -> kube::Result<()> {
    for left in (0..TRIES).rev() {
        let mut app = apps(options).get(&release.spec.app).await?;
        if app.spec.environment(environment).is_none() {
            return Ok(());
        }
        app.spec.environments.retain(|e| e.name != environment);
        match apps(options)
            .replace(&release.spec.app, &PostParams::default(), &app)
            .await
        {
            Err(kube::Error::Api(s)) if s.code == 409 && left > 0 => {}
            done => return done.map(drop),
        }
    }
    Ok(())
}
