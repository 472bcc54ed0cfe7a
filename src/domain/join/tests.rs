use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    api::{AccessLog, EntryRoute, Lane, LaneApp, LaneGroup, LaneGroupSpec, LaneSpec, LogFormat},
    domain::{
        access_log::AccessLogReader,
        chain::{Chains, Verdict, assemble_chains},
        span::{Emitter, TagKeys},
        world::{ObjectKey, Pod, World, pods_by_key},
    },
};

/// Apps a, b and c in group g, with a pod each at 127.0.0.11 to 127.0.0.13; those of a and c are
/// gray.
fn world() -> World {
    let app = |name: &str| LaneApp {
        app: name.into(),
        service: None,
        port: 80,
    };
    let mut spec = LaneGroupSpec {
        apps: ["a", "b", "c"].map(app).into(),
        ..LaneGroupSpec::default()
    };
    spec.entry.routes = vec![EntryRoute {
        path: "/A".into(),
        app: "a".into(),
        rewrite: None,
    }];
    let pod = |(app, end, gray): (&str, u8, bool)| {
        let name = format!("{app}-{}", if gray { "gray" } else { "prod" });
        Pod {
            key: ObjectKey::at_home("demo", &name),
            app: Some(app.into()),
            tag: gray.then(|| "gray".into()),
            uid: Some(format!("uid-{app}").into()),
            address: Some(format!("127.0.0.{end}")),
            ready: true,
            ..Pod::default()
        }
    };
    World {
        groups: Arc::new(BTreeMap::from([(
            "g".into(),
            Arc::new(LaneGroup::new("g", spec)),
        )])),
        pods: Arc::new(pods_by_key(
            [("a", 11, true), ("b", 12, false), ("c", 13, true)].map(pod),
        )),
        ..World::default()
    }
}

fn now() -> Timestamp {
    "2026-11-29T02:36:00Z".parse().unwrap()
}

fn join(spans: impl IntoIterator<Item = Span>) -> Vec<Hop> {
    let mut joiner = Joiner::default();
    spans
        .into_iter()
        .for_each(|span| joiner.add_span(span, now()));
    settle(&mut joiner, now() + SignedDuration::from_secs(10))
}

/// Joins spans with that many milliseconds after each one, and returns each hop as last reported.
fn join_slowly(spans: impl IntoIterator<Item = (Span, i64)>) -> Vec<Hop> {
    let (mut joiner, mut at) = (Joiner::default(), now());
    let mut hops: Vec<Hop> = vec![];
    let mut told = |more: Vec<Hop>| {
        for hop in more {
            let before = hops
                .iter_mut()
                .find(|h| h.span == hop.span)
                .filter(|_| hop.amends);
            match before {
                Some(before) => *before = hop,
                None => hops.push(hop),
            }
        }
    };
    for (span, pause) in spans {
        joiner.add_span(span, at);
        at += SignedDuration::from_millis(pause);
        told(settle(&mut joiner, at));
    }
    told(settle(&mut joiner, at + SignedDuration::from_secs(10)));
    hops.sort_by(|a, b| (a.time, &a.span).cmp(&(b.time, &b.span)));
    hops
}

fn settle(joiner: &mut Joiner, at: Timestamp) -> Vec<Hop> {
    let world = world();
    let pods = PodIndex::from_pods(&world.pods);
    let hops = joiner.settle_traces(
        at,
        JoinContext {
            pods: &pods,
            groups: &world.groups,
        },
    );
    hops.into_iter().map(Arc::unwrap_or_clone).collect()
}

/// App, caller's app, tag, pod's tag.
type Row = (String, Option<String>, Option<String>, Option<String>);

fn told(hops: &[Hop]) -> Vec<Row> {
    let app_of = |span: &String| {
        hops.iter()
            .find(|h| h.span == *span)
            .map_or(span.clone(), |h| h.app.clone())
    };
    hops.iter()
        .map(|h| {
            (
                h.app.clone(),
                h.parent.as_ref().map(app_of),
                h.tag.clone(),
                h.pod_tag.clone(),
            )
        })
        .collect()
}

