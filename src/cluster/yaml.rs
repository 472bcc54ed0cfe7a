//! Any object as YAML, and its events: as `kubectl get -o yaml` and `describe` show them.

use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::GroupVersionKind,
    discovery::{self, Scope},
};

use kube_yaml::to_yaml;

use crate::api::ObjectRef;

/// The API for an object's kind, discovered from the cluster.
pub async fn api_for_object(
    client: &Client,
    object: &ObjectRef,
) -> Result<Api<DynamicObject>, kube::Error> {
    let (group, version) = object
        .api_version
        .rsplit_once('/')
        .unwrap_or(("", &object.api_version));
    let gvk = GroupVersionKind::gvk(group, version, &object.kind);
    let (resource, capabilities) = discovery::pinned_kind(client, &gvk).await?;
    Ok(match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            Api::namespaced_with(client.clone(), &object.key.namespace.name, &resource)
        }
    })
}

/// The API for a kind by its plural and group, as kubectl takes them: `pods`,
/// `releases.graylane.dev`.
pub async fn api_by_resource(
    client: &Client,
    resource: &str,
    namespace: &str,
) -> Result<Option<Api<DynamicObject>>, kube::Error> {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let group = discovery::group(client, group).await?;
    let found = group
        .recommended_resources()
        .into_iter()
        .find(|(kind, _)| kind.plural == plural);
    Ok(found.map(|(kind, capabilities)| match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &kind),
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &kind),
    }))
}

/// An object of a known API as YAML.
pub async fn read_yaml(
    api: &Api<DynamicObject>,
    name: &str,
    managed_fields: bool,
) -> Result<String, kube::Error> {
    let mut found = api.get(name).await?;
    if !managed_fields {
        found.metadata.managed_fields = None;
    }
    let value = serde_json::to_value(&found).map_err(kube::Error::SerdeError)?;
    Ok(to_yaml(&value))
}

/// The events about an object, oldest first.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn list_events(client: &Client, object: &ObjectRef) -> Result<Vec<Event>, kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), &object.key.namespace.name);
    let selector = format!(
        "involvedObject.kind={},involvedObject.name={}",
        object.kind, object.key.name
    );
    let mut found = api
        .list(&ListParams::default().fields(&selector))
        .await?
        .items;
    found.sort_by_key(|e| {
        e.last_timestamp
            .as_ref()
            .or(e.first_timestamp.as_ref())
            .map(|t| t.0)
    });
    Ok(found)
}
