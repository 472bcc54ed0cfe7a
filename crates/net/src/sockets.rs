//! The TCP sockets of this machine, from `/proc/net`: the owner of each listener, and the user at
//! the other end of a connection.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The tables of IPv4 and IPv6; missing where there is no `/proc`.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// A socket, with IPv4 addresses; an IPv6 socket that also accepts IPv4 is shown as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    pub local: SocketAddrV4,
    pub remote: SocketAddrV4,
    pub listens: bool,
    /// The user who created it.
    pub user: u32,
    pub inode: u64,
}

/// All sockets of this network namespace.
fn list_sockets() -> Vec<Socket> {
    let read = |table: &&str| fs::read_to_string(table).unwrap_or_default();
    TABLES
        .iter()
        .map(read)
        .flat_map(|text| text.lines().filter_map(parse_socket).collect::<Vec<_>>())
        .collect()
}

/// All listening sockets of this network namespace.
///
/// The kernel lists them before all others. Reading stops after them, because for the others the
/// kernel walks a table of hundreds of thousands of entries on every read.
pub fn list_listening() -> Vec<Socket> {
    TABLES
        .iter()
        .filter_map(|table| fs::File::open(table).ok())
        .flat_map(|f| read_listening(BufReader::new(f)))
        .collect()
}

fn read_listening(table: impl BufRead) -> Vec<Socket> {
    // Sockets that are not IPv4 are skipped, also among the listening ones.
    let lines = table
        .lines()
        .map_while(Result::ok)
        .skip(1)
        .take_while(|line| is_listening(line));
    lines.filter_map(|line| parse_socket(&line)).collect()
}

/// The sockets that accept connections to an address: those that listen on it, or else those that
/// listen on its port on all addresses.
pub fn listeners_at(at: SocketAddrV4) -> Vec<Socket> {
    listeners_among(&list_listening(), at)
}

fn listeners_among(all: &[Socket], at: SocketAddrV4) -> Vec<Socket> {
    let on = |ip: Ipv4Addr| -> Vec<Socket> {
        let wanted = SocketAddrV4::new(ip, at.port());
        all.iter()
            .filter(|s| s.listens && s.local == wanted)
            .copied()
            .collect()
    };
    let own = on(*at.ip());
    if own.is_empty() {
        on(Ipv4Addr::UNSPECIFIED)
    } else {
        own
    }
}

/// Both ends of all connections that a process still holds. A closed one may stay in the table for
/// a while without an owner.
pub fn held_connections() -> HashSet<(SocketAddrV4, SocketAddrV4)> {
    list_sockets()
        .into_iter()
        .filter(|s| !s.listens && s.inode != 0)
        .map(|s| (s.local, s.remote))
        .collect()
}

/// The users at the other end of this machine's connections with itself.
///
/// Reading the table takes the kernel ten milliseconds or more, and someone who opens or closes a
/// thousand connections at once must not cause a thousand reads. One read answers for all
/// connections that existed then; later ones wait for the next read, and reads are rate-limited.
#[derive(Debug, Default)]
pub struct PeerUsers {
    seen: Mutex<Option<(Instant, Arc<UsersByConnection>)>>,
    /// Earliest time of the next read; the holder of the lock reads.
    next: tokio::sync::Mutex<Option<Instant>>,
}

/// User by both ends of a connection, the user's own end first.
type UsersByConnection = HashMap<(SocketAddrV4, SocketAddrV4), u32>;

impl PeerUsers {
    /// How long a read stays valid: a connection may be closed and reopened by someone else.
    const MAX_AGE: Duration = Duration::from_secs(1);
    /// Minimum time between two reads, and as a multiple of how long the last one took.
    const GAP: (Duration, u32) = (Duration::from_millis(20), 9);

    /// The user of `peer`, which is connected to `here`.
    pub async fn user_of(&self, peer: SocketAddrV4, here: SocketAddrV4) -> Option<u32> {
        self.user_by_scan(peer, here, list_sockets).await
    }

