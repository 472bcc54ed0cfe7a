//! What an engine keeps when it loses its Lease: its stores, unless another engine has acted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams, client::Body};
use tokio_util::sync::CancellationToken;

use super::{HOME, options_for};
use crate::{
    api::ClusterName,
    cluster::{install, lease::ENGINE_LEASE},
    embedded,
    engine::run_engine,
};

/// Whether a request reads all objects of a kind.
fn is_list(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method() == Method::GET && query.contains("limit=") && !query.contains("watch=")
}

/// Writes another holder into the Lease; the engine may renew it in between.
async fn set_holder(leases: &Api<Lease>, holder: Option<&str>) {
    loop {
        let mut lease = leases.get(ENGINE_LEASE).await.unwrap();
        lease.spec.as_mut().unwrap().holder_identity = holder.map(str::to_owned);
        let by = PostParams::default();
        if leases.replace(ENGINE_LEASE, &by, &lease).await.is_ok() {
            return;
        }
    }
}

/// The renewals of twelve seconds have to fail, so this takes as long.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_costs_no_new_lists_unless_another_has_held_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = embedded::open_api(dir.path()).unwrap();
    install::apply_definitions(&server.client()).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(server.client(), HOME);
    let (lists, starved) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let (counted, refusing, served) = (Arc::clone(&lists), Arc::clone(&starved), server.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (refuses, served) = (refusing.load(SeqCst), served.clone());
        let writes_lease =
            request.method() == Method::PUT && request.uri().path().ends_with(ENGINE_LEASE);
        counted.fetch_add(usize::from(is_list(&request)), SeqCst);
        async move {
            if refuses && writes_lease {
                let body = Either::Left(Full::<bytes::Bytes>::default());
                let response = Response::builder().status(500).body(body);
                return Ok::<_, tower::BoxError>(response?);
            }
            Ok(served.handle_request(request).await.map(Either::Right))
        }
    });
    let options = options_for(Client::new(service, HOME), ClusterName::Home);
    let telemetry = options.telemetry.clone();
    let stop = CancellationToken::new();
    let engine = tokio::spawn(run_engine(options, stop.clone()));
    let until = async |what: &str, fact: &dyn Fn() -> bool| {
        let wait = async {
            while !fact() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_mins(2), wait).await;
        waited.unwrap_or_else(|_| panic!("never: {what}"));
    };
    let acts = || {
        let metrics = telemetry.to_open_metrics();
        metrics.lines().any(|line| line == "graylane_lease_held 1")
    };
    until("it has read everything", &|| {
        acts() && telemetry.readiness_problem().is_none()
    })
    .await;
    let at_start = lists.load(SeqCst);
    assert!(at_start > 0);

    starved.store(true, SeqCst);
    until("it has lost the Lease", &|| !acts()).await;
    starved.store(false, SeqCst);
    until("it acts again", &|| acts()).await;
    assert_eq!(lists.load(SeqCst), at_start);

    set_holder(&leases, Some("elsewhere/1/a")).await;
    until("it stands by", &|| !acts()).await;
    set_holder(&leases, None).await;
    until("it lists everything again", &|| {
        acts() && lists.load(SeqCst) >= 2 * at_start
    })
    .await;
    stop.cancel();
    engine.await.unwrap();
    server.close().await;
}
