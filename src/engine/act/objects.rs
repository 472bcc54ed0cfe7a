//! Writing single objects of any kind: server-side apply on top of what was observed, create, delete.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::{DynamicObject, Status, response::StatusCause},
};
use serde_json::{Value, json};

use super::MAX_CONFLICT_TRIES;
use crate::{
    api::{ClusterName, FIELD_MANAGER, InventoryItem, NamespaceRef, ObjectRef, label},
    domain::{account::Account, owner::OwnershipMarks},
    engine::Options,
};

/// Other field managers of an object, as far as they can be read.
#[tracing::instrument(level = "debug", skip_all, fields(kind = object.kind, name = object.key.name))]
pub(in crate::engine) async fn other_managers(
    options: &Options,
    object: &ObjectRef,
    by: &Account,
) -> Vec<String> {
    let there = object_api(options, object, by)
        .get_opt(&object.key.name)
        .await
        .ok()
        .flatten();
    there
        .map(|o| OwnershipMarks::from_metadata(&o.metadata).managers)
        .unwrap_or_default()
}

/// API for the object's kind, acting as a service account.
pub(in crate::engine) fn object_api(
    options: &Options,
    object: &ObjectRef,
    by: &Account,
) -> Api<DynamicObject> {
    let (resource, client) = (object.api_resource(), options.clusters.client_acting_as(by));
    match &*object.key.namespace.name {
        "" => Api::all_with(client, &resource),
        namespace => Api::namespaced_with(client, namespace, &resource),
    }
}

/// The object with the context removed from its namespace.
fn strip_context(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(NamespaceRef {
        cluster: ClusterName::Context(_),
        name: namespace,
    }) = object["metadata"]["namespace"]
        .as_str()
        .map(NamespaceRef::from)
    else {
        return object;
    };
    if let Some(meta) = object["metadata"].as_object_mut() {
        if namespace.is_empty() {
            meta.remove("namespace");
        } else {
            meta.insert("namespace".into(), (*namespace).into());
        }
    }
    object
}

/// Server-side apply on top of what was observed, with its resourceVersion as a precondition. An
/// object that was not there is created. Returns false if the object has changed since; the next
/// pass handles that. Fields of other managers are taken over only with `force`; fields that our
/// own rollout patches wrote are always ours.
#[tracing::instrument(level = "debug", skip_all, fields(force))]
pub(in crate::engine) async fn apply_object(
    api: &Api<DynamicObject>,
    object: &Value,
    seen: Option<&str>,
    force: bool,
) -> kube::Result<bool> {
    let Some(version) = seen else {
        return create_then_own(api, object).await;
    };
    let (name, params, mut object) = (
        ObjectRef::from_object(object).key.name,
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
    patch.extend(applied.map(|applied| if seen.annotations().is_empty() { json!({"op": "add", "path": "/metadata/annotations", "value": {label::APPLIED: applied}}) } else {
        let path = format!("/metadata/annotations/{}", label::APPLIED.replace('/', "~1"));
        json!({"op": "add", "path": path, "value": applied})
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
pub(in crate::engine) fn is_manager_conflict(status: &Status) -> bool {
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
pub(super) async fn create_object(
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
#[tracing::instrument(level = "debug", skip_all, fields(kind = item.object.kind, namespace = %item.object.key.namespace, name = item.object.key.name))]
pub(super) async fn delete_object(
    api: &Api<DynamicObject>,
    item: &InventoryItem,
    version: Option<String>,
) -> kube::Result<()> {
    let uid = item.uid.clone().known().map(String::from);
    let preconditions = Some(Preconditions {
        uid,
        resource_version: version,
    });
    let params = DeleteParams {
        preconditions,
        ..DeleteParams::background()
    };
    match api.delete(&item.object.key.name, &params).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => done.map(drop),
    }
}
