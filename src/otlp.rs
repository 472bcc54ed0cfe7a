//! OTLP: what gateways, meshes, services and collectors send of their requests, received and written as lines of
//! [`Span`](crate::domain::span::Span)s.
//!
//! A request is decoded ([`decode`]), what is worth a line is chosen ([`filter`]), and lines are written ([`sink`]). Only
//! facts are written, half hops: the two views of one request come to different engines, and cockpits join them.
//!
//! Nothing here trusts a sender: a request is at most 4 MiB, also once it is inflated; its messages are read in place;
//! what it holds too much of is counted and left out.

pub mod decode;
pub mod filter;
pub mod metrics;
pub mod receiver;
pub mod sink;
