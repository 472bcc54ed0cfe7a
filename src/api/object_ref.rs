//! `ObjectRef`: which object, by its kind, namespace and name. Where it must also be the very
//! object that was seen before, an `InventoryItem` adds the uid.

use std::sync::Arc;

use kube::core::{ApiResource, GroupVersionKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{GROUP, NamespaceRef, VERSION};

/// Namespace and name.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct ObjectKey {
    /// Empty for cluster-scoped kinds; `CONTEXT/NAMESPACE` in another context.
    #[serde(default)]
    pub namespace: NamespaceRef,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// Key of an object in a namespace.
    pub fn new(namespace: NamespaceRef, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { namespace, name }
    }

    /// Key of an object in the home cluster.
    pub fn at_home(namespace: impl Into<Arc<str>>, name: impl Into<String>) -> Self {
        Self::new(NamespaceRef::at_home(namespace), name)
    }
}

/// One object of any kind.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Namespace and name.
    #[serde(flatten)]
    pub key: ObjectKey,
}

impl ObjectRef {
    /// An object of a kind.
    pub fn new(api_version: impl Into<String>, kind: impl Into<String>, key: ObjectKey) -> Self {
        Self {
            api_version: api_version.into(),
            kind: kind.into(),
            key,
        }
    }

    /// One of graylane's own resources.
    pub fn own_resource(kind: &str, namespace: &str, name: &str) -> Self {
        let key = ObjectKey::at_home(namespace, name);
        Self::new(format!("{GROUP}/{VERSION}"), kind, key)
    }

    /// A pod.
    pub fn pod(key: ObjectKey) -> Self {
        Self::new("v1", "Pod", key)
    }

    /// What an object says of itself; a rendered one may be placed in `CONTEXT/NAMESPACE`.
    pub fn from_object(object: &Value) -> Self {
        let text = |pointer: &str| {
            let value = object.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default()
        };
        let namespace = NamespaceRef::from(text("/metadata/namespace"));
        let key = ObjectKey::new(namespace, text("/metadata/name"));
        Self::new(text("/apiVersion"), text("/kind"), key)
    }

    /// API resource of its kind, for dynamic clients.
    pub fn api_resource(&self) -> ApiResource {
        let (group, version) = self
            .api_version
            .split_once('/')
            .unwrap_or(("", &self.api_version));
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &self.kind))
    }

    /// Kind and name, as messages tell them: `Deployment web`.
    pub fn kind_and_name(&self) -> String {
        format!("{} {}", self.kind, self.key.name)
    }

    /// Its resource as kubectl takes it: `pods`, `deployments.apps`, `releases.graylane.dev`.
    pub fn resource_word(&self) -> String {
        let ApiResource { group, plural, .. } = self.api_resource();
        if group.is_empty() {
            plural
        } else {
            format!("{plural}.{group}")
        }
    }

    /// Short form for titles: `pods/spring-cloud-a-…`.
    pub fn title(&self) -> String {
        format!("{}/{}", self.api_resource().plural, self.key.name)
    }
}

#[cfg(test)]
mod tests {
    use kube::{CustomResourceExt, Resource};
    use serde_json::json;

    use super::*;
    use crate::api::{
        App, AppTemplate, InventoryItem, Lane, LaneGroup, Release, Uid, VariableGroup,
    };

    #[test]
    fn kubectls_word_is_derived_from_the_kind() {
        let key = || ObjectKey::at_home("demo", "x");
        for (api_version, kind, word, title) in [
            ("v1", "Pod", "pods", "pods/x"),
            ("apps/v1", "Deployment", "deployments.apps", "deployments/x"),
            (
                "apps/v1",
                "StatefulSet",
                "statefulsets.apps",
                "statefulsets/x",
            ),
        ] {
            let object = ObjectRef::new(api_version, kind, key());
            assert_eq!(
                (object.resource_word().as_str(), object.title().as_str()),
                (word, title)
            );
        }
    }

    #[test]
    fn the_words_of_our_own_kinds_are_those_of_their_definitions() {
        fn check<K: CustomResourceExt + Resource<DynamicType = ()>>() {
            let object = ObjectRef::own_resource(&K::kind(&()), "demo", "x");
            assert_eq!(object.resource_word(), K::crd_name());
        }
        check::<App>();
        check::<AppTemplate>();
        check::<VariableGroup>();
        check::<Release>();
        check::<LaneGroup>();
        check::<Lane>();
    }

    #[test]
    fn an_applied_object_is_written_flat() {
        let key = ObjectKey::new("far/demo".into(), "x");
        let whole = InventoryItem::new(ObjectRef::new("apps/v1", "Deployment", key), "u".into());
        let written = r#"{"apiVersion":"apps/v1","kind":"Deployment","namespace":"far/demo","name":"x","uid":"u"}"#;
        assert_eq!(serde_json::to_string(&whole).unwrap(), written);
        assert_eq!(
            serde_json::from_str::<InventoryItem>(written).unwrap(),
            whole
        );

        // What older versions have left out.
        let bare = json!({"apiVersion": "v1", "kind": "Node", "name": "x"});
        let node = InventoryItem::new(
            ObjectRef::new("v1", "Node", ObjectKey::at_home("", "x")),
            Uid::default(),
        );
        assert_eq!(serde_json::from_value::<InventoryItem>(bare).unwrap(), node);
    }

    #[test]
    fn an_object_tells_which_one_it_is() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "demo", "name": "x"}});
        let named = |key| ObjectRef::new("apps/v1", "Deployment", key);
        assert_eq!(
            ObjectRef::from_object(&object),
            named(ObjectKey::at_home("demo", "x"))
        );
        let placed = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "far/demo", "name": "x"}});
        assert_eq!(
            ObjectRef::from_object(&placed),
            named(ObjectKey::new("far/demo".into(), "x"))
        );
    }
}
