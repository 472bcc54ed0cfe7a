//! A complete pocket in one state folder: API, network, controllers, kubelet, lane gateway.
//!
//! Components use the cluster through `kube::Client` only. Shutdown is ordered so that running
//! requests complete: the controllers stop, the gateway drains, processes end, and the store is
//! flushed and closed.

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    controllers,
    hoplog::{self, HopLog, PodLogs},
    images::{ImageError, Images, unused},
    kubelet, kubernetes_service,
    network::{Network, NetworkError},
    rest::{ApiError, ApiServer},
    serve::{self, Identity, IdentityError},
    store::StoreError,
};
use crate::gateway;

/// Why the pocket cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PocketError {
    /// The state cannot be opened, or another pocket uses it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No network is available.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The certificate or the kubeconfig cannot be created.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Services could not get addresses of this network.
    #[error("starting the pocket: {}", .0.message)]
    Addresses(ApiError),
    /// The image store cannot be opened.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// The path of this program, which is run for every container, is unknown.
    #[error("starting the pocket: where is this program? {0}")]
    Program(std::io::Error),
    /// The initial objects could not be written.
    #[error("starting the pocket: {0}")]
    Objects(#[from] kube::Error),
}

impl PocketError {
    /// Whether another graylane runs the pocket of this state folder; the caller can attach to it.
    pub fn is_running_elsewhere(&self) -> bool {
        matches!(self, Self::Store(e) if e.is_locked())
    }
}

/// Optional settings of a pocket.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Restart back-off: the wait after the second crash in a row, and the maximum.
    pub back_off: (Duration, Duration),
}

impl Default for Settings {
    /// As in Kubernetes: 10 s, doubling up to 5 min.
    fn default() -> Self {
        Self {
            back_off: (Duration::from_secs(10), Duration::from_secs(300)),
        }
    }
}

/// A running pocket. Dropped without [`Pocket::stop`], it ends as if killed: nothing is lost, but
/// less is cleaned up.
pub struct Pocket {
    dir: PathBuf,
    server: ApiServer,
    network: Network,
    /// Stopped one after the other, in this order.
    stages: Vec<Stage>,
}

/// Longer than all time limits that the tasks of a stage have themselves.
const STAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Tasks that are stopped together.
struct Stage {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Stage {
    fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    async fn stop_tasks(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STAGE_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!(
                tasks = self.tasks.len(),
                "some tasks do not end, and are not waited for any more"
            );
        }
    }
}

impl Drop for Pocket {
    fn drop(&mut self) {
        self.stages.iter().for_each(|s| s.stop.cancel());
    }
}

impl Pocket {
    /// Whether no pocket runs in a state folder. A folder that cannot be opened is not free.
    pub async fn is_free(dir: &Path) -> bool {
        match ApiServer::open(dir) {
            Ok(server) => {
                server.close().await;
                true
            }
            Err(_) => false,
        }
    }

    /// Starts the pocket of an existing state folder.
    pub async fn start(dir: &Path, settings: Settings) -> Result<Self, PocketError> {
        let server = ApiServer::open(dir)?;
        let (network, listener) = Network::claim_for(dir)?;
        server
            .set_network(network)
            .await
            .map_err(PocketError::Addresses)?;
        let identity = Identity::open_or_create(dir, network.node_address())?;
        let client = server.client();
        let hops = HopLog::default();
        hoplog::apply_mirror_pod(&client, network.node_address().into()).await?;
        kubernetes_service::apply_service(&client, network.node_address()).await?;

        // Before anything reads the pods: containers that ran when pocket ended are not ready.
        kubelet::reset_stale_status(&client).await?;
        let (deciding, gateway, running, api) =
            (Stage::new(), Stage::new(), Stage::new(), Stage::new());
        let config = kubelet::Config::with_current_program(dir, network, settings.back_off)
            .map_err(PocketError::Program)?;
        let kubelet = kubelet::spawn(client.clone(), config, &running.tasks, &running.stop)?;
        server.set_log_source(Arc::new(PodLogs {
            hops: hops.clone(),
            kubelet,
        }));
        controllers::spawn(client.clone(), &deciding.tasks, &deciding.stop);
        deciding.tasks.spawn(unused::run_cleanup(
            server.store().clone(),
            Images::open_in(dir)?,
            deciding.stop.clone(),
        ));
        controllers::namespaces::spawn(
            client.clone(),
            identity.authorities(),
            &deciding.tasks,
            &deciding.stop,
        );
        start_gateway(client, network, hops, &gateway);
        serve::write_kubeconfig(dir, network, &identity)?;
        api.tasks.spawn(serve::run_renewal(
            dir.into(),
            network,
            identity.clone(),
            api.stop.clone(),
        ));
        start_api(server.clone(), listener, identity, &api);
        Ok(Self {
            dir: dir.into(),
            server,
            network,
            stages: vec![deciding, gateway, running, api],
        })
    }

    /// Returns a client that calls the API within this process.
    pub fn client(&self) -> Client {
        self.server.client()
    }

    /// Returns the node's address.
    pub fn node_address(&self) -> Ipv4Addr {
        self.network.node_address()
    }

    /// Returns the state folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Stops everything in order and releases the state folder.
    pub async fn stop(mut self) {
        for stage in std::mem::take(&mut self.stages) {
            stage.stop_tasks().await;
        }
        self.server.close().await;
    }
}

fn start_gateway(client: Client, network: Network, hops: HopLog, stage: &Stage) {
    let (stop, node) = (stage.stop.clone(), IpAddr::from(network.node_address()));
    stage.tasks.spawn(async move {
        if let Err(why) = gateway::run_gateway(client, node, move |hop| hops.write(hop), stop).await
        {
            tracing::error!(%why, "the lane gateway ended");
        }
    });
}

fn start_api(server: ApiServer, listener: TcpListener, identity: Identity, stage: &Stage) {
    let stop = stage.stop.clone();
    stage.tasks.spawn(async move {
        if let Err(why) = serve::serve_api(server, listener, identity, stop).await {
            tracing::error!(%why, "the API is not served on the network");
        }
    });
}
