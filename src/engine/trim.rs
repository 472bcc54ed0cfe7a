//! What the engine keeps of what it watches: where a cluster has ten thousand pods, what nobody asks for is not held.

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;

/// Who wrote what is asked of the objects that are rolled or routed, and of no others.
pub(super) fn writers(object: &mut impl Resource) {
    object.meta_mut().managed_fields = None;
}

/// Of pods only what they are and how they do is looked at, not what they were asked to be.
pub(super) fn pod(pod: &mut Pod) {
    writers(pod);
    pod.metadata.annotations = None;
    pod.spec = None;
}
