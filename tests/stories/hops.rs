//! Chains from the access logs and the spans of gateways that nobody here wrote: Traefik, Envoy and nginx, each as a pod of
//! a pocket that serves no gateway of its own. Whoever watches sees each request hop by hop, and a service that drops the
//! tag is named; an engine may stand between.
//!
//! The gateways are looked for in `target/peers` (where `.ci/run` puts them) and on `PATH`; without one its test is not
//! played, and that is said.

mod collector;
mod gateways;
mod jaeger;
pub mod peers;
mod prometheus;
mod rig;
mod zipkin;

use std::sync::Arc;

use graylane::{
    api::{HopSource, LaneGroup, LaneGroupSpec, Served, TraceStore},
    cluster::trace_stores::TraceStoreClient,
    domain::{
        chain::{Chain, Verdict},
        span::{Side, Tag},
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use gateways::Gateway;
use prometheus::Prometheus;
use rig::{Rig, Way};

use crate::support::program;

/// The sides of a, b and c.
const RIGHT: [Served; 3] = [Served::Gray, Served::Base, Served::Gray];
const DROPPED: [Served; 3] = [Served::Gray, Served::Base, Served::Base];
const BASE: [Served; 3] = [Served::Base; 3];

/// Of two pods of b one drops the tag.
const ALL: [(Option<&str>, [Served; 3]); 3] =
    [(Some("gray"), RIGHT), (Some("gray"), DROPPED), (None, BASE)];

/// Stores are polled for traces of lanes only: a probe asks for its own, seconds after the answer.
async fn check_untagged_probe(rig: &Rig) {
    let probed = rig.until_probed("/a", 3).await;
    assert_eq!(probed["verdict"], "ok", "{probed}");
    let chain = probed["chain"].as_array().unwrap();
    assert!(chain.iter().all(|hop| hop["served"] == "base"), "{probed}");
}

/// Each is as it was, and whoever dropped the tag is named.
fn check(chains: &[Arc<Chain>]) {
    for chain in chains {
        let sides = rig::sides(chain);
        let told = format!("{:?} {sides:?} {:?}", chain.tag, chain.steps);
        let dropped = chain
            .steps
            .get(2)
            .filter(|_| chain.tag.is_some() && sides == DROPPED);
        match dropped {
            Some(c) => {
                let cause = c.cause.as_deref().unwrap_or_default();
                assert!(
                    c.verdict == Verdict::Lost
                        && cause.contains("spring-cloud-b (b-drops) got x-mse-tag"),
                    "{told}"
                );
            }
            None => assert!(
                !chain.worst.is_bad() && chain.worst != Verdict::NoData,
                "{told}"
            ),
        }
        assert_eq!(
            chain.steps.iter().map(|s| s.depth).collect::<Vec<_>>(),
            [0, 1, 2],
            "{told}"
        );
        assert!(
            chain
                .steps
                .iter()
                .all(|s| s.status == Some(200) && s.micros.is_some()),
            "{told}"
        );
        assert!(!chain.path.contains("secret"), "{}", chain.path);
    }
}

async fn play(gateway: Gateway) {
    let Some(program) = gateway.find() else {
        return gateway.skipped();
    };
    let mut rig = Rig::start(&gateway, &program, Way::Log).await;
    check(&rig.until_seen(&ALL, Timestamp::MIN).await);
    // Whoever sets it up is told that it is right.
    let told = rig.ok(&["doctor", "--trace", "shop"]).await;
    let with_tag = told
        .lines()
        .filter(|l| l.starts_with("ok") && l.ends_with("with the tag gray"))
        .count();
    assert!(
        with_tag >= 2 && !told.contains("warn") && !told.contains("FAIL"),
        "{told}"
    );
    rig.stop().await;
}

/// One engine follows the gateway's log, whoever watches follows the engine, and goes on when another takes over.
async fn relay(gateway: Gateway) {
    let Some(program) = gateway.find() else {
        return gateway.skipped();
    };
    let mut rig = Rig::start(&gateway, &program, Way::Relay).await;
    check(&rig.until_seen(&ALL, Timestamp::MIN).await);
    assert_eq!(
        rig.followed(),
        ["spans in demo"],
        "nobody else reads the gateway's log"
    );
    let word = |at: &str| (format!("accessLog {} of {at}", gateway.format()), 1);
    assert_eq!(rig.sources(), [word("gw"), word("gw-internal")]);
    let written = rig.printed("engine");
    assert!(
        written.contains("group=gray") && !written.contains("secret"),
        "{written}"
    );

    rig.replace_engine().await;
    check(&rig.until_seen(&ALL, Timestamp::now()).await);
    rig.assert_each_once();
    rig.stop().await;
}

/// The gateway sends spans, and writes no log; the services pass on what they get, and tell nothing.
async fn otlp(gateway: Gateway) {
    let Some(program) = gateway.find() else {
        return gateway.skipped();
    };
    let mut rig = Rig::start(&gateway, &program, Way::Otlp).await;
    // One is enough, and takes memory.
    let is_first = matches!(gateway, Gateway::Traefik);
    let prometheus = is_first
        .then(|| Prometheus::scraping(rig.engine.metrics))
        .flatten();
    check(&rig.until_seen(&ALL, Timestamp::MIN).await);
    assert_eq!(rig.followed(), ["spans in demo"]);
    assert_eq!(rig.sources(), [("otlp".to_owned(), 0)]);
    if let Some(prometheus) = prometheus {
        let received = prometheus
            .until_more_than_nothing("graylane_otlp_spans_received_total")
            .await;
        let written = prometheus
            .until_more_than_nothing("graylane_otlp_spans_written_total")
            .await;
        assert!(received >= 1.0 && written >= 1.0, "{received} {written}");
        let ok = r#"graylane_otlp_requests_total{protocol="grpc",signal="traces"}"#;
        assert!(prometheus.until_more_than_nothing(ok).await >= 1.0);
    }
    rig.stop().await;
}

/// Envoy sends to a collector, which batches, compresses and sends to the engine over HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_hands_on_envoys_spans() {
    let Some(program) = Gateway::Envoy.find() else {
        return Gateway::Envoy.skipped();
    };
    if !collector::is_here() {
        return;
    }
    let mut rig = Rig::start(&Gateway::Envoy, &program, Way::Collector).await;
    check(&rig.until_seen(&ALL, Timestamp::MIN).await);
    assert_eq!(rig.sources(), [("otlp".to_owned(), 0)]);
    rig.stop().await;
}

/// Traefik sends to a Jaeger over OTLP, which is asked by service and tag, and by id.
#[tokio::test(flavor = "multi_thread")]
async fn a_jaeger_tells_traefiks_chains() {
    let Some(program) = Gateway::Traefik.find() else {
        return Gateway::Traefik.skipped();
    };
    if !jaeger::is_here() {
        return;
    }
    let mut rig = Rig::start(&Gateway::Traefik, &program, Way::Jaeger).await;
    let chains = rig.until_seen(&ALL[..2], Timestamp::MIN).await;
    check(&chains);
    assert_eq!(rig.followed(), ["jaeger"]);
    check_untagged_probe(&rig).await;

    let named = TraceStore {
        url: Some(format!("http://{}", rig.store)),
        gateway_name: Some(Gateway::Traefik.service_name().to_owned()),
        ..TraceStore::default()
    };
    let source = HopSource {
        jaeger: Some(named),
        ..HopSource::default()
    };
    let group = LaneGroup::new("shop", LaneGroupSpec::default());
    let store = TraceStoreClient::from_source(&source, &group, &rig.client)
        .unwrap()
        .unwrap();
    let whole = store.fetch_trace(&chains[0].trace).await.unwrap();
    let of = |side: Side| whole.iter().filter(|s| s.side == side).count();
    assert_eq!((of(Side::Client), of(Side::Server)), (3, 3), "{whole:?}");
    let unknown = store.fetch_trace("00000000000000000000000000000001").await;
    assert!(unknown.unwrap().is_empty(), "nobody has it");
    let now = Timestamp::now();
    let never = store.recent_traces("nobody", now - SignedDuration::from_secs(60), now, 10);
    assert!(never.await.unwrap().is_empty());
    rig.stop().await;
}

/// Envoy sends to a Zipkin, which keeps no less than what is shown; it is asked by tag and by id.
#[tokio::test(flavor = "multi_thread")]
async fn a_zipkin_tells_envoys_chains() {
    let Some(program) = Gateway::Envoy.find() else {
        return Gateway::Envoy.skipped();
    };
    if zipkin::find().is_none() {
        return;
    }
    let mut rig = Rig::start(&Gateway::Envoy, &program, Way::Zipkin).await;
    let chains = rig.until_seen(&ALL[..2], Timestamp::MIN).await;
    check(&chains);
    assert_eq!(rig.followed(), ["zipkin"]);
    check_untagged_probe(&rig).await;

    let url = format!("http://{}", rig.store);
    let named = TraceStore {
        url: Some(url.clone()),
        ..TraceStore::default()
    };
    let source = HopSource {
        zipkin: Some(named),
        ..HopSource::default()
    };
    let group = LaneGroup::new("shop", LaneGroupSpec::default());
    let store = TraceStoreClient::from_source(&source, &group, &rig.client)
        .unwrap()
        .unwrap();
    let now = Timestamp::now();
    let found = store
        .recent_traces("gray", now - SignedDuration::from_secs(60), now, 10)
        .await
        .unwrap();
    assert!(
        found
            .iter()
            .any(|s| s.side == Side::Client && s.tag == Tag::Value("gray".into())),
        "{found:?}"
    );
    assert!(
        store
            .recent_traces("nobody", Timestamp::UNIX_EPOCH, now, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let whole = store.fetch_trace(&chains[0].trace).await.unwrap();
    let of = |side: Side| whole.iter().filter(|s| s.side == side).count();
    assert_eq!((of(Side::Client), of(Side::Server)), (3, 3), "{whole:?}");
    assert!(
        store
            .fetch_trace("00000000000000000000000000000001")
            .await
            .unwrap()
            .is_empty(),
        "nobody has it"
    );

    // As senders of the older kind do: short ids, and one id for both sides of a call.
    let at = now.as_microsecond();
    let side = |kind: &str, extra: Value| {
        let mut span = json!({"traceId": "5af7183fb1d4cf5f", "parentId": "6b221d5bc9e6496c", "id": "352bff9a74ca9ad2",
            "kind": kind, "name": "get", "timestamp": at, "duration": 1431, "tags": {"x-mse-tag": "blue"}});
        span.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        span
    };
    let spans = json!([
        side(
            "CLIENT",
            json!({"remoteEndpoint": {"ipv4": "10.0.0.7", "port": 80}})
        ),
        side(
            "SERVER",
            json!({"shared": true, "localEndpoint": {"serviceName": "b", "ipv4": "10.0.0.7"}})
        ),
    ]);
    let sent = reqwest::Client::new()
        .post(format!("{url}/api/v2/spans"))
        .header("content-type", "application/json");
    sent.body(spans.to_string())
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    let both = program::until("both are kept", async || {
        Some(store.fetch_trace("5af7183fb1d4cf5f").await.unwrap()).filter(|spans| spans.len() == 2)
    });
    let both = both.await;
    let of = |side: Side| both.iter().find(|s| s.side == side).unwrap();
    assert_eq!(
        of(Side::Server).parent.as_ref(),
        Some(&of(Side::Client).span),
        "{both:?}"
    );
    assert_eq!(of(Side::Client).peer.as_deref(), Some("10.0.0.7"));
    let again = store
        .recent_traces(
            "blue",
            now - SignedDuration::from_secs(60),
            Timestamp::now(),
            10,
        )
        .await
        .unwrap();
    assert_eq!(again.len(), 2, "{again:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traefiks_access_log_tells_the_chains() {
    play(Gateway::Traefik).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_access_log_tells_the_chains() {
    play(Gateway::Envoy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginxs_access_log_tells_the_chains() {
    play(Gateway::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_follows_traefiks_log_for_all() {
    relay(Gateway::Traefik).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_follows_envoys_log_for_all() {
    relay(Gateway::Envoy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traefiks_spans_tell_the_chains() {
    otlp(Gateway::Traefik).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_spans_tell_the_chains() {
    otlp(Gateway::Envoy).await;
}
