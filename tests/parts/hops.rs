//! Hops go from the gateway's log, as a pod's log over the API, into the world; each once.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use graylane::{
    api::{LaneGroup, LaneGroupSpec, gateway_api::LANE_GATEWAY},
    cluster::{install, watch},
    domain::hop::Hop,
    embedded,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use pocket::{
    component::{self, PodLogs},
    memory_log::MemoryLog,
    rest::{LogError, LogOptions, LogSource, LogStream},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

struct NoKubelet;

impl LogSource for NoKubelet {
    fn open_log(
        &self,
        _: Arc<Value>,
        _: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, LogError>> {
        futures::future::err(LogError::NotAvailable("no kubelet".into())).boxed()
    }
}

fn hop(n: usize) -> Hop {
    serde_json::from_value(json!({
        "time": jiff::Timestamp::now(), "trace": format!("t{n}"), "span": format!("s{n}"), "namespace": "demo",
        "app": "a", "service": "a", "method": "GET", "path": "/\u{1b}[2J", "status": 200, "micros": 1
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn hops_reach_the_world_once_each_and_cleaned() {
    let dir = tempfile::tempdir().unwrap();
    let server = embedded::open_api(dir.path()).unwrap();
    let client = server.client();
    install::apply_definitions(&client).await.unwrap();
    let log = MemoryLog::default();
    let gateway = embedded::lane_gateway(&log);
    let logs = PodLogs::new(std::slice::from_ref(&gateway), Arc::new(NoKubelet));
    server.set_log_source(Arc::new(logs));
    // Twice, as at every start.
    for _ in 0..2 {
        component::publish_pod(&gateway, &client, Ipv4Addr::LOCALHOST)
            .await
            .unwrap();
    }
    // Without a lane group nobody asks for hops.
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    let params = PatchParams::apply("test");
    Api::<Namespace>::all(client.clone())
        .patch("demo", &params, &Patch::Apply(&namespace))
        .await
        .unwrap();
    let mut spec = LaneGroupSpec::default();
    spec.entry.gateway = "gw".into();
    let group = LaneGroup::new("shop", spec);
    let group = serde_json::to_value(&group).unwrap();
    let groups: Api<LaneGroup> = Api::namespaced(client.clone(), "demo");
    groups
        .patch("shop", &params, &Patch::Apply(&group))
        .await
        .unwrap();
    // As the engine tells it: the lane gateway serves the group.
    let status = json!({"status": {"gateway": {"class": "lane", "controller": LANE_GATEWAY}}});
    groups
        .patch_status("shop", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    embedded::write_hop(&log, &hop(0));
    let stop = CancellationToken::new();
    let mut worlds = watch::spawn(client, "demo", stop.clone());
    let _stop = stop.drop_guard();
    let limit = Duration::from_mins(1);
    tokio::time::timeout(limit, worlds.wait_for(|w| w.hops_seen == 1))
        .await
        .expect("the old hop")
        .unwrap();
    for n in 1..=3000 {
        embedded::write_hop(&log, &hop(n));
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let last =
        |w: &graylane::domain::world::World| w.hops.last().is_some_and(|h| h.trace == "t3000");
    let world = tokio::time::timeout(limit, worlds.wait_for(last))
        .await
        .expect("the last hop")
        .unwrap()
        .clone();
    assert_eq!(world.hops_seen + world.hops_dropped, 3001, "each once");
    assert!(world.hops.len() <= 2000 && world.hops.iter().all(|h| !h.path.contains('\u{1b}')));
}
