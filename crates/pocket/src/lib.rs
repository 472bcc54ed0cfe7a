//! An embedded Kubernetes cluster in this process: API server, controllers, and a kubelet whose
//! containers are processes.
//!
//! - [`rest::ApiServer`]: the API alone, in memory of a state folder; [`rest::ApiServer::client`] is
//!   a `kube::Client` that never leaves the process. Enough to test what reads and writes objects.
//! - [`controllers::spawn`]: with Deployments, ReplicaSets, StatefulSets, Jobs,
//!   endpoints, garbage collection and the rest of what a control plane does.
//! - [`run::Pocket`]: all of it with a kubelet, served to `kubectl` on an address of its own.
//!
//! Rules: what is served behaves as in Kubernetes; what is not served is refused with a `Status`
//! that says so; a change is answered only when it is durable.
//!
//! ```
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube::{Api, api::PostParams};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let server = pocket::rest::ApiServer::open(folder.path())?;
//! let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
//! let mut map = ConfigMap::default();
//! map.metadata.name = Some("settings".into());
//! let created = maps.create(&PostParams::default(), &map).await?;
//! assert!(created.metadata.uid.is_some());
//! server.close().await;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod clock;
pub mod component;
pub mod controllers;
pub mod discovery;
pub mod durable;
pub mod guard;
pub mod images;
pub mod inherited;
mod internal_command;
pub mod kubelet;
mod kubernetes_service;
pub mod memory_log;
pub mod network;
pub mod orphans;
pub mod patch;
pub mod rest;
pub mod run;
pub mod serve;
pub mod shim;
pub mod store;
mod table;

pub use internal_command::InternalCommand;

/// Field manager of the objects that pocket writes itself.
const FIELD_MANAGER: &str = "pocket";
