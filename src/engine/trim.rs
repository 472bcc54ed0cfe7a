//! Removes fields that nobody reads from watched objects, to save memory in clusters with ten
//! thousand pods.

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;

/// Managed fields are only read of workloads and routes.
pub(super) fn drop_managed_fields(object: &mut impl Resource) {
    object.meta_mut().managed_fields = None;
}

/// Of pods only identity and status are read, not the spec.
pub(super) fn trim_pod(pod: &mut Pod) {
    drop_managed_fields(pod);
    pod.metadata.annotations = None;
    pod.spec = None;
}
