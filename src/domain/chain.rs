//! Chains: the way of one request through the apps, hop by hop, and whether it went where its lane promises.

pub mod text;
