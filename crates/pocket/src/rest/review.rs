//! Reviews: questions about the caller's permissions, answered and never stored. Nobody is allowed
//! what pocket does not serve.

use http::StatusCode;
use serde_json::{Value, json};

use super::decode;
use super::error::{ApiError, Result};
use super::registry::Resource;
use super::reply::Reply;
use super::user::User;
use super::{ApiServer, Call};
use crate::discovery;

impl ApiServer {
    pub(super) fn answer_review(&self, call: &Call) -> Result<Reply> {
        let (mut object, warnings) = decode::decode_body(call)?;
        object["status"] = match call.resource.kind.as_str() {
            "SelfSubjectAccessReview" => self.review_access(call, &object["spec"])?,
            "SelfSubjectRulesReview" if call.user != User::Owner => json!({
                "resourceRules": [], "nonResourceRules": [], "incomplete": true,
                "evaluationError": "pocket has no roles that could be listed",
            }),
            "SelfSubjectRulesReview" => json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            }),
            _ => json!({"userInfo": {"username": call.user.name(), "groups": call.user.groups()}}),
        };
        Ok(Reply::Json {
            code: StatusCode::CREATED,
            value: object.into(),
            warnings,
            content_type: None,
        })
    }

    fn review_access(&self, call: &Call, spec: &Value) -> Result<Value> {
        let path = &spec["nonResourceAttributes"];
        if path.is_object() {
            let allowed = matches!(path["verb"].as_str(), Some("get" | "*"));
            return Ok(json!({"allowed": allowed}));
        }
        let wanted = &spec["resourceAttributes"];
        if !wanted.is_object() {
            return Err(ApiError::bad_request(
                "spec: resourceAttributes or nonResourceAttributes is required",
            ));
        }
        let text = |field: &str| wanted[field].as_str().unwrap_or_default();
        let (group, plural, sub, verb) = (
            text("group"),
            text("resource"),
            text("subresource"),
            text("verb"),
        );
        let fits = |wanted: &str, is: &str| wanted == "*" || wanted == is;
        let registry = self.registry();
        let served = |r: &Resource| {
            fits(group, &r.group)
                && fits(plural, &r.plural)
                && match sub {
                    "" | "*" => verb == "*" || r.verbs.contains(&verb),
                    sub => discovery::subresources(r)
                        .iter()
                        .any(|(name, _, _, verbs)| {
                            *name == sub && (verb == "*" || verbs.contains(&verb))
                        }),
                }
        };
        let namespace = Some(text("namespace")).filter(|n| !n.is_empty());
        let served: Vec<_> = registry.resources.iter().filter(|r| served(r)).collect();
        Ok(
            if !served.is_empty()
                && served
                    .iter()
                    .all(|r| call.user.is_allowed(r, sub, namespace, self.inner.limits))
            {
                json!({"allowed": true, "reason": "pocket has no roles"})
            } else if !served.is_empty() {
                json!({"allowed": false, "reason": "a service account has no such right"})
            } else {
                json!({"allowed": false, "reason": "pocket does not serve this"})
            },
        )
    }
}