fn expected(all: &[(&str, &str, &str, &str)]) -> Vec<Row> {
    let some = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    all.iter()
        .map(|(app, by, tag, pod)| ((*app).to_owned(), some(by), some(tag), some(pod)))
        .collect()
}

const STORY: &[(&str, &str, &str, &str)] = &[
    ("a", "", "gray", "gray"),
    ("b", "a", "gray", ""),
    ("c", "b", "gray", "gray"),
];

fn traefiks() -> Vec<Span> {
    let keys = TagKeys {
        headers: vec!["x-mse-tag".into()],
        parameters: ["group".into()].into(),
        ..TagKeys::default()
    };
    let log = AccessLog {
        format: LogFormat::Traefik,
        ..AccessLog::default()
    };
    let reader = AccessLogReader::new(
        &log,
        &keys,
        Emitter {
            service: "gw".into(),
            ..Emitter::default()
        },
    );
    let lines = include_str!("../access_log/tests/traefik-three-hops.jsonl").lines();
    lines.map(|line| reader.parse_line(line).unwrap()).collect()
}

/// A span of one trace, with its start and its duration in milliseconds.
fn span(side: Side, id: &str, parent: &str, at: i64, took: u64) -> Span {
    let some = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    Span {
        side,
        time: now() + SignedDuration::from_millis(at),
        micros: took * 1000,
        trace: "t".into(),
        span: id.into(),
        parent: some(parent),
        status: Some(200),
        ..Span::default()
    }
}

fn by_gateway(span: Span) -> Span {
    Span {
        by: Emitter {
            service: "gw".into(),
            ..Emitter::default()
        },
        ..span
    }
}

fn by_pod(app: &str, span: Span) -> Span {
    let uid = Some(format!("uid-{app}"));
    Span {
        by: Emitter {
            service: app.into(),
            uid,
            ..Emitter::default()
        },
        ..span
    }
}

fn to(address: &str, span: Span) -> Span {
    Span {
        peer: Some(address.into()),
        ..span
    }
}

fn tagged(tag: &str, span: Span) -> Span {
    Span {
        tag: Tag::from_reported(tag),
        ..span
    }
}

/// Three hops through one gateway where every party has spans: Traefik and services with an SDK.
fn traced() -> Vec<Span> {
    let mut all = vec![];
    for (i, (app, address)) in [
        ("a", "127.0.0.11"),
        ("b", "127.0.0.12"),
        ("c", "127.0.0.13"),
    ]
    .into_iter()
    .enumerate()
    {
        let at = i64::try_from(i).unwrap() * 10;
        let took = 100 - 20 * i as u64;
        let caller = if i == 0 {
            String::new()
        } else {
            format!("out{}", i - 1)
        };
        let taken = by_gateway(span(Side::Server, &format!("in{i}"), &caller, at, took));
        all.push(tagged(
            "gray",
            Span {
                path: format!("/{i}"),
                ..taken
            },
        ));
        let inner = span(
            Side::Inner,
            &format!("route{i}"),
            &format!("in{i}"),
            at + 1,
            took - 2,
        );
        all.push(by_gateway(inner));
        let sent = span(
            Side::Client,
            &format!("sent{i}"),
            &format!("route{i}"),
            at + 1,
            took - 2,
        );
        all.push(to(address, tagged("gray", by_gateway(sent))));
        all.push(by_pod(
            app,
            span(
                Side::Server,
                &format!("own{i}"),
                &format!("sent{i}"),
                at + 2,
                took - 4,
            ),
        ));
        // The SDK names the Service, not the pod.
        all.push(by_pod(
            app,
            span(
                Side::Client,
                &format!("out{i}"),
                &format!("own{i}"),
                at + 3,
                took - 6,
            ),
        ));
    }
    all
}

#[test]
fn traefiks_log_alone_gives_the_whole_chain() {
    let hops = join(traefiks());
    assert_eq!(told(&hops), expected(STORY));
    assert_eq!(
        (hops[0].entry, &*hops[0].path, hops[0].micros),
        (true, "/A/a?group=gray", 4410)
    );
    assert!(
        hops.iter()
            .all(|h| h.group.as_deref() == Some("g") && h.namespace == "demo" && !h.tag_unknown)
    );
    let hops: Vec<Arc<Hop>> = hops.into_iter().map(Arc::new).collect();
    let chains = assemble_chains(&hops, &world(), Timestamp::MAX);
    assert_eq!(chains.len(), 1);
    assert_eq!(
        chains[0].steps.iter().map(|s| s.depth).collect::<Vec<_>>(),
        [0, 1, 2]
    );
}

