//! The story's traffic as a whole: sample services behind the gateway, a probe at the entry, verdicts from hops.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use graylane::{
    api::{LaneGroupStatus, ProbeSpec, Served},
    domain::{
        chain::Verdict,
        world::{ObjectKey, Pod, Route, World, pods_by_key},
    },
    probe::{self, ProbeVerdict, Probed},
    sample::{Config, serve},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::rig::{Rig, Upstream};
use crate::ports::free;

/// A pod that runs a sample service; it ends with the test.
async fn sample(letter: &str, tag: &str, next: &[(&str, SocketAddr)], guilty: bool) -> Upstream {
    let address = free();
    let mut vars = HashMap::from([
        ("PORT".to_owned(), address.port().to_string()),
        ("SERVICE_TAG".into(), tag.into()),
    ]);
    for (letter, to) in next {
        vars.insert(
            format!("SPRING_CLOUD_{letter}_SERVICE_HOST"),
            to.ip().to_string(),
        );
        vars.insert(
            format!("SPRING_CLOUD_{letter}_SERVICE_PORT"),
            to.port().to_string(),
        );
    }
    if guilty {
        vars.insert("DROP_TAG".into(), "1".into());
    }
    let config = Config::from_env(letter, &|name| {
        vars.get(name).cloned().filter(|v| !v.is_empty())
    })
    .unwrap();
    tokio::spawn(serve(Arc::new(config), CancellationToken::new()));
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    Upstream::at(&format!("{letter}-{tag}"), address)
}

const APPS: [&str; 3] = ["spring-cloud-a", "spring-cloud-b", "spring-cloud-c"];

/// What the watch would say: A and C have ready gray pods, the routes are taken.
fn world(rig: &Rig, entry: SocketAddr) -> World {
    let (mut group, lane) = rig.lane_objects();
    group.status = Some(LaneGroupStatus {
        addresses: vec![entry.to_string()],
        ..LaneGroupStatus::default()
    });
    let pod = |app: &str| {
        let key = ObjectKey {
            namespace: "ns".into(),
            name: format!("{app}-gray"),
        };
        let (app, tag) = (Some(app.to_owned()), Some("gray".to_owned()));
        Pod {
            key,
            app,
            tag,
            ready: true,
            ..Pod::default()
        }
    };
    let route = |app: &str| {
        let key = ObjectKey {
            namespace: "ns".into(),
            name: format!("demo-{app}"),
        };
        (
            key.clone(),
            Route {
                key,
                accepted: Some(true),
                ..Route::default()
            },
        )
    };
    World {
        groups: Arc::new(BTreeMap::from([("demo".into(), Arc::new(group))])),
        lanes: Arc::new(BTreeMap::from([("gray".into(), Arc::new(lane))])),
        pods: Arc::new(pods_by_key([APPS[0], APPS[2]].map(pod))),
        routes: Arc::new(BTreeMap::from(APPS.map(route))),
        ..World::default()
    }
}

/// The whole scene, and the results of one tagged and one untagged probe.
async fn play(guilty: bool) -> (Probed, Probed) {
    let [a_at, b_at, c_at] = [free(), free(), free()];
    let (to_b, to_c) = ([("B", b_at), ("C", c_at)], [("C", c_at)]);
    let (a, b) = (
        sample("a", "", &to_b, false).await,
        sample("b", "", &to_c, guilty).await,
    );
    let (a_gray, c) = (
        sample("a", "gray", &to_b, false).await,
        sample("c", "", &[], false).await,
    );
    let c_gray = sample("c", "gray", &[], false).await;
    let mut rig = Rig::new();
    for (app, pod, at) in [
        (APPS[0], &a, a_at),
        (APPS[1], &b, b_at),
        (APPS[2], &c, c_at),
    ] {
        rig.service_at(app, &[(pod, None)], at);
    }
    rig.service("spring-cloud-a-gray", &[(&a_gray, Some("gray"))]);
    rig.service("spring-cloud-c-gray", &[(&c_gray, Some("gray"))]);
    let entry = rig.lanes(
        &APPS,
        &[(APPS[0], "gray"), (APPS[2], "gray")],
        "parameter group == gray",
    );
    rig.apply();
    let (worlds, receiver) = watch::channel(world(&rig, entry));
    let (stop, hops) = (CancellationToken::new(), rig.hops_so_far());
    let follow = tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            let now: Vec<_> = hops.lock().unwrap().iter().cloned().map(Arc::new).collect();
            worlds.send_if_modified(|w| {
                let fresh = w.hops.len() != now.len();
                (w.hops_seen, w.hops) = (now.len() as u64, Arc::new(now));
                fresh
            });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }));
    let send = async |path: &str, expect: [Served; 3]| {
        let expect = APPS.iter().map(|a| (*a).to_owned()).zip(expect).collect();
        let spec = ProbeSpec {
            path: path.into(),
            count: 1,
            expect,
            ..ProbeSpec::default()
        };
        probe::send_probes(&spec, "demo", &receiver.clone().into(), &probe::Via::Entry)
            .await
            .unwrap()
            .remove(0)
    };
    let tagged = send(
        "/A/a?group=gray",
        [Served::Gray, Served::Base, Served::Gray],
    )
    .await;
    let untagged = send("/A/a", [Served::Base; 3]).await;
    stop.cancel();
    let _ = follow.await;
    (tagged, untagged)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_sees_the_chain_that_the_lane_promises() {
    let (tagged, untagged) = play(false).await;
    assert_eq!(
        tagged.body,
        "Agray[127.0.0.1][config=base] -> B[127.0.0.1] -> Cgray[127.0.0.1]"
    );
    assert_eq!(
        (tagged.verdict, tagged.lane.as_deref()),
        (ProbeVerdict::Ok, Some("gray")),
        "{tagged:?}"
    );
    let verdicts: Vec<_> = tagged
        .chain
        .iter()
        .map(|h| (h.app.as_str(), h.verdict))
        .collect();
    assert_eq!(
        verdicts,
        [
            (APPS[0], Verdict::Ok),
            (APPS[1], Verdict::FellBack),
            (APPS[2], Verdict::Ok)
        ]
    );
    assert_eq!(
        untagged.body,
        "A[127.0.0.1][config=base] -> B[127.0.0.1] -> C[127.0.0.1]"
    );
    assert_eq!(
        (untagged.verdict, untagged.lane, untagged.chain.len()),
        (ProbeVerdict::Ok, None, 3)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_drops_the_tag_is_named() {
    let (tagged, untagged) = play(true).await;
    assert_eq!(tagged.verdict, ProbeVerdict::Lost, "{tagged:?}");
    let words = tagged.problems.join("; ");
    assert!(
        words.contains("spring-cloud-b (b-) got x-mse-tag: gray and did not pass it on"),
        "{words}"
    );
    assert_eq!(untagged.verdict, ProbeVerdict::Ok);
}
