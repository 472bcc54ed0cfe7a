//! How long pods have been Ready, by the watcher's own clock.
//!
//! The condition's `lastTransitionTime` comes from another machine's clock, which may be off by any
//! amount: compared with the local clock it would let a pod pass too early, or never. Here it only
//! tells one period of readiness from the next; the period is measured from when it was first seen.
//! A watcher that has just started counts from zero: that costs at most a wait of
//! `minReadySeconds`, and never lets anything pass early.

use std::{collections::HashMap, time::Duration};

use super::ObservedPod;
use crate::api::Uid;
use jiff::{SignedDuration, Timestamp};

/// Ready pods by uid, each with its current period of readiness.
#[derive(Debug, Default)]
pub struct ReadyWatch {
    seen: HashMap<Uid, ReadyPeriod>,
}

#[derive(Clone, Copy, Debug)]
struct ReadyPeriod {
    /// Timestamp of its beginning in the pod's condition.
    stamp: Option<Timestamp>,
    /// When it was first seen, by the watcher's clock.
    from: Duration,
}

impl ReadyWatch {
    /// How long a pod has been Ready at `now`, a time on a monotonic clock.
    pub fn ready_duration(&mut self, pod: &ObservedPod, now: Duration) -> SignedDuration {
        let uid = Uid::from_meta(&pod.metadata);
        let Some(ready) = pod.ready else {
            self.seen.remove(&uid);
            return SignedDuration::ZERO;
        };
        let stamp = ready.since;
        let stretch = match self.seen.get(&uid).filter(|s| s.stamp == stamp) {
            Some(known) => *known,
            None => ReadyPeriod { stamp, from: now },
        };
        self.seen.insert(uid, stretch);
        SignedDuration::try_from(now.saturating_sub(stretch.from)).unwrap_or(SignedDuration::MAX)
    }

    /// Forgets pods that no longer exist.
    pub fn retain_pods(&mut self, is_there: impl Fn(&Uid) -> bool) {
        self.seen.retain(|uid, _| is_there(uid));
    }

    /// Number of Ready pods that it knows.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether it knows no Ready pod.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(ready: bool, stamp: &str) -> ObservedPod {
        let status = if ready { "True" } else { "False" };
        let condition = json!({"type": "Ready", "status": status, "lastTransitionTime": stamp});
        let pod = json!({"metadata": {"uid": "u"}, "status": {"conditions": [condition]}});
        serde_json::from_value(pod).unwrap()
    }

    const EARLY: &str = "1970-01-01T00:00:00Z";
    const LATE: &str = "9000-01-01T00:00:00Z";

    #[test]
    fn only_what_was_watched_counts_whatever_the_stamps_say() {
        let at = Duration::from_secs;
        for (first, second) in [(EARLY, LATE), (LATE, EARLY)] {
            let mut watch = ReadyWatch::default();
            let mut lasted =
                |pod: &ObservedPod, seconds| watch.ready_duration(pod, at(seconds)).as_secs();
            assert_eq!(lasted(&pod(false, first), 5), 0);
            assert_eq!(
                (lasted(&pod(true, first), 10), lasted(&pod(true, first), 17)),
                (0, 7),
                "{first}"
            );
            // It stopped being Ready between two observations.
            assert_eq!(
                (
                    lasted(&pod(true, second), 20),
                    lasted(&pod(true, second), 21)
                ),
                (0, 1),
                "{second}"
            );
            assert_eq!(lasted(&pod(false, second), 22), 0);
            assert_eq!(lasted(&pod(true, second), 30), 0, "{second}");
            watch.retain_pods(|uid| uid.as_str() != "u");
            assert!(watch.is_empty());
        }
    }
}
