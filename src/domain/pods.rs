//! Index of pods by what a span may know of them: IP address, uid, or name. Deleted pods are
//! remembered for a minute, because spans about them arrive later.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    span::Emitter,
    world::{ObjectKey, Pod, Pods},
};
use crate::api::Uid;

/// How long a deleted pod is remembered.
const GONE_RETENTION: SignedDuration = SignedDuration::from_secs(60);
/// Maximum number of deleted pods that are remembered.
const MAX_GONE: usize = 4096;

/// Pods of Apps, current and recently deleted.
#[derive(Clone, Debug, Default)]
pub struct PodIndex {
    live: Pods,
    by_address: HashMap<String, Vec<Arc<ObjectKey>>>,
    by_uid: HashMap<Uid, Arc<ObjectKey>>,
    gone: VecDeque<(Timestamp, Arc<Pod>)>,
}

impl PodIndex {
    /// Creates an index of these pods, without deleted ones.
    pub fn from_pods(pods: &Pods) -> Self {
        let mut index = Self::default();
        pods.iter().for_each(|(key, pod)| index.insert(key, pod));
        index
    }

    /// Adds or replaces a pod.
    fn insert(&mut self, key: &Arc<ObjectKey>, pod: &Arc<Pod>) {
        self.remove_pod(key);
        if let Some(address) = &pod.address {
            self.by_address
                .entry(address.clone())
                .or_default()
                .push(Arc::clone(key));
        }
        if let Some(uid) = &pod.uid {
            self.by_uid.insert(uid.clone(), Arc::clone(key));
        }
        self.live.insert(Arc::clone(key), Arc::clone(pod));
    }

    fn remove_pod(&mut self, key: &ObjectKey) -> Option<Arc<Pod>> {
        let old = self.live.remove(key)?;
        if let Some(address) = &old.address
            && let Some(keys) = self.by_address.get_mut(address)
        {
            keys.retain(|k| **k != *key);
            if keys.is_empty() {
                self.by_address.remove(address);
            }
        }
        if let Some(uid) = &old.uid {
            self.by_uid.remove(uid);
        }
        Some(old)
    }

    /// Updates the index to the current pods, and remembers deleted ones.
    pub fn update_pods(&mut self, pods: &Pods, now: Timestamp) {
        let lost: Vec<Arc<ObjectKey>> = self
            .live
            .keys()
            .filter(|key| !pods.contains_key(*key))
            .cloned()
            .collect();
        for key in lost {
            let old = self.remove_pod(&key);
            self.gone.extend(old.map(|pod| (now, pod)));
        }
        for (key, pod) in pods {
            match self.live.get(key) {
                Some(known) if Arc::ptr_eq(known, pod) || known == pod => continue,
                // Created again under its name, as by a StatefulSet, or at another address.
                Some(known)
                    if known.uid != pod.uid
                        || known.address.is_some() && known.address != pod.address =>
                {
                    self.gone.push_back((now, Arc::clone(known)));
                }
                _ => {}
            }
            self.insert(key, pod);
        }
        let is_old = |(at, _): &(Timestamp, Arc<Pod>)| now.duration_since(*at) > GONE_RETENTION;
        while self.gone.len() > MAX_GONE || self.gone.front().is_some_and(is_old) {
            self.gone.pop_front();
        }
    }

    /// Pod that had this IP address at that time.
    pub fn find_by_address(&self, address: &str, time: Timestamp) -> Option<&Pod> {
        let live = self
            .by_address
            .get(address)
            .into_iter()
            .flatten()
            .filter_map(|key| self.live.get(key))
            .map(|pod| &**pod);
        let gone = || {
            self.gone
                .iter()
                .rev()
                .map(|(_, pod)| &**pod)
                .filter(|p| p.address.as_deref() == Some(address))
        };
        // Addresses are reused: a pod that was created after the request did not answer it.
        let was_there = |pod: &&Pod| {
            pod.born
                .is_none_or(|born| born <= add_clock_tolerance(time))
        };
        let best = live
            .clone()
            .filter(was_there)
            .min_by_key(|pod| pod.terminating);
        best.or_else(|| gone().find(was_there))
            .or_else(|| live.min_by_key(|pod| pod.terminating))
    }

    /// Pod that emitted a span.
    pub fn find_by_emitter(&self, by: &Emitter, time: Timestamp) -> Option<&Pod> {
        let by_uid = || {
            let uid = by.uid.as_deref()?;
            let gone = || {
                self.gone
                    .iter()
                    .rev()
                    .map(|(_, pod)| &**pod)
                    .find(|p| p.uid.as_ref().is_some_and(|own| own.as_str() == uid))
            };
            self.by_uid
                .get(uid)
                .and_then(|key| self.live.get(key))
                .map(|pod| &**pod)
                .or_else(gone)
        };
        let by_name = || {
            let name = by.pod.as_deref()?;
            let fits = |pod: &&Pod| {
                let namespace = &*pod.key.namespace.name;
                pod.key.name == name && by.namespace.as_deref().is_none_or(|n| n == namespace)
            };
            let exact = by
                .namespace
                .as_deref()
                .and_then(|n| self.live.get(&ObjectKey::at_home(n, name)));
            exact
                .map(|pod| &**pod)
                .or_else(|| self.live.values().map(|pod| &**pod).find(fits))
                .or_else(|| self.gone.iter().rev().map(|(_, pod)| &**pod).find(fits))
        };
        by_uid()
            .or_else(by_name)
            .or_else(|| self.find_by_address(by.address.as_deref()?, time))
    }
}

