//! create.

use http::StatusCode;
use serde_json::{Value, json};

use super::change::Decision;
use super::decode::{self, Unknown};
use super::error::{ApiError, FieldError, Result};
use super::reply::Reply;
use super::{ApiServer, Call, convert, meta, strategy};
use crate::pocket::patch;
use crate::pocket::store::Key;

impl ApiServer {
    pub(super) async fn create(&self, call: &Call) -> Result<Reply> {
        let mut object = decode::parse(call)?;
        let warnings = decode::decode(&call.resource, &mut object, Unknown::of(call)?)?;
        let generated = meta::text(&object, "name").is_empty() && !meta::text(&object, "generateName").is_empty();
        let object = self.prepare_new(call, object, true)?;
        let dry_run = call.query.dry_run("CreateOptions")?;
        for attempt in 0.. {
            let mut object = object.clone();
            if attempt > 0 {
                let name = meta::generate_name(meta::text(&object, "generateName"));
                object["metadata"]["name"] = name.into();
            }
            let key = call.key(meta::text(&object, "name"));
            let written = self.insert(call, &key, object, dry_run).await;
            match written {
                // Another object got the same five random characters.
                Err(error) if generated && error.reason == "AlreadyExists" && attempt < 8 => {}
                Err(error) => return Err(error),
                Ok(object) => {
                    let object = convert::from_stored(&call.resource, &object);
                    return Ok(Reply::Json {
                        code: StatusCode::CREATED,
                        value: call.view.object(&call.resource, &object),
                        warnings,
                        content_type: None,
                    });
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    async fn insert(&self, call: &Call, key: &Key, object: Value, dry_run: bool) -> Result<std::sync::Arc<Value>> {
        let outcome = self
            .change(&call.resource, key, dry_run, |current| match current {
                Some(_) => Err(ApiError::already_exists(&call.resource, &key.name)),
                None => Ok(Decision::Put(object.clone())),
            })
            .await?;
        Ok(outcome.object)
    }

    /// A decoded body as it is stored for the first time: complete, valid, and its manager's, unless an apply has
    /// written its owners already.
    pub(super) fn prepare_new(&self, call: &Call, mut object: Value, owned: bool) -> Result<Value> {
        let resource = &call.resource;
        check_namespace(call, &mut object)?;
        let metadata = meta::of(&mut object);
        let text = |field: &str| metadata.get(field).and_then(Value::as_str);
        let name = text("name").unwrap_or_default().to_owned();
        let base = text("generateName").unwrap_or_default().to_owned();
        // An apply may name the version of what is not there.
        if owned && text("resourceVersion").is_some_and(|rv| !rv.is_empty()) {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let name = match (name.as_str(), base.as_str()) {
            ("", "") => {
                let problem = FieldError::required("metadata.name", "name or generateName is required");
                return Err(ApiError::invalid(&resource.group, &resource.kind, "", &[problem]));
            }
            ("", base) => meta::generate_name(base),
            (name, _) => name.to_owned(),
        };
        for field in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
            metadata.shift_remove(field);
        }
        metadata.insert("name".into(), name.clone().into());
        metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".into(), meta::now().into());
        if resource.counts_generations() {
            metadata.insert("generation".into(), 1.into());
        }
        if let Some(problem) = meta::check_name("metadata.name", &name, resource.name_rule()) {
            return Err(ApiError::invalid(&resource.group, &resource.kind, &name, &[problem]));
        }
        self.check_parent(call, &name)?;
        strategy::create(resource, &mut object)?;
        let (manager, now) = (&call.manager, meta::now());
        if owned {
            let empty = empty_of(resource);
            object = patch::track_update(empty.as_ref(), &object, manager, None, &now, &resource.lists);
        }
        strategy::drop_disabled(resource, &mut object);
        strategy::complete(resource, &mut object);
        self.assign_address(resource, &mut object)?;
        convert::to_stored(resource, &mut object);
        Ok(object)
    }

    /// The namespace must be there, and staying.
    fn check_parent(&self, call: &Call, name: &str) -> Result<()> {
        let Some(namespace) = &call.namespace else {
            return Ok(());
        };
        let registry = self.registry();
        let Some(namespaces) = registry.find("", "v1", "namespaces") else {
            return Err(ApiError::internal("namespaces are not served"));
        };
        let key = Key { resource: namespaces.storage.clone(), namespace: String::new(), name: namespace.clone() };
        let found = self.find(namespaces, &key)?;
        if meta::is_deleting(&found.value) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
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

/// What an object of the kind has when nothing is said: of these structs nobody is made the owner, only of what is in
/// them.
fn empty_of(resource: &super::Resource) -> Option<Value> {
    let template = json!({"metadata": {}, "spec": {"containers": []}});
    let spec = match (resource.group.as_str(), resource.kind.as_str()) {
        ("apps", "ControllerRevision") => return Some(json!({"metadata": {}, "revision": 0})),
        ("apps", "Deployment") => json!({"strategy": {}, "template": template}),
        ("apps", "StatefulSet") => json!({"serviceName": "", "updateStrategy": {}, "template": template}),
        ("apps" | "batch", _) => json!({"template": template}),
        ("", "Pod") => json!({"containers": []}),
        _ if resource.custom().is_some() => return Some(json!({"metadata": {}})),
        _ => return None,
    };
    Some(json!({"metadata": {}, "spec": spec}))
}

/// The namespace of a body must be that of the path; left out, it is.
pub(super) fn check_namespace(call: &Call, object: &mut Value) -> Result<()> {
    let given = meta::text(object, "namespace");
    match call.namespace.as_deref() {
        Some(namespace) if given.is_empty() => {
            let namespace = namespace.to_owned();
            meta::of(object).insert("namespace".into(), namespace.into());
            Ok(())
        }
        Some(namespace) if given != namespace => Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        None if call.resource.namespaced => {
            Err(ApiError::bad_request("an empty namespace may not be set during creation"))
        }
        None if !given.is_empty() => {
            Err(ApiError::bad_request("namespace should not be set on objects that are cluster-wide"))
        }
        _ => Ok(()),
    }
}
