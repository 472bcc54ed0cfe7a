//! The demo: a pocket, an engine and the sample workspace in one state folder.
//!
//! Seeding creates what is missing and never changes what is there; once the baseline serves, the workspace
//! is the user's and is not touched again.

pub mod images;
pub mod run;
pub mod samples;
pub mod seed;
pub mod serving;
pub mod state;
mod traffic;
