use std::{collections::BTreeMap, net::SocketAddr, sync::Mutex, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};

use super::*;
use crate::{
    api::{
        Entry, EntryRoute, Lane, LaneApp, LaneGroupSpec, LaneGroupStatus, LaneMatch, LaneSpec,
        Served,
    },
    domain::diff,
};

/// An entry that sends the same answer to every request and records the heads.
async fn entry(answer: Vec<u8>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heads) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(vec![])));
    let seen = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            seen.lock()
                .unwrap()
                .push(String::from_utf8(head).unwrap().to_lowercase());
            let _ = stream.write_all(&answer).await;
        }
    });
    (address, heads)
}

fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Group g with spring-cloud-a and -b and an enabled lane on `group=gray` for which no app has a
/// version.
fn world(address: &str) -> World {
    let app = |name: &str| LaneApp {
        app: name.into(),
        service: None,
        port: 1,
    };
    let route = EntryRoute {
        path: "/A".into(),
        app: "spring-cloud-a".into(),
        rewrite: None,
    };
    let spec = LaneGroupSpec {
        entry: Entry {
            gateway: "edge".into(),
            host: Some("*.shop".into()),
            routes: vec![route],
        },
        apps: ["spring-cloud-a", "spring-cloud-b"].map(app).into(),
        ..LaneGroupSpec::default()
    };
    let mut group = LaneGroup::new("g", spec);
    group.status = Some(LaneGroupStatus {
        addresses: Some(address)
            .filter(|a| !a.is_empty())
            .map(str::to_owned)
            .into_iter()
            .collect(),
        ..LaneGroupStatus::default()
    });
    let all = vec![lanes::text::parse_condition("parameter group == gray").unwrap()];
    let rule = LaneMatch {
        all,
        ..LaneMatch::default()
    };
    let lane = Lane::new(
        "l",
        LaneSpec {
            group: "g".into(),
            tag: "gray".into(),
            enabled: true,
            rule,
            ..LaneSpec::default()
        },
    );
    World {
        groups: Arc::new(BTreeMap::from([("g".into(), Arc::new(group))])),
        lanes: Arc::new(BTreeMap::from([("l".into(), Arc::new(lane))])),
        ..World::default()
    }
}

fn spec(path: &str, expect: &[(&str, Served)]) -> ProbeSpec {
    let expect = expect.iter().map(|(a, s)| ((*a).to_owned(), *s)).collect();
    ProbeSpec {
        path: path.into(),
        expect,
        count: 1,
        ..ProbeSpec::default()
    }
}

async fn probed(answer: Vec<u8>, spec: &ProbeSpec) -> Probed {
    let (address, _) = entry(answer).await;
    let (_keep, worlds) = watch::channel(world(&address.to_string()));
    // No gateway reports hops here: the wait for them times out.
    tokio::time::timeout(
        Duration::from_mins(1),
        send_probes(spec, "g", &worlds.into(), &Via::Entry),
    )
    .await
    .unwrap()
    .unwrap()
    .remove(0)
}

#[tokio::test]
async fn a_body_tells_the_chain_where_nobody_reports() {
    let probe = spec("/A/a?group=gray", &[]);
    let told = probed(ok("A[1.2.3.4][config=base] -> B[1.2.3.5]"), &probe).await;
    assert_eq!(
        (told.verdict, told.lane.as_deref()),
        (ProbeVerdict::Ok, Some("gray")),
        "{told:?}"
    );
    let json = serde_json::to_value(&told).unwrap();
    assert_eq!(json["status"], 200);
    assert_eq!(json["verdict"], "ok");
    assert_eq!(json["chain"][1]["app"], "spring-cloud-b");
    assert_eq!(json["chain"][1]["served"], "base");
    assert_eq!(json["chain"][1]["address"], "1.2.3.5");
    assert_eq!(
        json["expected"],
        serde_json::json!({"spring-cloud-a": "base", "spring-cloud-b": "base"})
    );
    assert!(json["latencyMs"].is_f64());
    let wrong = probed(
        ok("A[1] -> B[1]"),
        &spec(
            "/A/a",
            &[("spring-cloud-a", Served::Gray), ("c", Served::Base)],
        ),
    )
    .await;
    assert_eq!(wrong.verdict, ProbeVerdict::Unexpected);
    assert_eq!(
        wrong.problems,
        [
            "c: expected base, not asked at all",
            "spring-cloud-a: expected gray, answered by base"
        ]
    );
    assert_eq!(
        probed(ok("Agray[1]"), &spec("/A/a", &[])).await.verdict,
        ProbeVerdict::LeakUp
    );
}