    async fn user_by_scan(
        &self,
        peer: SocketAddrV4,
        here: SocketAddrV4,
        look: impl FnOnce() -> Vec<Socket> + Send + 'static,
    ) -> Option<u32> {
        let asked = Instant::now();
        let known = self
            .last_scan()
            .filter(|(at, _)| asked.duration_since(*at) < Self::MAX_AGE);
        if let Some(user) = known.and_then(|(_, users)| users.get(&(peer, here)).copied()) {
            return Some(user);
        }
        let mut next = self.next.lock().await;
        // Someone has read the table since.
        if let Some((_, users)) = self.last_scan().filter(|(at, _)| *at >= asked) {
            return users.get(&(peer, here)).copied();
        }
        if let Some(next) = *next {
            tokio::time::sleep_until(next).await;
        }
        let began = Instant::now();
        // A closed socket has no owner any more.
        let is_owned = |s: &Socket| !s.listens && s.inode != 0;
        let ends = move || {
            look()
                .into_iter()
                .filter(is_owned)
                .map(|s| ((s.local, s.remote), s.user))
                .collect()
        };
        let users: Arc<UsersByConnection> =
            Arc::new(tokio::task::spawn_blocking(ends).await.unwrap_or_default());
        *next = Some(Instant::now() + Self::GAP.0.max(began.elapsed() * Self::GAP.1));
        let user = users.get(&(peer, here)).copied();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, users));
        user
    }

    fn last_scan(&self) -> Option<(Instant, Arc<UsersByConnection>)> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Whether the state is LISTEN.
fn is_listening(line: &str) -> bool {
    line.split_whitespace().nth(3) == Some("0A")
}

