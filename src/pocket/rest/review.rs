//! Reviews: questions about the asker's rights, answered and never stored. Pocket has one user, who may do all that
//! it serves; what it does not serve nobody may.

use http::StatusCode;
use serde_json::{Value, json};

use super::decode::{self, Unknown};
use super::error::{ApiError, Result};
use super::registry::Resource;
use super::reply::Reply;
use super::{ApiServer, Call};
use crate::pocket::discovery;

const NAME: &str = "you";

impl ApiServer {
    pub(super) fn review(&self, call: &Call) -> Result<Reply> {
        let mut object = decode::parse(call)?;
        let warnings = decode::decode(&call.resource, &mut object, Unknown::of(call)?)?;
        object["status"] = match call.resource.kind.as_str() {
            "SelfSubjectAccessReview" => self.access(&object["spec"])?,
            "SelfSubjectRulesReview" => json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            }),
            _ => json!({"userInfo": {"username": NAME, "groups": ["system:authenticated"]}}),
        };
        Ok(Reply::Json { code: StatusCode::CREATED, value: object, warnings, content_type: None })
    }

    fn access(&self, spec: &Value) -> Result<Value> {
        let path = &spec["nonResourceAttributes"];
        if path.is_object() {
            let allowed = matches!(path["verb"].as_str(), Some("get" | "*"));
            return Ok(json!({"allowed": allowed}));
        }
        let wanted = &spec["resourceAttributes"];
        if !wanted.is_object() {
            return Err(ApiError::bad_request("spec: resourceAttributes or nonResourceAttributes is required"));
        }
        let text = |field: &str| wanted[field].as_str().unwrap_or_default();
        let (group, plural, sub, verb) = (text("group"), text("resource"), text("subresource"), text("verb"));
        let fits = |wanted: &str, is: &str| wanted == "*" || wanted == is;
        let registry = self.registry();
        let served = |r: &Resource| {
            fits(group, &r.group)
                && fits(plural, &r.plural)
                && match sub {
                    "" | "*" => verb == "*" || r.verbs.contains(&verb),
                    sub => discovery::subresources(r)
                        .iter()
                        .any(|(name, _, _, verbs)| *name == sub && (verb == "*" || verbs.contains(&verb))),
                }
        };
        Ok(if registry.resources.iter().any(|r| served(r)) {
            json!({"allowed": true, "reason": "pocket has one user, who may do all that it serves"})
        } else {
            json!({"allowed": false, "reason": "pocket does not serve this"})
        })
    }
}
