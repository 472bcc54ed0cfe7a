//! Ports to listen on.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

/// A place to listen that nobody takes before: below the ports that the system gives to whoever asks for any, and no
/// number twice. A port of the system's that has just been given back may be the next one's.
pub fn free() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let first = 10_000 + std::process::id() as usize * 131 % 12_000;
    loop {
        let port = u16::try_from(first + NEXT.fetch_add(1, SeqCst)).expect("a port");
        // On any address: a gateway under test may ask for all of them.
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return (Ipv4Addr::LOCALHOST, port).into();
        }
    }
}
