//! Follows the cluster: builds a new table at each change, and writes statuses.

use std::{fmt::Debug, net::IpAddr, sync::Arc, time::Duration};

use futures::FutureExt;
use k8s_openapi::{
    api::{
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResourceExt, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{conditions, wait::await_condition, watcher},
};
use reconcile::store::{Store, StoreEvent};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Gateway, HopSink, Limits, Objects, status};
use crate::{
    api::{
        self, Lane, LaneGroup,
        gateway_api::{self, GatewayClass, HttpRoute},
    },
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
    let stores = ObjectStores::watch(client, &changed);
    // An incomplete view is wrong: nothing is served before all stores are ready.
    tokio::select! {
        () = stores.wait_until_synced() => {}
        () = stop.cancelled() => return Ok(()),
    }
    let mut gateway = Gateway::new(node, Limits::default(), hops);
    let (mut dropped, mut again) = (0, true);
    let teller = status::StatusWriter::spawn(client.clone());
    loop {
        if again {
            let objects = stores.read_objects();
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

/// A store of each kind that the gateway follows; dropping it ends the watches.
struct ObjectStores {
    classes: Store<GatewayClass>,
    gateways: Store<gateway_api::Gateway>,
    routes: Store<HttpRoute>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    pods: Store<Pod>,
    groups: Store<LaneGroup>,
    lanes: Store<Lane>,
    _ends: DropGuard,
}

impl ObjectStores {
    fn watch(client: &Client, changed: &Arc<Notify>) -> Self {
        let stop = CancellationToken::new();
        Self {
            classes: watch_objects(client, changed, &stop),
            gateways: watch_objects(client, changed, &stop),
            routes: watch_objects(client, changed, &stop),
            services: watch_objects(client, changed, &stop),
            slices: watch_objects(client, changed, &stop),
            pods: watch_objects(client, changed, &stop),
            groups: watch_objects(client, changed, &stop),
            lanes: watch_objects(client, changed, &stop),
            _ends: stop.drop_guard(),
        }
    }

    async fn wait_until_synced(&self) {
        tokio::join!(
            self.classes.wait_until_synced(),
            self.gateways.wait_until_synced(),
            self.routes.wait_until_synced(),
            self.services.wait_until_synced(),
            self.slices.wait_until_synced(),
            self.pods.wait_until_synced(),
            self.groups.wait_until_synced(),
            self.lanes.wait_until_synced(),
        );
    }

    fn read_objects(&self) -> Objects {
        Objects {
            classes: self.classes.list(),
            gateways: self.gateways.list(),
            routes: self.routes.list(),
            services: self.services.list(),
            slices: self.slices.list(),
            pods: self.pods.list(),
            groups: self.groups.list(),
            lanes: self.lanes.list(),
        }
    }
}

/// Keeps a store of all objects of a kind, and signals every change.
fn watch_objects<K>(client: &Client, changed: &Arc<Notify>, stop: &CancellationToken) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let store = Store::with_trim(|_| {});
    let changed = changed.clone();
    store.on_event(move |event| match event {
        StoreEvent::Broken(why) => tracing::warn!("watching {}: {why}", K::plural(&())),
        StoreEvent::Changed(_) | StoreEvent::Listed(_) | StoreEvent::Absent(_) => {
            changed.notify_one();
        }
    });
    let (api, config) = (Api::all(client.clone()), watcher::Config::default());
    tokio::spawn(store.clone().run_watch(api, config, stop.clone()));
    store
}
