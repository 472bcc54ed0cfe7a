//! The rules, pure: no I/O, no clock, no randomness. Time is a parameter.

pub mod account;
pub mod adopt;
pub mod apps;
pub mod batches;
pub mod chain;
pub mod command_line;
mod digest;
pub mod guard;
pub mod hop;
pub mod intent;
pub mod lanes;
mod numbers;
pub mod observe;
pub mod owner;
pub mod prune;
pub mod request;
pub mod revision;
pub mod rights;
pub mod routes;
pub mod routing;
pub mod template;
pub mod text;
pub mod variables;
pub mod wishes;
pub mod workflow;
pub mod world;
pub mod yaml;
