//! OpenAPI, as far as clients need it: the supported query parameters and the schemas of resource
//! definitions.
//!
//! Built-in kinds are described by the names and types of their fields only.

use serde_json::{Map, Value, json};

use super::{gnostic, types};
use crate::rest::registry::{Registry, Resource};
use crate::rest::{ApiError, Reply, types as rest_types};

pub(super) fn v2_document(registry: &Registry, accept: &str) -> Reply {
    let document = json!({
        "swagger": "2.0",
        "info": {"title": "pocket", "version": super::KUBERNETES.2},
        "paths": {},
        "definitions": build_definitions(registry),
    });
    if accept.contains("spec.v2@v1.0+protobuf") {
        return Reply::Bytes {
            content_type: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
            bytes: gnostic::encode_document(&document).into(),
        };
    }
    Reply::from_json(document)
}

/// Builds the definitions of OpenAPI v2, under Kubernetes' names for built-in kinds.
fn build_definitions(registry: &Registry) -> Value {
    let mut schemas = Map::new();
    for resource in &registry.resources {
        let message = rest_types::find_message(&resource.group, &resource.version, &resource.kind);
        let name = match message.filter(|_| resource.as_builtin().is_some()) {
            Some(message) => types::definition_name(message),
            None => schema_name(resource),
        };
        let schema = build_schema(resource, &mut schemas);
        schemas.insert(name, schema);
    }
    let mut definitions = Value::Object(schemas);
    rewrite_references(&mut definitions);
    definitions
}

/// Rewrites v3 references to the places that v2 uses.
fn rewrite_references(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => {
                        *text = text.replace(types::SCHEMAS, "#/definitions/");
                    }
                    value => rewrite_references(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(rewrite_references),
        _ => {}
    }
}

fn group_path(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

pub(super) fn v3_index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, versions) in registry.list_groups() {
        for version in versions {
            let place = group_path(group, version);
            let url = format!("/openapi/v3/{place}");
            paths.insert(place, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

pub(super) fn v3_document(
    registry: &Registry,
    group: &str,
    version: &str,
) -> Result<Value, ApiError> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for resource in registry
        .resources
        .iter()
        .filter(|r| r.group == group && r.version == version)
    {
        let (path, item) = path_item(resource);
        if resource.verbs.contains(&"get") {
            paths.insert(path, item);
        }
        let schema = build_schema(resource, &mut schemas);
        schemas.insert(schema_name(resource), schema);
    }
    if schemas.is_empty() {
        return Err(ApiError::no_such_path());
    }
    Ok(json!({
        "openapi": "3.0.0",
        "info": {"title": "pocket", "version": super::KUBERNETES.2},
        "paths": paths,
        "components": {"schemas": schemas},
    }))
}

fn group_version_kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

/// Returns a schema name such as `io.k8s.api.apps.v1.Deployment`.
fn schema_name(resource: &Resource) -> String {
    let group = match resource.group.as_str() {
        "" => "core".to_owned(),
        group => group.split('.').rev().collect::<Vec<_>>().join("."),
    };
    format!("{group}.{}.{}", resource.version, resource.kind)
}

fn path_item(resource: &Resource) -> (String, Value) {
    let namespaces = if resource.namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    let place = group_path(&resource.group, &resource.version);
    let path = format!("/{place}/{namespaces}{}/{{name}}", resource.plural);
    let query =
        |name: &str, kind: &str| json!({"name": name, "in": "query", "schema": {"type": kind}});
    let parameters = [
        query("dryRun", "string"),
        query("fieldManager", "string"),
        query("fieldValidation", "string"),
    ];
    let reference = json!({"$ref": format!("#/components/schemas/{}", schema_name(resource))});
    let ok = json!({"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}});
    let operation = |action: &str, parameters: &[Value]| {
        json!({
            "operationId": format!("{action}{}", schema_name(resource).replace('.', "")),
            "parameters": parameters,
            "responses": ok,
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": group_version_kind(resource),
        })
    };
    let mut patch = operation("patch", &parameters);
    // Strategic merge is accepted but not advertised: kubectl would look for merge keys that these
    // schemas do not have.
    patch["requestBody"] =
        json!({"content": {"application/merge-patch+json": {"schema": {"type": "object"}}}});
    (
        path,
        json!({"get": operation("get", &[]), "put": operation("put", &parameters), "patch": patch}),
    )
}

fn build_schema(resource: &Resource, schemas: &mut Map<String, Value>) -> Value {
    let mut schema = match resource.as_custom() {
        Some(custom) if custom.schema.is_object() => custom.schema.clone(),
        _ => json!({
            "type": "object",
            "description": format!("{} as Kubernetes has it; pocket names its fields without describing them.", resource.kind),
        }),
    };
    let message = rest_types::message_name(&resource.group, &resource.version, &resource.kind);
    if resource.as_builtin().is_some()
        && let Some(properties) = types::message_properties(&message, schemas)
    {
        schema["properties"] = properties;
        for field in ["apiVersion", "kind"] {
            schema["properties"][field] = json!({"type": "string"});
        }
    }
    if resource.as_custom().is_some() {
        for (field, words) in [
            ("apiVersion", "The version of the schema of this object."),
            ("kind", "The resource this object represents."),
        ] {
            schema["properties"][field] = json!({"type": "string", "description": words});
        }
        schema["properties"]["metadata"] = json!({"type": "object", "description": "Standard object's metadata: name, labels, annotations, ..."});
    }
    schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(resource)]);
    schema
}
