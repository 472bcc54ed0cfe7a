//! `lane explain` against the gateway itself: the same groups, lanes and requests, and the same answers.

use std::{net::SocketAddr, sync::Mutex};

use graylane::{
    api::{Entry, EntryRoute, Lane, LaneApp, LaneGroup, LaneGroupSpec, LaneSpec},
    domain::{
        lanes::{EntryContext, EntryOutcome, Explanation, explain_request, text},
        request::parse_request,
    },
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{
    backend::{self, Seen},
    requests::answers,
    rig::Rig,
};
use crate::ports::free;

const PATHS: &[&str] = &[
    "/A",
    "/A/",
    "/A/a",
    "/Ab",
    "/A/deep",
    "/A/deep/x",
    "/B/b",
    "/",
    "/nope",
    "//A/a",
    "/%41/a",
    "/A/./a",
    "/A/../B/x",
    "/A/b/%2e%2E/a",
    "/..",
    "/A/..%2fB",
    "/A/..;/B",
    "/B/a%20b",
    "*",
    "http://shop.example/A/a",
    "http://x.shop.example:81/A/../B/x",
    "http://other",
    "http://u@shop.example/A/a",
    "https://shop.example/A/a",
    "ftp://shop.example/A/a",
];
const HEADERS: &[&str] = &[
    "x-user: 7",
    "X-User: 8",
    "x-user: \"7\"",
    "cookie: uid=1; b=\"2\"",
    "cookie: uid=\"1",
    "cookie: uid=2",
    "x-mse-tag: own",
    "connection: close, x-user",
    "connection: close, x-mse-tag, cookie",
    "x_mse_tag: spoofed",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "traceparent: nonsense",
    "traceparent: 00-00000000000000000000000000000abc-b7ad6b7169203331-01",
    "te: trailers",
    "expect: x",
];
const HOSTS: &[&str] = &[
    "shop.example",
    "SHOP.example:80",
    "x.shop.example",
    "other",
    "a b",
    "",
];
const CONDITIONS: &[&str] = &[
    "parameter group == gray",
    "parameter group in a,b",
    "parameter x exists",
    "header x-user == 7",
    "header x-user != 7",
    "cookie uid == 1",
    "cookie uid exists",
    "cookie b == 2",
    "method == POST",
    "header host prefix shop",
    "header x-mse-tag == own",
    "parameter group percent 50",
    "header te exists",
    "header traceparent exists",
];

#[derive(Clone, Debug)]
struct Case {
    host: Option<&'static str>,
    may_tag: bool,
    lanes: Vec<Lane>,
    requests: Vec<(String, Vec<String>)>,
}

fn lane() -> impl Strategy<Value = LaneSpec> {
    let conditions = || prop::collection::vec(prop::sample::select(CONDITIONS), 0..2);
    let paths = prop::collection::vec(
        prop::sample::select(&["/A", "/A/deep", "/B", "/nope"][..]),
        0..2,
    );
    let share = prop::option::weighted(0.3, prop::sample::select(&[0.0, 12.5, 50.0, 100.0][..]));
    (
        conditions(),
        conditions(),
        paths,
        share,
        -1..2_i32,
        prop::bool::weighted(0.9),
    )
        .prop_map(|(all, any, paths, share, priority, enabled)| {
            let read = |texts: Vec<&str>| {
                texts
                    .into_iter()
                    .map(|t| text::parse_condition(t).unwrap())
                    .collect()
            };
            let mut spec = LaneSpec {
                group: "g".into(),
                priority,
                enabled,
                share,
                ..LaneSpec::default()
            };
            spec.rule.paths = paths.into_iter().map(Into::into).collect();
            (spec.rule.all, spec.rule.any) = (read(all), read(any));
            spec
        })
}

fn cases() -> impl Strategy<Value = Case> {
    let query = prop::sample::select(
        &[
            "",
            "?group=gray",
            "?group=a&x",
            "?gr%6fup=gray",
            "?group=x&group=gray",
            "?",
        ][..],
    );
    let method = prop::sample::select(&["GET", "POST", "OPTIONS", "CONNECT", "M-SEARCH"][..]);
    let request = (
        method,
        prop::sample::select(PATHS),
        query,
        prop::sample::select(HOSTS),
        prop::sample::subsequence(HEADERS, 0..4),
    )
        .prop_map(|(method, path, query, host, headers)| {
            let mut headers: Vec<String> = headers.into_iter().map(str::to_owned).collect();
            headers.push(format!("host: {host}"));
            (format!("{method} {path}{query}"), headers)
        });
    let host =
        prop::sample::select(&[None, None, Some("shop.example"), Some("*.shop.example")][..]);
    (
        host,
        any::<bool>(),
        prop::collection::vec(lane(), 0..5),
        prop::collection::vec(request, 1..8),
    )
        .prop_map(|(host, may_tag, lanes, requests)| {
            let named = |(i, mut spec): (usize, LaneSpec)| {
                spec.tag = format!("t{i}");
                let mut lane = Lane::new(&format!("l{i}"), spec);
                lane.metadata.namespace = Some("ns".into());
                lane
            };
            Case {
                host,
                may_tag,
                lanes: lanes.into_iter().enumerate().map(named).collect(),
                requests,
            }
        })
}

fn group(host: Option<&str>, may_tag: bool, port: u16) -> LaneGroup {
    let route = |path: &str| EntryRoute {
        path: path.into(),
        app: "a".into(),
        rewrite: None,
    };
    let routes = ["/A", "/B/", "/A/deep"].map(route).into();
    let spec = LaneGroupSpec {
        entry: Entry {
            gateway: "edge".into(),
            host: host.map(Into::into),
            routes,
        },
        apps: vec![LaneApp {
            app: "a".into(),
            service: None,
            port,
        }],
        client_may_tag: may_tag,
        ..LaneGroupSpec::default()
    };
    let mut group = LaneGroup::new("g", spec);
    group.metadata.namespace = Some("ns".into());
    group
}

/// Status and tag that the pod saw.
async fn asked(
    rig: &Rig,
    entry: SocketAddr,
    seen: &Seen,
    line: &str,
    headers: &[String],
) -> (u16, Option<String>) {
    seen.lock().unwrap().clear();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let served = tokio::spawn(rig.gateway.serve(theirs, entry));
    let bytes = format!(
        "{line} HTTP/1.1\r\n{}\r\ncontent-length: 0\r\n\r\n",
        headers.join("\r\n")
    );
    let (statuses, ..) = answers(ours, bytes.as_bytes(), 1).await;
    served.abort();
    let got = seen.lock().unwrap().pop();
    (
        statuses[0],
        got.and_then(|g| g.all("x-mse-tag").first().map(|t| (*t).to_owned())),
    )
}

fn agree(told: &Explanation, (status, tag): (u16, Option<String>)) -> bool {
    match &told.outcome {
        EntryOutcome::Refused(refused) => refused.status.as_u16() == status && tag.is_none(),
        EntryOutcome::OtherRoute(_) => false,
        EntryOutcome::Forwarded(taken) => status == 200 && taken.tag == tag,
        EntryOutcome::Random(ways) => {
            status == 200 && ways.iter().any(|(_, taken)| taken.tag == tag)
        }
    }
}

#[test]
fn what_is_explained_is_what_the_gateway_does() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (pod, seen) = runtime.block_on(backend::start("pod", &[]));
    let entry = free();
    let rig = Mutex::new(Rig::new());
    let port = rig.lock().unwrap().service("a", &[(&pod, None)]).port();
    let config = Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    };
    let run = TestRunner::new(config).run(&cases(), |case| {
        let mut rig = rig.lock().unwrap();
        runtime.block_on(async {
            let group = group(case.host, case.may_tag, port);
            rig.entry_of(entry, &group, &case.lanes);
            rig.apply();
            for (line, headers) in &case.requests {
                let request = parse_request(line, headers, &[]).unwrap();
                let entrance = EntryContext {
                    group: &group,
                    lanes: &case.lanes,
                    routes: None,
                    gateway: None,
                };
                let told = explain_request(&entrance, &request);
                let got = asked(&rig, entry, &seen, line, headers).await;
                prop_assert!(
                    agree(&told, got.clone()),
                    "{} {:?}: {:?}, and the gateway: {:?}",
                    line,
                    headers,
                    told,
                    got
                );
            }
            Ok(())
        })
    });
    run.unwrap();
}

