//! Pod addresses from the node network; no two living pods have the same one.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use super::foreign_listeners;
use crate::network::Network;
use crate::orphans;

pub struct Addresses {
    network: Network,
    state: Mutex<State>,
}

/// Result of an assignment.
pub struct Assignment {
    /// Assigned address; `None` if none is left.
    pub ip: Option<Ipv4Addr>,
    strangers: Vec<String>,
}

impl Assignment {
    /// Describes who listens at the addresses that were skipped.
    pub fn describe_foreign_listeners(&self) -> Option<String> {
        let first = self.strangers.first()?;
        Some(match self.strangers.len() {
            1 => first.clone(),
            n => format!("{first}, and so at {} more", n - 1),
        })
    }
}

#[derive(Default)]
struct State {
    /// Uid of the pod that has each address.
    given: HashMap<Ipv4Addr, String>,
    next: u32,
}

impl Addresses {
    pub fn new(network: Network) -> Self {
        Self {
            network,
            state: Mutex::default(),
        }
    }

    /// Assigns an address to the pod: its previous one if that belongs to this network and is free,
    /// otherwise the next one in turn, so that late packets for a deleted pod do not reach a new
    /// one.
    pub fn assign_address(&self, uid: &str, had: Option<Ipv4Addr>) -> Assignment {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut strangers = vec![];
        if let Some(ip) = had.filter(|ip| self.network.is_pod(*ip))
            && state.given.get(&ip).is_none_or(|u| u == uid)
            && is_bindable(ip, &mut strangers)
        {
            state.given.insert(ip, uid.to_owned());
            return Assignment {
                ip: Some(ip),
                strangers,
            };
        }
        let size = (0..u32::MAX)
            .find(|n| self.network.pod_address(n * 254).is_none())
            .unwrap_or(0)
            * 254;
        for _ in 0..size {
            let n = state.next;
            state.next = (n + 1) % size.max(1);
            if let Some(ip) = self.network.pod_address(n)
                && !state.given.contains_key(&ip)
                && is_bindable(ip, &mut strangers)
            {
                state.given.insert(ip, uid.to_owned());
                return Assignment {
                    ip: Some(ip),
                    strangers,
                };
            }
        }
        Assignment {
            ip: None,
            strangers,
        }
    }

    pub fn release_address(&self, uid: &str) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .given
            .retain(|_, u| u != uid);
    }
}

fn is_bindable(ip: Ipv4Addr, strangers: &mut Vec<String>) -> bool {
    if let Some(why) = foreign_listeners::find_at_any_port(ip, orphans::NO_MARK) {
        tracing::warn!(%why, "an address is not given to any pod");
        strangers.push(why);
        return false;
    }
    TcpListener::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_one_pod_and_none_again_soon() {
        let dir = tempfile::tempdir().unwrap();
        let (network, _held) = Network::claim_for(dir.path()).unwrap();
        let all = Addresses::new(network);
        let give = |uid: &str, had| all.assign_address(uid, had).ip;
        let first = give("a", None).unwrap();
        assert_eq!(give("a", Some(first)), Some(first), "its own again");
        let second = give("b", Some(first)).unwrap();
        assert_ne!(first, second);
        all.release_address("a");
        assert_ne!(
            give("c", None).unwrap(),
            first,
            "not at once to somebody else"
        );
        assert_eq!(give("d", Some(first)), Some(first));
        let foreign = Ipv4Addr::new(127, 1, 16, 1);
        assert_ne!(give("e", Some(foreign)), Some(foreign));
    }

    #[test]
    fn who_is_in_the_way_is_told_once_for_all() {
        let told = |strangers: &[&str]| {
            Assignment {
                ip: None,
                strangers: strangers.iter().map(|s| (*s).to_owned()).collect(),
            }
            .describe_foreign_listeners()
        };
        assert_eq!(told(&[]), None);
        assert_eq!(
            told(&["user 7 listens at a"]).as_deref(),
            Some("user 7 listens at a")
        );
        assert_eq!(
            told(&["user 7 listens at a", "x", "y"]).as_deref(),
            Some("user 7 listens at a, and so at 2 more")
        );
    }
}
