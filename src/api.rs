//! The custom resources of `graylane.dev/v1alpha1`: data and validation, no I/O.
//!
//! Everything graylane wants stands in a `spec`, everything its engine saw in a `status`. These types
//! are the wire format: the cockpit, the engine, the command line and `kubectl` all speak them.

mod amount;
mod app;
mod approval;
pub mod gateway_api;
mod hops;
mod lane;
mod release;
mod schema;
mod variables;
mod workflow;

pub use amount::{Amount, AmountError};
pub use app::*;
pub use approval::*;
pub use hops::*;
pub use lane::*;
pub use release::*;
pub use variables::*;
pub use workflow::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of all our resources.
pub const GROUP: &str = "graylane.dev";
/// The version of all our resources.
pub const VERSION: &str = "v1alpha1";
/// The field manager of everything that graylane applies.
pub const FIELD_MANAGER: &str = "graylane";

/// Labels and annotations that graylane writes or reads.
pub mod label {
    /// The App that an object belongs to (label, also on pod templates).
    pub const APP: &str = "graylane.dev/app";
    /// The environment that an object was deployed to (label, also on pod templates).
    pub const ENVIRONMENT: &str = "graylane.dev/environment";
    /// The namespace of the App that an object belongs to: elsewhere an App may have the same name (annotation).
    pub const HOME: &str = "graylane.dev/app-namespace";
    /// The App that a ControllerRevision is a revision of (label).
    pub const REVISION_OF: &str = "graylane.dev/revision-of";
    /// The Release that last applied an object (annotation).
    pub const RELEASE: &str = "graylane.dev/release";
    /// Marks graylane's own components, e.g. `lane-gateway` (label).
    pub const COMPONENT: &str = "graylane.dev/component";
    /// The lane group a generated HTTPRoute belongs to (label).
    pub const LANE_GROUP: &str = "graylane.dev/lane-group";
    /// The lane tag of a pod, as MSE reads it (label).
    pub const SERVICE_TAG: &str = "alicloud.service.tag";
    /// What the latch replaced in a Deployment under batches, as JSON (annotation; design, exact batches).
    pub const LATCH: &str = "graylane.dev/latch";
    /// What a finished rollout replaced, as JSON: an abort later in the same release puts it back (annotation).
    pub const PREVIOUS: &str = "graylane.dev/previous";
    /// How long a WebSocket of a Gateway or Service may be silent: `30m`, or `0s` for no limit (annotation, set by people).
    pub const TUNNEL_IDLE: &str = "graylane.dev/tunnel-idle";
    /// Digest of the manifest as last applied: what is unchanged is not written again (annotation).
    pub const APPLIED: &str = "graylane.dev/applied";
    /// The uid of the Release that made an object: its abort takes that object away again (annotation).
    pub const CREATED_BY: &str = "graylane.dev/created-by";
    /// The AppTemplate that an App was made from (annotation).
    pub const TEMPLATE: &str = "graylane.dev/template";
    /// What was set when an App was made from its template, as JSON (annotation).
    pub const TEMPLATE_SET: &str = "graylane.dev/template-set";
}

/// All definitions, in the order to install them.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let generated = [
        App::crd(),
        AppTemplate::crd(),
        VariableGroup::crd(),
        Release::crd(),
        Approval::crd(),
        LaneGroup::crd(),
        Lane::crd(),
    ];
    generated.into_iter().map(schema::constrain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_has_a_structural_schema_and_its_names() {
        for crd in definitions() {
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