#[test]
fn spans_alone_give_the_same_chain() {
    let hops = join(traced());
    assert_eq!(told(&hops), expected(STORY));
    assert_eq!(
        (&*hops[0].path, hops[0].entry, hops[1].entry),
        ("/0", true, false)
    );
}

#[test]
fn services_that_tell_nothing_and_proxies_that_tell_nothing_leave_the_others_tied() {
    let without = |gone: &dyn Fn(&Span) -> bool| join(traced().into_iter().filter(|s| !gone(s)));
    let of_pods = |s: &Span| s.by.uid.is_some();
    // Without the services' spans, only the callers' addresses could connect the gateway's spans,
    // and OTLP does not report these.
    let hops = without(&of_pods);
    assert_eq!(hops.len(), 3);
    // Without the gateway's spans, the services' spans connect where they propagate the trace.
    let own: Vec<Span> = traced().into_iter().filter(of_pods).collect();
    let tied = own.into_iter().map(|s| match s.span.as_str() {
        "own1" => tagged(
            "gray",
            Span {
                parent: Some("out0".into()),
                ..s
            },
        ),
        "own2" => tagged(
            "gray",
            Span {
                parent: Some("out1".into()),
                ..s
            },
        ),
        "own0" => tagged("gray", Span { parent: None, ..s }),
        _ => s,
    });
    assert_eq!(told(&join(tied)), expected(STORY));
}

#[test]
fn services_that_only_pass_the_trace_on_are_tied_by_what_the_gateway_sent() {
    // A service without an SDK passes on the span id that its gateway sent.
    let spans = traced()
        .into_iter()
        .filter(|s| s.by.uid.is_none())
        .map(|s| match s.span.as_str() {
            "in1" => Span {
                parent: Some("sent0".into()),
                ..s
            },
            "in2" => Span {
                parent: Some("sent1".into()),
                ..s
            },
            _ => s,
        });
    let hops = join(spans);
    assert_eq!(told(&hops), expected(STORY));
    assert!(hops[0].entry && !hops[1].entry && !hops[2].entry);
}

#[test]
fn a_lost_tag_is_absent_and_one_that_nobody_tells_is_unknown() {
    let quiet = |from: usize| {
        let mut spans = traefiks();
        spans.sort_by_key(|s| s.time);
        spans[from..].iter_mut().for_each(|s| s.tag = Tag::Unknown);
        join(spans)
    };
    let hops = quiet(1);
    assert_eq!(
        told(&hops),
        expected(&[
            ("a", "", "gray", "gray"),
            ("b", "a", "", ""),
            ("c", "b", "", "gray")
        ])
    );
    assert!(
        hops.iter().all(|h| !h.tag_unknown),
        "this log has told a tag, so a line without one had none"
    );
    assert!(
        quiet(0).iter().all(|h| h.tag_unknown),
        "this log never told one"
    );
}

#[test]
fn what_the_caller_sent_counts_where_the_gateway_colours_anew() {
    let spans = traced()
        .into_iter()
        .map(|s| if s.span == "in1" { tagged("-", s) } else { s });
    let hops = join(spans);
    assert_eq!(
        (hops[1].tag.as_deref(), hops[1].tag_unknown),
        (None, false),
        "a dropped it"
    );
    assert_eq!(
        hops[0].tag.as_deref(),
        Some("gray"),
        "at the entry it is as coloured"
    );
}

