//! Initial objects of every pocket: a few namespaces, and the Gateway API.

use serde_json::{Value, json};

use super::registry::CRDS;
use super::{meta, strategy};
use crate::store::ObjectKey;

/// As in Kubernetes.
const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

/// kubernetes-sigs/gateway-api (Apache-2.0), standard channel, without its descriptions.
const GATEWAY_API: &[&str] = &[
    include_str!("gateway_api/gatewayclasses.json"),
    include_str!("gateway_api/gateways.json"),
    include_str!("gateway_api/httproutes.json"),
    include_str!("gateway_api/referencegrants.json"),
    // Not needed by the lane gateway, but other controllers wait at start for every kind they know.
    include_str!("gateway_api/grpcroutes.json"),
    include_str!("gateway_api/tlsroutes.json"),
    include_str!("gateway_api/backendtlspolicies.json"),
];

/// The objects of a new store; `more` are namespaces beside those of Kubernetes.
pub(super) fn seed_objects(more: &[&str]) -> Vec<(ObjectKey, Value)> {
    let namespaces = NAMESPACES.iter().chain(more).map(|name| {
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        build_entry("namespaces", namespace)
    });
    let definitions = seed_definitions().into_iter().map(|mut definition| {
        definition["metadata"]["generation"] = 1.into();
        strategy::accept_definition(&mut definition);
        build_entry(CRDS, definition)
    });
    namespaces.chain(definitions).collect()
}

/// The definitions that every pocket starts with.
pub(super) fn seed_definitions() -> Vec<Value> {
    GATEWAY_API
        .iter()
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect()
}

fn build_entry(resource: &str, mut object: Value) -> (ObjectKey, Value) {
    object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
    object["metadata"]["creationTimestamp"] = meta::timestamp_now().into();
    let key = ObjectKey {
        resource: resource.into(),
        namespace: String::new(),
        name: meta::field_text(&object, "name").to_owned(),
    };
    (key, object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_api_is_there() {
        let names: Vec<String> = seed_objects(&["more"])
            .into_iter()
            .map(|(key, _)| key.name)
            .collect();
        assert_eq!(names.len(), NAMESPACES.len() + 1 + GATEWAY_API.len());
        assert!(names.contains(&"httproutes.gateway.networking.k8s.io".to_owned()));
    }
}
