//! The create request.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::change::{Decision, WriteGuard};
use super::decode;
use super::error::{ApiError, FieldError, Result};
use super::registry::Resource;
use super::reply::Reply;
use super::{ApiServer, Call, convert, meta, strategy, typed, types, warn};
use crate::patch;
use crate::store::ObjectKey;

impl ApiServer {
    #[tracing::instrument(level = "trace", skip_all)]
    pub(super) async fn create_object(&self, call: &Call) -> Result<Reply> {
        let (object, mut warnings) = decode::decode_body(call)?;
        let generated = meta::field_text(&object, "name").is_empty()
            && !meta::field_text(&object, "generateName").is_empty();
        let turn = self.lock_writes(&call.resource).await;
        let object = self.prepare_new(call, object, true)?;
        let dry_run = call.query.dry_run("CreateOptions")?;
        for attempt in 0.. {
            let mut object = object.clone();
            if attempt > 0 {
                let name = meta::generate_name(meta::field_text(&object, "generateName"));
                object["metadata"]["name"] = name.into();
            }
            let key = call.store_key(meta::field_text(&object, "name"));
            let written = self.insert_object(call, &turn, &key, object, dry_run).await;
            match written {
                // Another object has the same five random characters.
                Err(error) if generated && error.reason == "AlreadyExists" && attempt < 8 => {}
                Err(error) => return Err(error),
                Ok(object) => {
                    let object = convert::from_stored(&call.resource, &object);
                    warnings.extend(warn::collect_warnings(&call.resource, &object, None));
                    return Ok(Reply::Json {
                        code: StatusCode::CREATED,
                        value: call.view.render_object(&call.resource, &object),
                        warnings,
                        content_type: None,
                    });
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    async fn insert_object(
        &self,
        call: &Call,
        turn: &WriteGuard<'_>,
        key: &ObjectKey,
        object: Value,
        dry_run: bool,
    ) -> Result<std::sync::Arc<Value>> {
        let outcome = self
            .change_object_locked(
                turn,
                &call.resource,
                key,
                dry_run,
                |current| match current {
                    Some(_) => Err(ApiError::already_exists(&call.resource, &key.name)),
                    None => Ok(Decision::Put(object.clone())),
                },
            )
            .await?;
        Ok(outcome.object)
    }

    /// Prepares a decoded body for its first write: complete, valid and, if `owned`, with its
    /// fields owned by the field manager of the call. An apply has already recorded the owners.
    pub(super) fn prepare_new(&self, call: &Call, mut object: Value, owned: bool) -> Result<Value> {
        let resource = &call.resource;
        check_namespace(call, &mut object)?;
        let metadata = meta::metadata_mut(&mut object);
        let text = |field: &str| metadata.get(field).and_then(Value::as_str);
        let name = text("name").unwrap_or_default().to_owned();
        let base = text("generateName").unwrap_or_default().to_owned();
        // An apply may give a version even though the object does not exist.
        if owned && text("resourceVersion").is_some_and(|rv| !matches!(rv, "" | "0")) {
            // Kubernetes answers this with an internal error.
            let words = "resourceVersion should not be set on objects to be created";
            return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", words));
        }
        let name = choose_name(resource, name, &base)?;
        start_metadata(resource, metadata, &name);
        check_names(resource, &name, &base)?;
        self.check_parent_namespace(call, &name)?;
        strategy::prepare_create(resource, &mut object)?;
        let (manager, now) = (&call.manager, meta::timestamp_now());
        if owned {
            let empty = build_empty_object(resource);
            object = patch::track_update(
                empty.as_ref(),
                &object,
                manager,
                None,
                &now,
                &resource.lists,
            );
        }
        strategy::drop_disabled_fields(resource, &mut object);
        strategy::add_generated_fields(resource, &mut object);
        self.assign_address(resource, &mut object)?;
        self.assign_node_ports(resource, &mut object)?;
        // A placeholder, so that the field has its position before the version is known.
        if !call.query.dry_run("CreateOptions").unwrap_or(false) {
            object["metadata"]["resourceVersion"] = "0".into();
        }
        convert::arrange_object(resource, &mut object);
        convert::to_stored(resource, &mut object);
        Ok(object)
    }

    /// The namespace must exist and must not be terminating.
    fn check_parent_namespace(&self, call: &Call, name: &str) -> Result<()> {
        let Some(namespace) = &call.namespace else {
            return Ok(());
        };
        let registry = self.registry();
        let Some(namespaces) = registry.find_resource("", "v1", "namespaces") else {
            return Err(ApiError::internal("namespaces are not served"));
        };
        let key = ObjectKey {
            resource: namespaces.storage.clone(),
            namespace: String::new(),
            name: namespace.clone(),
        };
        let found = self.find_stored(namespaces, &key)?;
        if meta::is_deleting(&found.value) {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let mut error = ApiError::forbidden(&call.resource, name, &why);
            error.details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]);
            return Err(error);
        }
        Ok(())
    }
}

/// The name that was given, or one that is generated.
fn choose_name(resource: &Resource, name: String, base: &str) -> Result<String> {
    match (name.as_str(), base) {
        ("", "") => {
            let problem = FieldError::required("metadata.name", "name or generateName is required");
            Err(ApiError::invalid(
                &resource.group,
                &resource.kind,
                "",
                &[problem],
            ))
        }
        ("", base) => Ok(meta::generate_name(base)),
        _ => Ok(name),
    }
}

/// Sets the metadata with which an object begins.
fn start_metadata(resource: &Resource, metadata: &mut Map<String, Value>, name: &str) {
    for field in [
        "resourceVersion",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        metadata.shift_remove(field);
    }
    metadata.insert("name".into(), name.into());
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), meta::timestamp_now().into());
    if resource.counts_generations() {
        metadata.insert("generation".into(), 1.into());
    }
}

