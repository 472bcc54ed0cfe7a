//! Deployments: `plan` decides, this file reads and writes.

pub mod model;
pub mod plan;
mod rolling;
mod status;

#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;
