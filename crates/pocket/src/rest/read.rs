//! The get and list requests.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::convert::ServedObject;
use super::error::{ApiError, FieldError, Result};
use super::registry::Resource;
use super::reply::Reply;
use super::selector::Selector;
use super::{ApiServer, Call, convert};
use crate::store::{ObjectKey, StoredObject};

impl Call {
    pub(super) fn store_key(&self, name: &str) -> ObjectKey {
        ObjectKey {
            resource: self.resource.storage.clone(),
            namespace: self.namespace_or_none().to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn parse_selector(&self) -> Result<Selector> {
        Selector::parse(
            &self.resource,
            self.query.get("labelSelector"),
            self.query.get("fieldSelector"),
        )
    }
}

/// Where a list continues: the version of its first page, and the last object of this page.
#[derive(serde::Serialize, serde::Deserialize)]
struct ContinueToken {
    rv: u64,
    namespace: String,
    name: String,
}

impl ApiServer {
    /// The stored object with this key, or a not-found error.
    pub(super) fn find_stored(&self, resource: &Resource, key: &ObjectKey) -> Result<StoredObject> {
        self.store()
            .get(key)
            .ok_or_else(|| ApiError::not_found(resource, &key.name))
    }

    pub(super) fn get_object(&self, call: &Call) -> Result<Reply> {
        let stored = self.find_stored(&call.resource, &call.store_key(call.name()?))?;
        let object = convert::from_stored(&call.resource, &stored.value);
        Ok(Reply::from_json(
            call.view.render_object(&call.resource, &object),
        ))
    }

    pub(super) fn list_objects(&self, call: &Call) -> Result<Reply> {
        let selector = call.parse_selector()?;
        let limit = call
            .query
            .parse_number("limit")?
            .map_or(0, |n: i64| usize::try_from(n).unwrap_or(0));
        let from = match call.query.get("continue") {
            None => None,
            Some(token) => Some(decode_continue(token)?),
        };
        let asked: Option<u64> = call.query.resource_version()?;
        check_list_options(call)?;
        let exact = call.query.get("resourceVersionMatch") == Some("Exact");
        let (resource, namespace) = (&call.resource, call.namespace.as_deref());
        let listing = match (&from, asked) {
            (Some(from), _) => self
                .store()
                .list_at(&resource.storage, namespace, from.rv, Some((&from.namespace, &from.name)))
                .map_err(|_| ApiError::expired(
                    "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.",
                ))?,
            (None, Some(rv)) if exact => self.store().list_at(&resource.storage, namespace, rv, None)?,
            (None, asked) => {
                let listing = self.store().list(&resource.storage, namespace);
                check_not_future(asked, listing.rv)?;
                listing
            }
        };
        let mut items: Vec<ServedObject> = listing
            .items
            .iter()
            .map(|version| ServedObject::from_version(resource, version))
            .filter(|shown| selector.is_empty() || selector.matches(&shown.value()))
            .collect();
        let mut metadata = json!({"resourceVersion": listing.rv.to_string()});
        if limit > 0 && items.len() > limit {
            let remaining = items.len() - limit;
            items.truncate(limit);
            if let Some(last) = items.last() {
                let last = last.value();
                let (namespace, name) = namespace_and_name(&last);
                metadata["continue"] = encode_continue(&ContinueToken {
                    rv: listing.rv,
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
                .into();
            }
            // With a selector Kubernetes omits the count, because it would have to examine every
            // object.
            if selector.is_empty() {
                metadata["remainingItemCount"] = remaining.into();
            }
        }
        Ok(call.view.render_list(resource, &items, metadata))
    }
}

/// Checks which options of a list or a watch may be combined.
pub(super) fn check_list_options(call: &Call) -> Result<()> {
    const MATCH: &str = "resourceVersionMatch";
    const EVENTS: &str = "sendInitialEvents";
    let query = &call.query;
    let (matching, version) = (query.get(MATCH), query.get("resourceVersion"));
    let events = query.get(EVENTS).is_some();
    let mut problems = Vec::new();
    let mut forbid = |when: bool, field: &str, words: &str| {
        if when {
            problems.push(FieldError::forbidden(field, words));
        }
    };
    let continued = "resourceVersionMatch is forbidden when continue is provided";
    let mut known: &[&str] = &["Exact", "NotOlderThan", ""];
    if query.has_flag("watch") {
        known = &["NotOlderThan"];
        let needs = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        forbid(events && matching != Some("NotOlderThan"), MATCH, needs);
        let alone =
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        forbid(matching.is_some() && !events, MATCH, alone);
    } else {
        let alone = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        forbid(matching.is_some() && version.is_none(), MATCH, alone);
    }
    forbid(
        matching.is_some() && query.get("continue").is_some(),
        MATCH,
        continued,
    );
    let unknown = matching.filter(|m| !known.contains(m));
    if let Some(unknown) = unknown {
        problems.push(FieldError::not_supported(MATCH, &unknown.into(), known));
    }
    if !query.has_flag("watch") {
        let mut forbid = |when: bool, field: &str, words: &str| {
            if when {
                problems.push(FieldError::forbidden(field, words));
            }
        };
        let zero = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        forbid(
            matching == Some("Exact") && version == Some("0"),
            MATCH,
            zero,
        );
        forbid(events, EVENTS, "sendInitialEvents is forbidden for list");
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(
            "meta.k8s.io",
            "ListOptions",
            "",
            &problems,
        ))
    }
}

/// Refuses a future version (from another server, or from before a reset): waiting for it is
/// useless.
pub(super) fn check_not_future(asked: Option<u64>, now: u64) -> Result<()> {
    match asked {
        Some(asked) if asked > now => Err(ApiError::new(
            http::StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("Too large resource version: {asked}, current: {now}"),
        )),
        _ => Ok(()),
    }
}

fn namespace_and_name(object: &Value) -> (&str, &str) {
    let metadata = &object["metadata"];
    (
        metadata["namespace"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap_or_default(),
    )
}

fn encode_continue(at: &ContinueToken) -> String {
    URL_SAFE_NO_PAD.encode(json!(at).to_string())
}

fn decode_continue(token: &str) -> Result<ContinueToken> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes.and_then(|b| serde_json::from_slice(&b).ok()).ok_or_else(|| {
        let words = "invalid continue token: continue key is not valid: illegal base64 data at input byte 0";
        ApiError::bad_request(words)
    })
}
