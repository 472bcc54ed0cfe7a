//! The running engine: its clock, its Lease and its pods.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::time::{Instant, sleep};

use super::{Findings, Level};
use crate::{
    api::label,
    cluster::{
        error,
        install::{ENGINE_NAMESPACE, INSTANCE_LABEL},
        lease::{ENGINE_LEASE, holder_timeout},
        status,
    },
    domain::{
        command_line::CommandLine,
        text::{Clean, format_count},
    },
};

/// Clock skew in seconds: more than the first is a warning, more than the second a failure. Engines
/// judge by their own clocks whether a holder is late.
const SKEW_LIMITS: (i64, i64) = (2, 10);

/// Compares the server's clock, by the `Date` of its answer, with ours.
pub(super) async fn check_clock(client: &Client, all: &mut Findings) {
    const CHECK: &str = "clocks";
    let asked = match http::Request::get("/version").body(kube::client::Body::empty()) {
        Ok(request) => client.send(request).await,
        Err(_) => return,
    };
    let date = match &asked {
        Ok(answer) => answer
            .headers()
            .get(http::header::DATE)
            .and_then(|d| d.to_str().ok()),
        Err(why) => return all.add_unknown(CHECK, why),
    };
    let Some(there) = date
        .and_then(|d| jiff::fmt::rfc2822::parse(d).ok())
        .map(|d| d.timestamp())
    else {
        return all.add_ok(
            CHECK,
            "the server's answers have no date: it runs in this process, or hides it",
        );
    };
    let skew = Timestamp::now().duration_since(there).as_secs();
    let found = format!("the server's clock and this one are {} s apart", skew.abs());
    let remedy =
        "set them (NTP): ages are shown wrong, and a standby engine may think another one dead";
    match skew.abs() {
        s if s > SKEW_LIMITS.1 => all.add(Level::Fail, CHECK, found, remedy),
        s if s > SKEW_LIMITS.0 => all.add(Level::Warn, CHECK, found, remedy),
        _ => all.add_ok(CHECK, "the server's clock and this one agree"),
    }
}

/// Time between two reads of a Lease.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The engine's Lease. Its timestamps come from the engine's own clock, which may be wrong, so a
/// live engine is recognised by a renewal, as a standby engine does it.
#[tracing::instrument(level = "debug", skip_all, fields(namespace))]
pub(super) async fn check_lease(client: &Client, namespace: &str, all: &mut Findings) {
    const CHECK: &str = "engine";
    let install = CommandLine::graylane("install")
        .option("-n", namespace)
        .fixed_args("--image REF");
    let engine = CommandLine::graylane("engine").option("-n", namespace);
    let remedy = format!("{install}, or {engine} somewhere");
    let api = Api::<Lease>::namespaced(client.clone(), namespace);
    let look = async || {
        api.get_opt(ENGINE_LEASE)
            .await
            .map(|lease| lease.and_then(|l| l.spec).unwrap_or_default())
    };
    let mut first = match look().await {
        Ok(lease) => lease,
        Err(why) => return all.add_unknown(CHECK, &why),
    };
    // The engine waits no longer than this either, whatever the Lease says.
    let until = Instant::now() + holder_timeout(&first);
    loop {
        let Some(holder) = first.holder_identity.clone().filter(|h| !h.is_empty()) else {
            let found = format!("none acts in namespace {namespace}: releases stand still");
            return all.add(Level::Fail, CHECK, found, &remedy);
        };
        if Instant::now() >= until {
            let found = format!(
                "{holder} has not renewed its Lease while this was watched, and nobody took over"
            );
            return all.add(Level::Fail, CHECK, found, &remedy);
        }
        sleep(POLL_INTERVAL).await;
        let now = match look().await {
            Ok(lease) => lease,
            Err(why) => return all.add_unknown(CHECK, &why),
        };
        if now.renew_time != first.renew_time && now.holder_identity == first.holder_identity {
            return all.add_ok(
                CHECK,
                format!("{holder} acts: it has just renewed its Lease"),
            );
        }
        first = now;
    }
}

