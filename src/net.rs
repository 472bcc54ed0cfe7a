//! Shared by all listeners of this program: admission, timeouts of silent connections, detection of
//! callers that have gone, forwarding of wrapped streams, and the owners of local sockets.

pub mod admission;
pub(crate) mod caller;
pub(crate) mod pass;
pub mod sockets;
pub mod talkative;
