//! Life of one pod, from binding it to the node to removing its files.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HostIP, Pod, PodIP, PodStatus};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::container::{ContainerRunner, StopSignal};
use super::shared_status::SharedStatus;
use super::status::{compute_status, exit_code, restart_policy, set_condition, to_kube_time};
use super::{NODE, NodeContext, scheduling, volumes};
use crate::controllers::events::object_reference;
use crate::controllers::pods::is_finished;
use crate::controllers::write;
use crate::orphans;

/// Grace period in seconds when pocket itself ends, instead of the pod's own.
const CLOSING_GRACE: u64 = 5;

/// Time limit for killing the orphaned processes of a pod; what survives it hangs in the kernel.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(5);

type PodUpdates = watch::Receiver<Option<Arc<Pod>>>;

/// Runs a pod until its object is gone or pocket ends.
#[tracing::instrument(level = "debug", skip_all, fields(namespace = pod.metadata.namespace, pod = pod.metadata.name))]
pub(super) async fn run_pod(node: Arc<NodeContext>, pod: Arc<Pod>, news: PodUpdates) {
    let uid = pod.uid().unwrap_or_default();
    let closing = node.closing.clone();
    let life = PodWorker {
        api: Api::namespaced(node.client.clone(), &pod.namespace().unwrap_or_default()),
        node: node.clone(),
        pod,
        news: news.clone(),
    };
    // Finished pods may be kept for a long time; their run-time state is freed with the box.
    if Box::pin(life.run_lifecycle()).await {
        wait_until_gone(&closing, news).await;
    }
    node.addresses.release_address(&uid);
    if !closing.is_cancelled() {
        node.logs.remove(&uid);
        let dir = node.pods.join(&uid);
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(dir)).await;
    }
}

struct PodWorker {
    node: Arc<NodeContext>,
    api: Api<Pod>,
    pod: Arc<Pod>,
    news: PodUpdates,
}

fn deletion_grace(pod: &Pod) -> Option<u64> {
    pod.metadata.deletion_timestamp.as_ref()?;
    let own = pod
        .spec
        .as_ref()
        .and_then(|s| s.termination_grace_period_seconds)
        .unwrap_or(30);
    u64::try_from(pod.metadata.deletion_grace_period_seconds.unwrap_or(own)).ok()
}

/// Waits until the object is gone or pocket ends.
async fn wait_until_gone(closing: &CancellationToken, mut news: PodUpdates) {
    tokio::select! {
        () = closing.cancelled() => {}
        _ = news.wait_for(Option::is_none) => {}
    }
}

impl PodWorker {
    /// Runs the pod. Returns whether the object may still exist once there is nothing left to do.
    async fn run_lifecycle(mut self) -> bool {
        if is_finished(&self.pod) {
            return true;
        }
        if let Some(why) = scheduling::unschedulable_reason(&self.pod, NODE) {
            self.report_unschedulable(&why).await;
            return true;
        }
        if !self.bind_to_node().await {
            return false;
        }
        let board = SharedStatus::from_pod(&self.pod);
        let uid = self.pod.uid().unwrap_or_default();
        let Some(ip) = self.find_address(&uid, &board).await else {
            return true;
        };
        self.write_addresses(&board, ip);
        let (order, stop) = watch::channel(None);
        let (init, main) = self.build_runners(ip, &board, &stop);
        let work = run_containers(
            self.node.clone(),
            self.pod.clone(),
            board.clone(),
            stop.clone(),
            init,
            main,
        );
        let closed = self.follow_containers(work, &board, order).await;
        // All containers have ended; orphaned processes are killed before the object is deleted.
        orphans::kill_processes_async(
            self.node.marks.pod_prefix(&uid),
            vec![],
            Duration::ZERO,
            ORPHAN_TIMEOUT,
        )
        .await;
        if closed {
            return false;
        }
        self.write_status(&board).await;
        if self
            .news
            .borrow()
            .as_ref()
            .is_some_and(|p| p.metadata.deletion_timestamp.is_some())
        {
            self.remove().await;
        }
        true
    }

    /// The address of the node or one of the pod's own; none if none is left, which is reported.
    async fn find_address(&mut self, uid: &str, board: &SharedStatus) -> Option<Ipv4Addr> {
        let host = self.pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
        if host {
            return Some(self.node.ip());
        }
        let own = board.read_status().pod_ip.and_then(|ip| ip.parse().ok());
        let given = self.node.addresses.assign_address(uid, own);
        let strangers = given.describe_foreign_listeners();
        let Some(ip) = given.ip else {
            let by = strangers.map(|by| format!(": {by}")).unwrap_or_default();
            self.report_unschedulable(&format!("no address is left in the node network{by}"))
                .await;
            return None;
        };
        if let Some(by) = strangers {
            let text = format!("{by}: this pod has another address, {ip}");
            self.node
                .events
                .record_warning(object_reference(&*self.pod), "AddressTaken", text);
        }
        Some(ip)
    }

