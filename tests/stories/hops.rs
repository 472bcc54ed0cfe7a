//! Chains from the access logs of gateways that nobody here wrote: Traefik, Envoy and nginx, each as a pod of a pocket
//! that serves no gateway of its own. Whoever watches sees each request hop by hop, and a service that drops the tag is
//! named.
//!
//! The gateways are looked for in `target/peers` (where `.ci/run` puts them) and on `PATH`; without one its test is not
//! played, and that is said.

mod gateways;
mod rig;

use graylane::{api::Served, domain::chain::Verdict};

use gateways::Gateway;
use rig::Rig;

/// The sides of a, b and c.
const RIGHT: [Served; 3] = [Served::Gray, Served::Base, Served::Gray];
const DROPPED: [Served; 3] = [Served::Gray, Served::Base, Served::Base];
const BASE: [Served; 3] = [Served::Base; 3];

async fn play(gateway: Gateway) {
    let Some(program) = gateway.find() else { return gateway.skipped() };
    let rig = Rig::start(&gateway, &program).await;
    // Of two pods of b one drops the tag.
    let chains = rig.until_seen(&[(Some("gray"), RIGHT), (Some("gray"), DROPPED), (None, BASE)]).await;
    for chain in &chains {
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
    }
    // Whoever sets it up is told that it is right.
    let told = rig.ok(&["doctor", "--trace", "shop"]).await;
    let with_tag = told.lines().filter(|l| l.starts_with("ok") && l.ends_with("with the tag gray")).count();
    assert!(with_tag >= 2 && !told.contains("warn") && !told.contains("FAIL"), "{told}");
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
