//! The same cases on pocket and, where its binaries stand, on a real control plane. Wherever they differ, pocket is
//! wrong.

#[path = "conformance/cluster.rs"]
mod cluster;
#[path = "support/control_plane.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod control_plane;
#[path = "support/fake_kubelet.rs"]
mod fake_kubelet;

#[path = "conformance/rollouts.rs"]
mod rollouts;
#[path = "conformance/story.rs"]
mod story;
