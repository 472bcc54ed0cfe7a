//! The types of a custom resource, from its structural schema's `x-kubernetes-*` extensions.

use super::builtin;
use super::schema::{Field, Key, ListKeys, PatchStrategy, Shape, Struct};
use serde_json::Value;
use std::sync::Arc;

pub(super) fn from_schema(schema: &Value) -> ListKeys {
    let (types, meta) = builtin::object_meta();
    let mut reader = Reader { types, meta };
    let root = reader.object(schema, true);
    ListKeys {
        types: Arc::new(reader.types),
        root,
        status_apart: false,
        custom: !schema.is_null(),
    }
}

struct Reader {
    types: Vec<Struct>,
    meta: Shape,
}

impl Reader {
    fn shape(&mut self, schema: &Value) -> Shape {
        if schema["x-kubernetes-embedded-resource"] == true {
            return self.object(schema, true);
        }
        match schema["type"].as_str() {
            Some("array") => self.list(schema),
            Some("object") => match schema["x-kubernetes-map-type"].as_str() {
                Some("atomic") => Shape::Atomic,
                _ => match schema.get("additionalProperties") {
                    Some(values) if values.is_object() => Shape::Map(Box::new(self.shape(values))),
                    _ if schema["properties"].is_object() => self.object(schema, false),
                    _ => Shape::Any,
                },
            },
            // Scalars, int-or-string, and values that only preserve-unknown-fields describes.
            _ => Shape::Any,
        }
    }

    fn object(&mut self, schema: &Value, resource: bool) -> Shape {
        let mut known = Struct::default();
        if let Some(properties) = schema["properties"].as_object() {
            for (name, property) in properties {
                let shape = self.shape(property);
                known.fields.insert(name.clone(), field(shape));
            }
        }
        known.open = schema["properties"].is_null()
            || schema["x-kubernetes-preserve-unknown-fields"] == true;
        if resource {
            known
                .fields
                .insert("metadata".into(), field(self.meta.clone()));
            for name in ["apiVersion", "kind"] {
                known.fields.insert(name.into(), field(Shape::Any));
            }
        }
        self.types.push(known);
        Shape::Struct(self.types.len() - 1)
    }

    fn list(&mut self, schema: &Value) -> Shape {
        let items = &schema["items"];
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Shape::Set,
            Some("map") => {
                let keys: Arc<[Key]> = schema["x-kubernetes-list-map-keys"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(|name| Key {
                        name: name.to_owned(),
                        default: items["properties"][name].get("default").cloned(),
                    })
                    .collect();
                match keys.is_empty() {
                    true => Shape::Atomic,
                    false => Shape::List(keys, Box::new(self.shape(items))),
                }
            }
            _ => Shape::Atomic,
        }
    }
}

fn field(shape: Shape) -> Field {
    Field {
        shape,
        patch: PatchStrategy::Default,
    }
}
