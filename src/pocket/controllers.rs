//! The controllers of the embedded cluster: level-triggered, over `kube::Client` only.

pub mod deployment;
