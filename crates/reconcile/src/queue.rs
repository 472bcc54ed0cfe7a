//! Keys that wait to be reconciled, as a pure state machine.
//!
//! A key is never reconciled twice at the same time: if it is added meanwhile, it is reconciled once
//! more afterwards. What waits longest comes first. Several changes of one key become one reconcile,
//! which gets the loads of all of them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::backoff::BackoffRange;

/// What a reconcile of a key has to cover; loads of several changes are merged.
pub trait Load: Default {
    /// Adds another load to this one.
    fn merge(&mut self, other: Self);
}

impl Load for () {
    fn merge(&mut self, (): Self) {}
}

/// What came of a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do until something changes.
    Done,
    /// To be reconciled again after this time, or earlier when something changes.
    RequeueAfter(Duration),
    /// Failed: to be tried again after a pause, which doubles with each failure in a row.
    Failed(BackoffRange),
}

/// A work queue of keys `K` with loads `L`.
#[derive(Debug)]
pub struct WorkQueue<K, L = ()> {
    order: VecDeque<K>,
    waiting: BTreeMap<K, L>,
    busy: BTreeSet<K>,
    /// Keys that are due later; the number tells apart those of the same time.
    later: BTreeMap<(Instant, u64), K>,
    due: BTreeMap<K, (Instant, u64)>,
    /// Failures in a row.
    failures: BTreeMap<K, u32>,
    serial: u64,
}

impl<K, L> Default for WorkQueue<K, L> {
    fn default() -> Self {
        Self {
            order: VecDeque::new(),
            waiting: BTreeMap::new(),
            busy: BTreeSet::new(),
            later: BTreeMap::new(),
            due: BTreeMap::new(),
            failures: BTreeMap::new(),
            serial: 0,
        }
    }
}

impl<K: Clone + Ord, L: Load> WorkQueue<K, L> {
    /// Adds a key, or extends the load of one that waits.
    pub fn add(&mut self, key: K, load: L) {
        if !self.waiting.contains_key(&key) {
            self.order.push_back(key.clone());
        }
        self.waiting.entry(key).or_default().merge(load);
    }

    /// Adds a key at a time, unless it is due earlier already.
    pub fn add_at(&mut self, key: K, at: Instant) {
        if let Some(known) = self.due.get(&key) {
            if known.0 <= at {
                return;
            }
            self.later.remove(known);
        }
        self.serial += 1;
        self.due.insert(key.clone(), (at, self.serial));
        self.later.insert((at, self.serial), key);
    }

