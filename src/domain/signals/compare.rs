//! Decides whether a new version is worse than the old one beside it.
//!
//! There is no result from fewer than [`MIN_REQUESTS`] requests of either version. The new version *fails
//! more* if chance alone would give it that many of the failures with a probability below
//! [`MAX_CHANCE`]: if both versions were alike, each failure would hit the new one as often as any
//! request does (Fisher's exact test, one-sided). Few requests therefore decide only clear cases: 4
//! failures that all hit a new version with a fifth of the requests are enough, 4 failures with
//! half of the requests are not.
//!
//! It *is slower*, with at least [`MIN_REQUESTS_FOR_LATENCY`] requests of each version, if its 95th
//! percentile is at least half as long again, and more of its requests than chance explains took
//! longer than the old version's 95th percentile (up to one in ten counts as chance, because that
//! percentile is itself an estimate).

use std::time::Duration;

use super::window_stats::WindowStats;

/// Minimum number of requests of each version for a result.
pub const MIN_REQUESTS: u64 = 5;
/// The same for latencies: with fewer, there are not three requests above a 95th percentile.
pub const MIN_REQUESTS_FOR_LATENCY: u64 = 60;
/// Probability below which chance is ruled out. It is this small because the comparison is repeated
/// often.
pub const MAX_CHANCE: f64 = 0.002;

/// Result of comparing a new version with the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// One of them has too few requests.
    TooFew,
    /// There is no difference that chance does not explain.
    Alike,
    /// The new version fails more.
    Failing {
        /// Failures of the new version.
        met: u64,
        /// Failures of both versions.
        all: u64,
    },
    /// The new version is slower.
    Slower {
        /// 95th percentile of the old version.
        old: Duration,
        /// 95th percentile of the new version.
        new: Duration,
    },
}

impl Comparison {
    /// Whether the new version is worse, so that someone should look.
    pub const fn is_worse(self) -> bool {
        matches!(self, Self::Failing { .. } | Self::Slower { .. })
    }

    /// Message for people; `name` is the new version: `new is worse: 9 of 9 failures met C new`.
    /// `None` if it is not worse.
    pub fn describe_comparison(self, name: &str) -> Option<String> {
        match self {
            Self::TooFew | Self::Alike => None,
            Self::Failing { met, all } => {
                Some(format!("new is worse: {met} of {all} failures met {name}"))
            }
            Self::Slower { old, new } => {
                let (old, new) = (
                    crate::domain::text::format_duration(old),
                    crate::domain::text::format_duration(new),
                );
                Some(format!(
                    "new is slower: p95 of {name} is {new}, of the old {old}"
                ))
            }
        }
    }
}

/// Compares a new version with the old one.
pub fn compare_versions(old: &WindowStats, new: &WindowStats) -> Comparison {
    if old.requests < MIN_REQUESTS || new.requests < MIN_REQUESTS {
        return Comparison::TooFew;
    }
    let all = old.failed.saturating_add(new.failed);
    if chance_of_failures(old, new) < MAX_CHANCE {
        return Comparison::Failing {
            met: new.failed,
            all,
        };
    }
    let (Some(before), Some(after)) = (old.p95(), new.p95()) else {
        return Comparison::Alike;
    };
    let many = old.requests >= MIN_REQUESTS_FOR_LATENCY && new.requests >= MIN_REQUESTS_FOR_LATENCY;
    if many
        && after.as_micros() * 2 >= before.as_micros() * 3
        && chance_of_slow(before, new) < MAX_CHANCE
    {
        return Comparison::Slower {
            old: before,
            new: after,
        };
    }
    Comparison::Alike
}

/// Probability that chance gives the new version at least that many of all failures.
fn chance_of_failures(old: &WindowStats, new: &WindowStats) -> f64 {
    let (requests, failed) = (old.requests + new.requests, old.failed + new.failed);
    if failed == 0 || new.failed as f64 * requests as f64 <= failed as f64 * new.requests as f64 {
        return 1.0;
    }
    let ways = |n: u64, k: u64| ln_choose(n, k);
    let first = ways(failed, new.failed) + ways(requests - failed, new.requests - new.failed);
    let first = (first - ways(requests, new.requests)).exp();
    sum_tail(first, new.failed, failed.min(new.requests), |k| {
        let ahead = (failed - k) as f64 * (new.requests - k) as f64;
        ahead / ((k + 1) as f64 * (requests - failed + k + 1 - new.requests) as f64)
    })
}

