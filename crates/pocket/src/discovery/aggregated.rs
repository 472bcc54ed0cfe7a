//! Aggregated discovery: all served resources in one document.

use http::StatusCode;
use serde_json::{Value, json};

use super::subresources;
use crate::rest::Reply;
use crate::rest::registry::{Registry, Resource};

/// Answers for the core group alone (`/api`), or for all other groups (`/apis`).
pub(super) fn answer_group_list(registry: &Registry, core: bool, accept: &str) -> Reply {
    // Clients list the preferred version first; older ones know only the beta, which has the same
    // form.
    let (version, content_type) = if accept.contains("v=v2;") || accept.ends_with("v=v2") {
        (
            "v2",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        )
    } else {
        (
            "v2beta1",
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        )
    };
    let items: Vec<Value> = registry
        .list_groups()
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .into_iter()
                .map(|version| {
                    let of_version = registry
                        .resources
                        .iter()
                        .filter(|r| r.group == group && r.version == version);
                    let resources: Vec<Value> = of_version.map(|r| resource_json(r)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    Reply::Json {
        code: StatusCode::OK,
        value: json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": format!("apidiscovery.k8s.io/{version}"),
            "metadata": {},
            "items": items,
        })
        .into(),
        warnings: Vec::new(),
        content_type: Some(content_type),
    }
}

fn resource_json(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let (group, version) = (resource.group.as_str(), resource.version.as_str());
    let mut json = json!({
        "resource": resource.plural,
        "responseKind": kind(group, version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        json["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        json["categories"] = json!(resource.categories);
    }
    let subs: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, its_kind, its_version, verbs)| {
            let (group, version) = its_version.unwrap_or((group, version));
            json!({"subresource": name, "responseKind": kind(group, version, its_kind), "verbs": verbs})
        })
        .collect();
    if !subs.is_empty() {
        json["subresources"] = subs.into();
    }
    json
}
