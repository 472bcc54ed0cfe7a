//! The embedded cluster: a Kubernetes API in this process.

pub mod controllers;
pub mod discovery;
pub mod hoplog;
pub mod images;
pub mod kubelet;
pub mod network;
pub mod patch;
pub mod rest;
pub mod run;
pub mod serve;
pub mod shim;
pub mod store;
mod table;
