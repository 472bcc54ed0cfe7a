//! One part at a time, from outside: pocket's API, controllers and kubelet, the gateway, the sample, the command line.

#[path = "../support/fuzz.rs"]
mod fuzz;
#[path = "../support/generated.rs"]
mod generated;
#[path = "../support/ports.rs"]
mod ports;

mod addresses;
mod cli;
mod commands;
mod controllers;
mod docs;
mod gateway;
mod gateway_controller;
mod hops;
mod init;
mod layers;
mod otlp;
mod otlp_sdk;
mod perform;
mod pocket_api;
mod pocket_fuzz;
mod pocket_serve;
mod pocket_workloads;
mod power_cut;
mod recipes;
mod sample;
mod serve;
mod shim;
mod stores;