/// Probability that at least that many of the new version's requests take longer than `latency` if
/// one in ten does.
fn chance_of_slow(latency: Duration, new: &WindowStats) -> f64 {
    const SHARE: f64 = 0.1;
    let (all, slow) = (
        new.requests,
        new.count_slower_than(latency).min(new.requests),
    );
    if slow as f64 <= SHARE * all as f64 {
        return 1.0;
    }
    let first =
        ln_choose(all, slow) + slow as f64 * SHARE.ln() + (all - slow) as f64 * (1.0 - SHARE).ln();
    sum_tail(first.exp(), slow, all, |k| {
        (all - k) as f64 / (k + 1) as f64 * SHARE / (1.0 - SHARE)
    })
}

/// Sums a decreasing sequence from member number `from`, which is `first`, to number `to`;
/// `ratio(k)` is the quotient of members `k + 1` and `k`.
fn sum_tail(first: f64, from: u64, to: u64, ratio: impl Fn(u64) -> f64) -> f64 {
    let (mut sum, mut member) = (first, first);
    for k in from..to {
        member *= ratio(k);
        sum += member;
        if member <= sum * 1e-9 {
            break;
        }
    }
    sum.min(1.0)
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n.saturating_sub(k))
}

/// Uses Stirling's series where it is exact enough.
fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return (2..=n).map(|i| (i as f64).ln()).sum();
    }
    let x = n as f64;
    x * x.ln() - x + (std::f64::consts::TAU * x).ln() / 2.0 + 1.0 / (12.0 * x)
        - 1.0 / (360.0 * x.powi(3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(requests: u64, failed: u64) -> WindowStats {
        WindowStats {
            requests,
            failed,
            seconds: 300.0,
            ..WindowStats::default()
        }
    }

    /// Counts all combinations, for small numbers.
    fn exact(old: &WindowStats, new: &WindowStats) -> f64 {
        fn choose(n: u64, k: u64) -> f64 {
            if k > n {
                0.0
            } else {
                (1..=k).map(|i| (n - k + i) as f64 / i as f64).product()
            }
        }
        let (all, failed) = (old.requests + new.requests, old.failed + new.failed);
        let ways = |k: u64| {
            if k > new.requests {
                0.0
            } else {
                choose(failed, k) * choose(all - failed, new.requests - k)
            }
        };
        (new.failed..=failed).map(ways).sum::<f64>() / choose(all, new.requests)
    }

    #[test]
    fn the_rule_as_it_is_told() {
        assert_eq!(
            compare_versions(&told(80, 0), &told(20, 4)),
            Comparison::Failing { met: 4, all: 4 }
        );
        assert_eq!(
            compare_versions(&told(50, 0), &told(50, 4)),
            Comparison::Alike
        );
        assert_eq!(
            compare_versions(&told(30, 0), &told(10, 9))
                .describe_comparison("C new")
                .unwrap(),
            "new is worse: 9 of 9 failures met C new"
        );
        assert_eq!(
            compare_versions(&told(4, 0), &told(50, 50)),
            Comparison::TooFew,
            "nothing to hold it against"
        );
        assert_eq!(
            compare_versions(&told(500, 0), &told(4, 4)),
            Comparison::TooFew
        );
        assert_eq!(
            compare_versions(&told(100, 50), &told(100, 50)),
            Comparison::Alike,
            "both fail alike"
        );
        assert_eq!(
            compare_versions(&told(100, 60), &told(100, 5)),
            Comparison::Alike,
            "the new one is better"
        );
        assert_eq!(
            compare_versions(&told(100, 0), &told(100, 0)),
            Comparison::Alike
        );
        assert!(compare_versions(&told(9_000_000, 90), &told(1_000_000, 900_000)).is_worse());
    }

    proptest! {
        #[test]
        fn chance_is_what_counting_every_way_says(
            (old, of_old) in (1u64..40).prop_flat_map(|n| (Just(n), 0..=n)),
            (new, of_new) in (1u64..40).prop_flat_map(|n| (Just(n), 0..=n)),
        ) {
            let (old, new) = (told(old, of_old), told(new, of_new));
            let (fast, slow) = (chance_of_failures(&old, &new), exact(&old, &new));
            // It is not computed if the new version does not fail more than the old one.
            prop_assert!(fast == 1.0 || (fast - slow).abs() < 1e-6, "{} is {}", fast, slow);
        }

        #[test]
        fn more_failures_never_make_it_look_better(n in 5u64..500, old in 5u64..500, failed in 0u64..500) {
            let failed = failed.min(n - 1);
            let chance = |failed| chance_of_failures(&told(old, 1), &told(n, failed));
            prop_assert!(chance(failed + 1) <= chance(failed) + 1e-9);
        }
    }
}
