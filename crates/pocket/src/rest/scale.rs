//! The scale subresource: only the number of replicas.

use serde_json::{Value, json};

use super::error::{ApiError, FieldError, Result};
use super::patches::Patch;
use super::registry::{Resource, ScalePaths};
use super::reply::Reply;
use super::{ApiServer, Call, convert, decode, meta};

fn value_at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |at, step| &at[step])
}

fn set_value_at(object: &mut Value, path: &str, value: Value) {
    let place = path.split('.').fold(object, |at, step| &mut at[step]);
    *place = value;
}

/// Formats a label selector as in a query.
fn format_selector(selector: &Value) -> String {
    let mut terms = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        terms.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for e in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let key = e["key"].as_str().unwrap_or_default();
        let values = meta::to_string_list(&e["values"]).join(",");
        terms.push(match e["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.sort();
    terms.join(",")
}

fn build_scale(object: &Value, paths: &ScalePaths) -> Value {
    let metadata = &object["metadata"];
    // Zero wanted replicas are omitted, as in Kubernetes.
    let wanted = match value_at(object, &paths.spec).as_i64().unwrap_or(0) {
        0 => json!({}),
        n => json!({"replicas": n}),
    };
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": wanted,
        "status": {"replicas": value_at(object, &paths.status).as_i64().unwrap_or(0)},
    });
    let selector = match &paths.selector {
        Some(path) => value_at(object, path)
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        None => format_selector(&object["spec"]["selector"]),
    };
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

impl ApiServer {
    fn scale_paths(call: &Call) -> Result<&ScalePaths> {
        call.resource
            .scale
            .as_ref()
            .ok_or_else(ApiError::no_such_path)
    }

    pub(super) fn get_scale(&self, call: &Call) -> Result<Reply> {
        let stored = self.find_stored(&call.resource, &call.store_key(call.name()?))?;
        Ok(Reply::from_json(build_scale(
            &stored.value,
            Self::scale_paths(call)?,
        )))
    }

    pub(super) async fn update_scale(&self, call: &Call) -> Result<Reply> {
        let body = decode::parse_body(call)?;
        self.change_scale(call, |_| Ok(body.clone())).await
    }

    pub(super) async fn patch_scale(&self, call: &Call) -> Result<Reply> {
        let (patch, _) = Patch::from_call(call)?;
        self.change_scale(call, |scale| patch.apply_to_scale(&call.resource, scale))
            .await
    }

    async fn change_scale(
        &self,
        call: &Call,
        next: impl Fn(&Value) -> Result<Value>,
    ) -> Result<Reply> {
        let paths = Self::scale_paths(call)?;
        let name = call.name()?;
        let outcome = self
            .change_object(
                &call.resource,
                &call.store_key(name),
                call.query.dry_run("UpdateOptions")?,
                |current| {
                    let old = current.ok_or_else(|| ApiError::not_found(&call.resource, name))?;
                    let shown = convert::from_stored(&call.resource, &old.value);
                    let scale = next(&build_scale(&shown, paths))?;
                    if scale["kind"] != "Scale" {
                        let got = scale["kind"].as_str().unwrap_or_default();
                        return Err(ApiError::bad_request(format!(
                            "the kind in the data ({got}) does not match the expected kind (Scale)"
                        )));
                    }
                    // A missing value is 0, the zero value of the Go type.
                    let replicas = match &scale["spec"]["replicas"] {
                        Value::Null => 0,
                        n => n.as_i64().ok_or_else(|| {
                            ApiError::bad_request(
                                "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal \
                                 spec.replicas into Go struct field ScaleSpec.spec.replicas of type int32",
                            )
                        })?,
                    };
                    if replicas < 0 {
                        let words = "must be greater than or equal to 0";
                        let problem = FieldError::invalid("spec.replicas", &replicas.into(), words);
                        return Err(ApiError::invalid("autoscaling", "Scale", name, &[problem]));
                    }
                    let mut object = (*shown).clone();
                    set_value_at(&mut object, &paths.spec, replicas.into());
                    // Its version is that of the object: a stale Scale is refused like a stale
                    // object.
                    let given = meta::field_text(&scale, "resourceVersion");
                    if !given.is_empty() {
                        object["metadata"]["resourceVersion"] = given.into();
                    }
                    self.replace_object(call, old, object, Some("scale"), true)
                },
            )
            .await?;
        Ok(Reply::from_json(build_scale(&outcome.object, paths)))
    }
}

impl Patch {
    fn apply_to_scale(&self, resource: &Resource, scale: &Value) -> Result<Value> {
        match self {
            // A Scale has no lists, so its strategic merge is a plain merge.
            Patch::Strategic(body) => Patch::Merge(body.clone()).apply_to(resource, scale),
            Patch::Apply(_) => Err(ApiError::not_served(
                "server-side apply on a scale subresource",
            )),
            other => other.apply_to(resource, scale),
        }
    }
}
