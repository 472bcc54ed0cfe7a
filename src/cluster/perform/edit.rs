//! Replaces one of graylane's own objects by an edited text; a change of somebody else is never
//! overwritten, and the server checks the text before anybody is asked.

use std::sync::Arc;

use kube::{
    Api, Client,
    api::{DynamicObject, PostParams, Request},
};
use serde_json::Value;

use super::{MAX_ATTEMPTS, Outcome, PerformContext, PerformError, Result, api_error, is_conflict};
use crate::{
    api::{App, FIELD_MANAGER, GROUP, Lane},
    cluster::yaml,
    domain::{
        approval_guard::find_weakened_approvals,
        edit::{self, CheckedEdit, EditDraft, EditableKind},
    },
};

/// The object as it is, without what the server keeps itself.
pub async fn read_editable(
    client: &Client,
    namespace: &str,
    kind: EditableKind,
    name: &str,
) -> Result<Value> {
    let what = format!("{} {name}", kind.word());
    let api = find_api(client, namespace, kind).await?;
    Ok(edit::strip_server_fields(
        &get_value(&api, &what, name).await?.1,
    ))
}

/// Checks an edited text, by itself and by the server, without writing it.
pub async fn check_edit(client: &Client, draft: &EditDraft) -> Result<CheckedEdit> {
    let what = format!("{} {}", draft.kind.word(), draft.name);
    let after = edit::read_edited_text(draft.kind, &draft.name, &draft.text)
        .map_err(|why| PerformError::Refused(format!("{what}: {why}")))?;
    let at = PerformContext {
        client,
        namespace: &draft.namespace,
        by: "",
    };
    validate_among_others(&at, draft.kind, &draft.name, &after).await?;
    let api = find_api(client, &draft.namespace, draft.kind).await?;
    let (version, now) = get_value(&api, &what, &draft.name).await?;
    check_same(&what, &draft.before, &now)?;
    let written = replace_object(client, &api, &draft.name, &after, &version, true)
        .await
        .map_err(api_error(&what))?;
    let written = serde_json::to_value(&written).unwrap_or_default();
    Ok(CheckedEdit {
        alarms: find_alarms(draft.kind, &draft.before, &after),
        before: Arc::clone(&draft.before),
        after: Arc::new(edit::strip_server_fields(&written)),
        path: draft.path.clone(),
    })
}

/// Writes an edited object.
#[tracing::instrument(level = "debug", skip_all, fields(kind = kind.kind(), name))]
pub(super) async fn edit_object(
    at: &PerformContext<'_>,
    kind: EditableKind,
    name: &str,
    before: &Value,
    after: &Value,
) -> Result<Outcome> {
    let what = format!("{} {name}", kind.word());
    validate_among_others(at, kind, name, after).await?;
    let api = find_api(at.client, at.namespace, kind).await?;
    for _ in 0..MAX_ATTEMPTS {
        let (version, now) = get_value(&api, &what, name).await?;
        check_same(&what, before, &now)?;
        let written = replace_object(at.client, &api, name, after, &version, false).await;
        // The engine may have written the status meanwhile.
        if is_conflict(&written) {
            continue;
        }
        written.map_err(api_error(&what))?;
        return Ok(Outcome::for_object(
            kind.kind(),
            name,
            format!("{what} was saved"),
        ));
    }
    Err(PerformError::Stale {
        what,
        why: "it is written all the time".into(),
    })
}

/// What is wrong only beside the other objects, as a lane is in its group.
async fn validate_among_others(
    at: &PerformContext<'_>,
    kind: EditableKind,
    name: &str,
    object: &Value,
) -> Result<()> {
    if kind != EditableKind::Lane {
        return Ok(());
    }
    match serde_json::from_value::<Lane>(object.clone()) {
        Ok(lane) => super::lane::validate_lane(at, name, &lane.spec).await,
        Err(why) => Err(PerformError::Refused(why.to_string())),
    }
}

async fn find_api(
    client: &Client,
    namespace: &str,
    kind: EditableKind,
) -> Result<Api<DynamicObject>> {
    let resource = format!("{}.{GROUP}", kind.plural());
    yaml::api_by_resource(client, &resource, namespace)
        .await
        .map_err(api_error(&resource))?
        .ok_or_else(|| PerformError::refused_with(format!("this cluster has no {resource}")))
}

/// Resource version, and the object.
async fn get_value(api: &Api<DynamicObject>, what: &str, name: &str) -> Result<(String, Value)> {
    let found = api.get(name).await.map_err(api_error(what))?;
    let version = found.metadata.resource_version.clone().unwrap_or_default();
    Ok((version, serde_json::to_value(&found).unwrap_or_default()))
}

fn check_same(what: &str, before: &Value, now: &Value) -> Result<()> {
    if edit::strip_server_fields(before) == edit::strip_server_fields(now) {
        return Ok(());
    }
    Err(PerformError::Stale {
        what: what.into(),
        why: "somebody wrote it".into(),
    })
}

async fn replace_object(
    client: &Client,
    api: &Api<DynamicObject>,
    name: &str,
    object: &Value,
    version: &str,
    dry_run: bool,
) -> kube::Result<DynamicObject> {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = version.into();
    let params = PostParams {
        dry_run,
        field_manager: Some(FIELD_MANAGER.into()),
    };
    let body = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
    let mut request = Request::new(api.resource_url())
        .replace(name, &params, body)
        .map_err(kube::Error::BuildRequest)?;
    // An unknown field is a typing error, which must not be dropped silently.
    let strict = format!("{}&fieldValidation=Strict", request.uri());
    *request.uri_mut() = strict
        .parse()
        .map_err(|e: http::uri::InvalidUri| kube::Error::Service(e.into()))?;
    client.request(request).await
}

/// What a person should know before the edit is written.
fn find_alarms(kind: EditableKind, before: &Value, after: &Value) -> Vec<String> {
    let app = |value: &Value| serde_json::from_value::<App>(value.clone()).ok();
    match (kind, app(before), app(after)) {
        (EditableKind::App, Some(before), Some(after)) => {
            find_weakened_approvals(&before.spec.workflow, &after.spec.workflow)
        }
        _ => vec![],
    }
}
