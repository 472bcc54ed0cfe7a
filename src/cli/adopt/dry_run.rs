//! Shows what applying an object would change, by a server-side dry run.

use color_eyre::eyre::Result;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::Value;

use crate::{
    api::{FIELD_MANAGER, ObjectRef},
    cli::{
        output::{self, Format},
        session::{Session, api_error},
    },
    cluster::error,
    domain::text::unified_diff,
};

/// Describes what applying `object` would change. The server computes it; nothing is written.
pub(super) async fn describe_change(session: &Session, object: &Value) -> Result<String> {
    let (api, who) = (api_for_object(session, object), object_title(object));
    let name = ObjectRef::from_object(object).key.name;
    let live = api
        .get(&name)
        .await
        .map_err(api_error(format!("reading {who}")))?;
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::apply(FIELD_MANAGER)
    };
    let after = match api.patch(&name, &params, &Patch::Apply(object)).await {
        Ok(after) => after,
        Err(e) if error::is_conflict(&e) => {
            return Ok(format!(
                "{who}: others manage fields with other values: {}",
                error::describe_error(&e)
            ));
        }
        Err(e) => return Err(api_error(format!("asking what applying {who} changes"))(e)),
    };
    let (before, after) = (to_comparable_yaml(&live)?, to_comparable_yaml(&after)?);
    Ok(if before == after {
        format!("{who}: nothing")
    } else {
        format!("{who}:\n{}", unified_diff(&before, &after))
    })
}

/// The object as YAML, without its status and the fields that the server maintains.
fn to_comparable_yaml(object: &DynamicObject) -> Result<String> {
    let mut value = serde_json::to_value(object)?;
    for key in ["managedFields", "resourceVersion", "generation"] {
        value["metadata"]
            .as_object_mut()
            .map(|m| m.shift_remove(key));
    }
    value.as_object_mut().map(|o| o.shift_remove("status"));
    value.sort_all_objects();
    output::format_value(&value, Format::Yaml)
}

/// Kind and name, as `Deployment checkout`.
pub(super) fn object_title(object: &Value) -> String {
    ObjectRef::from_object(object).kind_and_name()
}

fn api_for_object(session: &Session, object: &Value) -> Api<DynamicObject> {
    let object = ObjectRef::from_object(object);
    let namespace = match &*object.key.namespace.name {
        "" => &session.namespace,
        namespace => namespace,
    };
    Api::namespaced_with(session.client.clone(), namespace, &object.api_resource())
}
