//! The update and patch requests.

use http::StatusCode;
use serde_json::{Value, json};

use super::change::{Decision, Outcome};
use super::create::check_namespace;
use super::decode::{self, UnknownFields};
use super::error::{ApiError, FieldError, Result};
use super::patches::Patch;
use super::registry::Resource;
use super::reply::Reply;
use super::{ApiServer, Call, convert, meta, patches, strategy, warn};
use crate::patch;
use crate::store::StoredObject;

impl ApiServer {
    #[tracing::instrument(level = "trace", skip_all, fields(subresource))]
    pub(super) async fn update_object(
        &self,
        call: &Call,
        subresource: Option<&str>,
    ) -> Result<Reply> {
        let name = call.name()?;
        let (mut body, warnings) = decode::decode_body(call)?;
        check_namespace(call, &mut body)?;
        check_name(&body, name)?;
        if !call.resource.takes_unconditional_updates()
            && matches!(meta::field_text(&body, "resourceVersion"), "" | "0")
        {
            let problem = FieldError::invalid(
                "metadata.resourceVersion",
                &Value::from(0),
                "must be specified for an update",
            );
            let resource = &call.resource;
            return Err(ApiError::invalid(
                &resource.group,
                &resource.plural,
                name,
                &[problem],
            ));
        }
        let mut before = None;
        let outcome = self
            .change_object(
                &call.resource,
                &call.store_key(name),
                call.query.dry_run("UpdateOptions")?,
                |current| {
                    let old = current.ok_or_else(|| ApiError::not_found(&call.resource, name))?;
                    before = Some(old.value.clone());
                    self.replace_object(call, old, body.clone(), subresource, true)
                },
            )
            .await?;
        Ok(build_reply(
            call,
            &outcome,
            extend_warnings(call, subresource, &outcome, before.as_deref(), warnings),
        ))
    }

    #[tracing::instrument(level = "trace", skip_all, fields(subresource))]
    pub(super) async fn patch_object(
        &self,
        call: &Call,
        subresource: Option<&str>,
    ) -> Result<Reply> {
        let name = call.name()?;
        let (patch, strict) = match Patch::from_call(call)? {
            (Patch::Apply(applied), strict) => {
                return self.apply_object(call, applied, strict, subresource).await;
            }
            other => other,
        };
        if call.query.get("force").is_some() {
            let problem =
                FieldError::forbidden("force", "may not be specified for non-apply patch");
            return Err(ApiError::bad_options("PatchOptions", problem));
        }
        let unknown = UnknownFields::from_call(call)?;
        let (mut warnings, mut before) = (Vec::new(), None);
        let outcome = self
            .change_object(
                &call.resource,
                &call.store_key(name),
                call.query.dry_run("PatchOptions")?,
                |current| {
                    let old = current.ok_or_else(|| ApiError::not_found(&call.resource, name))?;
                    before = Some(old.value.clone());
                    let shown = convert::from_stored(&call.resource, &old.value);
                    let object = patch.apply_to(&call.resource, &shown)?;
                    check_patched(&call.resource, old.rv, &shown, &object)?;
                    let told = decode::decode_with_findings(
                        &call.resource,
                        object.into(),
                        unknown,
                        strict.clone(),
                    );
                    let (object, words) = told.map_err(to_unprocessable)?;
                    warnings = words;
                    self.replace_object(call, old, object, subresource, true)
                },
            )
            .await?;
        Ok(build_reply(
            call,
            &outcome,
            extend_warnings(call, subresource, &outcome, before.as_deref(), warnings),
        ))
    }

