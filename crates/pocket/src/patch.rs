//! How a patch changes an object: pure functions over JSON that answer as a Kubernetes API server
//! does.
//!
//! * [`apply_merge_patch`] is RFC 7386, [`apply_json_patch`] is RFC 6902, [`apply_strategic_patch`] is Kubernetes' strategic merge
//!   patch.
//! * [`apply_server_side`] is server-side apply; [`track_update`] records field ownership in the same way for
//!   create, update and the other patches. Both follow structured-merge-diff:
//!   `metadata.managedFields` records which field manager owns which field.
//!
//! Nothing here depends on a store, a clock or a request. [`ListKeys`] says how the lists of a kind
//! merge.

mod apply;
mod builtin;
mod crd;
mod fields_v1;
mod fieldset;
mod json;
mod managed_fields;
mod schema;
mod strategic;
#[cfg(test)]
mod tests;
mod walk;

pub use apply::{apply_server_side, apply_subresource, track_update};
pub use json::apply_json_patch;
pub use managed_fields::{ApplyError, Conflict};
pub use schema::ListKeys;
pub use strategic::apply_strategic_patch;

use serde_json::Value;

/// Why a patch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// Not a patch at all: an API server answers 400.
    #[error("the patch is malformed: {0}")]
    Malformed(String),
    /// A valid patch that does not fit this object, such as a failed `test` or a missing path: an
    /// API server answers 422.
    #[error("the patch does not fit the object: {0}")]
    Inapplicable(String),
}

/// JSON merge patch (RFC 7386): maps merge, null deletes, everything else replaces.
pub fn apply_merge_patch(target: &Value, patch: &Value) -> Value {
    let mut out = target.clone();
    json_patch::merge(&mut out, patch);
    out
}
