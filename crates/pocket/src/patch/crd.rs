//! The types of a custom resource, from its structural schema's `x-kubernetes-*` extensions.

use super::builtin;
use super::schema::{KeyField, ListKeys, PatchStrategy, SchemaField, Shape, StructType};
use serde_json::Value;
use std::sync::Arc;

pub(super) fn from_schema(schema: &Value) -> ListKeys {
    let (types, meta) = builtin::object_meta();
    let mut reader = SchemaReader { types, meta };
    let root = reader.read_object(schema, true);
    ListKeys {
        types: Arc::new(reader.types),
        root,
        has_status_subresource: false,
        custom: !schema.is_null(),
    }
}

struct SchemaReader {
    types: Vec<StructType>,
    meta: Shape,
}

impl SchemaReader {
    fn read_shape(&mut self, schema: &Value) -> Shape {
        if schema["x-kubernetes-embedded-resource"] == true {
            return self.read_object(schema, true);
        }
        match schema["type"].as_str() {
            Some("array") => self.read_list(schema),
            Some("object") => match schema["x-kubernetes-map-type"].as_str() {
                Some("atomic") => Shape::Atomic,
                _ => match schema.get("additionalProperties") {
                    Some(values) if values.is_object() => {
                        Shape::Map(Box::new(self.read_shape(values)))
                    }
                    _ if schema["properties"].is_object() => self.read_object(schema, false),
                    _ => Shape::Any,
                },
            },
            // Scalars, int-or-string, and values that only preserve-unknown-fields describes.
            _ => Shape::Any,
        }
    }

    fn read_object(&mut self, schema: &Value, resource: bool) -> Shape {
        let mut known = StructType::default();
        if let Some(properties) = schema["properties"].as_object() {
            for (name, property) in properties {
                let shape = self.read_shape(property);
                known.fields.insert(name.clone(), field_from_shape(shape));
            }
        }
        known.open = schema["properties"].is_null()
            || schema["x-kubernetes-preserve-unknown-fields"] == true;
        if resource {
            known
                .fields
                .insert("metadata".into(), field_from_shape(self.meta.clone()));
            for name in ["apiVersion", "kind"] {
                known
                    .fields
                    .insert(name.into(), field_from_shape(Shape::Any));
            }
        }
        self.types.push(known);
        Shape::Struct(self.types.len() - 1)
    }

    fn read_list(&mut self, schema: &Value) -> Shape {
        let items = &schema["items"];
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Shape::Set,
            Some("map") => {
                let keys: Arc<[KeyField]> = schema["x-kubernetes-list-map-keys"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(|name| KeyField {
                        name: name.to_owned(),
                        default: items["properties"][name].get("default").cloned(),
                    })
                    .collect();
                if keys.is_empty() {
                    Shape::Atomic
                } else {
                    Shape::List(keys, Box::new(self.read_shape(items)))
                }
            }
            _ => Shape::Atomic,
        }
    }
}

fn field_from_shape(shape: Shape) -> SchemaField {
    SchemaField {
        shape,
        patch: PatchStrategy::Default,
    }
}
