//! Everything over `kube::Client`, the one waist: connect, watch the cluster into a `World`, read logs and
//! YAML, carry out intents. Nothing here knows which cluster serves the API.

pub mod agent;
pub mod clusters;
pub mod connect;
pub mod doctor;
pub mod error;
pub mod gateways;
pub mod install;
pub mod lease;
pub mod logs;
pub mod meter;
pub mod owner;
pub mod perform;
pub mod plugin;
pub mod proxy;
pub mod revision;
pub mod rights;
pub mod status;
pub mod stores;
pub mod trace;
pub mod watch;
pub mod wire;
pub mod yaml;