    fn write_addresses(&self, board: &SharedStatus, ip: Ipv4Addr) {
        board.update_pod(|s| {
            s.pod_ip = Some(ip.to_string());
            s.pod_ips = Some(vec![PodIP { ip: ip.to_string() }]);
            s.host_ip = Some(self.node.ip().to_string());
            s.host_ips = Some(vec![HostIP {
                ip: self.node.ip().to_string(),
            }]);
            s.start_time
                .get_or_insert_with(|| to_kube_time(crate::clock::now()));
            s.qos_class.get_or_insert_with(|| "BestEffort".into());
        });
    }

    /// Runners of the init containers and of the others.
    fn build_runners(
        &self,
        ip: Ipv4Addr,
        board: &SharedStatus,
        stop: &StopSignal,
    ) -> (Vec<ContainerRunner>, Vec<ContainerRunner>) {
        let runner = |container: &Container, init: bool| ContainerRunner {
            node: self.node.clone(),
            pod: self.pod.clone(),
            container: container.clone(),
            init,
            ip,
            board: board.clone(),
            stop: stop.clone(),
        };
        let spec = self.pod.spec.clone().unwrap_or_default();
        let init: Vec<ContainerRunner> = spec
            .init_containers
            .iter()
            .flatten()
            .map(|c| runner(c, true))
            .collect();
        let main: Vec<ContainerRunner> = spec.containers.iter().map(|c| runner(c, false)).collect();
        (init, main)
    }

    /// Writes status changes while the containers run and forwards requests to stop. Returns
    /// whether pocket itself ended.
    async fn follow_containers(
        &mut self,
        work: impl Future<Output = ()>,
        board: &SharedStatus,
        order: watch::Sender<Option<u64>>,
    ) -> bool {
        tokio::pin!(work);
        let closing = self.node.closing.clone();
        let mut closed = false;
        // Status is written concurrently, so a slow write does not delay any container.
        loop {
            if let Some(grace) = match self.news.borrow_and_update().as_ref() {
                None => Some(0),
                Some(pod) => deletion_grace(pod),
            } {
                order.send_if_modified(|now| {
                    let change = now.is_none_or(|n| grace < n);
                    if change {
                        *now = Some(grace);
                    }
                    change
                });
            }
            let mut news = self.news.clone();
            tokio::select! {
                () = &mut work => return closed,
                () = closing.cancelled(), if !closed => {
                    closed = true;
                    order.send_modify(|now| *now = Some(now.unwrap_or(CLOSING_GRACE).min(CLOSING_GRACE)));
                }
                () = board.changed.notified(), if !closed => {
                    // Changes made during a write are written in the next round.
                    let writing = self.write_status(board);
                    tokio::select! {
                        () = writing => {}
                        () = &mut work => return closed,
                    }
                }
                Ok(()) = news.changed() => {}
            }
        }
    }

    async fn report_unschedulable(&mut self, why: &str) {
        let message = format!("0/1 nodes are available: {why}.");
        self.node
            .events
            .record_warning(object_reference(&*self.pod), "FailedScheduling", &message);
        let mut status = self.pod.status.clone().unwrap_or_default();
        status.phase = Some("Pending".into());
        set_condition(
            &mut status,
            "PodScheduled",
            (false, Some("Unschedulable"), Some(message)),
            crate::clock::now(),
        );
        if let Err(error) =
            write::patch_status(&self.api, &*self.pod, self.pod.status.as_ref(), &status).await
        {
            tracing::debug!(pod = self.pod.name_any(), %error, "status not written");
        }
    }

