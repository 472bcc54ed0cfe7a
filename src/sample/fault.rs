//! Faults on demand: `/set-traffic-attribute?rt=200&slowRation=50&exceptionRation=10` delays half
//! of the requests by 200 ms and makes a tenth fail. Counted, not random, so that the shares are
//! exact.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

#[derive(Debug, Default)]
pub(super) struct Faults {
    rt: AtomicU64,
    slow: AtomicU64,
    fail: AtomicU64,
    requests: AtomicU64,
}

/// The fault of one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) delay: Option<Duration>,
    pub(super) fail: bool,
}

/// What is wrong with a query that sets faults.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FaultError {
    #[error("{0:?} is none of rt, slowRation, exceptionRation")]
    UnknownKey(String),
    #[error("{key}: {value:?} is no whole number")]
    NoNumber { key: String, value: String },
    #[error("{key}: at most {most}")]
    TooMuch { key: String, most: u64 },
}

impl Faults {
    /// Sets the faults of a query. Returns the current settings, or what is wrong with the query.
    pub(super) fn set_from_query(&self, query: &str) -> Result<String, FaultError> {
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (place, most) = match key {
                "rt" => (&self.rt, 60_000),
                "slowRation" => (&self.slow, 100),
                "exceptionRation" => (&self.fail, 100),
                _ => {
                    return Err(FaultError::UnknownKey(key.to_owned()));
                }
            };
            let number: u64 = value.parse().map_err(|_| FaultError::NoNumber {
                key: key.to_owned(),
                value: value.to_owned(),
            })?;
            if number > most {
                return Err(FaultError::TooMuch {
                    key: key.to_owned(),
                    most,
                });
            }
            place.store(number, Relaxed);
        }
        let at = |n: &AtomicU64| n.load(Relaxed);
        Ok(format!(
            "rt:{} slowRation:{} exceptionRation:{}",
            at(&self.rt),
            at(&self.slow),
            at(&self.fail)
        ))
    }

    pub(super) fn next(&self) -> Fault {
        let n = self.requests.fetch_add(1, Relaxed);
        let due = |percent: u64| (n + 1) * percent / 100 > n * percent / 100;
        let slow = due(self.slow.load(Relaxed));
        let delay = slow
            .then(|| Duration::from_millis(self.rt.load(Relaxed)))
            .filter(|d| !d.is_zero());
        Fault {
            delay,
            fail: due(self.fail.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_wrong_wishes_refused() {
        let faults = Faults::default();
        assert_eq!(
            faults
                .set_from_query("rt=20&slowRation=50&exceptionRation=10")
                .unwrap(),
            "rt:20 slowRation:50 exceptionRation:10"
        );
        let met: Vec<Fault> = (0..200).map(|_| faults.next()).collect();
        assert_eq!(met.iter().filter(|f| f.fail).count(), 20);
        assert_eq!(
            met.iter()
                .filter(|f| f.delay == Some(Duration::from_millis(20)))
                .count(),
            100
        );
        for wrong in ["x=1", "rt=a", "slowRation=101", "rt"] {
            assert!(faults.set_from_query(wrong).is_err(), "{wrong}");
        }
    }
}
