//! `ClusterName`: which cluster, the home cluster or one of another kubeconfig context.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::delegate::delegate_schema;

/// A cluster, as seen from the one that holds graylane's own resources. On the wire it is the name
/// of its kubeconfig context, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "Option<String>")]
pub enum ClusterName {
    /// The cluster of graylane's own resources.
    #[default]
    Home,
    /// The cluster of a kubeconfig context.
    Context(Arc<str>),
}

impl ClusterName {
    /// Whether it is the home cluster.
    pub const fn is_home(&self) -> bool {
        matches!(self, Self::Home)
    }

    /// Name of its kubeconfig context; `None` for the home cluster.
    pub fn context(&self) -> Option<&str> {
        match self {
            Self::Home => None,
            Self::Context(name) => Some(name),
        }
    }
}

/// The cluster of a context.
impl From<&str> for ClusterName {
    fn from(context: &str) -> Self {
        Self::Context(context.into())
    }
}

/// The cluster of a context, or without one the home cluster.
impl<T: Into<Arc<str>>> From<Option<T>> for ClusterName {
    fn from(context: Option<T>) -> Self {
        context.map_or(Self::Home, |name| Self::Context(name.into()))
    }
}

impl Serialize for ClusterName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.context().serialize(serializer)
    }
}

delegate_schema!(ClusterName, Option<String>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::Environment;

    #[test]
    fn the_home_cluster_is_not_written_and_may_be_null() {
        let written = serde_json::to_value(Environment::default()).unwrap();
        assert_eq!(written.get("context"), None);
        for wire in [
            json!({"name": "e", "namespace": "n"}),
            json!({"name": "e", "namespace": "n", "context": null}),
        ] {
            let read: Environment = serde_json::from_value(wire).unwrap();
            assert_eq!(read.context, ClusterName::Home);
        }
    }

    proptest! {
        #[test]
        fn any_context_keeps_its_wire_form(context in prop::option::of("\\PC{0,12}")) {
            let cluster = ClusterName::from(context.as_deref());
            prop_assert_eq!(cluster.context(), context.as_deref());
            let wire = serde_json::to_value(&cluster).unwrap();
            prop_assert_eq!(&wire, &json!(context));
            prop_assert_eq!(serde_json::from_value::<ClusterName>(wire).unwrap(), cluster);
        }
    }
}
