//! Fields of the built-in kinds as OpenAPI schemas: names and types, from the table that also
//! drives protobuf decoding. Descriptions are not included.

use serde_json::{Map, Value, json};

use crate::rest::types::{Cardinality, FieldKind, message_fields};

pub(super) const SCHEMAS: &str = "#/components/schemas/";

/// Returns `io.k8s.api.core.v1.PodSpec` for `core/v1.PodSpec`.
pub(super) fn definition_name(message: &str) -> String {
    match message.strip_prefix("meta/") {
        Some(own) => format!("io.k8s.apimachinery.pkg.apis.meta.{own}"),
        None => format!("io.k8s.api.{}", message.replace('/', ".")),
    }
}

/// Returns the properties of a message and adds the schemas they refer to. `None` if the message is
/// not in the table.
pub(super) fn message_properties(message: &str, schemas: &mut Map<String, Value>) -> Option<Value> {
    let mut properties = Map::new();
    for field in message_fields(message)? {
        if let (true, FieldKind::Message(inner)) = (field.inline, field.kind) {
            if let Some(Value::Object(more)) = self::message_properties(inner, schemas) {
                properties.extend(more);
            }
            continue;
        }
        let item = match field.kind {
            FieldKind::Text(_) | FieldKind::Quantity => json!({"type": "string"}),
            FieldKind::Bytes => json!({"type": "string", "format": "byte"}),
            FieldKind::Int32 | FieldKind::Int64 => json!({"type": "integer"}),
            FieldKind::Bool => json!({"type": "boolean"}),
            FieldKind::Time | FieldKind::MicroTime => {
                json!({"type": "string", "format": "date-time"})
            }
            FieldKind::IntOrString => json!({"type": "string", "format": "int-or-string"}),
            FieldKind::Json => json!({"type": "object"}),
            FieldKind::List => json!({"type": "array", "items": {"type": "string"}}),
            FieldKind::Message(of) => schema_reference(of, schemas),
        };
        let schema = match field.many {
            Cardinality::One => item,
            Cardinality::List => json!({"type": "array", "items": item}),
            Cardinality::Map => json!({"type": "object", "additionalProperties": item}),
        };
        properties.insert(field.name.into(), schema);
    }
    Some(Value::Object(properties))
}

fn schema_reference(message: &str, schemas: &mut Map<String, Value>) -> Value {
    let name = definition_name(message);
    if !schemas.contains_key(&name) {
        // Reserved before it is built, because types may refer to each other.
        schemas.insert(name.clone(), Value::Null);
        let properties = message_properties(message, schemas).unwrap_or_default();
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
        let root = message_properties("apps/v1.Deployment", &mut schemas).unwrap();
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
        assert_eq!(message_properties("apps/v1.Nothing", &mut schemas), None);
    }
}
