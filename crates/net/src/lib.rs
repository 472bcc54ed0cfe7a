//! Shared by all listeners of this program: accepting, admission, timeouts of silent connections, detection of
//! callers that have gone, forwarding of wrapped streams, and the owners of local sockets.

#![forbid(unsafe_code)]

pub mod accept;
pub mod admission;
pub mod caller;
pub mod first_byte;
mod forward;
pub mod sockets;
