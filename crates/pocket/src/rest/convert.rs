//! Conversion between the API version of a request and the stored one.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::registry::{Definition, Resource};
use super::{schema, typed, types};
use crate::store::ObjectVersion;

/// Puts an object into the order and form in which Kubernetes writes it: that of the Go type for a
/// built-in kind, sorted by name for a custom resource.
pub(super) fn arrange_object(resource: &Resource, object: &mut Value) {
    match types::find_message(&resource.group, &resource.version, &resource.kind) {
        Some(message) if resource.as_builtin().is_some() => typed::arrange_message(message, object),
        _ if resource.as_custom().is_some() => object.sort_all_objects(),
        _ => {}
    }
}

/// Field names in events.k8s.io/v1 and in v1, as Kubernetes converts them.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn is_new_event(resource: &Resource) -> bool {
    resource.is_kind("events.k8s.io", "Event")
}

/// Whether the resource shows every stored object as it is stored.
fn is_served_as_stored(resource: &Resource) -> bool {
    match &resource.definition {
        Definition::Builtin(_) => !is_new_event(resource),
        Definition::Custom(custom) => {
            !custom.changed && custom.stored.api_version == resource.api_version()
        }
        Definition::Unserved => false,
    }
}

/// A stored object version in the form that the resource of a request shows.
pub(super) enum ServedObject {
    /// The text is available; the value is parsed on demand.
    Stored(Arc<ObjectVersion>),
    Converted(Arc<Value>),
}

impl ServedObject {
    pub(super) fn from_version(resource: &Resource, version: &Arc<ObjectVersion>) -> Self {
        if is_served_as_stored(resource) {
            return Self::Stored(version.clone());
        }
        Self::Converted(from_stored(resource, &version.value()))
    }

    pub(super) fn value(&self) -> Arc<Value> {
        match self {
            Self::Stored(version) => version.value(),
            Self::Converted(value) => value.clone(),
        }
    }

    pub(super) fn text(&self) -> Bytes {
        match self {
            Self::Stored(version) => version.text().clone(),
            Self::Converted(value) => value.to_string().into(),
        }
    }
}

/// Converts a stored object to the version of the request's resource.
pub(crate) fn from_stored(resource: &Resource, object: &Arc<Value>) -> Arc<Value> {
    let api_version = resource.api_version();
    let custom = resource.as_custom();
    if object["apiVersion"] == *api_version && custom.is_none_or(|c| !c.changed) {
        return object.clone();
    }
    let mut shown = (**object).clone();
    if let Some(custom) = custom {
        if custom.changed {
            fit_stored_schema(&custom.stored.schema, &mut shown);
        }
        schema::prune_unknown_fields(&custom.schema, &mut shown, &mut Vec::new());
    }
    if is_new_event(resource) {
        rename_fields(
            &mut shown,
            EVENT_FIELDS.iter().map(|(new, old)| (*old, *new)),
        );
    }
    shown["apiVersion"] = api_version.into();
    Arc::new(shown)
}

/// Versions of a custom resource differ only in their schema (conversion `None`): fields that the
/// stored version does not know are dropped, its defaults are filled in.
fn fit_stored_schema(stored: &Value, object: &mut Value) {
    schema::prune_unknown_fields(stored, object, &mut Vec::new());
    schema::apply_defaults(stored, object);
}

/// Converts an object to the stored version.
pub(crate) fn to_stored(resource: &Resource, object: &mut Value) {
    if is_new_event(resource) {
        rename_fields(object, EVENT_FIELDS.iter().copied());
        object["apiVersion"] = "v1".into();
    }
    if let Some(custom) = resource.as_custom()
        && object["apiVersion"] != *custom.stored.api_version
    {
        fit_stored_schema(&custom.stored.schema, object);
        object["apiVersion"] = custom.stored.api_version.as_str().into();
    }
}

fn rename_fields<'a>(object: &mut Value, names: impl Iterator<Item = (&'a str, &'a str)>) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    for (from, to) in names {
        if let Some(value) = map.shift_remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}
