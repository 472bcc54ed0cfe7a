//! The scale subresource: only the number of replicas.

use serde_json::{Value, json};

use super::error::{ApiError, FieldError, Result};
use super::patches::Patch;
use super::registry::{Resource, ScalePaths};
use super::reply::Reply;
use super::{ApiServer, Call, convert, decode, meta};

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |at, step| &at[step])
}

fn set(object: &mut Value, path: &str, value: Value) {
    let place = path.split('.').fold(object, |at, step| &mut at[step]);
    *place = value;
}

/// Formats a label selector as in a query.
fn selector_text(selector: &Value) -> String {
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
        let values = meta::strings(&e["values"]).join(",");
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

fn scale_of(object: &Value, paths: &ScalePaths) -> Value {
    let metadata = &object["metadata"];
    // Zero wanted replicas are omitted, as in Kubernetes.
    let wanted = match at(object, &paths.spec).as_i64().unwrap_or(0) {
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
        "status": {"replicas": at(object, &paths.status).as_i64().unwrap_or(0)},
    });
    let selector = match &paths.selector {
        Some(path) => at(object, path).as_str().unwrap_or_default().to_owned(),
        None => selector_text(&object["spec"]["selector"]),
    };
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

impl ApiServer {
    fn paths(call: &Call) -> Result<&ScalePaths> {
        call.resource
            .scale
            .as_ref()
            .ok_or_else(ApiError::no_such_path)
    }

    pub(super) fn get_scale(&self, call: &Call) -> Result<Reply> {
        let stored = self.find(&call.resource, &call.key(call.name()?))?;
        Ok(Reply::json(scale_of(&stored.value, Self::paths(call)?)))
    }

    pub(super) async fn update_scale(&self, call: &Call) -> Result<Reply> {
        let body = decode::parse(call)?;
        self.rescale(call, |_| Ok(body.clone())).await
    }

    pub(super) async fn patch_scale(&self, call: &Call) -> Result<Reply> {
        let (patch, _) = Patch::of(call)?;
        self.rescale(call, |scale| patch.on_scale(&call.resource, scale))
            .await
    }

    async fn rescale(&self, call: &Call, next: impl Fn(&Value) -> Result<Value>) -> Result<Reply> {
        let paths = Self::paths(call)?;
        let name = call.name()?;
        let outcome = self
            .change(
                &call.resource,
                &call.key(name),
                call.query.dry_run("UpdateOptions")?,
                |current| {
                    let old = current.ok_or_else(|| ApiError::not_found(&call.resource, name))?;
                    let shown = convert::from_stored(&call.resource, &old.value);
                    let scale = next(&scale_of(&shown, paths))?;
                    if scale["kind"] != "Scale" {
                        return Err(ApiError::bad_request("the body is no Scale"));
                    }
                    // A missing value is 0, the zero value of the Go type.
                    let replicas = match &scale["spec"]["replicas"] {
                        Value::Null => 0,
                        n => n.as_i64().ok_or_else(|| {
                            ApiError::bad_request("spec.replicas of a Scale is a whole number")
                        })?,
                    };
                    if replicas < 0 {
                        let words = "must be greater than or equal to 0";
                        let problem = FieldError::invalid("spec.replicas", &replicas.into(), words);
                        return Err(ApiError::invalid("autoscaling", "Scale", name, &[problem]));
                    }
                    let mut object = (*shown).clone();
                    set(&mut object, &paths.spec, replicas.into());
                    // Its version is that of the object: a stale Scale is refused like a stale
                    // object.
                    let given = meta::text(&scale, "resourceVersion");
                    if !given.is_empty() {
                        object["metadata"]["resourceVersion"] = given.into();
                    }
                    self.replace(call, old, object, Some("scale"), true)
                },
            )
            .await?;
        Ok(Reply::json(scale_of(&outcome.object, paths)))
    }
}

impl Patch {
    fn on_scale(&self, resource: &Resource, scale: &Value) -> Result<Value> {
        match self {
            // A Scale has no lists, so its strategic merge is a plain merge.
            Patch::Strategic(body) => Patch::Merge(body.clone()).on(resource, scale),
            Patch::Apply(_) => Err(ApiError::not_served(
                "server-side apply on a scale subresource",
            )),
            other => other.on(resource, scale),
        }
    }
}
