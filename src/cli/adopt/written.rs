//! Shows what applying an object would change, by a server-side dry run.

use color_eyre::eyre::Result;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::Value;
use similar::TextDiff;

use crate::{
    api::FIELD_MANAGER,
    cli::{
        output::{self, Format},
        session::{Session, told},
    },
    cluster::error,
    domain::workflow::key,
};

/// Describes what applying `object` would change. The server computes it; nothing is written.
pub(super) async fn change(session: &Session, object: &Value) -> Result<String> {
    let (api, who) = (api(session, object), words(object));
    let name = key(object).name;
    let live = api
        .get(&name)
        .await
        .map_err(told(format!("reading {who}")))?;
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::apply(FIELD_MANAGER)
    };
    let after = match api.patch(&name, &params, &Patch::Apply(object)).await {
        Ok(after) => after,
        Err(e) if error::is_conflict(&e) => {
            return Ok(format!(
                "{who}: others manage fields with other values: {}",
                error::words(&e)
            ));
        }
        Err(e) => return Err(told(format!("asking what applying {who} changes"))(e)),
    };
    let (before, after) = (plain(&live)?, plain(&after)?);
    Ok(if before == after {
        format!("{who}: nothing")
    } else {
        format!("{who}:\n{}", diff(&before, &after))
    })
}

/// A unified diff with three lines of context.
pub(in crate::cli) fn diff(before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(3)
        .to_string()
}

/// The object as YAML, without its status and the fields that the server maintains.
fn plain(object: &DynamicObject) -> Result<String> {
    let mut value = serde_json::to_value(object)?;
    for key in ["managedFields", "resourceVersion", "generation"] {
        value["metadata"]
            .as_object_mut()
            .map(|m| m.shift_remove(key));
    }
    value.as_object_mut().map(|o| o.shift_remove("status"));
    value.sort_all_objects();
    output::data(&value, Format::Yaml)
}

/// Kind and name, as `Deployment checkout`.
pub(super) fn words(object: &Value) -> String {
    let item = key(object);
    format!("{} {}", item.kind, item.name)
}

fn api(session: &Session, object: &Value) -> Api<DynamicObject> {
    let item = key(object);
    let namespace = if item.namespace.is_empty() {
        &session.namespace
    } else {
        &item.namespace
    };
    Api::namespaced_with(session.client.clone(), namespace, &item.resource())
}
