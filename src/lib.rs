//! graylane: a terminal cockpit for end-to-end gray releases.
//!
//! Several applications of one call chain get a new version beside the running one; tagged requests walk
//! through the new versions wherever there is one and through the baseline everywhere else; people look,
//! approve, roll production out in batches, and take the gray versions down again.
//!
//! # One waist
//!
//! All that graylane knows or wants is a Kubernetes object: its own custom resources ([`api`]), plus
//! Deployments, Pods, Services, Jobs, Leases, HTTPRoutes. There is no second state. `kube::Client` is the
//! narrow waist, and it is served by a real cluster or by [`pocket`], a Kubernetes API in this very process.
//!
//! ```text
//!     keys ─▶ ui ─▶ intents ─┐                        ┌─▶ real cluster (kubeconfig)
//!                            ├─▶ kube::Client ────────┤
//!     engine (reconciles) ───┘        ▲               └─▶ pocket ─▶ processes, lane gateway
//!          ▲                          │
//!          └──── World ◀── watches ───┘      World ─▶ ui
//! ```
//!
//! # Layers
//!
//! | module | rule |
//! |---|---|
//! | [`api`] | the custom resources: data, no I/O |
//! | [`domain`] | every decision, as pure functions: apps, templates, variables, workflow, batches, lanes, routes, chains, signals |
//! | [`cluster`] | over `kube::Client`: connect, watch into a [`domain::world::World`], carry out intents |
//! | [`engine`] | one at a time (a Lease): observe, decide (in `domain`), do, look again |
//! | [`gateway`] | the lane data plane of pocket: colours at the entry, routes at every hop, reports hops |
//! | [`net`] | for every listener: who is let in, how long silence is borne, whose sockets are whose |
//! | [`probe`] | tagged requests and what their chains were |
//! | [`otlp`] | what others tell of requests, received over OTLP: decode, choose (both pure), write as lines |
//! | [`pocket`] | store, REST, controllers, kubelet: the embedded cluster |
//! | [`ui`] | the cockpit: `update(&mut Model, Msg) -> Vec<Effect>` is pure, views are functions of the model |
//! | [`cli`] | one file a command group; sees everything, as does `main` |
//!
//! Arrows: `api ← domain ← cluster, engine, gateway, probe, ui`; `pocket` uses `gateway`, never `engine` or
//! `ui`; `ui` sends intents and never holds a client. `tests/parts/layers.rs` keeps them.
//!
//! # A day in the life of a key
//!
//! `a` on a release that waits: the terminal's event becomes a key, the one table of keys makes it
//! *approve*, `update` opens a question that names the release, the task, the attempt and the images as
//! seen at one resourceVersion. `Ctrl-Y` turns the question into an [`domain::intent::Intent`], a plain value;
//! the runner hands it to `cluster::perform`, which checks that the world has not moved on and creates an
//! Approval object, bound to the objects that were shown. The engine's watch wakes, `domain::workflow::decide` sees the approval and answers with
//! the next status and steps; the steps are patches; controllers move pods; the watches make a new World;
//! the cockpit draws it. Kill any of them in between: the next look starts from what the cluster shows.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod gateway;
pub mod net;
pub mod otlp;
pub mod pocket;
pub mod probe;
pub mod sample;
pub mod ui;

#[cfg(test)]
#[path = "../tests/support/fuzz.rs"]
mod fuzz;
