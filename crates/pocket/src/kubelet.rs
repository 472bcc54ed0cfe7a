//! Kubelet and scheduler of the only node: a container is a process behind the shim, with its own
//! address.
//!
//! There is one task per pod and one per container; they share the pod's status, which the pod's
//! task writes to the API. Containers that ran when pocket ended, for whatever reason, are dead and
//! are restarted in place: [`shim`](super::shim) describes which process ends what. Orphaned
//! processes of an earlier start are killed before the first pod is handled.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt, runtime::watcher};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::component::MIRROR_ANNOTATION;
use crate::controllers::events::Recorder;
use crate::guard;
use crate::images::{HostProgram, ImageError, Images};
use crate::network::Network;
use crate::orphans::{self, Marks};
use logs::ContainerLogs;
use reconcile::store::Store;

mod address;
mod container;
pub mod env;
mod logs;
mod node_object;
mod pod;
mod probe;
mod process;
mod scheduling;
mod shared_status;
mod stale_status;
pub use scheduling::architecture;
mod foreign_listeners;
mod status;
mod volumes;

pub use stale_status::reset_stale_status;

/// Name of the only node.
pub const NODE: &str = "pocket";

/// Configuration of a kubelet.
pub struct Config {
    /// State folder, which contains the images and `pods/`.
    pub state: PathBuf,
    pub network: Network,
    /// Path of this program, for the shim and for its placeholder in images.
    pub program: PathBuf,
    /// How images name it.
    pub host: HostProgram,
    /// Restart back-off: the wait after the second crash in a row, and the maximum.
    pub back_off: (Duration, Duration),
}

/// State that all pods share.
struct NodeContext {
    client: Client,
    network: Network,
    program: PathBuf,
    host: HostProgram,
    pods: PathBuf,
    images: Images,
    logs: Arc<ContainerLogs>,
    addresses: address::Addresses,
    events: Recorder,
    http: reqwest::Client,
    back_off: (Duration, Duration),
    /// Cancelled when pocket itself ends.
    closing: CancellationToken,
    /// Marks by which the pods' processes are found.
    marks: Marks,
    /// Keeps the guard running until the last pod has ended.
    _guarded: DropGuard,
}

/// Objects that a pod's environment and volumes may refer to.
struct References {
    services: Vec<Service>,
    config_maps: BTreeMap<String, ConfigMap>,
    secrets: BTreeMap<String, Secret>,
}

impl NodeContext {
    fn ip(&self) -> Ipv4Addr {
        self.network.node_address()
    }

    async fn list_references(&self, pod: &Pod) -> kube::Result<References> {
        let namespace = pod.namespace().unwrap_or_default();
        let all = ListParams::default();
        let services: Api<Service> = Api::namespaced(self.client.clone(), &namespace);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let (services, maps, secrets) =
            tokio::try_join!(services.list(&all), maps.list(&all), secrets.list(&all))?;
        Ok(References {
            services: services.items,
            config_maps: maps.items.into_iter().map(|m| (m.name_any(), m)).collect(),
            secrets: secrets
                .items
                .into_iter()
                .map(|s| (s.name_any(), s))
                .collect(),
        })
    }
}

