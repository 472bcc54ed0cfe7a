//! Addresses of pods: one each, out of the node network, never one that a living pod has.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use crate::pocket::network::Network;

pub struct Addresses {
    network: Network,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who has what, by the pod's uid.
    given: HashMap<Ipv4Addr, String>,
    next: u32,
}

impl Addresses {
    pub fn new(network: Network) -> Self {
        Self { network, state: Mutex::default() }
    }

    /// An address for the pod: the one it had, if it is of this network and free; else the next one round the
    /// network, so that a late packet of a gone pod meets nobody.
    pub fn give(&self, uid: &str, had: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ip) = had.filter(|ip| self.network.is_pod(*ip))
            && state.given.get(&ip).is_none_or(|u| u == uid)
            && bindable(ip)
        {
            state.given.insert(ip, uid.to_owned());
            return Some(ip);
        }
        let size = (0..).find(|n| self.network.pod(n * 254).is_none()).unwrap_or(0) * 254;
        for _ in 0..size {
            let n = state.next;
            state.next = (n + 1) % size.max(1);
            if let Some(ip) = self.network.pod(n)
                && !state.given.contains_key(&ip)
                && bindable(ip)
            {
                state.given.insert(ip, uid.to_owned());
                return Some(ip);
            }
        }
        None
    }

    pub fn take_back(&self, uid: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).given.retain(|_, u| u != uid);
    }
}

fn bindable(ip: Ipv4Addr) -> bool {
    TcpListener::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_one_pod_and_none_again_soon() {
        let dir = tempfile::tempdir().unwrap();
        let (network, _held) = Network::take(dir.path()).unwrap();
        let all = Addresses::new(network);
        let first = all.give("a", None).unwrap();
        assert_eq!(all.give("a", Some(first)), Some(first), "its own again");
        let second = all.give("b", Some(first)).unwrap();
        assert_ne!(first, second);
        all.take_back("a");
        assert_ne!(all.give("c", None).unwrap(), first, "not at once to somebody else");
        assert_eq!(all.give("d", Some(first)), Some(first));
        let foreign = Ipv4Addr::new(127, 1, 16, 1);
        assert_ne!(all.give("e", Some(foreign)), Some(foreign));
    }
}
