//! The served resources: the built-in ones, and those of CustomResourceDefinitions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::patch::ListKeys;
use crate::store::Store;

pub(crate) mod builtin;
pub(crate) mod custom;
mod unserved;
mod versions;

pub use builtin::Builtin;
pub use custom::CustomVersion;

pub const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// One resource in one version.
#[derive(Debug)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub namespaced: bool,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub verbs: &'static [&'static str],
    pub status: bool,
    pub scale: Option<ScalePaths>,
    pub selectable_fields: Vec<String>,
    /// Name under which its objects are stored.
    pub storage: Arc<str>,
    /// How its lists merge.
    pub lists: ListKeys,
    /// Warning for every client that uses this version.
    pub deprecation: Option<String>,
    pub definition: Definition,
}

#[derive(Debug)]
pub enum Definition {
    Builtin(&'static Builtin),
    Custom(Box<CustomVersion>),
    /// Kubernetes serves it, pocket does not.
    Unserved,
}

/// Where a scale subresource finds its numbers, as dotted paths.
#[derive(Clone, Debug)]
pub struct ScalePaths {
    pub spec: String,
    pub status: String,
    pub selector: Option<String>,
}

pub const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
/// Verbs of reviews, which are answered and not stored.
pub const REVIEW_VERBS: &[&str] = &["create"];

impl Resource {
    /// Name as in messages: `pods`, `deployments.apps`.
    pub fn qualified_name(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    pub fn as_builtin(&self) -> Option<&'static Builtin> {
        match &self.definition {
            Definition::Builtin(builtin) => Some(builtin),
            Definition::Custom(_) | Definition::Unserved => None,
        }
    }

    pub fn as_custom(&self) -> Option<&CustomVersion> {
        match &self.definition {
            Definition::Builtin(_) | Definition::Unserved => None,
            Definition::Custom(custom) => Some(custom),
        }
    }

    /// Whether the resource is known, so that clients get an explanation, but not served.
    pub fn is_unserved(&self) -> bool {
        matches!(self.definition, Definition::Unserved)
    }

    pub fn is_kind(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

/// All resources served at one time, in the order of discovery.
#[derive(Debug, Default)]
pub struct Registry {
    pub resources: Vec<Arc<Resource>>,
    by_path: HashMap<(String, String, String), usize>,
}

impl Registry {
    pub fn find_resource(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&Arc<Resource>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.by_path.get(&key).map(|at| &self.resources[*at])
    }

    /// The resource whose objects are stored under this name; the first of several versions.
    pub fn find_by_storage(&self, storage: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|r| &*r.storage == storage)
    }

    /// Groups with their versions, the preferred one first; the core group is "".
    pub fn list_groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for resource in &self.resources {
            let at = if let Some(at) = groups.iter().position(|(g, _)| *g == resource.group) {
                at
            } else {
                groups.push((&resource.group, Vec::new()));
                groups.len() - 1
            };
            if !groups[at].1.contains(&resource.version.as_str()) {
                groups[at].1.push(&resource.version);
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by(|a, b| versions::compare_versions(a, b));
        }
        groups
    }

    fn add_resource(&mut self, resource: Resource) {
        let key = (
            resource.group.clone(),
            resource.version.clone(),
            resource.plural.clone(),
        );
        self.by_path.insert(key, self.resources.len());
        self.resources.push(Arc::new(resource));
    }

    fn from_definitions(definitions: impl Iterator<Item = Arc<Value>>) -> Registry {
        let mut registry = Registry::default();
        for builtin in builtin::ALL {
            registry.add_resource(builtin.to_resource());
        }
        for resource in unserved::list_resources() {
            registry.add_resource(resource);
        }
        for definition in definitions {
            for resource in custom::build_resources(&definition) {
                registry.add_resource(resource);
            }
        }
        registry
    }
}

/// The registry for a store's current definitions, rebuilt when one of them changes.
#[derive(Default)]
pub struct RegistryCache {
    at: Mutex<Option<(u64, Arc<Registry>)>>,
}

impl RegistryCache {
    pub fn get(&self, store: &Store) -> Arc<Registry> {
        let mut at = self
            .at
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let version = store.version_of(CRDS);
        if let Some((seen, registry)) = &*at
            && *seen == version
        {
            return registry.clone();
        }
        let registry = Arc::new(Registry::from_definitions(store.list(CRDS, None).values()));
        *at = Some((version, registry.clone()));
        registry
    }
}
