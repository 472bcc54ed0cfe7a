//! Everything that goes through `kube::Client`: connecting, watching the cluster into a `World`,
//! reading logs and YAML, and carrying out intents. Nothing here knows which cluster serves the
//! API.

pub mod agent;
pub mod clusters;
pub mod connect;
pub mod doctor;
pub mod error;
pub mod gateways;
pub mod install;
pub mod lean_pod;
pub mod lease;
pub mod logs;
pub mod meter;
pub mod namespaces;
pub mod owner;
pub mod perform;
pub mod plugin;
pub mod proxy;
pub mod revision;
pub mod rights;
pub mod status;
pub mod trace;
pub mod trace_stores;
pub mod transport;
pub mod watch;
pub mod yaml;
