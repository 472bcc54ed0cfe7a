//! One part at a time, from outside: pocket's API, controllers and kubelet, the gateway, the sample, the command line.

#[path = "../support/ports.rs"]
mod ports;

mod addresses;
mod cli;
mod controllers;
mod gateway;
mod gateway_controller;
mod hops;
mod layers;
mod perform;
mod pocket_api;
mod pocket_serve;
mod pocket_workloads;
mod sample;
mod serve;
mod shim;
