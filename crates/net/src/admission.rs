//! Admission: limits the connections in total and per source, so that nobody can use up the file
//! descriptors that others, and this program itself, need.
//!
//! A source is an address. On the loopback interface anyone can use any address, so there the
//! source becomes the user once an address has its share or half of all slots are taken. This
//! program's own user is limited by the total only.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::sockets::PeerUsers;

/// Upper bound of connections; more are of no use.
const MAX_CONNECTIONS: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PeerSource {
    Address(IpAddr),
    User(u32),
}

#[derive(Debug, Default)]
struct SlotCount {
    all: usize,
    each: HashMap<PeerSource, usize>,
}

/// The limits of one kind of listener; clones share the count.
#[derive(Clone, Debug)]
pub struct Admission {
    all: usize,
    each: usize,
    own: u32,
    count: Arc<Mutex<SlotCount>>,
    peers: Arc<PeerUsers>,
    waiting: Arc<Semaphore>,
}

/// A connection slot; dropping it frees it.
#[derive(Debug)]
pub struct ConnectionSlot {
    admission: Admission,
    source: PeerSource,
}

impl Admission {
    /// Limits for a share of the process's file descriptors, when each connection takes
    /// `descriptors` of them. Each source gets a quarter.
    pub fn for_descriptor_share(part: f64, descriptors: usize) -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(u32::MAX);
        let all = (f64::from(files) * part) as usize / descriptors.max(1);
        Self::new(all.clamp(16, MAX_CONNECTIONS))
    }

    fn new(all: usize) -> Self {
        let own = rustix::process::geteuid().as_raw();
        let waiting = Arc::new(Semaphore::new(all));
        Self {
            all,
            each: (all / 4).max(1),
            own,
            count: Arc::default(),
            peers: Arc::default(),
            waiting,
        }
    }

    /// Takes a slot for a connection, if one is free. Looking up the user takes a moment; no more
    /// connections wait for that than there are slots.
    pub async fn admit_peer(&self, peer: SocketAddr, here: SocketAddr) -> Option<ConnectionSlot> {
        let address = PeerSource::Address(peer.ip());
        let (SocketAddr::V4(peer), SocketAddr::V4(here)) = (peer, here) else {
            return self.take_slot(address);
        };
        if !peer.ip().is_loopback() {
            return self.take_slot(address);
        }
        // Looking up a user reads a long table, so it is done only when it matters.
        let calm = self
            .count
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .all
            < self.all / 2;
        if let Some(place) = calm.then(|| self.take_slot(address)).flatten() {
            return Some(place);
        }
        let _waits = self.waiting.try_acquire().ok()?;
        let user = self.peers.user_of(peer, here).await;
        self.take_slot(user.map_or(address, PeerSource::User))
    }

    fn take_slot(&self, source: PeerSource) -> Option<ConnectionSlot> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let each = count.each.get(&source).copied().unwrap_or(0);
        let bound = if source == PeerSource::User(self.own) {
            self.all
        } else {
            self.each
        };
        if count.all >= self.all || each >= bound {
            return None;
        }
        count.all += 1;
        *count.each.entry(source).or_default() += 1;
        drop(count);
        Some(ConnectionSlot {
            admission: self.clone(),
            source,
        })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut count = self
            .admission
            .count
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        count.all -= 1;
        if let Some(each) = count.each.get_mut(&self.source) {
            *each -= 1;
            if *each == 0 {
                count.each.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strangers_get_a_quarter_each_and_the_own_user_the_rest() {
        let admission = Admission {
            own: 1000,
            ..Admission::new(40)
        };
        let all = |source: PeerSource| {
            std::iter::from_fn(|| admission.take_slot(source)).collect::<Vec<_>>()
        };
        let stranger = all(PeerSource::User(1001));
        assert_eq!(stranger.len(), 10);
        assert_eq!(
            all(PeerSource::Address([10, 0, 0, 1].into())).len(),
            10,
            "and gives them back at once"
        );
        let own = all(PeerSource::User(1000));
        assert_eq!(own.len(), 30);
        assert!(
            admission.take_slot(PeerSource::User(1002)).is_none(),
            "full"
        );
        drop(stranger);
        assert!(admission.take_slot(PeerSource::User(1002)).is_some());
    }

    #[tokio::test]
    async fn many_addresses_of_the_loopback_do_not_make_many_sources() {
        let admission = Admission {
            own: u32::MAX,
            ..Admission::new(16)
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let clients: Vec<_> = (1..=16)
            .map(|n| {
                let socket = rustix::net::socket(
                    rustix::net::AddressFamily::INET,
                    rustix::net::SocketType::STREAM,
                    None,
                );
                let socket = socket.unwrap();
                rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 1, n], 0))).unwrap();
                rustix::net::connect(&socket, &here).unwrap();
                std::net::TcpStream::from(socket)
            })
            .collect();
        let places = enter(&admission, &clients, here).await;
        // Half of all, and then a quarter: the last quarter is left for others.
        assert_eq!(places.len(), 12);
    }

    async fn enter(
        admission: &Admission,
        clients: &[std::net::TcpStream],
        here: SocketAddr,
    ) -> Vec<ConnectionSlot> {
        let mut places = vec![];
        for client in clients {
            places.extend(
                admission
                    .admit_peer(client.local_addr().unwrap(), here)
                    .await,
            );
        }
        places
    }

    #[tokio::test]
    async fn on_the_loopback_it_is_the_user_that_counts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let admission = Admission::new(8);
        let clients: Vec<_> = (0..8)
            .map(|_| std::net::TcpStream::connect(here).unwrap())
            .collect();
        let places = enter(&admission, &clients, here).await;
        // Two by their address, while there was room; all others by their user, which is our own.
        assert_eq!(places.len(), 8);
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(
            places
                .iter()
                .filter(|p| p.source == PeerSource::User(own))
                .count(),
            6
        );
    }

    proptest! {
        #[test]
        fn never_more_than_the_bounds_and_nothing_is_lost(steps in prop::collection::vec((0..4u32, any::<bool>()), 0..200)) {
            let admission = Admission { own: 0, ..Admission::new(16) };
            let mut held: Vec<ConnectionSlot> = vec![];
            for (user, enters) in steps {
                if enters {
                    held.extend(admission.take_slot(PeerSource::User(user)));
                } else if !held.is_empty() {
                    held.remove(user as usize % held.len());
                }
                prop_assert!(held.len() <= 16);
                for user in 1..4 {
                    prop_assert!(held.iter().filter(|p| p.source == PeerSource::User(user)).count() <= 4);
                }
            }
            held.clear();
            let count = admission.count.lock().unwrap();
            prop_assert!(count.all == 0 && count.each.is_empty());
        }
    }
}
