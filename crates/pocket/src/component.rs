//! Components of the program that uses a pocket, run in its process beside the controllers and the
//! kubelet. Each is shown as a running pod with a log, as the static pods of a control plane are.

use std::{net::Ipv4Addr, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    FIELD_MANAGER,
    kubelet::NODE,
    memory_log::MemoryLog,
    rest::{BoxError, LogError, LogOptions, LogSource, LogStream},
};

/// Marks a mirror pod, as in a kubelet: it is shown in the API but not run, because pocket's process
/// is its process.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What a component runs with.
pub struct ComponentContext {
    /// Calls the API within this process.
    pub client: Client,
    /// Address of the node, where a component may listen.
    pub node_address: Ipv4Addr,
    /// Cancelled when the pocket ends. The pods still run then, so requests under way can complete;
    /// the pocket waits for the component for up to a minute.
    pub stop: CancellationToken,
}

/// Runs a component until it is stopped; an error is logged.
pub type RunComponent =
    Box<dyn FnOnce(ComponentContext) -> BoxFuture<'static, Result<(), BoxError>> + Send>;

/// A component and how it is shown.
pub struct Component {
    /// Namespace of its pod; created if it does not exist.
    pub namespace: &'static str,
    /// Name of its pod and of the container in it.
    pub name: &'static str,
    /// Labels of the pod.
    pub labels: &'static [(&'static str, &'static str)],
    /// Image that the pod is said to run.
    pub image: &'static str,
    /// Log of the pod.
    pub log: MemoryLog,
    /// Runs it.
    pub run: RunComponent,
}

/// Logs of all pods of a pocket: those of components from memory, all others from the kubelet.
pub struct PodLogs {
    /// Namespace, name and log of each component.
    components: Vec<(&'static str, &'static str, MemoryLog)>,
    /// Source of all other logs.
    kubelet: Arc<dyn LogSource>,
}

impl PodLogs {
    /// The logs of these components, and of a kubelet.
    pub fn new(components: &[Component], kubelet: Arc<dyn LogSource>) -> Self {
        let components = components
            .iter()
            .map(|c| (c.namespace, c.name, c.log.clone()))
            .collect();
        Self {
            components,
            kubelet,
        }
    }
}

impl LogSource for PodLogs {
    fn open_log(
        &self,
        pod: Arc<Value>,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, LogError>> {
        let meta = &pod["metadata"];
        let component = self
            .components
            .iter()
            .find(|(namespace, name, _)| meta["namespace"] == *namespace && meta["name"] == *name);
        match component {
            None => self.kubelet.open_log(pod, options),
            Some((_, name, _)) if options.previous => {
                let why = format!(
                    "previous terminated container {:?} in pod {name:?} not found",
                    options.container
                );
                futures::future::err(LogError::NotAvailable(why)).boxed()
            }
            Some((_, _, log)) => futures::future::ok(log.open_stream(&options)).boxed(),
        }
    }
}

/// Publishes a component as a running pod.
pub async fn publish_pod(
    component: &Component,
    client: &Client,
    node: Ipv4Addr,
) -> kube::Result<()> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let &Component {
        namespace,
        name,
        labels,
        image,
        ..
    } = component;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let wanted = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    namespaces
        .patch(namespace, &params, &Patch::Apply(&wanted))
        .await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let labels: Map<String, Value> = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).into()))
        .collect();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": {MIRROR_ANNOTATION: "pocket"}},
        "spec": {"nodeName": NODE, "hostNetwork": true, "containers": [{"name": name, "image": image}]},
    });
    pods.patch(name, &params, &Patch::Apply(&pod)).await?;
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let yes = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let status = json!({"status": {
        "phase": "Running",
        "hostIP": node, "podIP": node, "podIPs": [{"ip": node}],
        "startTime": now,
        "conditions": [yes("Initialized"), yes("Ready"), yes("ContainersReady"), yes("PodScheduled")],
        "containerStatuses": [{
            "name": name, "image": image, "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": now}},
        }],
    }});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .map(drop)
}
