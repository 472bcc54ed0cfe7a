//! Follows the cluster: builds a new table at each change, and writes statuses.

use std::{fmt::Debug, hash::Hash, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, CustomResourceExt, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt, conditions,
        reflector::{self, Store},
        wait::await_condition,
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Gateway, HopSink, Limits, Objects, status};
use crate::{
    api::{self, Lane, LaneGroup, gateway_api},
    domain::hop::Hop,
};

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
#[error("the lane gateway: {what}: {why}")]
pub struct GatewayError {
    what: String,
    why: String,
}

/// Interval at which connections are pruned and addresses in use are tried again.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the lane gateway until `stop`, then drains it. Gateways without an address listen on
/// `node`. `hops` is called with each hop, on a thread of its own.
pub async fn run_gateway(
    client: Client,
    node: IpAddr,
    hops: impl Fn(&Hop) + Send + Sync + 'static,
    stop: CancellationToken,
) -> Result<(), GatewayError> {
    let serve = async {
        install_definitions(&client).await?;
        follow_cluster(&client, node, HopSink::new(hops), &stop).await
    };
    tokio::select! {
        done = serve => done,
        // Before the first table there is nothing to drain; afterwards `follow` handles the stop
        // itself.
        () = stop.cancelled().then(|()| tokio::time::sleep(Limits::default().drain + RECHECK_INTERVAL)) => Ok(()),
    }
}

/// Installs the kinds that are followed if the cluster does not have them. A watch on a kind that
/// is not served would fail again and again, and nothing would be served meanwhile.
async fn install_definitions(client: &Client) -> Result<(), GatewayError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    // With the field manager that updates them later, so that it can also remove fields.
    let params = PatchParams::apply(api::FIELD_MANAGER);
    for definition in gateway_api::gateway_definitions()
        .into_iter()
        .chain([LaneGroup::crd(), Lane::crd()])
    {
        let name = definition.name_any();
        let failed = |why: String| GatewayError {
            what: format!("installing {name}"),
            why,
        };
        let there = api
            .get_metadata_opt(&name)
            .await
            .map_err(|e| failed(e.to_string()))?;
        if there.is_none() {
            let installed = api.patch(&name, &params, &Patch::Apply(&definition)).await;
            installed.map_err(|e| failed(e.to_string()))?;
        }
        let served = await_condition(api.clone(), &name, conditions::is_crd_established());
        match tokio::time::timeout(Duration::from_secs(30), served).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return Err(failed(e.to_string())),
            Err(_) => return Err(failed("not served within 30 s".into())),
        }
    }
    Ok(())
}

async fn follow_cluster(
    client: &Client,
    node: IpAddr,
    hops: HopSink,
    stop: &CancellationToken,
) -> Result<(), GatewayError> {
    let changed = Arc::new(Notify::new());
    let mut tasks = vec![];
    let (classes, gateways, routes) = (
        watch_objects(client, &changed, &mut tasks),
        watch_objects(client, &changed, &mut tasks),
        watch_objects(client, &changed, &mut tasks),
    );
    let (services, slices, pods) = (
        watch_objects(client, &changed, &mut tasks),
        watch_objects(client, &changed, &mut tasks),
        watch_objects(client, &changed, &mut tasks),
    );
    let (groups, lanes) = (
        watch_objects(client, &changed, &mut tasks),
        watch_objects(client, &changed, &mut tasks),
    );
    let look = || Objects {
        classes: classes.state(),
        gateways: gateways.state(),
        routes: routes.state(),
        services: services.state(),
        slices: slices.state(),
        pods: pods.state(),
        groups: groups.state(),
        lanes: lanes.state(),
    };
    // An incomplete view is wrong: nothing is served before all stores are ready.
    let lost = |_| GatewayError {
        what: "watching".into(),
        why: "a watch ended".into(),
    };
    let all = async {
        tokio::try_join!(
            classes.wait_until_ready(),
            gateways.wait_until_ready(),
            routes.wait_until_ready(),
            services.wait_until_ready(),
            slices.wait_until_ready(),
            pods.wait_until_ready(),
            groups.wait_until_ready(),
            lanes.wait_until_ready(),
        )
    };
    tokio::select! {
        ready = all => drop(ready.map_err(lost)?),
        () = stop.cancelled() => return Ok(()),
    }
    let mut gateway = Gateway::new(node, Limits::default(), hops);
    let (mut dropped, mut again) = (0, true);
    let teller = status::StatusWriter::spawn(client.clone());
    loop {
        if again {
            let objects = look();
            let applied = gateway.apply(&objects);
            again = !applied.failed.is_empty();
            teller.queue_update(objects, applied, node);
        }
        tokio::select! {
            () = changed.notified() => again = true,
            () = tokio::time::sleep(RECHECK_INTERVAL) => gateway.prune(),
            () = stop.cancelled() => break,
        }
        let now = gateway.hops_dropped();
        if now > dropped {
            tracing::warn!(
                "{} hops were dropped: their reader is slower than the traffic",
                now - dropped
            );
            dropped = now;
        }
    }
    gateway.drain().await;
    Ok(())
}

/// Keeps a store of all objects of a kind, and signals every change.
fn watch_objects<K>(
    client: &Client,
    changed: &Arc<Notify>,
    tasks: &mut Vec<AbortOnDropHandle<()>>,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let (store, writer) = reflector::store();
    let api: Api<K> = Api::all(client.clone());
    let changed = changed.clone();
    let stream = watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    let task = async move {
        let mut stream = pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(_) => changed.notify_one(),
                Err(e) => tracing::warn!("watching {}: {e}", K::plural(&())),
            }
        }
    };
    tasks.push(AbortOnDropHandle::new(tokio::spawn(task)));
    store
}
