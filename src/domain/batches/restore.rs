//! Recreates a workload that somebody deleted in the middle of a rollout, as it was before the
//! rollout.

use serde_json::Value;

use super::latch::Latch;
use crate::api::label;

/// Settings that a rollout takes over, of either kind.
const ROLLOUT_FIELDS: [&str; 4] = [
    "minReadySeconds",
    "progressDeadlineSeconds",
    "strategy",
    "updateStrategy",
];

/// The manifest with the old template and the user's own settings from the rollout's record; `None`
/// when the record cannot be read. The annotation that says who created the first object is
/// dropped.
pub fn restore_object(manifest: &Value, latch: &str) -> Option<Value> {
    let latch: Latch<Value, Value> = serde_json::from_str(latch).ok()?;
    let before = latch.before;
    let mut object = manifest.clone();
    let spec = object["spec"].as_object_mut()?;
    for field in ROLLOUT_FIELDS {
        match before.own.get(field).filter(|v| !v.is_null()) {
            Some(value) => drop(spec.insert(field.into(), value.clone())),
            None => drop(spec.remove(field)),
        }
    }
    spec.insert("template".into(), before.template);
    let annotations = object["metadata"]["annotations"].as_object_mut()?;
    for key in [
        label::LATCH,
        label::PREVIOUS,
        label::CREATED_BY,
        label::APPLIED,
    ] {
        annotations.remove(key);
    }
    if let Some(applied) = before.applied {
        annotations.insert(label::APPLIED.into(), applied.into());
    }
    Some(object)
}
