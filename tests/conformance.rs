//! The same cases on pocket and, where its binaries stand, on a real control plane. Wherever they differ, pocket is
//! wrong.

#![recursion_limit = "256"]

#[path = "conformance/cluster.rs"]
mod cluster;
#[path = "support/control_plane.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod control_plane;
#[path = "support/fake_kubelet.rs"]
mod fake_kubelet;
#[path = "support/installed.rs"]
mod installed;
#[path = "conformance/transcript.rs"]
mod transcript;

#[path = "conformance/applying.rs"]
mod applying;
#[path = "conformance/clients.rs"]
mod clients;
#[path = "conformance/definitions.rs"]
mod definitions;
#[path = "conformance/deleting.rs"]
mod deleting;
#[path = "conformance/engine.rs"]
mod engine;
#[path = "conformance/hands.rs"]
mod hands;
#[path = "conformance/listing.rs"]
mod listing;
#[path = "conformance/many.rs"]
mod many;
#[path = "conformance/objects.rs"]
mod objects;
#[path = "conformance/partitions.rs"]
mod partitions;
#[path = "conformance/patching.rs"]
mod patching;
#[path = "conformance/pruning.rs"]
mod pruning;
#[path = "conformance/requests.rs"]
mod requests;
#[path = "conformance/rollouts.rs"]
mod rollouts;
#[path = "conformance/statefulsets.rs"]
mod statefulsets;
#[path = "conformance/story.rs"]
mod story;
#[path = "conformance/versions.rs"]
mod versions;