/// Requests for which the two once disagreed: shares are drawn by the trace that comes.
#[tokio::test]
async fn a_share_is_explained_by_the_trace_that_comes() {
    const PLAIN: &str = r#"{"share": 25}"#;
    const NEVER: &str = r#"{"priority": 5, "match": {
        "all": [{"type": "cookie", "op": "notIn", "key": "g", "values": ["%41"]},
                {"type": "header", "op": "percent", "key": "X-Tag", "values": ["99.99"]}],
        "any": [{"type": "cookie", "op": "==", "key": "uid", "values": ["\"gray\""]}]}}"#;
    let rows: &[(&[&str], &str, &[&str], &str)] = &[
        (
            &[PLAIN, NEVER],
            "PUT /C/c?=g&a+%62=0x",
            &["cookie:  ; uid = "],
            "b50c6c0d2f5b78b4c8c57b0f40f195ff",
        ),
        (
            &[PLAIN, NEVER],
            "POST /C/./c?Group=g&%C3%A9&=1",
            &["X-USER: a+b", "COOKIE-X: ", "cookie: =gray", "cookie: ; "],
            "7627c482c02d0dfc8c3fd9d65a14577a",
        ),
        (
            &[PLAIN, NEVER],
            "GET /C/cc?group=%62lue&&&uid",
            &["cookie: =\"\""],
            "8ee7fd37a65cc106051ad35ebee1180e",
        ),
        (
            &[PLAIN, NEVER],
            "PUT /C/c?Group=1&=a%2Bb&%67r%6fup",
            &["cookie: =gray ; g; ", "cookie: grp ; "],
            "5ad0e0a96e4e85baa0a0169b9246841f",
        ),
        (
            &[PLAIN],
            "GET /C/c/?%C3%A9=&Group",
            &["X-TAG: a;b", "X-Tag: 1"],
            "05565383e1017a1375c8e4e49ca35921",
        ),
    ];
    let (pod, seen) = backend::start("pod", &[]).await;
    let entry = free();
    let mut rig = Rig::new();
    let port = rig.service("a", &[(&pod, None)]).port();
    let mut group = group(None, false, port);
    group.spec.entry.routes[0].path = "/C".into();
    for (specs, line, headers, trace) in rows {
        let lanes = specs.iter().enumerate().map(|(i, text)| {
            let mut spec: serde_json::Value = serde_json::from_str(text).unwrap();
            for (key, value) in [
                ("group", "g".into()),
                ("tag", "gray".into()),
                ("enabled", true.into()),
            ] {
                spec[key] = value;
            }
            let mut lane = Lane::new(&format!("l{i}"), serde_json::from_value(spec).unwrap());
            lane.metadata.namespace = Some("ns".into());
            lane
        });
        let lanes: Vec<Lane> = lanes.collect();
        rig.entry_of(entry, &group, &lanes);
        rig.apply();
        let mut headers: Vec<String> = headers.iter().map(|h| (*h).to_owned()).collect();
        headers.extend([
            format!("host: {entry}"),
            format!("traceparent: 00-{trace}-b7ad6b7169203331-01"),
        ]);
        let request = parse_request(line, &headers, &[]).unwrap();
        let told = explain_request(
            &EntryContext {
                group: &group,
                lanes: &lanes,
                routes: None,
                gateway: None,
            },
            &request,
        );
        let got = asked(&rig, entry, &seen, line, &headers).await;
        assert!(
            agree(&told, got.clone()),
            "{line}: {told:?}, and the gateway: {got:?}"
        );
        assert_eq!(got, (200, Some("gray".to_owned())), "{line}");
    }
}

