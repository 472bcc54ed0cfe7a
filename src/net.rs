//! What every listener of this program shares: who is let in, how long a silent connection stays, who has gone away, what a stream around
//! another one passes on, and whose sockets those of this machine are.

pub mod admission;
pub(crate) mod caller;
pub(crate) mod pass;
pub mod sockets;
pub mod talkative;