    /// Server-side apply; creates the object if it does not exist.
    async fn apply_object(
        &self,
        call: &Call,
        mut applied: Value,
        strict: Vec<(&'static str, String)>,
        subresource: Option<&str>,
    ) -> Result<Reply> {
        let name = call.name()?;
        let resource = &call.resource;
        if call.query.get("fieldManager").is_none() {
            let problem = FieldError::required("fieldManager", "is required for apply patch");
            return Err(ApiError::bad_options("PatchOptions", problem));
        }
        self.complete_applied(call, name, &mut applied)?;
        // Decoded once as it came, only to find the fields that the kind does not have.
        let told = decode::decode_with_findings(
            resource,
            applied.clone().into(),
            UnknownFields::from_call(call)?,
            strict,
        );
        let (_, warnings) = told?;
        check_name(&applied, name)?;
        let mut before = None;
        let outcome = self
            .change_object(
                resource,
                &call.store_key(name),
                call.query.dry_run("PatchOptions")?,
                |current| {
                    before = current.map(|old| old.value.clone());
                    let live = current.map(|old| convert::from_stored(resource, &old.value));
                    let object =
                        patches::apply_server_side(call, live.as_deref(), &applied, subresource)?;
                    let (object, _) =
                        decode::decode_tree(resource, object.into(), UnknownFields::Ignore)?;
                    match current {
                        Some(old) => self.replace_object(call, old, object, subresource, false),
                        None if subresource.is_some() => Err(ApiError::not_found(resource, name)),
                        None => Ok(Decision::Put(self.prepare_new(call, object, false)?)),
                    }
                },
            )
            .await?;
        Ok(build_reply(
            call,
            &outcome,
            extend_warnings(call, subresource, &outcome, before.as_deref(), warnings),
        ))
    }

    /// Checks the kind of what is applied, and adds what its path says.
    fn complete_applied(&self, call: &Call, name: &str, applied: &mut Value) -> Result<()> {
        let given = |field: &str| applied[field].as_str().unwrap_or_default();
        if given("kind").is_empty() || given("apiVersion").is_empty() {
            let (group, version) = given("apiVersion")
                .split_once('/')
                .unwrap_or(("", given("apiVersion")));
            let words = format!(
                "invalid object type: {group}/{version}, Kind={}",
                given("kind")
            );
            return Err(ApiError::bad_request(words));
        }
        // If the object exists, the body may omit the name, which is in the path.
        if applied["metadata"].is_null() {
            applied["metadata"] = json!({});
        }
        let there = self.store().get(&call.store_key(name)).is_some();
        if there && applied["metadata"].is_object() && meta::field_text(applied, "name").is_empty()
        {
            applied["metadata"]["name"] = name.into();
        }
        Ok(())
    }

    /// Replaces `old` by `object`: keeps what the client may not change, and makes the changes that
    /// follow. If `owned`, the changed fields become those of the call's manager; an apply has
    /// already recorded the owners.
    pub(super) fn replace_object(
        &self,
        call: &Call,
        old: &StoredObject,
        mut object: Value,
        subresource: Option<&str>,
        owned: bool,
    ) -> Result<Decision> {
        let resource = &call.resource;
        let shown = convert::from_stored(resource, &old.value);
        check_preconditions(resource, old, &shown, &object)?;
        keep_fixed_metadata(&shown, &mut object);
        check_finalizers(resource, &shown, &object)?;
        strategy::prepare_update(resource, &shown, &mut object, subresource)?;
        if owned {
            let (manager, now) = (&call.manager, meta::timestamp_now());
            object = patch::track_update(
                Some(&shown),
                &object,
                manager,
                subresource,
                &now,
                &resource.lists,
            );
        }
        strategy::drop_disabled_fields(resource, &mut object);
        if subresource.is_none() {
            self.assign_node_ports(resource, &mut object)?;
        }
        if object["metadata"]["resourceVersion"].is_null() {
            object["metadata"]["resourceVersion"] = shown["metadata"]["resourceVersion"].clone();
        }
        convert::arrange_object(resource, &mut object);
        if object == *shown {
            return Ok(Decision::Keep(old.value.clone()));
        }
        count_generation(resource, &shown, &mut object);
        let released = is_released(resource, &object);
        convert::to_stored(resource, &mut object);
        Ok(if released {
            Decision::Remove(object)
        } else {
            Decision::Put(object)
        })
    }
}

/// Refuses a patch that makes another object of the one that is `shown`.
fn check_patched(resource: &Resource, rv: u64, shown: &Value, object: &Value) -> Result<()> {
    if object["kind"] != shown["kind"] || object["apiVersion"] != shown["apiVersion"] {
        let words = "patch: Invalid value: the patch makes it an object of another kind";
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            words,
        ));
    }
    let name = meta::field_text(shown, "name");
    check_name(object, name)?;
    let (given, uid) = (
        meta::field_text(object, "uid"),
        meta::field_text(shown, "uid"),
    );
    let version = meta::field_text(object, "resourceVersion");
    // A stale version is reported first.
    if given != uid && (version.is_empty() || version == rv.to_string()) {
        let problem =
            FieldError::invalid("metadata.uid", &Value::from(given), "field is immutable");
        return Err(ApiError::invalid(
            &resource.group,
            &resource.kind,
            name,
            &[problem],
        ));
    }
    Ok(())
}