#[tokio::test]
async fn no_service_is_blamed_for_what_the_probe_itself_takes_away() {
    let lost = || {
        let step = |verdict| chain::ChainStep {
            app: "spring-cloud-b".into(),
            verdict,
            ..chain::ChainStep::default()
        };
        vec![Chain {
            steps: vec![step(chain::Verdict::Ok), step(chain::Verdict::Lost)],
            worst: chain::Verdict::Lost,
            ..Chain::default()
        }]
    };
    let world = world("127.0.0.1:1");
    let group = world.groups["g"].clone();
    let judged = |headers: &[&str]| {
        let headers: Vec<String> = headers.iter().map(|h| (*h).to_owned()).collect();
        let request = parse_request("/A/a", &headers, &[]).unwrap();
        let sender = ProbeSender::new(
            EntryConnection::connect_directly("127.0.0.1:1").unwrap(),
            None,
            &request,
            "/A/a",
        )
        .unwrap();
        let own = sender.describe_stripped_header(&[lanes::tag_header(&group)]);
        let mut probed = Probed {
            status: Some(200),
            ..Probed::default()
        };
        probed.judge(&spec("/A/a", &[]), &group, lost(), &world, own.as_deref());
        (probed.verdict, probed.problems.join(" "))
    };
    assert_eq!(judged(&["Connection: close"]).0, ProbeVerdict::Lost);
    for headers in [
        &["Connection: close, X-MSE-Tag"][..],
        &["Connection: close", "Connection: x-mse-tag"],
    ] {
        let (verdict, told) = judged(headers);
        assert!(
            verdict == ProbeVerdict::NoData && told.contains("the probe's own Connection header"),
            "{verdict} {told}"
        );
    }
    let sends = |header: &str| {
        let request = parse_request("/A/a", &[header.to_owned()], &[]).unwrap();
        ProbeSender::new(
            EntryConnection::connect_directly("127.0.0.1:1").unwrap(),
            None,
            &request,
            "/A/a",
        )
        .is_ok()
    };
    let asks = |line: &str| {
        let request = parse_request(line, &[], &[]).unwrap();
        ProbeSender::new(
            EntryConnection::connect_directly("127.0.0.1:1").unwrap(),
            None,
            &request,
            line,
        )
        .is_ok()
    };
    assert!(
        asks("GET http://shop.example/A") && !asks("https://shop.example/A") && !asks("OPTIONS *")
    );
    assert!(
        sends("x: 1")
            && !sends("Content-Length: 5")
            && !sends("Transfer-Encoding: chunked")
            && !sends("Upgrade: h2c")
    );
}

#[tokio::test]
async fn garbage_is_cut_cleaned_and_told() {
    let mut garbage = "\u{1b}[31mred\u{7}".as_bytes().to_vec();
    garbage.extend(std::iter::repeat_n(0xff, 10_000_000));
    let mut answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    answer.extend(garbage);
    let told = probed(answer, &spec("/", &[])).await;
    assert_eq!(told.verdict, ProbeVerdict::NoData);
    assert!(
        told.body_cut
            && told.body.starts_with("red")
            && told.body.len() <= 3 * send::MAX_BODY_BYTES,
        "{}",
        told.body.len()
    );
    let noise: Vec<u8> = (0..=255)
        .chain(*b"\x1b]0;title\x07\x1b[2J\r\n\r\n")
        .collect();
    let head =
        b"HTTP/1.1 200 \x1b[31mOK\r\nx-name: \x1b[2J\x9b31m\r\nconnection: close\r\n\r\n".to_vec();
    for answer in [noise, head] {
        let told = probed(answer, &spec("/", &[])).await;
        let words = told.problems.join(" ") + told.body.as_str();
        assert!(
            told.verdict != ProbeVerdict::Ok
                && !words.is_empty()
                && !words.contains(char::is_control),
            "{told:?}"
        );
    }
    let failed = probed(
        b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 4\r\n\r\nnone".to_vec(),
        &spec("/", &[]),
    )
    .await;
    assert_eq!(
        (failed.verdict, failed.problems[0].as_str()),
        (ProbeVerdict::Failed, "status 503: none")
    );
}

