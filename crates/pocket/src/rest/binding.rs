//! The binding subresource of a pod: the only way to assign it to a node after creation.

use http::StatusCode;
use serde_json::{Value, json};

use super::change::Decision;
use super::error::{ApiError, FieldError, Result};
use super::reply::Reply;
use super::{ApiServer, Call, convert, decode, meta};
use crate::patch;

impl ApiServer {
    pub(super) async fn bind_pod(&self, call: &Call) -> Result<Reply> {
        let name = call.name()?;
        let body = decode::parse_body(call)?;
        if !matches!(body["kind"].as_str(), None | Some("Binding")) {
            let got = body["kind"].as_str().unwrap_or_default();
            return Err(ApiError::bad_request(format!(
                "the kind in the data ({got}) does not match the expected kind (Binding)"
            )));
        }
        let node = body["target"]["name"].as_str().unwrap_or_default();
        if node.is_empty() {
            let problem = FieldError::required("target.name", "");
            return Err(ApiError::invalid("", "Binding", name, &[problem]));
        }
        self.change_object(&call.resource, &call.store_key(name), call.query.dry_run("CreateOptions")?, |current| {
            let old = current.ok_or_else(|| ApiError::not_found(&call.resource, name))?;
            let shown = convert::from_stored(&call.resource, &old.value);
            // Kubernetes names the resource with its subresource here: `pods/binding`.
            let refused = |why: String| Err(ApiError::conflict_of("pods/binding", name, &why));
            let (given, uid) = (meta::field_text(&body, "uid"), meta::field_text(&shown, "uid"));
            if !given.is_empty() && given != uid {
                return refused(format!(
                    "Precondition failed: UID in precondition: {given}, UID in object meta: {uid}"
                ));
            }
            if meta::is_deleting(&shown) {
                return refused(format!("pod {name} is being deleted, cannot be assigned to a host"));
            }
            if let Some(there) = shown["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) {
                return refused(format!("pod {name} is already assigned to node {there:?}"));
            }
            let mut object = (*shown).clone();
            object["spec"]["nodeName"] = node.into();
            mark_scheduled(&mut object);
            let (manager, now) = (&call.manager, meta::timestamp_now());
            let lists = &call.resource.lists;
            let mut object = patch::track_update(Some(&shown), &object, manager, Some("binding"), &now, lists);
            convert::to_stored(&call.resource, &mut object);
            Ok(Decision::Put(object))
        })
        .await?;
        let value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(Reply::Json {
            code: StatusCode::CREATED,
            value: value.into(),
            warnings: Vec::new(),
            content_type: None,
        })
    }
}

fn mark_scheduled(pod: &mut Value) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": meta::timestamp_now()});
    let status = &mut pod["status"];
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|c| c["type"] != "PodScheduled");
        conditions.push(condition);
    }
}
