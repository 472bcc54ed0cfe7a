//! Structural schemas of custom resources.

use serde_json::Value;

use super::error::FieldError;

/// Drops fields the schema does not know; their paths go to `dropped`.
pub(crate) fn prune(_schema: &Value, _object: &mut Value, _dropped: &mut Vec<String>) {}

pub(crate) fn apply_defaults(_schema: &Value, _object: &mut Value) {}

pub(crate) fn validate(_schema: &Value, _object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
    Vec::new()
}
