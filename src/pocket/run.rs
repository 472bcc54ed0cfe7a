//! A whole pocket in one state folder: API, network, controllers, kubelet, lane gateway.
//!
//! What needs a cluster gets `kube::Client` and nothing else. The end comes in the order that keeps requests
//! whole: nothing new is decided, the gateway drains, processes end, the store is flushed and given up.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    controllers,
    hoplog::{self, HopLog, Logs},
    images::{ImageError, Images, unused},
    kubelet,
    network::{Network, NetworkError},
    own_service,
    rest::{ApiError, ApiServer},
    serve::{self, Identity, IdentityError},
    store::StoreError,
};
use crate::gateway;

/// Why there is no pocket.
#[derive(Debug, thiserror::Error)]
pub enum PocketError {
    /// The state cannot be opened, or another pocket has it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No certificate or kubeconfig.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Services could not be given addresses of this network.
    #[error("starting the pocket: {}", .0.message)]
    Addresses(ApiError),
    /// No image store.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// This program's own file, which is run for every container.
    #[error("starting the pocket: where is this program? {0}")]
    Program(std::io::Error),
    /// The first objects were not taken.
    #[error("starting the pocket: {0}")]
    Objects(#[from] kube::Error),
}

impl PocketError {
    /// Another graylane runs the pocket of this state folder: attach to it.
    pub fn is_running_elsewhere(&self) -> bool {
        matches!(self, Self::Store(e) if e.is_locked())
    }
}

/// What a pocket does differently when asked.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a container waits after a second crash in a row, and at most.
    pub back_off: (Duration, Duration),
}

impl Default for Settings {
    /// As Kubernetes: 10 s, doubling to 5 min.
    fn default() -> Self {
        Self {
            back_off: (Duration::from_secs(10), Duration::from_secs(300)),
        }
    }
}

/// A running pocket. Dropped without [`Pocket::stop`] it ends as after a kill: nothing is lost, less is tidy.
pub struct Pocket {
    dir: PathBuf,
    server: ApiServer,
    network: Network,
    /// Ends one after the other, in this order.
    stages: Vec<Stage>,
}

/// More than all limits that a stage's tasks keep by themselves.
const LONGEST_END: Duration = Duration::from_secs(60);

/// Tasks that end together.
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

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(LONGEST_END, self.tasks.wait())
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

    /// Starts the pocket of a state folder, which must be there.
    pub async fn start(dir: &Path, settings: Settings) -> Result<Self, PocketError> {
        let server = ApiServer::open(dir)?;
        let (network, listener) = Network::take(dir)?;
        server
            .set_network(network)
            .await
            .map_err(PocketError::Addresses)?;
        let identity = Identity::of(dir, network.node())?;
        let client = server.client();
        let hops = HopLog::default();
        hoplog::show_pod(&client, network.node().into()).await?;
        own_service::write(&client, network.node()).await?;

        // Before anybody looks at them: what ran when pocket ended is not ready.
        kubelet::lost(&client).await?;
        let (deciding, gateway, running, api) =
            (Stage::new(), Stage::new(), Stage::new(), Stage::new());
        let config =
            kubelet::Config::of(dir, network, settings.back_off).map_err(PocketError::Program)?;
        let kubelet = kubelet::spawn(client.clone(), config, &running.tasks, &running.stop)?;
        server.set_log_source(Arc::new(Logs {
            hops: hops.clone(),
            kubelet,
        }));
        controllers::spawn(client.clone(), &deciding.tasks, &deciding.stop);
        let unused = unused::run(
            server.store().clone(),
            Images::of(dir)?,
            deciding.stop.clone(),
        );
        deciding.tasks.spawn(unused);
        controllers::namespaces::spawn(
            client.clone(),
            identity.authorities(),
            &deciding.tasks,
            &deciding.stop,
        );
        let (stop, node) = (gateway.stop.clone(), IpAddr::from(network.node()));
        gateway.tasks.spawn(async move {
            if let Err(why) = gateway::run(client, node, move |hop| hops.write(hop), stop).await {
                tracing::error!(%why, "the lane gateway ended");
            }
        });
        serve::write_kubeconfig(dir, network, &identity)?;
        api.tasks.spawn(serve::renew(
            dir.into(),
            network,
            identity.clone(),
            api.stop.clone(),
        ));
        let (server_, stop) = (server.clone(), api.stop.clone());
        api.tasks.spawn(async move {
            if let Err(why) = serve::serve(server_, listener, identity, stop).await {
                tracing::error!(%why, "the API is not served on the network");
            }
        });
        Ok(Self {
            dir: dir.into(),
            server,
            network,
            stages: vec![deciding, gateway, running, api],
        })
    }

    /// A client within this process.
    pub fn client(&self) -> Client {
        self.server.client()
    }

    /// The node's address.
    pub fn node(&self) -> Ipv4Addr {
        self.network.node()
    }

    /// The state folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends everything in order and gives the state folder up.
    pub async fn stop(mut self) {
        for stage in std::mem::take(&mut self.stages) {
            stage.end().await;
        }
        self.server.close().await;
    }
}
