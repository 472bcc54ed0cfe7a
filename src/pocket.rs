//! The embedded cluster: a Kubernetes API in this process.

mod clock;
pub mod controllers;
pub mod discovery;
pub mod durable;
pub mod guard;
pub mod hoplog;
pub mod images;
pub mod inherited;
pub mod kubelet;
mod kubernetes_service;
pub mod network;
pub mod orphans;
pub mod patch;
pub mod rest;
pub mod run;
pub mod serve;
pub mod shim;
pub mod store;
mod table;
