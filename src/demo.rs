//! The demo: a pocket, an engine and the sample workspace in one state folder.
//!
//! Seeding creates what is missing and never changes existing objects. Once the baseline serves,
//! the workspace belongs to the user and is not changed again.

pub mod images;
pub mod readiness;
pub mod run;
pub mod samples;
pub mod seed;
pub mod state;
mod traffic;