    /// Adds the keys that are due.
    pub fn add_due(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key, L::default());
        }
    }

    /// When the next key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// When this key is due.
    pub fn due_at(&self, key: &K) -> Option<Instant> {
        self.due.get(key).map(|(at, _)| *at)
    }

    /// Whether the last reconcile of this key failed.
    pub fn has_failed(&self, key: &K) -> bool {
        self.failures.contains_key(key)
    }

    /// Takes the next key that is not under way.
    pub fn take_next(&mut self) -> Option<(K, L)> {
        let at = self.order.iter().position(|key| !self.busy.contains(key))?;
        let key = self.order.remove(at)?;
        let load = self.waiting.remove(&key).unwrap_or_default();
        self.busy.insert(key.clone());
        Some((key, load))
    }

    /// Notes that a reconcile has ended. Returns how long a failed one pauses.
    pub fn finish(&mut self, key: &K, outcome: Outcome, now: Instant) -> Option<Duration> {
        self.busy.remove(key);
        match outcome {
            Outcome::Done => drop(self.failures.remove(key)),
            Outcome::RequeueAfter(pause) => {
                self.failures.remove(key);
                self.add_at(key.clone(), now + pause);
            }
            Outcome::Failed(range) => {
                let failures = self.failures.entry(key.clone()).or_default();
                let pause = range.pause(*failures);
                *failures = failures.saturating_add(1);
                self.add_at(key.clone(), now + pause);
                return Some(pause);
            }
        }
        None
    }

    /// Forgets what is due, and the failures, of all other keys. What waits or is under way stays.
    pub fn retain(&mut self, is_kept: impl Fn(&K) -> bool) {
        self.later.retain(|_, key| is_kept(key));
        self.due.retain(|key, _| is_kept(key));
        self.failures.retain(|key, _| is_kept(key));
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.order.is_empty() && self.busy.is_empty()
    }

    /// Number of keys that wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default)]
    struct Numbers(BTreeSet<u32>);

    impl Load for Numbers {
        fn merge(&mut self, other: Self) {
            self.0.extend(other.0);
        }
    }

    proptest! {
        /// For any order of adding and finishing: no key is reconciled twice at the same time, and
        /// no load is lost or waits for ever.
        #[test]
        fn every_change_is_looked_at_after_it_came(script in prop::collection::vec((0u8..4, 0u8..5, 0u32..50), 0..200)) {
            let now = Instant::now();
            let mut queue = WorkQueue::<u8, Numbers>::default();
            let mut busy: Vec<u8> = vec![];
            let mut asked: BTreeSet<(u8, u32)> = BTreeSet::new();
            let take = |queue: &mut WorkQueue<u8, Numbers>, busy: &mut Vec<u8>, asked: &mut BTreeSet<(u8, u32)>| {
                let Some((key, load)) = queue.take_next() else { return false };
                assert!(!busy.contains(&key), "twice at the same time");
                for number in load.0 {
                    assert!(asked.remove(&(key, number)), "nobody asked");
                }
                busy.push(key);
                true
            };
            for (what, key, number) in script {
                match what {
                    0 => {
                        asked.insert((key, number));
                        queue.add(key, Numbers([number].into()));
                    }
                    1 => drop(take(&mut queue, &mut busy, &mut asked)),
                    2 => queue.add_at(key, now + Duration::from_secs(number.into())),
                    _ => if let Some(key) = busy.pop() {
                        queue.finish(&key, Outcome::Done, now);
                    },
                }
            }
            for key in busy.drain(..) {
                queue.finish(&key, Outcome::Done, now);
            }
            queue.add_due(now + Duration::from_mins(1));
            prop_assert_eq!(queue.next_due(), None);
            while take(&mut queue, &mut busy, &mut asked) {}
            prop_assert!(asked.is_empty(), "{asked:?}");
            for key in &busy {
                queue.finish(key, Outcome::Done, now);
            }
            prop_assert!(queue.is_idle());
        }
    }

    #[test]
    fn who_waits_longest_comes_first_and_nobody_waits_for_one_that_is_under_way() {
        let mut queue = WorkQueue::<u8>::default();
        for key in [1, 2, 1, 3] {
            queue.add(key, ());
        }
        assert_eq!(queue.take_next(), Some((1, ())));
        queue.add(1, ());
        assert_eq!(
            [queue.take_next(), queue.take_next(), queue.take_next()],
            [Some((2, ())), Some((3, ())), None]
        );
        queue.finish(&1, Outcome::Done, Instant::now());
        assert_eq!(queue.take_next(), Some((1, ())));
    }

    #[test]
    fn the_earliest_time_counts_and_failures_pause_longer_and_longer() {
        let (now, seconds) = (Instant::now(), Duration::from_secs);
        let mut queue = WorkQueue::<u8>::default();
        queue.add_at(1, now + seconds(60));
        queue.add_at(1, now + seconds(10));
        queue.add_at(1, now + seconds(30));
        assert_eq!(queue.next_due(), Some(now + seconds(10)));
        queue.add_due(now + seconds(9));
        assert!(queue.is_empty());
        queue.add_due(now + seconds(10));
        assert_eq!((queue.take_next(), queue.next_due()), (Some((1, ())), None));

        let range = BackoffRange {
            first: seconds(1),
            max: seconds(3),
        };
        let mut pauses = vec![];
        for _ in 0..4 {
            pauses.extend(queue.finish(&1, Outcome::Failed(range), now));
            queue.add_due(now + seconds(3));
            queue.take_next();
        }
        assert_eq!(pauses, [1, 2, 3, 3].map(seconds));
        assert!(queue.has_failed(&1));
        queue.finish(&1, Outcome::RequeueAfter(seconds(5)), now);
        assert!(!queue.has_failed(&1));
        assert_eq!(queue.due_at(&1), Some(now + seconds(5)));
        queue.retain(|_| false);
        assert_eq!(queue.next_due(), None);
    }
}
