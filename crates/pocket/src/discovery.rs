//! Discovery: the versions, groups and resources that the server offers.

use serde_json::{Value, json};

use crate::rest::ApiError;
use crate::rest::Reply;
use crate::rest::registry::{Registry, Resource};

mod aggregated;
mod gnostic;
mod openapi;
mod types;

/// Kubernetes version whose behaviour pocket follows: major, minor, full version.
pub const KUBERNETES: (&str, &str, &str) = ("1", "36", "v1.36.2+pocket");

pub(crate) fn answer_request(
    registry: &Registry,
    segments: &[&str],
    accept: &str,
) -> Result<Reply, ApiError> {
    // A client that knows aggregated discovery gets all groups and resources in one answer.
    if let (["api" | "apis"], true) = (segments, accept.contains("as=APIGroupDiscoveryList")) {
        return Ok(aggregated::answer_group_list(
            registry,
            segments[0] == "api",
            accept,
        ));
    }
    let json = match segments {
        [] => {
            json!({"paths": ["/api", "/apis", "/version", "/healthz", "/livez", "/readyz", "/openapi/v2", "/openapi/v3"]})
        }
        ["version"] => version_info(),
        ["healthz" | "livez" | "readyz", ..] => return Ok(Reply::Text("ok".into())),
        ["api"] => {
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        }
        ["apis"] => json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups(registry).map(|(group, versions)| group_json(group, &versions)).collect::<Vec<_>>(),
        }),
        ["apis", name] => groups(registry)
            .find(|(group, _)| group == name)
            .map(|(group, versions)| {
                let mut json = group_json(group, &versions);
                json["kind"] = "APIGroup".into();
                json["apiVersion"] = "v1".into();
                json
            })
            .ok_or_else(ApiError::no_such_path)?,
        ["openapi", "v2"] => return Ok(openapi::v2_document(registry, accept)),
        ["openapi", "v3"] => openapi::v3_index(registry),
        ["openapi", "v3", "api", version] => openapi::v3_document(registry, "", version)?,
        ["openapi", "v3", "apis", group, version] => {
            openapi::v3_document(registry, group, version)?
        }
        ["api", version] => resource_list(registry, "", version)?,
        ["apis", group, version] => resource_list(registry, group, version)?,
        _ => return Err(ApiError::no_such_path()),
    };
    Ok(Reply::from_json(json))
}

fn version_info() -> Value {
    let (major, minor, full) = KUBERNETES;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": full,
        "gitCommit": env!("CARGO_PKG_VERSION"),
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none: pocket",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, crate::kubelet::architecture()),
    })
}

fn groups(registry: &Registry) -> impl Iterator<Item = (&str, Vec<&str>)> {
    registry
        .list_groups()
        .into_iter()
        .filter(|(g, _)| !g.is_empty())
}

fn group_json(group: &str, versions: &[&str]) -> Value {
    let version = |v: &&str| json!({"groupVersion": format!("{group}/{v}"), "version": v});
    json!({
        "name": group,
        "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version),
    })
}

fn resource_list(registry: &Registry, group: &str, version: &str) -> Result<Value, ApiError> {
    let of_version: Vec<&Resource> = registry
        .resources
        .iter()
        .map(|r| &**r)
        .filter(|r| r.group == group && r.version == version)
        .collect();
    let Some(first) = of_version.first() else {
        return Err(ApiError::no_such_path());
    };
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": first.api_version(),
        "resources": of_version.iter().flat_map(|r| resource_json(r)).collect::<Vec<_>>(),
    }))
}

fn resource_json(resource: &Resource) -> Vec<Value> {
    let mut own = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    if resource.verbs != crate::rest::registry::REVIEW_VERBS {
        own["storageVersionHash"] = storage_version_hash(resource).into();
    }
    if !resource.short_names.is_empty() {
        own["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        own["categories"] = json!(resource.categories);
    }
    let mut all = vec![own];
    for (name, kind, group_version, verbs) in subresources(resource) {
        let mut sub = json!({
            "name": format!("{}/{name}", resource.plural),
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": verbs,
        });
        if let Some((group, version)) = group_version {
            sub["group"] = group.into();
            sub["version"] = version.into();
        }
        all.push(sub);
    }
    all
}

/// Hash that changes with the stored form of a kind: over its group, version and kind.
fn storage_version_hash(resource: &Resource) -> String {
    use base64::Engine as _;
    use sha2::{Digest, Sha256};
    // Events of both groups are stored in the core group.
    let group = if resource.is_kind("events.k8s.io", "Event") {
        ""
    } else {
        resource.group.as_str()
    };
    let hash = Sha256::digest(format!("{group}/{}/{}", resource.version, resource.kind));
    base64::engine::general_purpose::STANDARD.encode(&hash[..8])
}

pub(crate) type Subresource<'a> = (
    &'static str,
    &'a str,
    Option<(&'static str, &'static str)>,
    &'static [&'static str],
);

/// Subresources as (name, kind, own group and version, verbs).
pub(crate) fn subresources(resource: &Resource) -> Vec<Subresource<'_>> {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
    let mut all: Vec<Subresource<'_>> = Vec::new();
    if resource.status {
        all.push(("status", &resource.kind, None, CHANGE));
    }
    if resource.scale.is_some() {
        all.push(("scale", "Scale", Some(("autoscaling", "v1")), CHANGE));
    }
    if resource.is_kind("", "Pod") {
        all.push(("binding", "Binding", None, &["create"]));
        all.push(("log", "Pod", None, &["get"]));
        all.push(("proxy", "PodProxyOptions", None, PROXY));
    }
    if resource.is_kind("", "Service") {
        all.push(("proxy", "ServiceProxyOptions", None, PROXY));
    }
    if resource.is_kind("", "Namespace") {
        all.push(("finalize", "Namespace", None, &["update"]));
    }
    all
}
