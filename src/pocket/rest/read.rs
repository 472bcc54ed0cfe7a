//! get and list.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::{ApiError, FieldError, Result};
use super::registry::Resource;
use super::reply::Reply;
use super::selector::Selector;
use super::{ApiServer, Call, convert};
use crate::pocket::store::{Key, Stored};

impl Call {
    pub(super) fn key(&self, name: &str) -> Key {
        Key {
            resource: self.resource.storage.clone(),
            namespace: self.namespace_or_none().to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn selector(&self) -> Result<Selector> {
        Selector::parse(&self.resource, self.query.get("labelSelector"), self.query.get("fieldSelector"))
    }
}

/// Where a list goes on: the version of its first page, and the last object of this one.
#[derive(serde::Serialize, serde::Deserialize)]
struct Continue {
    rv: u64,
    namespace: String,
    name: String,
}

impl ApiServer {
    /// The stored object a call names.
    pub(super) fn find(&self, resource: &Resource, key: &Key) -> Result<Stored> {
        self.store().get(key).ok_or_else(|| ApiError::not_found(resource, &key.name))
    }

    pub(super) fn get(&self, call: &Call) -> Result<Reply> {
        let stored = self.find(&call.resource, &call.key(call.name()?))?;
        let object = convert::from_stored(&call.resource, &stored.value);
        Ok(Reply::json(call.view.object(&call.resource, &object)))
    }

    pub(super) fn list(&self, call: &Call) -> Result<Reply> {
        let selector = call.selector()?;
        let limit: usize = call.query.number("limit")?.unwrap_or(0);
        let from = match call.query.get("continue") {
            None => None,
            Some(token) => Some(decode(token)?),
        };
        let asked: Option<u64> = call.query.number("resourceVersion")?;
        let exact = match (call.query.get("resourceVersionMatch"), asked) {
            (None, _) | (Some("NotOlderThan"), Some(_)) => false,
            (Some("Exact"), Some(asked)) if asked > 0 => true,
            (Some(wanted), asked) => {
                let why = match (wanted, asked) {
                    (_, None) => "resourceVersionMatch is forbidden unless resourceVersion is provided",
                    ("Exact", _) => "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                    _ => "supported values: \"Exact\", \"NotOlderThan\"",
                };
                return Err(ApiError::bad_options("ListOptions", FieldError::forbidden("resourceVersionMatch", why)));
            }
        };
        let (resource, namespace) = (&call.resource, call.namespace.as_deref());
        let listing = match (&from, asked) {
            (Some(from), _) => self
                .store()
                .list_at(&resource.storage, namespace, from.rv)
                .map_err(|_| ApiError::expired(
                    "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.",
                ))?,
            (None, Some(rv)) if exact => self.store().list_at(&resource.storage, namespace, rv)?,
            (None, asked) => {
                let listing = self.store().list(&resource.storage, namespace);
                check_future(asked, listing.rv)?;
                listing
            }
        };
        let mut items: Vec<Arc<Value>> = listing
            .items
            .iter()
            .filter(|object| {
                from.as_ref().is_none_or(|from| place(object) > (from.namespace.as_str(), from.name.as_str()))
            })
            .map(|object| convert::from_stored(resource, object))
            .filter(|object| selector.matches(object))
            .collect();
        let mut metadata = json!({"resourceVersion": listing.rv.to_string()});
        if limit > 0 && items.len() > limit {
            let remaining = items.len() - limit;
            items.truncate(limit);
            if let Some(last) = items.last() {
                let (namespace, name) = place(last);
                metadata["continue"] =
                    encode(&Continue { rv: listing.rv, namespace: namespace.to_owned(), name: name.to_owned() }).into();
            }
            // Kubernetes does not count what a selector would have to look at.
            if selector.is_empty() {
                metadata["remainingItemCount"] = remaining.into();
            }
        }
        Ok(Reply::json(call.view.list(resource, &items, metadata)))
    }
}

/// A version that is still to come (from another server, or before a reset) cannot be waited for.
pub(super) fn check_future(asked: Option<u64>, now: u64) -> Result<()> {
    match asked {
        Some(asked) if asked > now => Err(ApiError::new(
            http::StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("Too large resource version: {asked}, current: {now}"),
        )),
        _ => Ok(()),
    }
}

fn place(object: &Value) -> (&str, &str) {
    let metadata = &object["metadata"];
    (metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default())
}

fn encode(at: &Continue) -> String {
    URL_SAFE_NO_PAD.encode(json!(at).to_string())
}

fn decode(token: &str) -> Result<Continue> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|b| serde_json::from_slice(&b).ok())
        .ok_or_else(|| ApiError::bad_request("continue key is not valid"))
}
