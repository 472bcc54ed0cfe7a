//! Detects listeners at a pod's address that do not belong to the pod. On the loopback interface
//! any user may listen at any free address, and would then be probed and trusted in the pod's
//! place.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::orphans;
use net::sockets::{self, Socket};

/// Describes another user's listener at an address, if there is one.
pub fn find_at(at: SocketAddrV4, mark: &str) -> Option<String> {
    describe_first(sockets::listeners_at(at).into_iter(), mark)
}

/// The same for all ports of an address, but without listeners at the wildcard address.
pub fn find_at_any_port(ip: Ipv4Addr, mark: &str) -> Option<String> {
    let all = sockets::list_listening()
        .into_iter()
        .filter(|s| *s.local.ip() == ip);
    describe_first(all, mark)
}

fn describe_first(mut listeners: impl Iterator<Item = Socket>, mark: &str) -> Option<String> {
    let own = rustix::process::geteuid().as_raw();
    let stranger =
        listeners.find(|s| is_foreign(s, own, || orphans::holds_socket(mark, s.inode)))?;
    Some(format!(
        "user {} listens at {} in its place",
        stranger.user, stranger.local
    ))
}

/// Whether the socket belongs to another user and not to a process of the pod, which may have
/// dropped root privileges.
fn is_foreign(socket: &Socket, own: u32, is_held: impl FnOnce() -> bool) -> bool {
    socket.user != own && !is_held()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_of_another_user_is_strange_unless_the_pod_holds_it() {
        let at: SocketAddrV4 = "127.70.16.1:80".parse().unwrap();
        let socket = |user| Socket {
            local: at,
            remote: at,
            listens: true,
            user,
            inode: 1,
        };
        assert!(is_foreign(&socket(1001), 1000, || false));
        assert!(!is_foreign(&socket(1001), 0, || true));
        assert!(!is_foreign(&socket(1000), 1000, || panic!(
            "need not be looked for"
        )));
        let told = describe_first([socket(u32::MAX)].into_iter(), "none").unwrap();
        assert_eq!(
            told,
            format!("user {} listens at 127.70.16.1:80 in its place", u32::MAX)
        );
    }

    #[test]
    fn the_own_user_is_no_stranger() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(at) = listener.local_addr().unwrap() else {
            unreachable!()
        };
        assert_eq!(find_at(at, "none"), None);
    }
}
