//! The embedded cluster: a Kubernetes API in this process.

pub mod discovery;
pub mod hoplog;
pub mod network;
pub mod patch;
pub mod rest;
pub mod serve;
pub mod store;
mod table;
