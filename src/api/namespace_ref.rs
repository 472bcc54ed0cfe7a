//! `NamespaceRef`: a namespace of a cluster.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use super::{ClusterName, delegate::delegate_schema};

/// A namespace of a cluster. It is written `NAMESPACE` in the home cluster, else
/// `CONTEXT/NAMESPACE`, which is unambiguous because namespaces contain no slash. This is the only
/// place that reads and writes that form.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "String")]
pub struct NamespaceRef {
    /// Its cluster.
    pub cluster: ClusterName,
    /// `metadata.namespace` of its objects; empty for cluster-scoped ones.
    pub name: Arc<str>,
}

impl NamespaceRef {
    /// A namespace of a cluster.
    pub fn new(cluster: ClusterName, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self { cluster, name }
    }

    /// A namespace of the home cluster.
    pub fn at_home(name: impl Into<Arc<str>>) -> Self {
        Self::new(ClusterName::Home, name)
    }

    /// `NAMESPACE/NAME` or `CONTEXT/NAMESPACE/NAME`: an object in it, as people name it.
    pub fn qualify_name(&self, name: &str) -> String {
        format!("{self}/{name}")
    }
}

/// Reads the written form.
impl From<&str> for NamespaceRef {
    fn from(text: &str) -> Self {
        match text.rsplit_once('/') {
            Some((context, name)) => Self::new(context.into(), name),
            None => Self::at_home(text),
        }
    }
}

impl From<String> for NamespaceRef {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// The written form.
impl fmt::Display for NamespaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cluster.context() {
            Some(context) => write!(f, "{context}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Serialize for NamespaceRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

delegate_schema!(NamespaceRef, String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn any_namespace_of_any_cluster_keeps_its_written_form(
            context in prop::option::of("\\PC{0,12}"),
            name in "[^/]{0,12}",
        ) {
            let place = NamespaceRef::new(context.as_deref().into(), name.as_str());
            let written = place.to_string();
            let form = context.map_or_else(|| name.clone(), |context| [&context, "/", &name].concat());
            prop_assert_eq!(&written, &form);
            prop_assert_eq!(NamespaceRef::from(written.as_str()), place.clone());
            let wire = serde_json::to_value(&place).unwrap();
            prop_assert_eq!(&wire, &json!(written));
            prop_assert_eq!(serde_json::from_value::<NamespaceRef>(wire).unwrap(), place);
        }

        #[test]
        fn any_namespace_without_a_context_is_the_home_clusters(name in "[^/]{0,12}") {
            let read = NamespaceRef::from(name.as_str());
            prop_assert_eq!(&read, &NamespaceRef::at_home(name.as_str()));
            prop_assert!(read.cluster.is_home());
        }

        #[test]
        fn any_text_is_written_as_it_was_read(text in "\\PC{0,16}") {
            prop_assert_eq!(NamespaceRef::from(text.as_str()).to_string(), text);
        }
    }
}