fn check_names(resource: &Resource, name: &str, base: &str) -> Result<()> {
    // The name may end with a dash because a suffix follows.
    let prefix = base
        .strip_suffix('-')
        .filter(|p| !p.is_empty())
        .map_or(base.to_owned(), |p| format!("{p}a"));
    if !base.is_empty()
        && let Some(mut problem) =
            meta::check_name("metadata.generateName", &prefix, resource.name_rule())
    {
        problem.set_value(&base.into());
        return Err(ApiError::invalid(
            &resource.group,
            &resource.kind,
            name,
            &[problem],
        ));
    }
    if let Some(problem) = meta::check_name("metadata.name", name, resource.name_rule()) {
        return Err(ApiError::invalid(
            &resource.group,
            &resource.kind,
            name,
            &[problem],
        ));
    }
    Ok(())
}
/// An object of the kind with nothing set. Nobody becomes the owner of these structs, only of
/// fields in them.
fn build_empty_object(resource: &Resource) -> Option<Value> {
    if resource.as_custom().is_some() {
        return Some(json!({"metadata": {}}));
    }
    let mut empty = json!({});
    typed::arrange_message(
        types::find_message(&resource.group, &resource.version, &resource.kind)?,
        &mut empty,
    );
    // Containers are always written, even as null; nobody owns the list itself.
    let pod = if resource.is_kind("", "Pod") {
        "/spec/containers"
    } else {
        "/spec/template/spec/containers"
    };
    if let Some(containers) = empty.pointer_mut(pod) {
        *containers = json!([]);
    }
    Some(empty)
}

/// The namespace of a body must match the path; a missing one is filled in.
pub(super) fn check_namespace(call: &Call, object: &mut Value) -> Result<()> {
    let given = meta::field_text(object, "namespace");
    match call.namespace.as_deref() {
        Some(namespace) if given.is_empty() => {
            let namespace = namespace.to_owned();
            meta::metadata_mut(object).insert("namespace".into(), namespace.into());
            Ok(())
        }
        Some(namespace) if given != namespace => Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        None if call.resource.namespaced => Err(ApiError::bad_request(
            "an empty namespace may not be set during creation",
        )),
        None => {
            meta::metadata_mut(object).shift_remove("namespace");
            Ok(())
        }
        _ => Ok(()),
    }
}