/// The pods of an engine that is installed in this cluster.
#[tracing::instrument(level = "debug", skip_all, fields(namespace))]
pub(super) async fn check_engine_pods(
    client: &Client,
    namespace: &str,
    pocket: bool,
    all: &mut Findings,
) {
    const CHECK: &str = "engine's pods";
    let ours = ListParams::default().labels(&format!(
        "{}=engine,{INSTANCE_LABEL}={namespace}",
        label::COMPONENT
    ));
    let mut listed = Api::<Pod>::all(client.clone()).list(&ours).await;
    if listed
        .as_ref()
        .is_err_and(|why| error::status_code(why) == Some(403))
    {
        listed = Api::<Pod>::namespaced(client.clone(), ENGINE_NAMESPACE)
            .list(&ours)
            .await;
    }
    let pods = match listed {
        Ok(pods) => pods.items,
        Err(why) if error::status_code(&why) == Some(404) => vec![],
        Err(why) => return all.add_unknown(CHECK, &why),
    };
    if pods.is_empty() {
        let found = if pocket {
            "none: the demo's engine runs in its process"
        } else {
            "none: it runs elsewhere, or not"
        };
        return all.add_ok(CHECK, found);
    }
    for pod in &pods {
        let words = status::summarize_pod(pod);
        let check = format!("pod {}", pod.name_any());
        if words.ready {
            all.add_ok(
                &check,
                format!("ready, restarted {}", format_count(words.restarts, "time")),
            );
        } else {
            let why = words
                .message
                .map(|m| format!(": {}", Clean::bounded(&m, 200)))
                .unwrap_or_default();
            let place = pod.namespace().unwrap_or_default();
            let remedy = CommandLine::kubectl("describe pod")
                .option("-n", place)
                .arg(pod.name_any())
                .to_string();
            all.add(
                Level::Warn,
                &check,
                format!("{}{why}", words.state),
                &remedy,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// A server that returns these Leases one after the other, and then keeps returning the last
    /// one.
    fn server(leases: Vec<Value>) -> Client {
        let asked = AtomicUsize::new(0);
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let nth = asked.fetch_add(1, SeqCst).min(leases.len() - 1);
            let body = leases[nth].to_string();
            async move {
                Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(
                    body.into_bytes(),
                )))
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_is_alive_by_a_renewal_and_not_by_a_stamp() {
        let lease = |holder: &str, renewed: &str| {
            let spec =
                json!({"holderIdentity": holder, "leaseDurationSeconds": 12, "renewTime": renewed});
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": spec})
        };
        let fresh = Timestamp::now().to_string();
        for (leases, level, says) in [
            (
                vec![
                    lease("a", "1970-01-01T00:00:00.000000Z"),
                    lease("a", "1970-01-01T00:00:02.000000Z"),
                ],
                Level::Ok,
                "a acts",
            ),
            (
                vec![
                    lease("a", "2999-01-01T00:00:00.000000Z"),
                    lease("a", "2999-01-01T00:00:02.000000Z"),
                ],
                Level::Ok,
                "a acts",
            ),
            (vec![lease("a", &fresh)], Level::Fail, "a has not renewed"),
            (
                vec![lease("a", "2999-01-01T00:00:00.000000Z")],
                Level::Fail,
                "a has not renewed",
            ),
            (vec![lease("", &fresh)], Level::Fail, "none acts"),
            (
                vec![lease("a", &fresh), lease("", &fresh)],
                Level::Fail,
                "none acts",
            ),
            (
                vec![
                    lease("a", &fresh),
                    lease("b", "1970-01-01T00:00:00.000000Z"),
                ],
                Level::Fail,
                "b has not renewed",
            ),
        ] {
            let mut all = Findings::default();
            check_lease(&server(leases.clone()), "ns", &mut all).await;
            let found = &all.0[0];
            assert!(
                found.level == level && found.found.contains(says),
                "{leases:?}: {found:?}"
            );
        }
    }
}
