//! Between the version a request speaks and the one that is stored.

use std::sync::Arc;

use serde_json::Value;

use super::registry::Resource;

/// (events.k8s.io/v1, v1), as Kubernetes converts them.
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
    resource.is("events.k8s.io", "Event")
}

/// As the resource of a request shows it.
pub(crate) fn from_stored(resource: &Resource, object: &Arc<Value>) -> Arc<Value> {
    let api_version = resource.api_version();
    if object["apiVersion"] == *api_version {
        return object.clone();
    }
    let mut shown = (**object).clone();
    if is_new_event(resource) {
        rename(&mut shown, EVENT_FIELDS.iter().map(|(new, old)| (*old, *new)));
    }
    shown["apiVersion"] = api_version.into();
    Arc::new(shown)
}

/// As it is stored. Versions of custom resources differ only in their schema (conversion `None`).
pub(crate) fn to_stored(resource: &Resource, object: &mut Value) {
    if is_new_event(resource) {
        rename(object, EVENT_FIELDS.iter().copied());
        object["apiVersion"] = "v1".into();
    }
}

fn rename<'a>(object: &mut Value, names: impl Iterator<Item = (&'a str, &'a str)>) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    for (from, to) in names {
        if let Some(value) = map.shift_remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}