#[tokio::test]
async fn hops_tell_the_chain_and_every_request_has_its_own_trace() {
    let (address, heads) = entry(ok("whatever")).await;
    let (worlds, receiver) = watch::channel(world(&address.to_string()));
    let mut spec = spec("POST /A/a?group=gray", &[]);
    spec.count = 2;
    spec.headers.insert("X-Mine".into(), "1".into());
    let seen = heads.clone();
    // The gateway: reports a hop for every trace that came in.
    let reporter = tokio::spawn(async move {
        let mut told = 0;
        while told < 2 {
            let traces: Vec<String> = seen.lock().unwrap().iter().map(|h| trace(h)).collect();
            told = traces.len();
            let hop = |trace: &String| {
                let (app, pod, tag) = (
                    "spring-cloud-a".to_owned(),
                    Some("p".to_owned()),
                    Some("gray".to_owned()),
                );
                let base = Hop {
                    trace: trace.clone(),
                    span: trace[..16].into(),
                    ..Hop::default()
                };
                Arc::new(Hop {
                    app,
                    pod,
                    tag,
                    entry: true,
                    status: 200,
                    group: Some("g".into()),
                    ..base
                })
            };
            worlds.send_modify(|w| w.hops = Arc::new(traces.iter().map(hop).collect()));
            tokio::task::yield_now().await;
        }
        worlds
    });
    let told = send_probes(&spec, "g", &receiver.into(), &Via::Entry)
        .await
        .unwrap();
    reporter.await.unwrap();
    let heads = heads.lock().unwrap();
    assert!(
        heads.iter().all(|h| h.starts_with("post /a/a?group=gray")
            && h.contains("host: probe.shop")
            && h.contains("x-mine: 1")),
        "{heads:?}"
    );
    assert_ne!(trace(&heads[0]), trace(&heads[1]));
    assert!(
        told.iter()
            .all(|p| p.verdict == ProbeVerdict::Ok && p.chain[0].pod.as_deref() == Some("p")),
        "{told:?}"
    );
    assert_eq!(told[0].chain[0].verdict, chain::Verdict::FellBack);
}

async fn compared(answer: Vec<u8>, tag: &str) -> Result<ComparedAnswers, CompareError> {
    let (address, _) = entry(answer).await;
    let (_keep, worlds) = watch::channel(world(&address.to_string()));
    let pair = lanes::RequestPair {
        lane: "l".into(),
        tag: tag.into(),
        requests: diff::Sides {
            base: spec("/A/a", &[]),
            gray: spec("/A/a?group=gray", &[]),
        },
    };
    compare_pair(
        &pair,
        "g",
        &worlds.into(),
        &Via::Entry,
        &diff::Ignored::default(),
    )
    .await
}

#[tokio::test]
async fn two_answers_are_compared_or_it_is_said_why_not() {
    let same = compared(ok("A[1.2.3.4] -> B[1.2.3.5]"), "gray")
        .await
        .unwrap();
    assert!(same.found.is_equal());
    let lines: Vec<String> = same.report_lines().into_iter().map(|l| l.text).collect();
    let [_, base, gray, _, told] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert!(base.starts_with("base   200") && gray.starts_with("gray   200"));
    assert!(gray.ends_with("spring-cloud-a=base[1.2.3.4] -> spring-cloud-b=base[1.2.3.5]"));
    assert_eq!(told, "The answers are equal.");
    let why = compared(ok("A[1.2.3.4]"), "other").await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "the request for gray went tagged gray: do the routes follow the lanes? See `graylane lane explain`"
    );
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nhalf".to_vec();
    let why = compared(broken, "gray").await.unwrap_err().to_string();
    assert!(why.starts_with("base: the answer broke off"), "{why}");
}

fn trace(head: &str) -> String {
    let at = head.find("traceparent: 00-").unwrap() + 16;
    head[at..at + 32].to_owned()
}

#[tokio::test]
async fn what_cannot_be_sent_is_said() {
    let (_keep, worlds) = watch::channel(world(""));
    let why = async |path: &str, group: &str| {
        send_probes(&spec(path, &[]), group, &worlds.clone().into(), &Via::Entry)
            .await
            .unwrap_err()
            .to_string()
    };
    assert_eq!(why("/", "x").await, "there is no lane group \"x\"");
    assert!(why("/", "g").await.contains("Gateway edge has no address"));
    // Bound so that nobody else gets the port, but not listening.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let refused = nobody.local_addr().unwrap();
    let (_keep, worlds) = watch::channel(world(&refused.to_string()));
    assert!(
        send_probes(
            &spec("no path", &[]),
            "g",
            &worlds.clone().into(),
            &Via::Entry
        )
        .await
        .unwrap_err()
        .to_string()
        .contains("write a path")
    );
    let told = send_probes(&spec("/", &[]), "g", &worlds.clone().into(), &Via::Entry)
        .await
        .unwrap()
        .remove(0);
    assert_eq!((told.verdict, told.status), (ProbeVerdict::Failed, None));
    assert!(told.problems[0].contains("refused"), "{:?}", told.problems);
}
