//! The rules, pure: no I/O, no clock, no randomness. Time is a parameter.

pub mod adopt;
pub mod batches;
pub mod chain;
pub mod hop;
pub mod intent;
pub mod lanes;
pub mod observe;
pub mod request;
pub mod rights;
pub mod routes;
pub mod template;
pub mod text;
pub mod workflow;
pub mod world;
pub mod yaml;