/// Adds some tolerance, because the clocks of nodes differ.
fn add_clock_tolerance(time: Timestamp) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(5))
        .unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::world::pods_by_key;

    fn pod(name: &str, uid: &str, address: &str, born: &str) -> Pod {
        let key = ObjectKey::at_home("demo", name);
        let (uid, address) = (Some(uid.into()), Some(address.to_owned()));
        Pod {
            key,
            uid,
            address,
            born: Some(time(born)),
            ..Pod::default()
        }
    }

    fn time(text: &str) -> Timestamp {
        format!("2026-01-01T00:{text}Z").parse().unwrap()
    }

    fn map(pods: &[Pod]) -> Pods {
        pods_by_key(pods.iter().cloned())
    }

    fn named(pod: Option<&Pod>) -> Option<&str> {
        pod.map(|p| p.key.name.as_str())
    }

    #[test]
    fn a_pod_is_known_by_address_uid_and_name() {
        let index = PodIndex::from_pods(&map(&[
            pod("a", "u1", "10.0.0.1", "00:00"),
            pod("b", "u2", "10.0.0.2", "00:00"),
        ]));
        assert_eq!(
            named(index.find_by_address("10.0.0.2", time("01:00"))),
            Some("b")
        );
        assert_eq!(
            named(index.find_by_address("10.0.0.3", time("01:00"))),
            None
        );
        let by = |uid: &str, name: &str, address: &str| {
            let some = |t: &str| (!t.is_empty()).then(|| t.to_owned());
            let by = Emitter {
                uid: some(uid),
                pod: some(name),
                address: some(address),
                ..Emitter::default()
            };
            named(index.find_by_emitter(&by, time("01:00"))).map(str::to_owned)
        };
        assert_eq!(by("u2", "", ""), Some("b".into()));
        assert_eq!(by("", "a", ""), Some("a".into()));
        assert_eq!(by("unknown", "", "10.0.0.1"), Some("a".into()));
        assert_eq!(by("", "", ""), None);
        let other = Emitter {
            namespace: Some("other".into()),
            pod: Some("a".into()),
            ..Emitter::default()
        };
        assert_eq!(named(index.find_by_emitter(&other, time("01:00"))), None);
    }

    #[test]
    fn one_that_has_gone_is_known_for_a_minute_and_an_address_used_again_is_told_apart() {
        let mut index = PodIndex::default();
        index.update_pods(&map(&[pod("a", "u1", "10.0.0.1", "00:00")]), time("00:10"));
        index.update_pods(&map(&[pod("b", "u2", "10.0.0.1", "01:00")]), time("01:00"));
        assert_eq!(
            named(index.find_by_address("10.0.0.1", time("00:30"))),
            Some("a"),
            "asked before b was made"
        );
        assert_eq!(
            named(index.find_by_address("10.0.0.1", time("01:30"))),
            Some("b")
        );
        let by = Emitter {
            uid: Some("u1".into()),
            ..Emitter::default()
        };
        assert_eq!(named(index.find_by_emitter(&by, time("00:30"))), Some("a"));
        index.update_pods(&map(&[pod("b", "u2", "10.0.0.1", "01:00")]), time("02:01"));
        assert_eq!(
            named(index.find_by_emitter(&by, time("00:30"))),
            None,
            "forgotten"
        );
        assert_eq!(
            named(index.find_by_address("10.0.0.1", time("00:30"))),
            Some("b"),
            "better than nobody"
        );
    }

    #[test]
    fn one_made_again_under_its_name_is_another() {
        let mut index = PodIndex::default();
        index.update_pods(
            &map(&[pod("db-0", "u1", "10.0.0.1", "00:00")]),
            time("00:10"),
        );
        index.update_pods(
            &map(&[pod("db-0", "u2", "10.0.0.2", "00:20")]),
            time("00:20"),
        );
        assert_eq!(
            named(index.find_by_address("10.0.0.1", time("00:15"))),
            Some("db-0")
        );
        assert_eq!(
            index
                .find_by_address("10.0.0.2", time("00:30"))
                .and_then(|p| p.uid.as_ref())
                .map(Uid::as_str),
            Some("u2")
        );
        index.update_pods(&Pods::new(), time("00:40"));
        assert!(index.live.is_empty() && index.by_address.is_empty() && index.by_uid.is_empty());
    }
}
