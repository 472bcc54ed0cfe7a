//! `ObjectRef`: which object, by its kind, namespace and name. Where it must also be the very
//! object that was seen before, an `InventoryItem` adds the uid.

use std::sync::Arc;

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::{GROUP, InventoryItem, NamespaceRef, VERSION};

/// Namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its namespace; of cluster-scoped kinds the name of it is empty.
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

impl From<&InventoryItem> for ObjectKey {
    fn from(item: &InventoryItem) -> Self {
        Self::new(item.namespace.clone(), item.name.as_str())
    }
}

/// One object of any kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Namespace and name.
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

    /// What an object says of itself.
    pub fn from_object(object: &Value) -> Self {
        let text = |pointer: &str| {
            let value = object.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default()
        };
        let namespace = NamespaceRef::at_home(text("/metadata/namespace"));
        let key = ObjectKey::new(namespace, text("/metadata/name"));
        Self::new(text("/apiVersion"), text("/kind"), key)
    }

    /// API resource of its kind, for dynamic clients.
    pub fn api_resource(&self) -> ApiResource {
        api_resource(&self.api_version, &self.kind)
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

/// API resource of a kind.
pub(super) fn api_resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

#[cfg(test)]
mod tests {
    use kube::{CustomResourceExt, Resource};
    use serde_json::json;

    use super::*;
    use crate::api::{App, AppTemplate, Lane, LaneGroup, Release, VariableGroup};

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
    fn an_object_tells_which_one_it_is() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "demo", "name": "x"}});
        assert_eq!(
            ObjectRef::from_object(&object),
            ObjectRef::new("apps/v1", "Deployment", ObjectKey::at_home("demo", "x"))
        );
    }
}