#[tokio::test]
async fn a_condition_on_the_host_holds_over_http_1_and_2() {
    let (pod, seen) = backend::start("pod", &[]).await;
    let mut rig = Rig::new();
    let port = rig.service("a", &[(&pod, None)]).port();
    let entry = free();
    let mut spec = LaneSpec {
        group: "g".into(),
        tag: "gray".into(),
        enabled: true,
        ..LaneSpec::default()
    };
    spec.rule.all = vec![text::parse_condition(&format!("header host == {entry}")).unwrap()];
    let mut lane = Lane::new("gray", spec);
    lane.metadata.namespace = Some("ns".into());
    rig.entry_of(entry, &group(None, false, port), &[lane]);
    rig.apply();
    for two in [false, true] {
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .http2_only(two)
                .build_http::<http_body_util::Empty<bytes::Bytes>>();
        let request = http::Request::get(format!("http://{entry}/A/x"))
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let answer = client
            .request(request.body(http_body_util::Empty::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let got = seen.lock().unwrap().pop().unwrap();
        assert_eq!(got.all("x-mse-tag"), ["gray"], "{got:?}");
        assert_eq!(
            (got.all("host"), got.all("cookie")),
            (vec![&*entry.to_string()], vec!["a=1; b=2"]),
            "{got:?}"
        );
    }
}
