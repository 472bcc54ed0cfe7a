//! Who acts, since when, with what clock, in which pods.

use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{Findings, Level};
use crate::{
    api::label,
    cluster::{error, status, watch::ENGINE_LEASE},
    domain::text::Clean,
};

/// Engines judge by their own clocks whether a holder is late.
const SKEW: (i64, i64) = (2, 10);

/// The server's clock by the date of its answer, against ours.
pub(super) async fn clock(client: &Client, all: &mut Findings) {
    const CHECK: &str = "clocks";
    let asked = match http::Request::get("/version").body(kube::client::Body::empty()) {
        Ok(request) => client.send(request).await,
        Err(_) => return,
    };
    let date = match &asked {
        Ok(answer) => answer.headers().get(http::header::DATE).and_then(|d| d.to_str().ok()),
        Err(why) => return all.unknown(CHECK, why),
    };
    let Some(there) = date.and_then(|d| jiff::fmt::rfc2822::parse(d).ok()).map(|d| d.timestamp()) else {
        return all.ok(CHECK, "the server's answers have no date: it runs in this process, or hides it");
    };
    let skew = Timestamp::now().duration_since(there).as_secs();
    let found = format!("the server's clock and this one are {} s apart", skew.abs());
    let remedy = "set them (NTP): ages are shown wrong, and a standby engine may think another one dead";
    match skew.abs() {
        s if s > SKEW.1 => all.add(Level::Fail, CHECK, found, remedy),
        s if s > SKEW.0 => all.add(Level::Warn, CHECK, found, remedy),
        _ => all.ok(CHECK, "the server's clock and this one agree"),
    }
}

/// The engine's Lease.
pub(super) async fn lease(client: &Client, namespace: &str, all: &mut Findings) {
    const CHECK: &str = "engine";
    let remedy = format!("graylane install -n {namespace} --image REF, or graylane engine -n {namespace} somewhere");
    let lease = match Api::<Lease>::namespaced(client.clone(), namespace).get_opt(ENGINE_LEASE).await {
        Ok(lease) => lease.and_then(|l| l.spec),
        Err(why) => return all.unknown(CHECK, &why),
    };
    let Some(holder) = lease.as_ref().and_then(|l| l.holder_identity.clone()).filter(|h| !h.is_empty()) else {
        let found = format!("none acts in namespace {namespace}: releases stand still");
        return all.add(Level::Fail, CHECK, found, &remedy);
    };
    let renewed =
        lease.as_ref().and_then(|l| l.renew_time.as_ref()).map(|t| Timestamp::now().duration_since(t.0).as_secs());
    let most = lease.as_ref().and_then(|l| l.lease_duration_seconds).unwrap_or(15);
    match renewed {
        Some(seconds) if seconds <= i64::from(most) => {
            all.ok(CHECK, format!("{holder} acts, and said so {} s ago", seconds.max(0)));
        }
        Some(seconds) => {
            all.add(
                Level::Fail,
                CHECK,
                format!("{holder} has not been heard of for {seconds} s, and nobody took over"),
                &remedy,
            );
        }
        None => all.add(Level::Fail, CHECK, format!("{holder} has never been heard of"), &remedy),
    }
}

/// The pods of an engine that was installed here.
pub(super) async fn pods(client: &Client, namespace: &str, pocket: bool, all: &mut Findings) {
    const CHECK: &str = "engine's pods";
    let ours = ListParams::default().labels(&format!("{}=engine", label::COMPONENT));
    let pods = match Api::<Pod>::namespaced(client.clone(), namespace).list(&ours).await {
        Ok(pods) => pods.items,
        Err(why) if error::code(&why) == Some(404) => vec![],
        Err(why) => return all.unknown(CHECK, &why),
    };
    if pods.is_empty() {
        let found =
            if pocket { "none: the demo's engine runs in its process" } else { "none: it runs elsewhere, or not" };
        return all.ok(CHECK, found);
    }
    for pod in &pods {
        let words = status::pod_words(pod);
        let check = format!("pod {}", pod.name_any());
        if words.ready {
            all.ok(&check, format!("ready, restarted {} times", words.restarts));
        } else {
            let why = words.message.map(|m| format!(": {}", Clean::bounded(&m, 200))).unwrap_or_default();
            let remedy = format!("kubectl describe pod -n {namespace} {}", pod.name_any());
            all.add(Level::Warn, &check, format!("{}{why}", words.state), &remedy);
        }
    }
}
