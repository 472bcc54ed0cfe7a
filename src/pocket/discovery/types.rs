//! Fields of the built-in kinds as OpenAPI schemas: names and types, from the table that also
//! drives protobuf decoding. Descriptions are not included.

use serde_json::{Map, Value, json};

use crate::pocket::rest::types::{Kind, Many, fields};

pub(super) const SCHEMAS: &str = "#/components/schemas/";

/// Returns `io.k8s.api.core.v1.PodSpec` for `core/v1.PodSpec`.
pub(super) fn name(message: &str) -> String {
    match message.strip_prefix("meta/") {
        Some(own) => format!("io.k8s.apimachinery.pkg.apis.meta.{own}"),
        None => format!("io.k8s.api.{}", message.replace('/', ".")),
    }
}

/// Returns the properties of a message and adds the schemas they refer to. `None` if the message is
/// not in the table.
pub(super) fn properties(message: &str, schemas: &mut Map<String, Value>) -> Option<Value> {
    let mut properties = Map::new();
    for field in fields(message)? {
        if let (true, Kind::Message(inner)) = (field.inline, field.kind) {
            if let Some(Value::Object(more)) = self::properties(inner, schemas) {
                properties.extend(more);
            }
            continue;
        }
        let item = match field.kind {
            Kind::Text(_) | Kind::Quantity => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "format": "byte"}),
            Kind::Int32 | Kind::Int64 => json!({"type": "integer"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Time | Kind::MicroTime => json!({"type": "string", "format": "date-time"}),
            Kind::IntOrString => json!({"type": "string", "format": "int-or-string"}),
            Kind::Json => json!({"type": "object"}),
            Kind::List => json!({"type": "array", "items": {"type": "string"}}),
            Kind::Message(of) => reference(of, schemas),
        };
        let schema = match field.many {
            Many::One => item,
            Many::List => json!({"type": "array", "items": item}),
            Many::Map => json!({"type": "object", "additionalProperties": item}),
        };
        properties.insert(field.name.into(), schema);
    }
    Some(Value::Object(properties))
}

fn reference(message: &str, schemas: &mut Map<String, Value>) -> Value {
    let name = name(message);
    if !schemas.contains_key(&name) {
        // Reserved before it is built, because types may refer to each other.
        schemas.insert(name.clone(), Value::Null);
        let properties = properties(message, schemas).unwrap_or_default();
        schemas.insert(
            name.clone(),
            json!({"type": "object", "properties": properties}),
        );
    }
    json!({"$ref": format!("{SCHEMAS}{name}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_down_to_its_volumes() {
        let mut schemas = Map::new();
        let root = properties("apps/v1.Deployment", &mut schemas).unwrap();
        assert_eq!(
            root["spec"],
            json!({"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"})
        );
        let of = |name: &str| &schemas[&format!("io.k8s.api.{name}")]["properties"];
        assert_eq!(
            of("apps.v1.DeploymentSpec")["replicas"],
            json!({"type": "integer"})
        );
        assert_eq!(
            of("core.v1.Container")["args"],
            json!({"type": "array", "items": {"type": "string"}})
        );
        // Fields that are inlined in Go are on the same level as the others.
        assert_eq!(
            of("core.v1.Volume")["emptyDir"]["$ref"],
            "#/components/schemas/io.k8s.api.core.v1.EmptyDirVolumeSource"
        );
        assert_eq!(of("core.v1.Volume")["name"], json!({"type": "string"}));
        assert!(schemas.values().all(|s| s["type"] == "object"));
        assert_eq!(properties("apps/v1.Nothing", &mut schemas), None);
    }
}
