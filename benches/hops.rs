//! What it costs to read an access log and to make hops of it: `cargo bench --bench hops`.

use std::{collections::BTreeMap, sync::Arc};

use divan::{Bencher, counter::ItemsCount};
use graylane::{
    api::{AccessLog, LaneApp, LaneGroup, LaneGroupSpec, LogFormat},
    domain::{
        access_log::AccessLogReader,
        join::{JoinContext, Joiner},
        pods::PodIndex,
        span::{Emitter, Side, Source, Span, Tag, TagKeys},
        world::{LaneGroups, ObjectKey, Pod, pods_by_key},
    },
};
use jiff::{SignedDuration, Timestamp};

fn main() {
    divan::main();
}

const TRAEFIK: &str = include_str!("../src/domain/access_log/tests/traefik-three-hops.jsonl");
const ENVOY: &str = include_str!("../src/domain/access_log/tests/envoy.jsonl");
/// Requests, of three hops each, that are joined at once.
const TRACES: usize = 1000;

fn reader(format: LogFormat) -> AccessLogReader {
    let keys = TagKeys {
        headers: vec!["x-mse-tag".into()],
        parameters: ["group".into()].into(),
        ..TagKeys::default()
    };
    AccessLogReader::new(
        &AccessLog {
            format,
            ..AccessLog::default()
        },
        &keys,
        Emitter::default(),
    )
}

#[divan::bench]
fn read_traefik(bencher: Bencher) {
    let (reader, line) = (
        reader(LogFormat::Traefik),
        TRAEFIK.lines().next().unwrap_or_default(),
    );
    bencher
        .counter(ItemsCount::new(1usize))
        .bench(|| reader.parse_line(line));
}

#[divan::bench]
fn read_envoy(bencher: Bencher) {
    let line = ENVOY.lines().next().unwrap_or_default().replacen(
        '{',
        r#"{"start_time":"2026-11-29T02:23:16.539Z","#,
        1,
    );
    let reader = reader(LogFormat::Envoy);
    bencher
        .counter(ItemsCount::new(1usize))
        .bench(|| reader.parse_line(&line));
}

/// 10,000 pods; a request's three hops are three of the first.
fn known() -> (PodIndex, LaneGroups) {
    let pod = |n: usize| {
        let key = ObjectKey {
            namespace: "demo".into(),
            name: format!("p{n}"),
        };
        let (app, address) = (
            Some(format!("app-{}", n % 3)),
            Some(format!("10.0.{}.{}", n / 250, n % 250)),
        );
        Pod {
            key,
            app,
            address,
            ready: true,
            ..Pod::default()
        }
    };
    let pods: Vec<Pod> = (0..10_000).map(pod).collect();
    let app = |n: usize| LaneApp {
        app: format!("app-{n}"),
        service: None,
        port: 80,
    };
    let spec = LaneGroupSpec {
        apps: (0..3).map(app).collect(),
        ..LaneGroupSpec::default()
    };
    (
        PodIndex::from_pods(&pods_by_key(pods)),
        BTreeMap::from([("g".to_owned(), Arc::new(LaneGroup::new("g", spec)))]),
    )
}

fn spans(now: Timestamp) -> Vec<Span> {
    let hop = |trace: usize, hop: i64| Span {
        side: Side::Gateway,
        source: Source::Envoy,
        time: now + SignedDuration::from_millis(hop),
        micros: 10_000 - 2_000 * hop.unsigned_abs(),
        trace: format!("{trace:032x}"),
        span: format!("{trace:08x}{hop:08x}"),
        peer: Some(format!("10.0.0.{hop}")),
        caller: Some(if hop == 0 {
            "192.168.0.1".into()
        } else {
            format!("10.0.0.{}", hop - 1)
        }),
        tag: Tag::Value("gray".into()),
        status: Some(200),
        ..Span::default()
    };
    (0..TRACES)
        .flat_map(|trace| (0..3).map(move |n| hop(trace, n)))
        .collect()
}

#[divan::bench]
fn join_three_hops(bencher: Bencher) {
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
    let (pods, groups) = known();
    let counter = ItemsCount::new(3 * TRACES);
    bencher
        .counter(counter)
        .with_inputs(|| spans(now))
        .bench_local_values(|spans| {
            let mut joiner = Joiner::default();
            spans
                .into_iter()
                .for_each(|span| joiner.add_span(span, now));
            joiner
                .settle_traces(
                    now + SignedDuration::from_secs(1),
                    JoinContext {
                        pods: &pods,
                        groups: &groups,
                    },
                )
                .len()
        });
}