#[test]
fn a_log_and_spans_of_the_same_requests_are_the_same_hops() {
    // Traefik logs the id of its own span, Envoy the id that it sends on.
    for id in ["in", "sent"] {
        let line = |i: usize, app: &str| {
            let at = i64::try_from(i).unwrap() * 10;
            let line = span(
                Side::Gateway,
                &format!("{id}{i}"),
                "",
                at,
                100 - 20 * i as u64,
            );
            let line = to(
                &format!("127.0.0.1{}", i + 1),
                tagged("gray", by_gateway(line)),
            );
            Span {
                source: Source::Envoy,
                path: format!("/{app}"),
                ..line
            }
        };
        let lines = ["a", "b", "c"]
            .into_iter()
            .enumerate()
            .map(|(i, app)| line(i, app));
        let hops = join(lines.chain(traced()));
        assert_eq!(told(&hops), expected(STORY), "{id}");
        assert!(
            hops.iter().all(|h| h.source == Some(Source::Envoy)),
            "the log is exact"
        );
    }
}

#[test]
fn sidecars_on_both_sides_are_one_hop_and_zipkins_shared_ids_too() {
    let hops = join([
        by_pod("a", span(Side::Server, "1", "", 0, 100)),
        by_pod("a", span(Side::Client, "2", "1", 1, 90)),
        // The caller's sidecar knows the pod.
        to(
            "127.0.0.12",
            tagged("gray", by_pod("a", span(Side::Client, "3", "2", 2, 80))),
        ),
        // The callee's sidecar receives the request and passes it on within the pod.
        tagged("gray", by_pod("b", span(Side::Server, "4", "3", 3, 70))),
        to(
            "127.0.0.12",
            by_pod("b", span(Side::Client, "5", "4", 4, 60)),
        ),
        by_pod("b", span(Side::Server, "6", "5", 5, 50)),
    ]);
    assert_eq!(
        told(&hops),
        expected(&[("a", "", "", "gray"), ("b", "a", "gray", "")])
    );
    let hops = join([
        by_pod("a", span(Side::Server, "1", "", 0, 100)),
        to(
            "127.0.0.12",
            tagged("gray", by_pod("a", span(Side::Client, "2", "1", 1, 90))),
        ),
        by_pod("b", span(Side::Server, "2", "1", 2, 80)),
        to(
            "127.0.0.13",
            tagged("gray", by_pod("b", span(Side::Client, "3", "2", 3, 70))),
        ),
    ]);
    assert_eq!(
        told(&hops),
        expected(&[
            ("a", "", "", "gray"),
            ("b", "a", "gray", ""),
            ("c", "b", "gray", "gray")
        ])
    );
}

#[test]
fn who_failed_without_a_pod_is_known_by_the_route() {
    let line = |route: &str| {
        let line = by_gateway(span(Side::Gateway, "1", "", 0, 3));
        let line = Span {
            route: Some(route.into()),
            path: "/A/a".into(),
            status: Some(503),
            ..line
        };
        join([tagged("gray", line)])
    };
    for (route, app) in [
        (
            "httproute-demo-g-entry-gw-demo-gw-ep-web-0-1c0@kubernetesgateway",
            "a",
        ),
        ("httproute/demo/g-b/rule/0/match/0/*", "b"),
        ("demo.g-c.0", "c"),
    ] {
        let hops = line(route);
        assert_eq!(
            (hops.len(), &*hops[0].app, hops[0].pod.as_deref()),
            (1, app, None),
            "{route}"
        );
        assert_eq!((hops[0].status, hops[0].group.as_deref()), (503, Some("g")));
    }
    assert!(line("somebody-else@file").is_empty(), "not ours");
    assert!(line("demo.gg-c.0").is_empty() && line("demo.g-cc.0").is_empty());
}

#[test]
fn a_pod_whose_own_hop_nobody_told_is_an_orphans_caller() {
    let mut spans = traefiks();
    spans.retain(|s| s.peer.as_deref() != Some("127.0.0.12"));
    let hops = join(spans);
    let c = hops.iter().find(|h| h.app == "c").unwrap();
    assert!(!c.entry && c.parent.is_some());
    assert!(hops.iter().all(|h| h.parent != Some(hops[0].span.clone())));
}