/// Starts the kubelet and returns the source of container logs. After `stop` is cancelled,
/// processes are ended within a few seconds and `tracker` becomes empty.
pub fn spawn(
    client: Client,
    config: Config,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Arc<ContainerLogs>, ImageError> {
    let pods_dir = config.state.join("pods");
    let images = Images::open_for(&config.state, config.host)?;
    let logs = Arc::new(ContainerLogs::new(&pods_dir));
    let marks = Marks::new(&config.state);
    let unused = CancellationToken::new();
    let guarding = guard::keep_running(
        config.program.clone(),
        marks.clone(),
        pods_dir.clone(),
        unused.clone(),
    );
    let former = orphans::kill_processes_async(
        marks.state_prefix(),
        vec![],
        guard::GRACE_PERIOD,
        guard::KILL_TIMEOUT,
    );
    let node = Arc::new(NodeContext {
        client: client.clone(),
        network: config.network,
        program: config.program,
        host: config.host,
        pods: pods_dir,
        images,
        logs: logs.clone(),
        addresses: address::Addresses::new(config.network),
        events: Recorder::start(client.clone(), "kubelet", tracker, stop.clone()),
        http: build_probe_client(),
        back_off: config.back_off,
        closing: stop.clone(),
        marks,
        _guarded: unused.drop_guard(),
    });
    tracker.spawn(node_object::publish_node(
        client.clone(),
        node.ip(),
        stop.clone(),
    ));
    let cache: Store<Pod> = Store::default();
    follow_pods(&cache, node, tracker);
    let (stop, node_pods) = (stop.clone(), config.state.join("pods"));
    tracker.spawn(async move {
        // Guard and pods start afterwards, because the clean-up kills everything with this state
        // folder's mark.
        former.await;
        tokio::spawn(guarding);
        remove_gone(&client, &node_pods).await;
        cache
            .run_watch(Api::all(client.clone()), watcher::Config::default(), stop)
            .await;
    });
    Ok(logs)
}

/// A client that sends each probe on a connection of its own, wherever it goes.
fn build_probe_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .pool_max_idle_per_host(0)
        .build()
        .unwrap_or_default()
}

/// Starts a task for each pod of this node, and tells it what becomes of its object.
fn follow_pods(cache: &Store<Pod>, node: Arc<NodeContext>, tracker: &TaskTracker) {
    let pods = Mutex::new(HashMap::<String, watch::Sender<Option<Arc<Pod>>>>::new());
    let tracker = tracker.clone();
    cache.on_change(move |old, new| {
        let mut pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = old
            && new.is_none_or(|n| n.metadata.uid != old.metadata.uid)
            && let Some(gone) = old.metadata.uid.as_ref().and_then(|uid| pods.remove(uid))
        {
            gone.send_replace(None);
        }
        let Some(new) = new.filter(|p| is_ours(p)) else {
            return;
        };
        let Some(uid) = new.metadata.uid.clone() else {
            return;
        };
        let pod = Arc::clone(new);
        if let Some(known) = pods.get(&uid) {
            drop(known.send_replace(Some(pod)));
        } else {
            let (tx, rx) = watch::channel(Some(pod.clone()));
            pods.insert(uid, tx);
            tracker.spawn(pod::run_pod(node.clone(), pod, rx));
        }
    });
}

/// Removes the folders of pods that no longer exist, for example after pocket was killed.
async fn remove_gone(client: &Client, pods: &Path) {
    let Ok(known) = Api::<Pod>::all(client.clone())
        .list(&ListParams::default())
        .await
    else {
        return;
    };
    let known: HashSet<String> = known.items.iter().filter_map(ResourceExt::uid).collect();
    let folders = std::fs::read_dir(pods).into_iter().flatten().flatten();
    let gone: Vec<PathBuf> = folders
        .filter(|f| !f.file_name().to_str().is_some_and(|n| known.contains(n)))
        .map(|f| f.path())
        .collect();
    let removed =
        tokio::task::spawn_blocking(move || gone.iter().try_for_each(std::fs::remove_dir_all));
    if let Ok(Err(error)) = removed.await {
        tracing::warn!(%error, "the folder of a pod that is gone is not removed");
    }
}

/// Whether this kubelet runs the pod: not bound to another node, and not a mirror pod.
fn is_ours(pod: &Pod) -> bool {
    let node = pod
        .spec
        .as_ref()
        .and_then(|s| s.node_name.as_deref())
        .unwrap_or_default();
    let mirror = pod
        .metadata
        .annotations
        .as_ref()
        .is_some_and(|a| a.contains_key(MIRROR_ANNOTATION));
    !mirror && (node.is_empty() || node == NODE)
}
