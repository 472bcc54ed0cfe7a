//! The kubelet and scheduler of the one node: a container is a process behind the shim, with an address of its own.

pub mod env;
