//! Forwards ports of pods by kubectl, until nobody wants them any more.

use std::process::Stdio;

use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{cluster_session::ActiveCluster, foreground};
use crate::{
    api::NamespaceRef,
    cluster::{connect::ClusterSource, error},
    domain::{
        kubectl::{parse_forwarded_port, port_forward_command},
        world::ObjectKey,
    },
    ui::{Answer, Fault},
};

/// Most bytes of kubectl's complaints that are shown.
const MAX_COMPLAINT: u64 = 2048;

/// The ports that the containers of a pod name.
pub(super) async fn read_ports(pod: ObjectKey, here: ActiveCluster) -> Answer {
    let NamespaceRef {
        cluster,
        name: namespace,
    } = &pod.namespace;
    let api: Api<Pod> = Api::namespaced(here.clusters.client_for(cluster), namespace);
    let found = match api.get(&pod.name).await {
        Ok(found) => found,
        Err(why) => return Answer::Failed(Fault::new(&error::describe_error(&why))),
    };
    let containers = found.spec.map(|spec| spec.containers).unwrap_or_default();
    let mut ports = vec![];
    for container in containers {
        for port in container.ports.unwrap_or_default() {
            let name = port.name.map_or_else(
                || container.name.clone(),
                |name| [&*container.name, " ", &name].concat(),
            );
            ports.extend(
                u16::try_from(port.container_port)
                    .ok()
                    .map(|port| (name, port)),
            );
        }
    }
    Answer::Ports(ports)
}

/// A running kubectl; it ends with this.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Forwards a port until the stream is dropped, which ends kubectl.
pub(super) fn forward_port(
    source: Option<&ClusterSource>,
    pod: &ObjectKey,
    port: u16,
) -> BoxStream<'static, Answer> {
    let started = start_kubectl(source, pod, port);
    let running = match started {
        Ok(running) => running,
        Err(fault) => return stream::iter([Answer::Failed(fault)]).boxed(),
    };
    stream::unfold(Some(running), |running| async move {
        let mut running = running?;
        loop {
            match running.lines.next_line().await {
                Ok(Some(line)) => {
                    if let Some(local) = parse_forwarded_port(&line) {
                        return Some((Answer::Forwarding(local), Some(running)));
                    }
                }
                Ok(None) | Err(_) => {
                    return Some((
                        Answer::Failed(read_complaint(&mut running.child).await),
                        None,
                    ));
                }
            }
        }
    })
    .boxed()
}

fn start_kubectl(
    source: Option<&ClusterSource>,
    pod: &ObjectKey,
    port: u16,
) -> Result<Running, Fault> {
    let place = foreground::kubectl_place(source, pod, "port forward")?;
    let line = port_forward_command(&place, &pod.name, port);
    let (program, args) = foreground::argv_of(&line)?
        .split_first()
        .ok_or_else(|| Fault::new("there is no command"))?;
    let failed = |why: std::io::Error| Fault::new(&format!("kubectl could not be run: {why}"));
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in a shell that has the terminal is not for it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let out = child
        .stdout
        .take()
        .ok_or_else(|| Fault::new("kubectl tells nothing"))?;
    Ok(Running {
        child,
        lines: BufReader::new(out).lines(),
    })
}

/// Why kubectl has ended.
async fn read_complaint(child: &mut Child) -> Fault {
    let mut text = vec![];
    if let Some(complaint) = child.stderr.take() {
        let _ = complaint.take(MAX_COMPLAINT).read_to_end(&mut text).await;
    }
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    Fault::new(last.unwrap_or("kubectl has ended"))
}
