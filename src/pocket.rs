//! The embedded cluster: a Kubernetes API in this process.