#[test]
fn hops_are_told_once_when_their_trace_is_quiet_and_late_spans_complete_them() {
    let mut joiner = Joiner::default();
    let mut at = now();
    for span in traefiks() {
        joiner.add_span(span.clone(), at);
        joiner.add_span(span, at);
        at += SignedDuration::from_millis(100);
    }
    assert_eq!(settle(&mut joiner, at).len(), 0);
    assert_eq!(
        joiner.next_due(),
        Some(at + SignedDuration::from_millis(50))
    );
    let hops = settle(&mut joiner, at + SignedDuration::from_millis(50));
    assert_eq!(told(&hops), expected(STORY));
    // c's own span comes later, and so does a span of a hop that no log reported.
    let trace = hops[0].trace.clone();
    let of_trace = |s: Span, time: Timestamp| Span {
        trace: trace.clone(),
        time,
        ..s
    };
    joiner.add_span(
        of_trace(
            by_pod("c", span(Side::Server, "own", "", 0, 0)),
            hops[2].time,
        ),
        at,
    );
    let late = to(
        "127.0.0.11",
        tagged("gray", by_pod("c", span(Side::Client, "late", "own", 0, 0))),
    );
    joiner.add_span(of_trace(late, hops[2].time), at);
    let more = settle(&mut joiner, at + SignedDuration::from_secs(6));
    assert_eq!(
        (more.len(), &*more[0].app, more[0].parent.as_deref()),
        (1, "a", Some(&*hops[2].span))
    );
    assert_eq!(settle(&mut joiner, at + SignedDuration::from_secs(200)), []);
    assert_eq!(
        (joiner.held, joiner.traces.len(), joiner.order.len()),
        (0, 0, 0)
    );
}

/// A gateway that buffers its lines, an engine that dies between two lines, or a caller that
/// answers much later.
#[test]
fn a_caller_that_is_told_late_is_who_called() {
    let mut lines = traefiks();
    lines.sort_by_key(|s| std::cmp::Reverse(s.time));
    let hops = join_slowly(lines.into_iter().map(|line| (line, 20_000)));
    assert_eq!(told(&hops), expected(STORY));
    assert_eq!(
        hops.iter().map(|h| h.amends).collect::<Vec<_>>(),
        [false, true, true]
    );
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut joiner = Joiner::default();
    for n in 0..3 * MAX_SPANS {
        let trace = if n % 2 == 0 {
            "one".to_owned()
        } else {
            format!("t{n}")
        };
        joiner.add_span(
            Span {
                trace,
                span: n.to_string(),
                ..Span::default()
            },
            now(),
        );
    }
    assert!(joiner.held <= MAX_SPANS && joiner.order.len() == joiner.traces.len());
    assert_eq!(
        joiner.traces.values().map(|t| t.spans.len()).sum::<usize>(),
        joiner.held
    );
    assert!(joiner.dropped_spans() > 0);
    settle(&mut joiner, now() + SignedDuration::from_secs(100));
    assert_eq!((joiner.held, joiner.due.len()), (0, 0));
}

