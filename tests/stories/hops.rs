//! Chains from the access logs and the spans of gateways that nobody here wrote: Traefik, Envoy and nginx, each as a pod of
//! a pocket that serves no gateway of its own. Whoever watches sees each request hop by hop, and a service that drops the
//! tag is named; an engine may stand between.
//!
//! The gateways are looked for in `target/peers` (where `.ci/run` puts them) and on `PATH`; without one its test is not
//! played, and that is said.

mod gateways;
mod rig;

use std::sync::Arc;

use graylane::{
    api::Served,
    domain::chain::{Chain, Verdict},
};
use jiff::Timestamp;

use gateways::Gateway;
use rig::{Rig, Way};

/// The sides of a, b and c.
const RIGHT: [Served; 3] = [Served::Gray, Served::Base, Served::Gray];
const DROPPED: [Served; 3] = [Served::Gray, Served::Base, Served::Base];
const BASE: [Served; 3] = [Served::Base; 3];

/// Of two pods of b one drops the tag.
const ALL: [(Option<&str>, [Served; 3]); 3] = [(Some("gray"), RIGHT), (Some("gray"), DROPPED), (None, BASE)];

/// Each is as it was, and whoever dropped the tag is named.
fn check(chains: &[Arc<Chain>]) {
    for chain in chains {
        let sides = rig::sides(chain);
        let told = format!("{:?} {sides:?} {:?}", chain.tag, chain.steps);
        let dropped = chain.steps.get(2).filter(|_| chain.tag.is_some() && sides == DROPPED);
        match dropped {
            Some(c) => {
                let cause = c.cause.as_deref().unwrap_or_default();
                assert!(
                    c.verdict == Verdict::Lost && cause.contains("spring-cloud-b (b-drops) got x-mse-tag"),
                    "{told}"
                );
            }
            None => assert!(!chain.worst.is_bad() && chain.worst != Verdict::NoData, "{told}"),
        }
        assert_eq!(chain.steps.iter().map(|s| s.depth).collect::<Vec<_>>(), [0, 1, 2], "{told}");
        assert!(chain.steps.iter().all(|s| s.status == Some(200) && s.micros.is_some()), "{told}");
        assert!(!chain.path.contains("secret"), "{}", chain.path);
    }
}

async fn play(gateway: Gateway) {
    let Some(program) = gateway.find() else { return gateway.skipped() };
    let mut rig = Rig::start(&gateway, &program, Way::Log).await;
    check(&rig.until_seen(&ALL, Timestamp::MIN).await);
    // Whoever sets it up is told that it is right.
    let told = rig.ok(&["doctor", "--trace", "shop"]).await;
    let with_tag = told.lines().filter(|l| l.starts_with("ok") && l.ends_with("with the tag gray")).count();
    assert!(with_tag >= 2 && !told.contains("warn") && !told.contains("FAIL"), "{told}");
    rig.stop().await;
}

/// One engine follows the gateway's log, whoever watches follows the engine, and goes on when another takes over.
async fn relay(gateway: Gateway) {
    let Some(program) = gateway.find() else { return gateway.skipped() };
    let mut rig = Rig::start(&gateway, &program, Way::Relay).await;
    check(&rig.until_seen(&ALL, Timestamp::MIN).await);
    assert_eq!(rig.followed(), ["lane gateway", "spans in demo"], "nobody else reads the gateway's log");
    let word = |at: &str| (format!("accessLog {} of {at}", gateway.format()), 1);
    assert_eq!(rig.sources(), [word("gw"), word("gw-internal")]);
    let written = rig.printed("engine");
    assert!(written.contains("group=gray") && !written.contains("secret"), "{written}");

    rig.replace_engine().await;
    check(&rig.until_seen(&ALL, Timestamp::now()).await);
    rig.assert_each_once();
    rig.stop().await;
}

/// The gateway sends spans, and writes no log; the services pass on what they get, and tell nothing.
async fn otlp(gateway: Gateway) {
    let Some(program) = gateway.find() else { return gateway.skipped() };
    let mut rig = Rig::start(&gateway, &program, Way::Otlp).await;
    check(&rig.until_seen(&ALL, Timestamp::MIN).await);
    assert_eq!(rig.followed(), ["lane gateway", "spans in demo"]);
    assert_eq!(rig.sources(), [("otlp".to_owned(), 0)]);
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