fn parse_socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    Some(Socket {
        local: parse_address(fields.get(1)?)?,
        remote: parse_address(fields.get(2)?)?,
        listens: is_listening(line),
        user: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Parses `0100007F:1F90`, in 32-bit words of this machine's byte order.
fn parse_address(text: &str) -> Option<SocketAddrV4> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..ip.len())
        .step_by(8)
        .map(|at| {
            Some(
                u32::from_str_radix(ip.get(at..at + 8)?, 16)
                    .ok()?
                    .to_ne_bytes(),
            )
        })
        .collect();
    let ip = match words?.as_slice() {
        [four] => Ipv4Addr::from(*four),
        six @ [_, _, _, _] => {
            let bytes: [u8; 16] = six.concat().try_into().ok()?;
            let ip = Ipv6Addr::from(bytes);
            if ip.is_unspecified() {
                Ipv4Addr::UNSPECIFIED
            } else {
                ip.to_ipv4_mapped()?
            }
        }
        _ => return None,
    };
    Some(SocketAddrV4::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn four(address: SocketAddr) -> SocketAddrV4 {
        let SocketAddr::V4(address) = address else {
            panic!("{address}")
        };
        address
    }

    #[tokio::test]
    async fn own_sockets_are_found_with_their_user() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = four(listener.local_addr().unwrap());
        let client = TcpStream::connect(at).unwrap();
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(
            listeners_at(at).iter().map(|s| s.user).collect::<Vec<_>>(),
            [own]
        );
        assert_eq!(
            PeerUsers::default()
                .user_of(four(client.local_addr().unwrap()), at)
                .await,
            Some(own)
        );
        drop((listener, client));
        assert_eq!(listeners_at(at), []);
    }

    #[tokio::test]
    async fn one_look_answers_for_all_connections_that_stood_then() {
        let here = "127.0.0.1:80".parse().unwrap();
        let peer = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let table = |users: &[(u16, u32, u64)]| -> Vec<Socket> {
            let one = |&(port, user, inode): &(u16, u32, u64)| Socket {
                local: peer(port),
                remote: here,
                listens: false,
                user,
                inode,
            };
            users.iter().map(one).collect()
        };
        let peers = PeerUsers::default();
        let (first, second) = (
            table(&[(1, 7, 1), (2, 8, 2)]),
            table(&[(2, 8, 2), (3, 9, 3), (4, 0, 0)]),
        );
        assert_eq!(
            peers.user_by_scan(peer(1), here, move || first).await,
            Some(7)
        );
        assert_eq!(
            peers
                .user_by_scan(peer(2), here, || panic!("it is known"))
                .await,
            Some(8)
        );
        assert_eq!(
            peers.user_by_scan(peer(3), here, move || second).await,
            Some(9),
            "it came later"
        );
        assert_eq!(
            peers.user_by_scan(peer(1), here, Vec::new).await,
            None,
            "it is gone"
        );
        let closed = table(&[(4, 0, 0)]);
        assert_eq!(
            peers.user_by_scan(peer(4), here, move || closed).await,
            None,
            "a closed one is not root's"
        );
    }

    /// Connections that are closed before a read are in no table.
    #[tokio::test]
    async fn a_thousand_strangers_cost_a_few_looks() {
        static LOOKS: AtomicUsize = AtomicUsize::new(0);
        let peers = PeerUsers::default();
        let here = "127.0.0.1:80".parse().unwrap();
        let look = || {
            LOOKS.fetch_add(1, Ordering::SeqCst);
            vec![]
        };
        let all = (1..1000).map(|port| {
            peers.user_by_scan(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), here, look)
        });
        assert!(
            futures::future::join_all(all)
                .await
                .iter()
                .all(Option::is_none)
        );
        assert!(LOOKS.load(Ordering::SeqCst) <= 2, "{LOOKS:?}");
    }

    #[test]
    fn listeners_are_read_up_to_the_first_socket_that_does_not_listen() {
        if cfg!(target_endian = "big") {
            return;
        }
        let line = |ip: &str, state: &str| {
            let remote = "0".repeat(ip.len());
            format!("0: {ip}:1F90 {remote}:0000 {state} 0:0 00:0 0 1000 0 4711 1 0 100 0 0 10 0\n")
        };
        let foreign = line("B80D0120000000000000000001000000", "0A");
        let text = [
            "head\n".into(),
            line("0100007F", "0A"),
            foreign,
            line("0200007F", "0A"),
            line("0300007F", "01"),
        ];
        let table = [text.concat(), line("0400007F", "0A")].concat();
        let found: Vec<_> = read_listening(table.as_bytes())
            .iter()
            .map(|s| s.local.to_string())
            .collect();
        assert_eq!(found, ["127.0.0.1:8080", "127.0.0.2:8080"]);
    }

    #[test]
    fn what_listens_at_the_address_itself_comes_before_what_listens_everywhere() {
        let socket = |local: &str, user| Socket {
            local: local.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            listens: true,
            user,
            inode: 0,
        };
        let all = [
            socket("0.0.0.0:80", 1),
            socket("127.1.0.1:80", 2),
            socket("127.1.0.2:81", 3),
        ];
        let users = |at: &str| {
            listeners_among(&all, at.parse().unwrap())
                .iter()
                .map(|s| s.user)
                .collect::<Vec<_>>()
        };
        assert_eq!(users("127.1.0.1:80"), [2]);
        assert_eq!(users("127.1.0.2:80"), [1]);
        assert!(users("127.1.0.1:81").is_empty());
    }

    #[test]
    fn lines_of_both_tables() {
        if cfg!(target_endian = "big") {
            return;
        }
        let tail = "00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0";
        let four = format!("0: 0100007F:1F90 0200007F:0001 0A 00000000:00000000 {tail}");
        let found = parse_socket(&four).unwrap();
        assert_eq!(
            (found.local, found.remote),
            (
                "127.0.0.1:8080".parse().unwrap(),
                "127.0.0.2:1".parse().unwrap()
            )
        );
        assert_eq!((found.listens, found.user, found.inode), (true, 1000, 4711));
        let zeros = "0".repeat(32);
        let six = |ip: &str| {
            parse_socket(&format!(
                "0: {ip}:0050 {zeros}:0000 01 00000000:00000000 {tail}"
            ))
        };
        assert_eq!(six(&zeros).unwrap().local, "0.0.0.0:80".parse().unwrap());
        assert_eq!(
            six("0000000000000000FFFF00000100007F").unwrap().local,
            "127.0.0.1:80".parse().unwrap()
        );
        assert_eq!(six("B80D0120000000000000000001000000"), None, "no IPv4");
        for cut in [
            "",
            "sl local_address",
            "0: zz:1 00000000:0 0A a b 0 0 1",
            "0: 0100007F 0:0 0A",
        ] {
            assert_eq!(parse_socket(cut), None, "{cut}");
        }
    }
}
