//! The custom resources of `graylane.dev/v1alpha1`: data and validation, no I/O.
//!
//! The desired state is in `spec`, what the engine observed in `status`. These types are the wire
//! format that the cockpit, the engine, the command line and `kubectl` share.

mod amount;
mod app;
mod approval;
mod cluster_name;
mod delegate;
pub mod gateway_api;
mod hops;
mod lane;
mod namespace_ref;
mod object_ref;
mod recorded_time;
mod release;
mod schema;
mod uid;
mod variables;
mod workflow;

pub use amount::{Amount, AmountError};
pub use app::*;
pub use approval::*;
pub use cluster_name::ClusterName;
pub(crate) use delegate::delegate_resource;
pub use hops::*;
pub use lane::*;
pub use namespace_ref::NamespaceRef;
pub use object_ref::{ObjectKey, ObjectRef};
pub use recorded_time::RecordedTime;
pub use release::*;
pub use uid::Uid;
pub use variables::*;
pub use workflow::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// API group of all custom resources.
pub const GROUP: &str = "graylane.dev";
/// API version of all custom resources.
pub const VERSION: &str = "v1alpha1";
/// Field manager of everything that graylane applies.
pub const FIELD_MANAGER: &str = "graylane";

/// Labels and annotations that graylane writes or reads.
pub mod label {
    /// The App that an object belongs to (label, also on pod templates).
    pub const APP: &str = "graylane.dev/app";
    /// The environment that an object was deployed to (label, also on pod templates).
    pub const ENVIRONMENT: &str = "graylane.dev/environment";
    /// Namespace of the App that an object belongs to, because Apps in other namespaces may share
    /// its name (annotation).
    pub const HOME: &str = "graylane.dev/app-namespace";
    /// App that a ControllerRevision belongs to (label).
    pub const REVISION_OF: &str = "graylane.dev/revision-of";
    /// The Release that last applied an object (annotation).
    pub const RELEASE: &str = "graylane.dev/release";
    /// Marks graylane's own components, for example `lane-gateway` (label).
    pub const COMPONENT: &str = "graylane.dev/component";
    /// Lane group that a generated HTTPRoute belongs to (label).
    pub const LANE_GROUP: &str = "graylane.dev/lane-group";
    /// Lane tag of a pod; MSE reads the same label (label).
    pub const SERVICE_TAG: &str = "alicloud.service.tag";
    /// What the latch replaced in a Deployment that is rolled out in batches, as JSON (annotation).
    pub const LATCH: &str = "graylane.dev/latch";
    /// What a finished rollout replaced, as JSON. A later abort of the same release restores it
    /// (annotation).
    pub const PREVIOUS: &str = "graylane.dev/previous";
    /// Idle timeout of the WebSockets of a Gateway or Service: `30m`, or `0s` for no limit. Set by
    /// users (annotation).
    pub const TUNNEL_IDLE: &str = "graylane.dev/tunnel-idle";
    /// Digest of the manifest as last applied. An unchanged manifest is not applied again
    /// (annotation).
    pub const APPLIED: &str = "graylane.dev/applied";
    /// UID of the Release that created an object. Aborting that Release deletes the object
    /// (annotation).
    pub const CREATED_BY: &str = "graylane.dev/created-by";
    /// AppTemplate that an App was created from (annotation).
    pub const TEMPLATE: &str = "graylane.dev/template";
    /// Settings that an App was created with, as JSON (annotation).
    pub const TEMPLATE_SET: &str = "graylane.dev/template-set";
}

/// All custom resource definitions, in installation order.
pub fn crd_definitions() -> Vec<CustomResourceDefinition> {
    let generated = [
        App::crd(),
        AppTemplate::crd(),
        VariableGroup::crd(),
        Release::crd(),
        Approval::crd(),
        LaneGroup::crd(),
        Lane::crd(),
    ];
    generated.into_iter().map(schema::add_constraints).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_has_a_structural_schema_and_its_names() {
        for crd in crd_definitions() {
            let schema = crd.spec.versions[0]
                .schema
                .as_ref()
                .and_then(|s| s.open_api_v3_schema.as_ref());
            let has_spec = schema.is_some_and(|s| {
                s.properties
                    .as_ref()
                    .is_some_and(|p| p.contains_key("spec"))
            });
            assert!(has_spec, "{:?}", crd.metadata.name);
            assert_eq!(
                crd.metadata.name.as_deref(),
                Some(format!("{}.{GROUP}", crd.spec.names.plural).as_str())
            );
        }
    }
}
