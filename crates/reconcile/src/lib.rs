//! What controllers of Kubernetes objects have in common, beside `kube`'s runtime.
//!
//! - [`watch`]: watches that go on whatever happens to the server.
//! - [`store`]: the objects of a kind as last seen; own writes count before the watch delivers them.
//! - [`queue`]: keys that wait to be reconciled: one reconcile of a key at a time, several changes
//!   become one, failures are tried again with back-off. A pure state machine.
//! - [`runner`]: runs such a queue.
//! - [`backoff`]: pauses that double, with jitter.
//!
//! `kube::runtime::controller` is not used: it lists what an object owns for each reconcile, knows
//! no own writes, and cannot give several changes to one reconcile.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod queue;
pub mod runner;
pub mod store;
pub mod watch;