/// Arbitrary spans: cycles of parents, shared ids, odd times.
fn any_spans() -> impl Strategy<Value = Vec<Span>> {
    let id = || prop::sample::select(&["1", "2", "3", "4", "5"][..]);
    let side = prop::sample::select(&[Side::Inner, Side::Client, Side::Server, Side::Gateway][..]);
    let address = || {
        prop::option::of(prop::sample::select(
            &["127.0.0.11", "127.0.0.12", "127.0.0.13", "10.0.0.1"][..],
        ))
    };
    let by = prop::option::of(prop::sample::select(&["a", "b", "c"][..]));
    let tag = prop::sample::select(vec![Tag::Unknown, Tag::Absent, Tag::Value("gray".into())]);
    let one = (
        side,
        id(),
        prop::option::of(id()),
        address(),
        address(),
        by,
        tag,
        -200_i64..200,
        0_u64..200,
    );
    let one = one.prop_map(|(side, id, parent, peer, caller, by, tag, at, took)| {
        let span = span(side, id, parent.unwrap_or_default(), at, took);
        let span = Span {
            peer: peer.map(Into::into),
            caller: caller.map(Into::into),
            tag,
            ..span
        };
        by.map_or_else(|| by_gateway(span.clone()), |app| by_pod(app, span.clone()))
    });
    prop::collection::vec(one, 0..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn lines_of_a_log_give_the_same_chain_in_any_order_at_any_pace(
        lines in Just(traefiks()).prop_shuffle(), pauses in prop::collection::vec(0_i64..30_000, 3),
    ) {
        let mut hops = join_slowly(lines.into_iter().zip(pauses));
        hops.iter_mut().for_each(|h| h.amends = false);
        prop_assert_eq!(hops, join(traefiks()));
    }

    /// With spans of all parties, the callers, pods and tags are in the end the same as if all had
    /// come at once.
    #[test]
    fn spans_give_the_same_chain_in_any_order_at_any_pace(
        spans in Just(traced()).prop_shuffle(), pauses in prop::collection::vec(0_i64..20_000, 15),
    ) {
        let pace = spans.into_iter().zip(pauses);
        prop_assert_eq!(told(&join_slowly(pace)), expected(STORY));
    }

    #[test]
    fn any_order_gives_the_same_hops_each_once_without_loops(spans in any_spans(), seed in any::<u64>()) {
        // Of two spans with the same key only the first counts, so keep one of each here.
        let mut unique: Vec<Span> = vec![];
        for span in spans {
            if !unique.iter().any(|s| span_key(s) == span_key(&span)) {
                unique.push(span);
            }
        }
        let hops = join(unique.clone());
        let mut shuffled = unique.clone();
        shuffled.sort_by_key(|s| xxhash_rust::xxh3::xxh3_64_with_seed(format!("{s:?}").as_bytes(), seed));
        prop_assert_eq!(&join(shuffled), &hops);
        let mut ids: Vec<&str> = hops.iter().map(|h| h.span.as_str()).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        let evidence = unique.iter().filter(|s| s.side != Side::Inner).count();
        prop_assert!(all <= evidence);
        // Only Zipkin's intended sharing of ids gives two hops one id.
        let doubled = unique.iter().any(|s| unique.iter().any(|o| o.span == s.span && o.side != s.side));
        prop_assert!(ids.len() == all || doubled);
        let hops: Vec<Arc<Hop>> = hops.into_iter().map(Arc::new).collect();
        assemble_chains(&hops, &world(), Timestamp::MAX);
    }
}

/// One request through three hops as every party reports it: for each hop the gateway's log line,
/// its server span and its client span, the pod's own span, and the call that the pod made. From
/// hop `lost` on the tag is gone.
fn seen_by_all(lost: usize) -> Vec<Span> {
    let mut all = vec![];
    for (i, app) in ["a", "b", "c"].into_iter().enumerate() {
        let at = i64::try_from(i).unwrap() * 10;
        let took = 100 - 20 * i as u64;
        let tagged = i < lost;
        // c's gray pod is called only with the tag.
        let address = match app {
            "a" if tagged => "127.0.0.11",
            "a" => "127.0.0.21",
            "b" => "127.0.0.12",
            _ if tagged => "127.0.0.13",
            _ => "127.0.0.23",
        };
        let pod = if address.starts_with("127.0.0.2") {
            format!("{app}2")
        } else {
            app.to_owned()
        };
        let tag = if tagged {
            Tag::Value("gray".into())
        } else {
            Tag::Absent
        };
        let came = if i == 0 { Tag::Absent } else { tag.clone() };
        let parent = if i == 0 {
            String::new()
        } else {
            format!("out{}", i - 1)
        };
        let line = to(
            address,
            by_gateway(span(Side::Gateway, &format!("in{i}"), "", at, took)),
        );
        let callers = [
            "127.0.0.1",
            if lost > 0 { "127.0.0.11" } else { "127.0.0.21" },
            "127.0.0.12",
        ];
        let caller = Some(callers[i]);
        all.push(Span {
            source: Source::Traefik,
            tag: tag.clone(),
            caller: caller.map(Into::into),
            ..line
        });
        all.push(Span {
            tag: came,
            ..by_gateway(span(Side::Server, &format!("in{i}"), &parent, at, took))
        });
        let sent = to(
            address,
            by_gateway(span(
                Side::Client,
                &format!("sent{i}"),
                &format!("in{i}"),
                at + 1,
                took - 2,
            )),
        );
        all.push(Span {
            tag: tag.clone(),
            ..sent
        });
        let own = by_pod(
            &pod,
            span(
                Side::Server,
                &format!("own{i}"),
                &format!("sent{i}"),
                at + 2,
                took - 4,
            ),
        );
        all.push(Span { tag, ..own });
        all.push(by_pod(
            &pod,
            span(
                Side::Client,
                &format!("out{i}"),
                &format!("own{i}"),
                at + 3,
                took - 6,
            ),
        ));
    }
    all
}

/// The lane is open; a and c have gray pods and baseline pods.
fn open_world() -> World {
    let mut world = world();
    for (app, end) in [("a", 21), ("c", 23)] {
        let found = world.pods.values().find(|p| p.app.as_deref() == Some(app));
        let mut pod = Pod::clone(found.unwrap());
        pod.key.name = format!("{app}-prod");
        (pod.tag, pod.uid, pod.address) = (
            None,
            Some(format!("uid-{app}2").into()),
            Some(format!("127.0.0.{end}")),
        );
        Arc::make_mut(&mut world.pods).extend(pods_by_key([pod]));
    }
    let spec = LaneSpec {
        group: "g".into(),
        tag: "gray".into(),
        enabled: true,
        ..LaneSpec::default()
    };
    world.lanes = Arc::new(BTreeMap::from([(
        "l".into(),
        Arc::new(Lane::new("l", spec)),
    )]));
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whichever spans are missing, in any order and at any pace, and whichever parties never
    /// report the tag: no hop is blamed wrongly, neither now nor in the end, and each has its pod.
    #[test]
    fn what_is_left_out_or_late_makes_no_wrong_verdict(
        (lost, spans) in (0_usize..4).prop_flat_map(|lost| (Just(lost), Just(seen_by_all(lost)).prop_shuffle())),
        told in prop::collection::vec(prop::option::of(pause()), 15),
        silent in prop::collection::vec(any::<bool>(), 12),
    ) {
        let mut world = open_world();
        let pods = PodIndex::from_pods(&world.pods);
        let (mut joiner, mut chains, mut at) = (Joiner::default(), Chains::new(10), now());
        let mut look = |joiner: &mut Joiner, at: Timestamp| {
            let hops = joiner.settle_traces(at, JoinContext { pods: &pods, groups: &world.groups });
            world.hops_seen += hops.len() as u64;
            Arc::make_mut(&mut world.hops).extend(hops);
            chains.follow_world(&world, at);
            for chain in chains.all_chains() {
                for (at, step) in chain.steps.iter().enumerate() {
                    let right = match step.verdict {
                        Verdict::Lost => lost > 0 && place(&step.app) >= lost && at > 0,
                        verdict => !verdict.is_bad(),
                    };
                    prop_assert!(right, "{lost}: {:?}", chain.steps);
                }
            }
            Ok(world.hops_of_trace("t"))
        };
        for (mut span, pause) in spans.into_iter().zip(told).filter_map(|(span, pause)| Some((span, pause?))) {
            let who = usize::from(span.by.service.as_bytes().first().is_some_and(|b| *b != b'g'));
            let kind = match span.side { Side::Gateway => 0, Side::Client => 1, _ => 2 };
            if silent[who * 3 + kind] {
                span.tag = Tag::Unknown;
            }
            joiner.add_span(span, at);
            at += SignedDuration::from_millis(pause);
            look(&mut joiner, at)?;
        }
        let hops = look(&mut joiner, at + SignedDuration::from_secs(20))?;
        prop_assert!(hops.len() <= 3, "{:?}", told_of(&hops));
        for hop in &hops {
            let tagged = place(&hop.app) < lost;
            prop_assert_eq!(hop.pod_tag.is_some(), tagged && hop.app != "b");
            prop_assert!(hop.tag_unknown || hop.tag.is_some() == tagged, "{hop:?}");
        }
    }
}

/// Milliseconds until the next span, mostly 0.
fn pause() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0_i64), 1 => 0_i64..12_000]
}

fn place(app: &str) -> usize {
    ["a", "b", "c"].iter().position(|a| *a == app).unwrap_or(3)
}

fn told_of(hops: &[Arc<Hop>]) -> Vec<(&str, &str)> {
    hops.iter().map(|h| (&*h.app, &*h.span)).collect()
}
