//! graylane: a terminal cockpit for end-to-end gray releases.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod domain;
pub mod engine;
pub mod gateway;
pub mod pocket;
pub mod probe;
pub mod sample;
pub mod ui;
