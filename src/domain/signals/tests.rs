use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::domain::{
    hop::Hop,
    span::Source,
    world::{Pod, pods_by_key},
};

const NOW: i64 = 1_795_467_805;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn base(hash: &str) -> Version {
    Version::Base {
        environment: Some("prod".into()),
        hash: Some(hash.into()),
    }
}

fn request(second: i64, micros: u64, failed: bool) -> RequestSample {
    RequestSample {
        time: at(second),
        micros,
        failed,
        sampled: false,
    }
}

/// Whether a time is within the window's slots up to now.
fn is_in(window: Window, second: i64) -> bool {
    let slots = if window == Window::Minute { 6 } else { 30 };
    let age = NOW.div_euclid(SLOT_SECONDS) - second.div_euclid(SLOT_SECONDS);
    (0..slots).contains(&age)
}

/// Smallest value that at least that share of the values does not exceed.
fn quantile(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    let at = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len());
    values[at - 1]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// In any order, late or early, the figures are the same as from all requests at once.
    #[test]
    fn figures_are_those_of_all_requests_in_the_window(
        all in vec((-400i64..60, 1u64..70_000_000, any::<bool>(), 0usize..3), 1..200),
    ) {
        let mut signals = Signals::default();
        let hashes = ["old", "new", "other"];
        for (ago, micros, failed, version) in &all {
            signals.add_request("a", base(hashes[*version]), request(NOW + ago, *micros, *failed), at(NOW));
        }
        for window in [Window::Minute, Window::FiveMinutes] {
            for hash in hashes {
                let own = all.iter().filter(|(ago, _, _, v)| hashes[*v] == hash && is_in(window, NOW + ago));
                let own: Vec<_> = own.collect();
                let read = signals.read_window("a", |v| *v == base(hash), window, at(NOW));
                prop_assert_eq!(read.requests, own.len() as u64);
                prop_assert_eq!(read.failed, own.iter().filter(|(_, _, failed, _)| *failed).count() as u64);
                let mut micros: Vec<u64> = own.iter().map(|(_, micros, ..)| (*micros).min(60_000_000)).collect();
                for (share, told) in [(0.5, read.p50()), (0.95, read.p95()), (0.99, read.p99())] {
                    let Some(told) = told else {
                        prop_assert!(micros.is_empty());
                        continue;
                    };
                    let exact = quantile(&mut micros, share);
                    let told = told.as_micros() as u64;
                    prop_assert!(told >= exact && told <= exact + exact / 16 + 1, "{} told of {}", told, exact);
                }
            }
        }
        let columns = signals.read_columns("a", |_| true, 30, at(NOW));
        let complete = all.iter().filter(|(ago, ..)| {
            let age = NOW.div_euclid(SLOT_SECONDS) - (NOW + ago).div_euclid(SLOT_SECONDS);
            (1..30).contains(&age)
        });
        prop_assert_eq!(columns.iter().map(|c| c.requests).sum::<u64>(), complete.count() as u64);
    }

    #[test]
    fn what_is_taken_back_was_never_there(
        kept in vec((-290i64..0, 1u64..1_000_000, any::<bool>()), 0..40),
        taken in vec((-290i64..0, 1u64..1_000_000, any::<bool>()), 0..40),
    ) {
        let (mut both, mut only) = (Series::default(), Series::default());
        let of = |(ago, micros, failed): &(i64, u64, bool)| request(NOW + ago, *micros, *failed);
        kept.iter().for_each(|r| assert!(both.add_request(of(r), at(NOW)) && only.add_request(of(r), at(NOW))));
        taken.iter().for_each(|r| assert!(both.add_request(of(r), at(NOW))));
        taken.iter().for_each(|r| both.remove_request(of(r)));
        let read = |series: &Series| {
            let mut reading = WindowStats::default();
            series.add_to_stats(&mut reading, Window::FiveMinutes, at(NOW));
            (reading.requests, reading.failed, reading.p50(), reading.p95(), reading.p99())
        };
        prop_assert_eq!(read(&both), read(&only));
    }

    /// Memory stays small with any apps, versions and times.
    #[test]
    fn memory_is_bounded(names in vec((any::<u16>(), any::<u16>(), -300i64..0), 600)) {
        let mut signals = Signals::default();
        for (app, hash, ago) in names {
            let (app, hash) = (format!("app-{}", app % 500), format!("{}", hash % 30));
            signals.add_request(&app, base(&hash), request(NOW + ago, u64::from(hash.len() as u32) * 977, false), at(NOW));
        }
        prop_assert_eq!(signals.versions, signals.apps.values().map(Vec::len).sum::<usize>());
        prop_assert!(signals.versions <= MAX_VERSIONS && signals.apps.len() <= MAX_VERSIONS);
    }
}

/// Every slot of every version is full.
#[test]
fn the_most_that_it_can_hold() {
    let mut signals = Signals::default();
    for n in 0..MAX_VERSIONS + 50 {
        for slot in 0..30 {
            for micros in [1, 900, 40_000, 59_000_000] {
                let request = request(NOW - slot * SLOT_SECONDS, micros, true);
                signals.add_request(
                    &format!("app-{}", n / 3),
                    base(&n.to_string()),
                    request,
                    at(NOW),
                );
            }
        }
    }
    let bytes: usize = signals
        .apps
        .values()
        .flatten()
        .map(|(_, series)| series.memory_bytes())
        .sum();
    assert_eq!(signals.versions, MAX_VERSIONS);
    assert!(
        bytes / MAX_VERSIONS < 30_000,
        "{} a version",
        bytes / MAX_VERSIONS
    );
    assert!(bytes < 12_000_000, "{bytes}");
}

