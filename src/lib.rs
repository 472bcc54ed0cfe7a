//! graylane: a terminal cockpit for end-to-end gray releases.
//!
//! Several applications of one call chain get a new version beside the running one. Tagged requests
//! use the new version of each application that has one, and the baseline of all others. People
//! check the result, approve it, roll production out in batches, and remove the gray versions
//! again.
//!
//! # State
//!
//! All state is in Kubernetes objects: graylane's own custom resources ([`api`]), Deployments,
//! Pods, Services, Jobs, Leases and HTTPRoutes. Everything goes through `kube::Client`, which talks
//! to a real cluster or to [`pocket`], a Kubernetes API in this process.
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
//! - [`api`]: the custom resources; data, no I/O.
//! - [`domain`]: every decision, as pure functions: apps, templates, variables, workflow, batches,
//!   lanes, routes, chains, signals.
//! - [`cluster`]: uses `kube::Client` to connect, to watch into a [`domain::world::World`], and to
//!   carry out intents.
//! - [`engine`]: observes, decides (in `domain`) and acts, repeatedly. A Lease lets one act at a
//!   time.
//! - [`gateway`]: the lane data plane of pocket; colours requests at the entry, routes every hop
//!   and reports hops.
//! - [`probe`]: sends tagged requests and determines their chains.
//! - [`otlp`]: receives spans over OTLP, decodes and filters them (both pure), and writes them as
//!   lines.
//! - `otlp_export` (feature `otlp-export`): sends this program's own spans over OTLP.
//! - [`embedded`]: the embedded cluster as graylane uses it, with its namespace and lane gateway.
//! - [`ui`]: the cockpit; `update(&mut Model, Msg) -> Vec<Effect>` is pure, and views are functions
//!   of the model.
//! - [`cli`]: one file for each command group. Like `main`, it may use everything.
//!
//! Dependencies: `api ← domain ← cluster, engine, gateway, probe, ui`. `embedded` uses `gateway`,
//! never `engine` or `ui`. `ui` sends intents and never holds a client. `tests/parts/layers.rs`
//! checks this.
//!
//! Crates beside this one (`crates/`), which know nothing of it:
//!
//! - [`pocket`]: an embedded Kubernetes cluster: store, REST, controllers, kubelet.
//! - [`reconcile`]: what follows objects has in common: watches that go on, stores in
//!   which own writes count, work queues with back-off.
//! - [`net`]: for every listener: admission of connections, idle timeouts, owners of sockets.
//! - [`kube_yaml`]: reads YAML as kubectl does, and writes it.
//! - [`malloc_settings`]: makes glibc's malloc give memory back; the only unsafe code.
//!
//! # From a key press to a rollout
//!
//! `a` is pressed on a waiting release. The key table maps the key to *approve*, and `update` opens
//! a question with the release, the task, the attempt and the images of one resourceVersion.
//! `Ctrl-Y` turns the question into an [`domain::intent::Intent`], a plain value, and the runner
//! passes it to `cluster::perform`. That checks that nothing has changed since and creates an
//! Approval object, bound to the objects that were shown. The engine's watch triggers a pass.
//! [`domain::workflow::decide_steps`] sees the approval and returns the next status and steps. The
//! steps are patches, controllers replace pods, the watches build a new World, and the cockpit
//! draws it. Any process may be killed in between: the next pass starts from the current state of
//! the cluster.

#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod cluster;
pub mod config;
#[cfg(feature = "pocket")]
pub mod demo;
pub mod domain;
#[cfg(feature = "pocket")]
pub mod embedded;
pub mod engine;
#[cfg(feature = "pocket")]
pub mod gateway;
pub mod otlp;
#[cfg(any(feature = "otlp-export", test))]
pub mod otlp_export;
pub mod probe;
#[cfg(feature = "pocket")]
pub mod sample;
#[cfg(feature = "cockpit")]
pub mod ui;

#[cfg(test)]
#[path = "../tests/support/fuzz.rs"]
mod fuzz;