/// Checks what an update says of the object that it replaces.
fn check_preconditions(
    resource: &Resource,
    old: &StoredObject,
    shown: &Value,
    object: &Value,
) -> Result<()> {
    let name = meta::field_text(&old.value, "name");
    let given = |field: &str| {
        let given = meta::field_text(object, field);
        (!given.is_empty()).then(|| given.to_owned())
    };
    if let Some(rv) = given("resourceVersion").filter(|rv| rv.parse::<u64>().is_err()) {
        let words = format!("strconv.ParseUint: parsing {rv:?}: invalid syntax");
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", words));
    }
    if given("resourceVersion").is_some_and(|rv| rv != "0" && rv != old.rv.to_string()) {
        return Err(ApiError::modified(resource, name));
    }
    let uid = meta::field_text(&old.value, "uid");
    if let Some(given) = given("uid").filter(|given| given != uid) {
        let why =
            format!("Precondition failed: UID in precondition: {given}, UID in object meta: {uid}");
        return Err(ApiError::conflict(resource, name, &why));
    }
    if ["name", "namespace"]
        .iter()
        .any(|f| given(f).is_some_and(|v| v != meta::field_text(shown, f)))
    {
        let problem = FieldError::invalid(
            "metadata.name",
            &object["metadata"]["name"],
            "field is immutable",
        );
        return Err(ApiError::invalid(
            &resource.group,
            &resource.kind,
            name,
            &[problem],
        ));
    }
    Ok(())
}

/// Sets the metadata that a client may not change.
fn keep_fixed_metadata(shown: &Value, object: &mut Value) {
    let metadata = meta::metadata_mut(object);
    for field in [
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        match shown["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.shift_remove(field),
        };
    }
}

fn count_generation(resource: &Resource, shown: &Value, object: &mut Value) {
    if resource.counts_generations()
        && desired_state(resource, object) != desired_state(resource, shown)
    {
        let generation = shown["metadata"]["generation"].as_u64().unwrap_or(0);
        object["metadata"]["generation"] = (generation + 1).into();
    }
}

/// Whether nothing keeps an object that is being deleted any more.
fn is_released(resource: &Resource, object: &Value) -> bool {
    meta::is_deleting(object)
        && meta::list_finalizers(object).is_empty()
        && object["metadata"]["deletionGracePeriodSeconds"]
            .as_u64()
            .unwrap_or(0)
            == 0
        && (!resource.is_kind("", "Namespace")
            || meta::to_string_list(&object["spec"]["finalizers"]).is_empty())
}

/// The result of a patch is not a valid object of its kind, although the body of the request is
/// fine.
fn to_unprocessable(mut error: ApiError) -> ApiError {
    if error.reason == "BadRequest" {
        (error.code, error.reason) = (StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
    }
    error
}

fn check_name(object: &Value, name: &str) -> Result<()> {
    let given = meta::field_text(object, "name");
    if given == name {
        return Ok(());
    }
    let words = match given {
        "" => format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ),
        given => {
            format!("the name of the object ({given}) does not match the name on the URL ({name})")
        }
    };
    Err(ApiError::bad_request(words))
}

/// The part of an object whose changes increase `metadata.generation`: all but metadata and status.
fn desired_state(resource: &Resource, object: &Value) -> Value {
    if resource.as_builtin().is_some() {
        return object["spec"].clone();
    }
    let mut desire = object.clone();
    meta::remove_field(&mut desire, "metadata");
    if resource.status {
        meta::remove_field(&mut desire, "status");
    }
    desire
}

fn check_finalizers(resource: &Resource, old: &Value, new: &Value) -> Result<()> {
    if !meta::is_deleting(old) {
        return Ok(());
    }
    let before = meta::list_finalizers(old);
    let added: Vec<String> = meta::list_finalizers(new)
        .into_iter()
        .filter(|f| !before.contains(f))
        .map(|f| format!("{f:?}"))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let words = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    let problem = FieldError::forbidden("metadata.finalizers", words);
    let name = meta::field_text(old, "name");
    Err(ApiError::invalid(
        &resource.group,
        &resource.kind,
        name,
        &[problem],
    ))
}

/// Adds Kubernetes' warnings about the resulting object to those about the body.
fn extend_warnings(
    call: &Call,
    subresource: Option<&str>,
    outcome: &Outcome,
    before: Option<&Value>,
    mut warnings: Vec<String>,
) -> Vec<String> {
    if subresource.is_none() {
        warnings.extend(warn::collect_warnings(
            &call.resource,
            &outcome.object,
            before,
        ));
    }
    warnings
}

pub(super) fn build_reply(call: &Call, outcome: &Outcome, warnings: Vec<String>) -> Reply {
    let object = convert::from_stored(&call.resource, &outcome.object);
    Reply::Json {
        code: if outcome.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        },
        value: call.view.render_object(&call.resource, &object),
        warnings,
        content_type: None,
    }
}