    /// Binds the pod to the node; returns `false` if it is already gone.
    async fn bind_to_node(&mut self) -> bool {
        if self
            .pod
            .spec
            .as_ref()
            .is_some_and(|s| s.node_name.is_some())
        {
            return true;
        }
        let name = self.pod.name_any();
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "uid": self.pod.uid()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}});
        let (create, api) = (PostParams::default(), self.api.clone());
        loop {
            let placed = async {
                api.create_subresource::<Value, Value>("binding", &name, &create, &binding)
                    .await?;
                api.get(&name).await
            };
            match placed.await {
                Ok(placed) if placed.uid() == self.pod.uid() => {
                    let name = placed.name_any();
                    let text = format!(
                        "Successfully assigned {}/{name} to {NODE}",
                        placed.namespace().unwrap_or_default()
                    );
                    self.node
                        .events
                        .record_normal(object_reference(&placed), "Scheduled", text);
                    self.pod = Arc::new(placed);
                    return true;
                }
                Ok(_) => return false,
                Err(error) if write::is_code(&error, 404) || write::is_code(&error, 409) => {
                    let news = self.news.borrow().clone();
                    let Some(now) = news else { return false };
                    if now.spec.as_ref().is_some_and(|s| s.node_name.is_some()) {
                        self.pod = now;
                        return true;
                    }
                }
                Err(error) => tracing::warn!(pod = self.pod.name_any(), %error, "not placed"),
            }
            let closing = self.node.closing.clone();
            let mut news = self.news.clone();
            tokio::select! {
                () = closing.cancelled() => return false,
                gone = news.wait_for(Option::is_none) => return { drop(gone); false },
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    async fn write_status(&mut self, board: &SharedStatus) {
        let mut status = board.read_status();
        compute_status(&self.pod, &mut status, crate::clock::now());
        store_conditions(board, &status);
        for wait in [10, 100, 1000] {
            match write::patch_status(&self.api, &*self.pod, self.pod.status.as_ref(), &status)
                .await
            {
                Ok(None) => return,
                Ok(Some(_)) => {
                    let mut pod = (*self.pod).clone();
                    pod.status = Some(status);
                    self.pod = Arc::new(pod);
                    return;
                }
                Err(error) if write::is_code(&error, 404) || write::is_code(&error, 409) => return,
                Err(error) => {
                    tracing::warn!(pod = self.pod.name_any(), %error, "status not written, will retry");
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
        board.changed.notify_one();
    }

    /// Deletes the object after everything has ended.
    async fn remove(&self) {
        let uid = Preconditions {
            uid: self.pod.uid(),
            resource_version: None,
        };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default().preconditions(uid)
        };
        for _ in 0..5 {
            match self.api.delete(&self.pod.name_any(), &params).await {
                Err(error) if !write::is_code(&error, 404) && !write::is_code(&error, 409) => {
                    tracing::warn!(pod = self.pod.name_any(), %error, "not removed, will retry");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                _ => return,
            }
        }
    }
}

/// Stores the computed conditions, so that their transition times are kept.
fn store_conditions(board: &SharedStatus, status: &PodStatus) {
    board.set_computed(status.conditions.clone(), status.phase.clone());
}

/// Runs the init containers one after the other, then all others at once, until all have ended for
/// good.
async fn run_containers(
    node: Arc<NodeContext>,
    pod: Arc<Pod>,
    board: SharedStatus,
    stop: watch::Receiver<Option<u64>>,
    init: Vec<ContainerRunner>,
    main: Vec<ContainerRunner>,
) {
    if !fill_volumes(&node, &pod, &board, stop.clone()).await {
        return;
    }
    for runner in init {
        let name = runner.container.name.clone();
        if exit_code(&board.get(&name)) == Some(0) {
            continue;
        }
        runner.run_until_done().await;
        let code = exit_code(&board.get(&name));
        if stop.borrow().is_some() || (code != Some(0) && restart_policy(&pod) == "Never") {
            return;
        }
    }
    let mut all = JoinSet::new();
    for runner in main {
        all.spawn(runner.run_until_done());
    }
    while all.join_next().await.is_some() {}
}

/// Fills the volumes as soon as their sources exist; returns `false` if asked to stop first.
async fn fill_volumes(
    node: &NodeContext,
    pod: &Pod,
    board: &SharedStatus,
    mut stop: watch::Receiver<Option<u64>>,
) -> bool {
    let uid = pod.uid().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    for mount in spec
        .containers
        .iter()
        .flat_map(|c| c.volume_mounts.iter().flatten())
    {
        let text = format!(
            "{} cannot be mounted without root: volume {name:?} is the folder ${}/{name}",
            mount.mount_path,
            volumes::VOLUMES_VARIABLE,
            name = mount.name
        );
        node.events
            .record_warning(object_reference(pod), "MountPathIgnored", text);
    }
    if spec.volumes.as_ref().is_none_or(Vec::is_empty) {
        return stop.borrow().is_none();
    }
    loop {
        let pod_ip = board
            .read_status()
            .pod_ip
            .and_then(|ip| ip.parse().ok())
            .unwrap_or(node.ip());
        let done = match node.list_references(pod).await {
            Ok(r) => {
                let content = volumes::VolumeSources {
                    config_maps: &r.config_maps,
                    secrets: &r.secrets,
                    pod_ip,
                    host_ip: node.ip(),
                };
                volumes::create_volumes(pod, &node.pods.join(&uid).join("volumes"), &content)
            }
            Err(error) => Err(error.into()),
        };
        match done {
            Ok(()) => return stop.borrow().is_none(),
            Err(why) => node.events.record_warning(
                object_reference(pod),
                "FailedMount",
                format!("MountVolume.SetUp failed: {why}"),
            ),
        }
        tokio::select! {
            _ = stop.wait_for(Option::is_some) => return false,
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
}
