//! Delete and deletecollection: immediately, after the finalizers, or after a pod's grace period.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::change::{Decision, Outcome};
use super::convert::ServedObject;
use super::error::{ApiError, FieldError, Result};
use super::registry::{CRDS, Resource};
use super::reply::Reply;
use super::{ApiServer, Call, convert, decode, meta};
use crate::store::{ObjectKey, StoredObject};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
pub(super) const CRD_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// `DeleteOptions` from the body and the query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeleteOptions {
    grace_period_seconds: Option<i64>,
    preconditions: Option<Preconditions>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    dry_run: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    fn from_call(call: &Call) -> Result<DeleteOptions> {
        let mut options: DeleteOptions = if call.body.is_empty() {
            DeleteOptions::default()
        } else {
            let body = decode::parse_body(call)?;
            serde_json::from_value(body)
                .map_err(|e| ApiError::bad_request(format!("DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: json: {e}")))?
        };
        if let Some(grace) = call.query.parse_number("gracePeriodSeconds")? {
            options.grace_period_seconds = Some(grace);
        }
        if let Some(policy) = call.query.get("propagationPolicy") {
            options.propagation_policy = Some(policy.to_owned());
        }
        if call.query.dry_run("DeleteOptions")? {
            options.dry_run = Some(vec!["All".into()]);
        }
        if options.orphan_dependents == Some(true) && options.propagation_policy.is_none() {
            options.propagation_policy = Some("Orphan".into());
        }
        match options.propagation_policy.as_deref() {
            None | Some("Background" | "Foreground" | "Orphan") => Ok(options),
            Some(other) => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                let problem = FieldError::not_supported("propagationPolicy", &other.into(), &known);
                Err(ApiError::bad_options("DeleteOptions", problem))
            }
        }
    }

    fn is_dry_run(&self) -> bool {
        self.dry_run.as_ref().is_some_and(|d| !d.is_empty())
    }
}

impl ApiServer {
    #[tracing::instrument(level = "trace", skip_all)]
    pub(super) async fn delete_object(&self, call: &Call) -> Result<Reply> {
        let name = call.name()?;
        let options = DeleteOptions::from_call(call)?;
        let outcome = self
            .remove_object(&call.resource, &call.store_key(name), &options)
            .await?;
        let object = convert::from_stored(&call.resource, &outcome.object);
        let whole = matches!(
            (call.resource.group.as_str(), call.resource.kind.as_str()),
            ("", "Pod" | "Namespace" | "Service")
        );
        if !outcome.removed || whole {
            return Ok(Reply::from_json(
                call.view.render_object(&call.resource, &object),
            ));
        }
        let mut details = json!({
            "name": name,
            "kind": call.resource.plural,
            "uid": object["metadata"]["uid"],
        });
        if !call.resource.group.is_empty() {
            details["group"] = call.resource.group.as_str().into();
        }
        Ok(Reply::from_json(json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        })))
    }

    #[tracing::instrument(level = "trace", skip_all)]
    pub(super) async fn delete_collection(&self, call: &Call) -> Result<Reply> {
        let selector = call.parse_selector()?;
        let options = DeleteOptions::from_call(call)?;
        let listing = self
            .store()
            .list(&call.resource.storage, call.namespace.as_deref());
        let mut deleted = Vec::new();
        for version in listing.items {
            let (stored, shown) = (
                version.value(),
                ServedObject::from_version(&call.resource, &version),
            );
            if !selector.matches(&shown.value()) {
                continue;
            }
            match self
                .remove_object(
                    &call.resource,
                    &object_key(&call.resource, &stored),
                    &options,
                )
                .await
            {
                Ok(_) => deleted.push(shown),
                Err(error) if error.reason == "NotFound" => {}
                Err(error) => return Err(error),
            }
        }
        let metadata = json!({"resourceVersion": self.store().version().to_string()});
        Ok(call.view.render_list(&call.resource, &deleted, metadata))
    }

    /// Deletes one object, as far as its finalizers and its grace period allow.
    pub(super) async fn remove_object(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        options: &DeleteOptions,
    ) -> Result<Outcome> {
        self.change_object(resource, key, options.is_dry_run(), |current| {
            let old = current.ok_or_else(|| ApiError::not_found(resource, &key.name))?;
            check_preconditions(resource, old, options)?;
            if resource.is_kind("", "Namespace") && matches!(&*key.name, "default" | "kube-system")
            {
                return Err(ApiError::forbidden(
                    resource,
                    &key.name,
                    "this namespace may not be deleted",
                ));
            }
            Ok(decide_deletion(resource, old, options, Timestamp::now()))
        })
        .await
    }
}

