//! Objects that are turned into rows where they are read. A list comes in pages of hundreds of
//! objects: of all but one of them only the row exists, a twentieth of a Deployment.

use std::{marker::PhantomData, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment, StatefulSet},
        coordination::v1::Lease,
        core::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, core::DynamicObject};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{
    own_object::OwnObject,
    rows::{self, Row},
};
use crate::{
    api::{App, AppTemplate, Approval, Lane, LaneGroup, Release, VariableGroup, delegate_resource},
    cluster::lean_pod::LeanPod,
    domain::revision::Revision,
};

/// A kind of which rows are shown.
pub(super) trait IntoRow: Resource {
    /// The row of an object; `None` where it is not shown.
    fn into_row(self) -> Option<Row>;
}

/// An object of kind `K`, of which only the identity and the row are kept.
#[derive(Clone, Debug)]
pub(super) struct RowObject<K> {
    metadata: ObjectMeta,
    pub(super) row: Option<Row>,
    kind: PhantomData<fn() -> K>,
}

impl<'de, K: IntoRow + DeserializeOwned> Deserialize<'de> for RowObject<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = K::deserialize(deserializer)?;
        let meta = object.meta();
        Ok(Self {
            metadata: ObjectMeta {
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                resource_version: meta.resource_version.clone(),
                ..ObjectMeta::default()
            },
            row: object.into_row(),
            kind: PhantomData,
        })
    }
}

delegate_resource!(RowObject<K>, K, metadata; K);

/// Rows of graylane's own kinds hold the whole object.
macro_rules! own_kinds {
    ($($kind:ty => $row:path,)*) => {
        $(impl IntoRow for OwnObject<$kind> {
            fn into_row(self) -> Option<Row> {
                self.typed.map($row)
            }
        })*
    };
}

own_kinds! {
    App => Row::App,
    AppTemplate => Row::Template,
    Approval => Row::Approval,
    Lane => Row::Lane,
    LaneGroup => Row::Group,
    Release => Row::Release,
    VariableGroup => Row::Variables,
}

impl IntoRow for ControllerRevision {
    fn into_row(self) -> Option<Row> {
        let revision = Revision::from_object(&self).ok()?;
        Some(Row::Revision(Arc::new(revision)))
    }
}

impl IntoRow for Deployment {
    fn into_row(self) -> Option<Row> {
        Some(Row::Deployment(rows::deployment_row(&self)))
    }
}

impl IntoRow for StatefulSet {
    fn into_row(self) -> Option<Row> {
        Some(Row::Stateful(rows::stateful_set_row(&self)))
    }
}

impl IntoRow for LeanPod {
    fn into_row(self) -> Option<Row> {
        Some(Row::Pod(rows::pod_row(&self.0)))
    }
}

/// An HTTPRoute, of any version of its schema.
impl IntoRow for DynamicObject {
    fn into_row(self) -> Option<Row> {
        Some(Row::Route(rows::route_row(&self)))
    }
}

impl IntoRow for Event {
    fn into_row(self) -> Option<Row> {
        Some(Row::Event(rows::event_row(&self)))
    }
}

impl IntoRow for Lease {
    fn into_row(self) -> Option<Row> {
        rows::engine_row(&self).map(Row::Engine)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectList;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_holds_rows_under_their_objects_names() {
        let list = json!({"apiVersion": "apps/v1", "kind": "DeploymentList", "metadata": {"resourceVersion": "9"}, "items": [
            {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "7"}, "spec": {"replicas": 3, "selector": {},
                "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}}},
            {"metadata": {"name": "b", "namespace": "n", "resourceVersion": "8"}},
        ]});
        let page: ObjectList<RowObject<Deployment>> = serde_json::from_value(list).unwrap();
        let [first, second] = &page.items[..] else {
            panic!("{page:?}")
        };
        let version = |o: &RowObject<Deployment>| o.meta().resource_version.clone();
        assert_eq!(
            (version(first).as_deref(), version(second).as_deref()),
            (Some("7"), Some("8"))
        );
        let Some(Row::Deployment(row)) = &first.row else {
            panic!("{first:?}")
        };
        assert_eq!((row.replicas, row.images[0].as_str()), (3, "i:1"));
    }

    #[test]
    fn an_object_that_is_not_shown_still_has_its_name() {
        let lease = json!({"metadata": {"name": "engine", "namespace": "n"}, "spec": {"holderIdentity": ""}});
        let lease: RowObject<Lease> = serde_json::from_value(lease).unwrap();
        assert!(lease.row.is_none());
        assert_eq!(lease.meta().name.as_deref(), Some("engine"));
    }
}
