//! A complete pocket in one state folder: API, network, controllers, kubelet, and the components of
//! the program that uses it.
//!
//! Components use the cluster through `kube::Client` only. Shutdown is ordered so that running
//! requests complete: the controllers stop, the components drain, processes end, and the store is
//! flushed and closed.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    component::{self, Component, ComponentContext, PodLogs},
    controllers,
    images::{HostProgram, ImageError, Images, unused},
    kubelet, kubernetes_service,
    network::{Network, NetworkError},
    rest::{ApiError, ApiOptions, ApiServer},
    serve::{self, Identity, IdentityError},
    store::StoreError,
};

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
    /// Whether another process runs the pocket of this state folder; the caller can attach to it.
    pub fn is_running_elsewhere(&self) -> bool {
        matches!(self, Self::Store(e) if e.is_locked())
    }
}

/// Optional settings of a pocket.
pub struct Settings {
    /// What the API has beside Kubernetes' own.
    pub api: ApiOptions,
    /// How images name this program.
    pub host: HostProgram,
    /// What runs beside the controllers and the kubelet.
    pub components: Vec<Component>,
    /// Restart back-off: the wait after the second crash in a row, and the maximum.
    pub back_off: (Duration, Duration),
}

impl Default for Settings {
    /// As in Kubernetes: 10 s, doubling up to 5 min.
    fn default() -> Self {
        Self {
            api: ApiOptions::default(),
            host: HostProgram::default(),
            components: vec![],
            back_off: (Duration::from_secs(10), Duration::from_mins(5)),
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
const STAGE_TIMEOUT: Duration = Duration::from_mins(1);

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
        let server = ApiServer::open_with(dir, settings.api)?;
        let (network, listener) = Network::claim_for(dir)?;
        server
            .set_network(network)
            .await
            .map_err(PocketError::Addresses)?;
        let identity = Identity::open_or_create(dir, network.node_address())?;
        let client = server.client();
        for component in &settings.components {
            component::publish_pod(component, &client, network.node_address()).await?;
        }
        kubernetes_service::apply_service(&client, network.node_address()).await?;

        // Before anything reads the pods: containers that ran when pocket ended are not ready.
        kubelet::reset_stale_status(&client).await?;
        let (deciding, own, running, api) =
            (Stage::new(), Stage::new(), Stage::new(), Stage::new());
        let config = kubelet::Config {
            state: dir.into(),
            network,
            program: std::env::current_exe().map_err(PocketError::Program)?,
            host: settings.host,
            back_off: settings.back_off,
        };
        let kubelet = kubelet::spawn(client.clone(), config, &running.tasks, &running.stop)?;
        server.set_log_source(Arc::new(PodLogs::new(&settings.components, kubelet)));
        controllers::spawn(client.clone(), &deciding.tasks, &deciding.stop);
        deciding.tasks.spawn(unused::run_cleanup(
            server.store().clone(),
            Images::open_for(dir, settings.host)?,
            deciding.stop.clone(),
        ));
        controllers::namespaces::spawn(
            client.clone(),
            identity.authorities(),
            &deciding.tasks,
            &deciding.stop,
        );
        for component in settings.components {
            start_component(component, client.clone(), network, &own);
        }
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
            stages: vec![deciding, own, running, api],
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

fn start_component(component: Component, client: Client, network: Network, stage: &Stage) {
    let context = ComponentContext {
        client,
        node_address: network.node_address(),
        stop: stage.stop.clone(),
    };
    stage.tasks.spawn(async move {
        if let Err(why) = (component.run)(context).await {
            tracing::error!(component = component.name, %why, "a component ended");
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
