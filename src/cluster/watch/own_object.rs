//! Objects of graylane's own kinds, as they enter: cleaned, without managed fields, and typed.
//!
//! Managed fields are most of such an object and nobody reads them here, so they are skipped where
//! they are read. An object that does not fit its schema (written by another version, or past a
//! broken webhook) is left out; the others of its kind are still shown.

use std::{fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::rows::clean_value;
use crate::api::delegate_resource;

/// One object of kind `T`.
#[derive(Clone, Debug)]
pub(super) struct OwnObject<T> {
    metadata: ObjectMeta,
    /// `None` when it does not fit its schema.
    pub(super) typed: Option<Arc<T>>,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for OwnObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = ObjectFields {
            are_metadata: false,
        }
        .deserialize(deserializer)?;
        let mut value = Value::Object(fields);
        clean_value(&mut value);
        let metadata: ObjectMeta = value
            .get("metadata")
            .cloned()
            .map_or_else(|| Ok(ObjectMeta::default()), serde_json::from_value)
            .map_err(D::Error::custom)?;
        let typed = serde_json::from_value(value).map(Arc::new);
        if let Err(why) = &typed {
            let name = metadata.name.as_deref().unwrap_or_default();
            tracing::warn!(%name, %why, "left out: does not fit its schema");
        }
        Ok(Self {
            metadata,
            typed: typed.ok(),
        })
    }
}

delegate_resource!(OwnObject<T>, T, metadata; T);

/// Reads the fields of an object, or of its metadata, but for managed fields.
struct ObjectFields {
    are_metadata: bool,
}

impl<'de> DeserializeSeed<'de> for ObjectFields {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectFields {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// `null`.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Map::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = match name.as_str() {
                "managedFields" if self.are_metadata => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                "metadata" if !self.are_metadata => {
                    let metadata = ObjectFields { are_metadata: true };
                    Value::Object(map.next_value_seed(metadata)?)
                }
                _ => map.next_value()?,
            };
            fields.insert(name, value);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Lane;

    fn read(object: &Value) -> Result<OwnObject<Lane>, serde_json::Error> {
        serde_json::from_str(&object.to_string())
    }

    #[test]
    fn an_object_is_read_whole_but_for_managed_fields() {
        let mut object = json!({
            "apiVersion": "graylane.dev/v1alpha1", "kind": "Lane",
            "metadata": {"name": "gray", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 2,
                "labels": {"managedFields": "a label of this name stays"}, "annotations": {"k": "v"}},
            "spec": {"group": "g", "tag": "gray", "enabled": true},
        });
        let plain: Lane = serde_json::from_value(object.clone()).unwrap();
        object["metadata"]["managedFields"] =
            json!([{"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]);
        let read = read(&object).unwrap();
        assert_eq!(read.metadata, plain.metadata);
        let typed = read.typed.unwrap();
        assert_eq!(
            (&typed.metadata, &typed.spec),
            (&plain.metadata, &plain.spec)
        );
    }

    #[test]
    fn an_object_that_does_not_fit_is_left_out_alone() {
        let lane = |name: &str, spec: Value| json!({"metadata": {"name": name, "resourceVersion": "3"}, "spec": spec});
        let fits = json!({"group": "g", "tag": "t", "enabled": true});
        let list = json!([lane("a", fits), lane("b", json!({"group": 7})), {"metadata": null}, {}]);
        let all: Vec<OwnObject<Lane>> = serde_json::from_str(&list.to_string()).unwrap();
        let names: Vec<_> = all.iter().map(|o| o.metadata.name.as_deref()).collect();
        assert_eq!(names, [Some("a"), Some("b"), None, None]);
        let fit: Vec<bool> = all.iter().map(|o| o.typed.is_some()).collect();
        assert_eq!(fit, [true, false, false, false]);
        assert_eq!(all[1].metadata.resource_version.as_deref(), Some("3"));
    }

    #[test]
    fn text_is_cleaned_where_it_enters() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"group": "g\u{1b}[31m", "tag": "t", "enabled": true}});
        let typed = read(&object).unwrap().typed.unwrap();
        assert!(
            !typed.spec.group.contains('\u{1b}'),
            "{:?}",
            typed.spec.group
        );
    }
}