pub(super) fn object_key(resource: &Resource, object: &Value) -> ObjectKey {
    ObjectKey {
        resource: resource.storage.clone(),
        namespace: meta::field_text(object, "namespace").to_owned(),
        name: meta::field_text(object, "name").to_owned(),
    }
}

fn check_preconditions(
    resource: &Resource,
    old: &StoredObject,
    options: &DeleteOptions,
) -> Result<()> {
    let Some(wanted) = &options.preconditions else {
        return Ok(());
    };
    let name = meta::field_text(&old.value, "name");
    let uid = meta::field_text(&old.value, "uid");
    if let Some(wanted) = wanted.uid.as_deref().filter(|w| *w != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict_of_kind(resource, name, &why));
    }
    let rv = old.rv.to_string();
    if let Some(wanted) = wanted.resource_version.as_deref().filter(|w| *w != rv) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({rv}). The object might have been modified"
        );
        return Err(ApiError::conflict_of_kind(resource, name, &why));
    }
    Ok(())
}

fn decide_deletion(
    resource: &Resource,
    old: &StoredObject,
    options: &DeleteOptions,
    now: Timestamp,
) -> Decision {
    let mut object = (*old.value).clone();
    let finalizers = choose_finalizers(resource, &object, options);
    set_finalizers(&mut object, &finalizers);
    let contents = resource.is_kind("", "Namespace")
        && !meta::to_string_list(&object["spec"]["finalizers"]).is_empty();
    let grace = grace_seconds(resource, &object, options);
    let deadline = now
        .checked_add(SignedDuration::from_secs(grace))
        .unwrap_or(now);
    if meta::is_deleting(&object) {
        let left = object["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(0);
        // A second delete can only shorten the wait.
        let left = left.min(grace);
        object["metadata"]["deletionGracePeriodSeconds"] = left.into();
        if left == 0 && finalizers.is_empty() && !contents {
            return Decision::Remove(object);
        }
        let until = object["metadata"]["deletionTimestamp"]
            .as_str()
            .and_then(|t| t.parse::<Timestamp>().ok());
        if until.is_some_and(|until| deadline < until) {
            object["metadata"]["deletionTimestamp"] = meta::format_time(deadline).into();
        }
    } else {
        if grace == 0 && finalizers.is_empty() && !contents {
            return Decision::Remove(object);
        }
        object["metadata"]["deletionTimestamp"] = meta::format_time(deadline).into();
        object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        if let Some(generation) = object["metadata"]["generation"].as_u64() {
            object["metadata"]["generation"] = (generation + 1).into();
        }
        if resource.is_kind("", "Namespace") {
            object["status"]["phase"] = "Terminating".into();
        }
    }
    if object == *old.value {
        return Decision::Keep(old.value.clone());
    }
    Decision::Put(object)
}

/// The finalizers that an object has while it is being deleted.
fn choose_finalizers(resource: &Resource, object: &Value, options: &DeleteOptions) -> Vec<String> {
    let mut finalizers = meta::list_finalizers(object);
    if let Some(policy) = options.propagation_policy.as_deref() {
        finalizers.retain(|f| f != ORPHAN && f != FOREGROUND);
        match policy {
            "Orphan" => finalizers.push(ORPHAN.into()),
            "Foreground" => finalizers.push(FOREGROUND.into()),
            _ => {}
        }
    }
    if &*resource.storage == CRDS
        && !finalizers.iter().any(|f| f == CRD_CLEANUP)
        && !meta::is_deleting(object)
    {
        finalizers.push(CRD_CLEANUP.into());
    }
    finalizers
}

fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    if finalizers.is_empty() {
        meta::metadata_mut(object).shift_remove("finalizers");
    } else {
        object["metadata"]["finalizers"] = json!(finalizers);
    }
}

/// Grace period in seconds. Only a pod on a node has one, because its containers must be stopped.
fn grace_seconds(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    if !resource.is_kind("", "Pod") {
        return 0;
    }
    let over = matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if over
        || object["spec"]["nodeName"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
    {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64();
    options.grace_period_seconds.or(own).unwrap_or(30).max(0)
}
