//! Tagged requests and the chains they took.
