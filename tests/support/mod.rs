//! What the tests that play the story share.

pub mod demo;
pub mod installed;
pub mod load;
pub mod ports;
pub mod processes;
pub mod program;
pub mod pty;
pub mod rollout;
