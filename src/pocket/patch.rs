//! How a patch changes an object: pure functions over JSON, with the answers a Kubernetes API server gives.
//!
//! * [`merge`] RFC 7386, [`json()`] RFC 6902, [`strategic()`] Kubernetes' strategic merge patch;
//! * [`apply()`] is server-side apply, [`track_update`] the same bookkeeping for create, update and the other patches.
//!   Both follow structured-merge-diff: who owns which field stands in `metadata.managedFields`.
//!
//! Nothing here knows a store, a clock or a request. What the lists of a kind merge by comes in as [`ListKeys`].

mod apply;
mod builtin;
mod crd;
mod fields_v1;
mod fieldset;
mod json;
mod managed;
mod schema;
mod strategic;
#[cfg(test)]
mod tests;
mod walk;

pub use apply::{apply, apply_subresource, track_update};
pub use json::json;
pub use managed::{ApplyError, Conflict};
pub use schema::ListKeys;
pub use strategic::strategic;

use serde_json::Value;

/// Why a patch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is not a patch at all; an API server answers 400.
    #[error("the patch is malformed: {0}")]
    Malformed(String),
    /// It is a patch, but it does not fit this object (a failed `test`, a path that is not there); an API server answers 422.
    #[error("the patch does not fit the object: {0}")]
    Inapplicable(String),
}

/// JSON merge patch (RFC 7386): maps merge, null deletes, everything else replaces.
pub fn merge(target: &Value, patch: &Value) -> Value {
    let mut out = target.clone();
    json_patch::merge(&mut out, patch);
    out
}
