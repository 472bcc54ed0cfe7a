//! The embedded cluster: a Kubernetes API in this process.

pub mod patch;
