//! How the bodies of PATCH become objects.

use serde_json::Value;

use super::decode;
use super::error::{ApiError, Result};
use super::registry::Resource;
use super::{Call, Definition};

pub(super) enum Patch {
    Merge(Value),
    Json(Value),
    Strategic(Value),
    Apply(Value),
}

impl Patch {
    pub(super) fn of(call: &Call) -> Result<Patch> {
        let body = || -> Result<Value> {
            serde_json::from_slice(&call.body).map_err(|e| ApiError::bad_request(format!("the patch is no JSON: {e}")))
        };
        let custom = matches!(call.resource.definition, Definition::Custom(_));
        match call.content_type.as_str() {
            "application/merge-patch+json" => Ok(Patch::Merge(body()?)),
            "application/json-patch+json" => Ok(Patch::Json(body()?)),
            "application/strategic-merge-patch+json" if !custom => Ok(Patch::Strategic(body()?)),
            "application/apply-patch+yaml" => Ok(Patch::Apply(decode::yaml(&call.body)?)),
            other => Err(ApiError::unsupported_media_type(
                other,
                &[
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/apply-patch+yaml",
                    "application/strategic-merge-patch+json (built-in kinds)",
                ],
            )),
        }
    }

    pub(super) fn on(&self, _resource: &Resource, target: &Value) -> Result<Value> {
        match self {
            Patch::Merge(patch) => {
                let mut out = target.clone();
                json_patch::merge(&mut out, patch);
                Ok(out)
            }
            Patch::Json(patch) => {
                let operations: json_patch::Patch =
                    serde_json::from_value(patch.clone()).map_err(|e| ApiError::bad_request(e.to_string()))?;
                let mut out = target.clone();
                json_patch::patch(&mut out, &operations).map_err(|e| {
                    ApiError::new(
                        http::StatusCode::UNPROCESSABLE_ENTITY,
                        "Invalid",
                        format!("the server rejected our request due to an error in our request: {e}"),
                    )
                })?;
                Ok(out)
            }
            Patch::Strategic(_) | Patch::Apply(_) => Err(ApiError::not_served("this patch yet")),
        }
    }
}