#[test]
fn the_one_that_was_silent_for_longest_is_forgotten_first() {
    let mut signals = Signals::default();
    signals.add_request("quiet", base("x"), request(NOW - 200, 1, false), at(NOW));
    for n in 0..MAX_VERSIONS {
        signals.add_request("a", base(&n.to_string()), request(NOW, 1, false), at(NOW));
    }
    assert_eq!(signals.apps().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn rates_are_of_the_time_that_somebody_listened() {
    let mut signals = Signals::default();
    for n in 0..20 {
        signals.add_request("a", base("x"), request(NOW - 19 + n, 1000, false), at(NOW));
    }
    let rate = |now| {
        signals
            .read_window("a", |_| true, Window::Minute, at(now))
            .rate()
    };
    assert!((rate(NOW) - 20.0 / 19.0).abs() < 1e-9, "{}", rate(NOW));
    // Five complete slots and four seconds of the sixth, with 16 of the requests.
    assert!(
        (rate(NOW + 39) - 16.0 / 54.0).abs() < 1e-9,
        "{}",
        rate(NOW + 39)
    );
    assert_eq!(rate(NOW + 400), 0.0);
    assert_eq!(signals.active_versions("a", at(NOW + 400)).count(), 0);
}

fn hop(pod: &str, status: u16, source: Option<Source>) -> Hop {
    Hop {
        time: at(NOW - 3),
        namespace: "demo".into(),
        app: "a".into(),
        pod: Some(pod.into()),
        status,
        source,
        micros: 12_000,
        ..Hop::default()
    }
}

fn world(hops: Vec<Hop>) -> World {
    let pod = |name: &str, hash: &str| Pod {
        key: ObjectKey::at_home("demo", name),
        environment: Some("prod".into()),
        hash: Some(hash.into()),
        ..Pod::default()
    };
    World {
        pods: std::sync::Arc::new(pods_by_key([pod("p-old", "old"), pod("p-new", "new")])),
        hops_seen: hops.len() as u64,
        hops: std::sync::Arc::new(hops.into_iter().map(Into::into).collect()),
        ..World::default()
    }
}

#[test]
fn hops_are_counted_once_and_by_the_version_of_their_pod() {
    let gray = Hop {
        pod_tag: Some("gray".into()),
        ..hop("p-gray", 200, None)
    };
    let nobody = Hop {
        pod: None,
        error: Some("connection refused".into()),
        ..hop("", 503, None)
    };
    let hops = vec![
        hop("p-old", 200, None),
        hop("p-new", 500, None),
        hop("p-gone", 404, None),
        gray,
        nobody,
    ];
    let mut world = world(hops);
    let mut signals = Signals::default();
    assert!(signals.follow_world(&world, at(NOW)));
    assert!(!signals.follow_world(&world, at(NOW)), "twice");
    let versions: Vec<Version> = signals.active_versions("a", at(NOW)).cloned().collect();
    let unknown = Version::Base {
        environment: None,
        hash: None,
    };
    assert_eq!(
        versions,
        [
            base("old"),
            base("new"),
            unknown,
            Version::Lane("gray".into()),
            Version::Unknown
        ]
    );
    let read = signals.read_window("a", |_| true, Window::Minute, at(NOW));
    assert_eq!((read.requests, read.failed, read.sampled), (5, 2, false));
    assert_eq!(
        read.p50()
            .map(|d| d / 1000 * 1000 >= Duration::from_millis(12)),
        Some(true)
    );

    // An access log reports every request, spans do not.
    let mut more = (*world.hops).clone();
    more.push(hop("p-old", 200, Some(Source::Traefik)).into());
    (world.hops, world.hops_seen) = (more.clone().into(), 6);
    signals.follow_world(&world, at(NOW));
    let is_sampled = |signals: &Signals| {
        signals
            .read_window("a", |v| *v == base("old"), Window::Minute, at(NOW))
            .sampled
    };
    assert!(!is_sampled(&signals));
    more.push(hop("p-old", 200, Some(Source::Otlp)).into());
    (world.hops, world.hops_seen) = (more.into(), 7);
    signals.follow_world(&world, at(NOW));
    assert!(is_sampled(&signals));
}

#[test]
fn where_hops_were_lost_on_the_way_nothing_is_exact() {
    let mut world = world(vec![hop("p-old", 200, None)]);
    let mut signals = Signals::default();
    signals.follow_world(&world, at(NOW));
    let is_sampled = |signals: &Signals| {
        signals
            .read_window("a", |_| true, Window::FiveMinutes, at(NOW))
            .sampled
    };
    assert!(!is_sampled(&signals));
    let mut missed = signals.clone();
    world.hops_seen = 40;
    missed.follow_world(&world, at(NOW));
    assert!(is_sampled(&missed), "the world did not hold them all");
    (world.hops_seen, world.hops_dropped) = (1, 1);
    signals.follow_world(&world, at(NOW));
    assert!(is_sampled(&signals), "they came too fast");
}
