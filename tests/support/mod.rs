//! What the tests that play the story share.
#![expect(unreachable_pub, reason = "each test is a crate of its own")]

pub mod demo;
pub mod load;
pub mod processes;
pub mod rollout;
