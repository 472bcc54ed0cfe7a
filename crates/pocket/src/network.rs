//! Node network of a pocket: one `127.A.0.0/16` of the loopback interface, claimed by listening at
//! its first address. `A` is stored in the state folder so that addresses stay the same, and chosen
//! anew if it is taken; then it is one that no other state folder had, as far as any is left.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    path::{Path, PathBuf},
};

use super::durable;

mod record;

use record::NetworkRecord;

/// Port of the API. Not 6443: an API server that listens at all addresses occupies that port in
/// every network.
pub const API_PORT: u16 = 27443;
/// Second octets that pockets use; lower ones are left to addresses chosen by hand.
const OCTETS: std::ops::RangeInclusive<u8> = 64..=250;
/// Third octets of pod addresses.
const PODS: std::ops::RangeInclusive<u8> = 16..=127;
/// Third octets of Service addresses.
const SERVICES: std::ops::RangeInclusive<u8> = 128..=250;

/// Why no network is available.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// All networks are in use.
    #[error(
        "port {API_PORT} of every network from 127.64 to 127.250 is taken, by other pockets or by one program on all addresses"
    )]
    Taken,
    /// The system has no loopback address other than 127.0.0.1.
    #[error(
        "this system has no loopback addresses but 127.0.0.1 ({0}); pocket needs 127.0.0.0/8, as Linux has it"
    )]
    NoLoopback(io::Error),
    /// The file with the stored network cannot be read or written.
    #[error("{}: {why}", file.display())]
    File {
        /// File that stores the network.
        file: PathBuf,
        /// Error of the operating system.
        why: io::Error,
    },
}

/// A network that no other pocket uses while the API's listener is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: [u8; 2],
}

impl Network {
    /// Claims the stored network of a state folder, or a new one; returns it with the API's
    /// listener.
    pub fn claim_for(state: &Path) -> Result<(Self, TcpListener), NetworkError> {
        Self::claim_by_record(state, &NetworkRecord::of_user())
    }

    fn claim_by_record(
        state: &Path,
        record: &NetworkRecord,
    ) -> Result<(Self, TcpListener), NetworkError> {
        let file = state.join("network.json");
        let told = |why| NetworkError::File {
            file: file.clone(),
            why,
        };
        let remembered: Option<u8> = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .ok()
                .filter(|o| OCTETS.contains(o)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => None,
            Err(why) => return Err(told(why)),
        };
        let mut others: Vec<u8> = OCTETS.collect();
        others.sort_by_cached_key(|octet| record.used_by_another(*octet, state));
        for octet in remembered.into_iter().chain(others) {
            let network = Self::with_base([127, octet]);
            match TcpListener::bind(SocketAddrV4::new(network.node_address(), API_PORT)) {
                Ok(listener) => {
                    listener
                        .set_nonblocking(true)
                        .map_err(NetworkError::NoLoopback)?;
                    if remembered != Some(octet) {
                        durable::write_atomically(
                            &file,
                            &serde_json::to_vec(&octet).unwrap_or_default(),
                        )
                        .map_err(told)?;
                    }
                    record.note_user(octet, state);
                    return Ok((network, listener));
                }
                Err(why) if why.kind() == io::ErrorKind::AddrInUse => record.note_in_use(octet),
                Err(why) => return Err(NetworkError::NoLoopback(why)),
            }
        }
        Err(NetworkError::Taken)
    }

    /// Creates a network with a fixed base, for a kubelet that works for another API server; its
    /// addresses must already belong to this machine.
    pub const fn with_base(base: [u8; 2]) -> Self {
        Self { base }
    }

    /// Address of the node: the API, Gateways, and `status.hostIP`.
    pub const fn node_address(self) -> Ipv4Addr {
        Ipv4Addr::new(self.base[0], self.base[1], 0, 1)
    }

    /// Returns the `n`th pod address; `None` if there are no more.
    pub fn pod_address(self, n: u32) -> Option<Ipv4Addr> {
        self.nth_address(PODS, n)
    }

    /// Returns the `n`th Service address; `None` if there are no more.
    pub fn service_address(self, n: u32) -> Option<Ipv4Addr> {
        self.nth_address(SERVICES, n)
    }

