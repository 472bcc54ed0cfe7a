//! OTLP: spans and access logs from gateways, meshes, services and collectors, received and written
//! as lines of [`Span`](crate::domain::span::Span)s.
//!
//! A request is decoded ([`decode`]), the spans that are worth a line are chosen ([`filter`]), and
//! lines are written ([`sink`]). Only facts are written, not joined hops: the two views of one
//! request may reach different engines, and the readers join them.
//!
//! No sender is trusted: a request is at most 4 MiB, before and after decompression; its messages
//! are read in place; whatever exceeds a limit is counted and left out.

pub mod decode;
pub mod filter;
pub mod metrics;
pub mod receiver;
pub mod sink;
