//! What is told by whole processes: it waits more than it works, so it shares one binary and runs side by side.

#[path = "../support/control_plane.rs"]
mod control_plane;
#[path = "../support/fake_kubelet.rs"]
mod fake_kubelet;
#[path = "../screens/screen.rs"]
mod screen;
#[path = "../support/mod.rs"]
mod support;

mod adopt;
mod all_namespaces;
mod bad;
mod connect;
mod hops;
mod init;
mod kill;
mod kubectl;
mod processes;
mod story;
mod takeover;
mod terminal;
mod traefik;
mod verbs;
mod world;