    /// Whether the address is a Service address of this network.
    pub fn is_service(self, address: Ipv4Addr) -> bool {
        let [first, second, third, last] = address.octets();
        [first, second] == self.base && SERVICES.contains(&third) && (1..=254).contains(&last)
    }

    /// Whether the address is a pod address of this network.
    pub fn is_pod(self, address: Ipv4Addr) -> bool {
        let [first, second, third, last] = address.octets();
        [first, second] == self.base && PODS.contains(&third) && (1..=254).contains(&last)
    }

    fn nth_address(self, thirds: std::ops::RangeInclusive<u8>, n: u32) -> Option<Ipv4Addr> {
        let third = u8::try_from(n / 254)
            .ok()
            .and_then(|t| thirds.start().checked_add(t))?;
        let last = u8::try_from(n % 254 + 1).ok()?;
        thirds
            .contains(&third)
            .then(|| Ipv4Addr::new(self.base[0], self.base[1], third, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_ones_own_and_remembered() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, held) = Network::claim_for(one.path()).unwrap();
        let (second, _also) = Network::claim_for(two.path()).unwrap();
        assert_ne!(first, second);
        // Taken while it is held; free again afterwards.
        let (other, _) = Network::claim_for(one.path()).unwrap();
        assert_ne!(other, first);
        std::fs::write(one.path().join("network.json"), first.base[1].to_string()).unwrap();
        drop(held);
        assert_eq!(Network::claim_for(one.path()).unwrap().0, first);
        std::fs::write(one.path().join("network.json"), "nonsense").unwrap();
        Network::claim_for(one.path()).unwrap();
    }

    /// One folder after another: each gets a network that none before it had, and gets it again.
    #[test]
    fn a_new_folder_takes_no_network_that_another_had() {
        let kept = tempfile::tempdir().unwrap();
        let record = NetworkRecord::in_folder(&kept.path().join("networks"));
        let mut had: Vec<(tempfile::TempDir, Network)> = vec![];
        for _ in 0..8 {
            let state = tempfile::tempdir().unwrap();
            let (network, held) = Network::claim_by_record(state.path(), &record).unwrap();
            assert!(had.iter().all(|(_, before)| *before != network), "{had:?}");
            drop(held);
            had.push((state, network));
        }
        // Without what it has stored itself.
        let (state, network) = &had[3];
        std::fs::remove_file(state.path().join("network.json")).unwrap();
        assert_eq!(record.used_by_another(network.base[1], state.path()), None);
        assert!(
            record
                .used_by_another(network.base[1], kept.path())
                .is_some()
        );
    }

    /// When each network was somebody's, the one that was left alone for longest is taken.
    #[test]
    fn when_all_were_used_the_oldest_is_taken() {
        let (kept, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let record = NetworkRecord::in_folder(kept.path());
        let begun = std::time::SystemTime::now();
        for (age, octet) in OCTETS.rev().enumerate() {
            record.note_user(octet, kept.path());
            let file = std::fs::File::open(kept.path().join(format!("127.{octet}"))).unwrap();
            let age = std::time::Duration::from_secs(3600 - age as u64);
            file.set_modified(begun - age).unwrap();
        }
        let (network, _held) = Network::claim_by_record(state.path(), &record).unwrap();
        // Other programs may hold some of the oldest; the newest of all is not reached.
        assert_ne!(network.base[1], *OCTETS.start());
    }

    #[test]
    fn addresses_are_distinct_of_their_own_range_and_end() {
        let network = Network::with_base([127, 70]);
        assert_eq!(network.node_address(), Ipv4Addr::new(127, 70, 0, 1));
        assert_eq!(network.pod_address(0), Some(Ipv4Addr::new(127, 70, 16, 1)));
        assert_eq!(
            network.pod_address(254),
            Some(Ipv4Addr::new(127, 70, 17, 1))
        );
        let all: Vec<Ipv4Addr> = (0..).map_while(|n| network.service_address(n)).collect();
        assert_eq!(all.len(), 123 * 254);
        assert!(
            all.iter()
                .all(|a| network.is_service(*a) && !network.is_pod(*a))
        );
        assert!(!Network::with_base([127, 71]).is_service(all[0]));
        assert_eq!(network.pod_address(u32::MAX), None);
    }
}
