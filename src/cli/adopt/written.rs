//! What writing does to an object: asked by a dry run first; and the labels, which is all that adopting writes.

use color_eyre::eyre::Result;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use similar::TextDiff;

use crate::{
    api::{FIELD_MANAGER, label},
    cli::{
        output::{self, Format},
        session::{Session, told},
    },
    cluster::error,
    domain::workflow::key,
};

/// In words, what applying `object` would change; asked of the server, nothing is written.
pub(super) async fn change(session: &Session, object: &Value) -> Result<String> {
    let (api, who) = (api(session, object), words(object));
    let name = key(object).name;
    let live = api.get(&name).await.map_err(told(format!("reading {who}")))?;
    let params = PatchParams { dry_run: true, ..PatchParams::apply(FIELD_MANAGER) };
    let after = match api.patch(&name, &params, &Patch::Apply(object)).await {
        Ok(after) => after,
        Err(e) if error::code(&e) == Some(409) => {
            return Ok(format!("{who}: others manage fields with other values: {}", error::words(&e)));
        }
        Err(e) => return Err(told(format!("asking what applying {who} changes"))(e)),
    };
    let (before, after) = (plain(&live)?, plain(&after)?);
    Ok(if before == after { format!("{who}: nothing") } else { format!("{who}:\n{}", diff(&before, &after)) })
}

/// The changed lines, with three lines around them.
pub(super) fn diff(before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after).unified_diff().context_radius(3).to_string()
}

/// Labels it as ours; its uid.
pub(super) async fn label(session: &Session, object: &Value, app: &str, environment: &str) -> Result<String> {
    let labels = json!({"metadata": {"labels": {label::APP: app, label::ENVIRONMENT: environment}}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let done = api(session, object).patch(&key(object).name, &params, &Patch::Merge(labels)).await;
    Ok(done.map_err(told(words(object)))?.metadata.uid.unwrap_or_default())
}

/// What people wrote, without what the server counts.
fn plain(object: &DynamicObject) -> Result<String> {
    let mut value = serde_json::to_value(object)?;
    for key in ["managedFields", "resourceVersion", "generation"] {
        value["metadata"].as_object_mut().map(|m| m.shift_remove(key));
    }
    value.as_object_mut().map(|o| o.shift_remove("status"));
    value.sort_all_objects();
    output::data(&value, Format::Yaml)
}

/// `Deployment checkout`.
pub(super) fn words(object: &Value) -> String {
    let item = key(object);
    format!("{} {}", item.kind, item.name)
}

fn api(session: &Session, object: &Value) -> Api<DynamicObject> {
    Api::namespaced_with(session.client.clone(), &session.namespace, &key(object).resource())
}
