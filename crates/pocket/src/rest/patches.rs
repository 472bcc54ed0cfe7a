//! Parses the bodies of PATCH requests and applies them to objects.

use http::StatusCode;
use serde_json::{Value, json};

use super::decode;
use super::error::{ApiError, Result};
use super::registry::Resource;
use super::tree::Tree;
use super::{Call, Definition, meta};
use crate::patch::{self, ApplyError, PatchError};

pub(super) enum Patch {
    Merge(Value),
    Json(Value),
    Strategic(Value),
    Apply(Value),
}

impl Patch {
    /// The patch, and the findings of strict validation in its text.
    pub(super) fn from_call(call: &Call) -> Result<(Patch, Vec<(&'static str, String)>)> {
        let body = || -> Result<_> {
            let tree: Tree = serde_json::from_slice(&call.body)
                .map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?;
            Ok(decode::collect_duplicates(tree))
        };
        let known = |(value, twice), kind: fn(Value) -> Patch| Ok((kind(value), twice));
        let custom = matches!(call.resource.definition, Definition::Custom(_));
        match call.content_type.as_str() {
            "application/merge-patch+json" => known(body()?, Patch::Merge),
            "application/json-patch+json" => known(body()?, Patch::Json),
            "application/strategic-merge-patch+json" if !custom => known(body()?, Patch::Strategic),
            "application/apply-patch+yaml" => {
                let (tree, mut strict) = decode::parse_yaml(&call.body)?;
                let (applied, twice) = decode::collect_duplicates(tree);
                strict.extend(twice);
                known((applied, strict), Patch::Apply)
            }
            _ => {
                let mut known = vec![
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/apply-patch+yaml",
                ];
                if !custom {
                    known.push("application/strategic-merge-patch+json");
                }
                Err(ApiError::unsupported_media_type(&known))
            }
        }
    }

    /// Applies the patch to an object. Server-side apply is not among these: see [`super::super::patch::apply_server_side`].
    pub(super) fn apply_to(&self, resource: &Resource, target: &Value) -> Result<Value> {
        match self {
            Patch::Merge(body) if body.is_object() => Ok(patch::apply_merge_patch(target, body)),
            Patch::Merge(_) => Err(ApiError::bad_request(
                "error decoding patch: it must be an object",
            )),
            Patch::Json(body) => patch::apply_json_patch(target, body).map_err(to_api_error),
            Patch::Strategic(body) => {
                patch::apply_strategic_patch(target, body, &resource.lists).map_err(to_api_error)
            }
            Patch::Apply(_) => Err(ApiError::internal("an apply taken for a patch")),
        }
    }
}

fn to_api_error(error: PatchError) -> ApiError {
    match error {
        PatchError::Malformed(_) => ApiError::bad_request(error.to_string()),
        PatchError::Inapplicable(why) => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {why}"),
        ),
    }
}

/// Server-side apply: merges this manager's configuration into the live object, if there is one.
pub(super) fn apply_server_side(
    call: &Call,
    live: Option<&Value>,
    applied: &Value,
    subresource: Option<&str>,
) -> Result<Value> {
    let force = call.query.has_flag("force");
    let resource = &call.resource;
    patch::apply_subresource(
        live,
        applied,
        &call.manager,
        subresource,
        force,
        &meta::timestamp_now(),
        &resource.lists,
    )
    .map_err(|error| match error {
        ApplyError::Invalid(why) => ApiError::bad_request(why),
        ApplyError::Conflicts(ref conflicts) => {
            let causes: Vec<Value> = conflicts
                .iter()
                .map(|conflict| {
                    json!({
                        "reason": "FieldManagerConflict",
                        "message": conflict.to_string(),
                        "field": conflict.field,
                    })
                })
                .collect();
            let mut refusal = ApiError::new(StatusCode::CONFLICT, "Conflict", error.to_string());
            refusal.details = json!({"causes": causes});
            refusal
        }
    })
}
