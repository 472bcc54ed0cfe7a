//! A node without processes: it takes every pod that has no node, says it runs, and lets it go when it is deleted.
//!
//! What becomes of a pod stands in its first image's name: `crash` starts and never gets ready, `never` is never
//! started, `fail` ends a Job's pod badly. The label `fake/ready: "false"` takes readiness from one pod.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const NODE: &str = "fake-node";

struct Kubelet {
    client: Client,
    /// From being placed to being ready.
    start: Duration,
    addresses: std::sync::atomic::AtomicU32,
}

/// Until `stop`. A lost API server is waited for.
pub async fn run(client: Client, start: Duration, stop: CancellationToken) {
    let kubelet = Arc::new(Kubelet {
        client: client.clone(),
        start,
        addresses: 1.into(),
    });
    let work = async {
        while let Err(error) = kubelet.show().await {
            tracing::debug!(%error, "no node");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let pods = watcher(Api::<Pod>::all(client), watcher::Config::default());
        let mut pods = pods.backoff(Soon).applied_objects().boxed();
        while let Some(pod) = pods.next().await {
            let Ok(pod) = pod else { continue };
            // Of its own, so that a slow pod holds no other up; a step done twice changes nothing.
            tokio::spawn(kubelet.clone().look(pod));
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Of the watch: soon again, always.
struct Soon;

impl Iterator for Soon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}

impl kube::runtime::utils::Backoff for Soon {
    fn reset(&mut self) {}
}

impl Kubelet {
    async fn show(&self) -> kube::Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let apply = PatchParams::apply("fake-kubelet").force();
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}});
        nodes.patch(NODE, &apply, &Patch::Apply(&node)).await?;
        let now = now();
        let status = json!({"status": {
            "capacity": {"cpu": "64", "memory": "64Gi", "pods": "1000"},
            "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "1000"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake",
                "lastHeartbeatTime": now, "lastTransitionTime": now}],
        }});
        nodes
            .patch_status(NODE, &PatchParams::default(), &Patch::Merge(&status))
            .await
            .map(drop)
    }

    async fn look(self: Arc<Self>, pod: Pod) {
        for _ in 0..50 {
            match self.step(&pod).await {
                Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(()) => return,
            }
        }
    }

    async fn step(&self, pod: &Pod) -> kube::Result<()> {
        let name = pod.name_any();
        let api: Api<Pod> =
            Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let spec = pod.spec.as_ref().expect("pods have a spec");
        if pod.metadata.deletion_timestamp.is_some() {
            if spec.node_name.as_deref() != Some(NODE) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            let same = Preconditions {
                uid: pod.uid(),
                resource_version: None,
            };
            let now = DeleteParams {
                preconditions: Some(same),
                ..DeleteParams::default().grace_period(0)
            };
            return api.delete(&name, &now).await.map(drop);
        }
        match spec.node_name.as_deref() {
            Some(NODE) => {}
            Some(_) => return Ok(()),
            None => {
                let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "uid": pod.uid()},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}});
                return api
                    .create_subresource::<Value, Value>(
                        "binding",
                        &name,
                        &PostParams::default(),
                        &binding,
                    )
                    .await
                    .map(drop);
            }
        }
        let status = pod.status.clone().unwrap_or_default();
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return Ok(());
        }
        if status.pod_ip.is_none() {
            tokio::time::sleep(self.start).await;
        }
        let Some(wanted) = self.wanted(pod) else {
            return Ok(());
        };
        if same(
            &serde_json::to_value(&status).expect("a status is JSON"),
            &wanted,
        ) {
            return Ok(());
        }
        // The uid is checked by the server: a namesake that came since is left alone.
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": wanted});
        api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch))
            .await
            .map(drop)
    }

    /// What a kubelet would say of it by now.
    fn wanted(&self, pod: &Pod) -> Option<Value> {
        let spec = pod.spec.as_ref()?;
        let image = spec.containers[0].image.clone().unwrap_or_default();
        let known = pod.status.clone().unwrap_or_default();
        let waiting = |reason: &str, restarts: u32| {
            json!({"name": spec.containers[0].name, "image": image, "imageID": "", "ready": false, "started": false,
                "restartCount": restarts, "state": {"waiting": {"reason": reason, "message": "fake"}}})
        };
        if image.contains("never") {
            let containers = [waiting("ImagePullBackOff", 0)];
            return Some(
                json!({"phase": "Pending", "containerStatuses": containers, "conditions": conditions(false)}),
            );
        }
        let ip = known.pod_ip.unwrap_or_else(|| {
            let n = self
                .addresses
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            format!("10.200.{}.{}", n / 250, n % 250 + 1)
        });
        let mut status = json!({"podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.100.0.1",
            "startTime": known.start_time.map_or_else(|| json!(now()), |t| json!(t))});
        let of_job = pod.owner_references().iter().any(|o| o.kind == "Job");
        let (phase, ready, container) = if of_job {
            let (phase, code) = if image.contains("fail") {
                ("Failed", 1)
            } else {
                ("Succeeded", 0)
            };
            let ended = json!({"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
                "startedAt": now(), "finishedAt": now()});
            let container = json!({"name": spec.containers[0].name, "image": image, "imageID": "", "ready": false,
                "started": false, "restartCount": 0, "state": {"terminated": ended}});
            (phase, false, container)
        } else if image.contains("crash") {
            ("Running", false, waiting("CrashLoopBackOff", 3))
        } else {
            let ready = pod.labels().get("fake/ready").is_none_or(|r| r != "false");
            let container = json!({"name": spec.containers[0].name, "image": image, "imageID": "", "ready": ready,
                "started": true, "restartCount": 0, "state": {"running": {"startedAt": now()}}});
            ("Running", ready, container)
        };
        status["phase"] = phase.into();
        status["containerStatuses"] = json!([container]);
        status["conditions"] = conditions(ready);
        Some(status)
    }
}

fn conditions(ready: bool) -> Value {
    let condition = |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now()});
    json!([
        condition("PodScheduled", true),
        condition("Initialized", true),
        condition("ContainersReady", ready),
        condition("Ready", ready),
    ])
}

/// Whether a status says already what is wanted; moments do not count.
fn same(status: &Value, wanted: &Value) -> bool {
    let facts = |s: &Value| {
        let ready = s["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| c["type"] == "Ready");
        let container = &s["containerStatuses"][0];
        json!([
            s["phase"],
            s["podIP"],
            ready.map(|r| &r["status"]),
            container["image"],
            container["restartCount"]
        ])
    };
    facts(status) == facts(wanted)
}

fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
