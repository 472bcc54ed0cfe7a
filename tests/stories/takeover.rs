//! Two engines beside a pocket, and the one that acts killed with kill -9 in one state of a release after the other:
//! the other takes over, the release finishes, and nothing is done twice.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use crate::support::program::{self, until};
use futures::StreamExt;
use graylane::{
    api::{App, BatchPhase, Release, ReleasePhase, ReleaseStatus, TaskPhase},
    cluster::{install, lease::ENGINE_LEASE},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::Job,
    coordination::v1::Lease,
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use pocket::images::Manifest;
use serde_json::json;
use tokio::process::{Child, Command};

const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: a-{{ .AppStack.envName }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: a-{{ .AppStack.envName }}}}
  template:
    metadata: {labels: {app: a-{{ .AppStack.envName }}}}
    spec:
      terminationGracePeriodSeconds: 100
      containers: [{name: c, image: '{{ .AppStack.image.backend }}', env: [{name: GATE, value: '{{ .AppStack.envName }}'}]}]
";

const JOB: &str = "apiVersion: batch/v1
kind: Job
metadata: {name: build}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'builder:v1'}]}}}
";

fn command(state: &Path) -> Command {
    let mut command = program::command(state, "ann");
    command.args(["-n", "default"]);
    command
}

/// All pods that ever were: uid to app and image.
type Seen = Arc<Mutex<BTreeMap<String, (String, String)>>>;

struct Rig {
    dir: tempfile::TempDir,
    client: Client,
    seen: Seen,
    engines: Vec<Child>,
    _pocket: Child,
}

fn image(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|s| s.containers[0].image.as_deref())
        .unwrap_or_default()
}

impl Rig {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (pocket, client) =
            program::serving(command(dir.path()).args(["pocket", "serve"]), dir.path()).await;
        install::apply_definitions(&client).await.unwrap();
        let seen = Seen::default();
        let (pods, all) = (
            Api::<Pod>::namespaced(client.clone(), "default"),
            seen.clone(),
        );
        tokio::spawn(
            watcher(pods, watcher::Config::default())
                .default_backoff()
                .applied_objects()
                .for_each(move |pod| {
                    if let Ok(pod) = pod {
                        let app = pod.labels().get("app").cloned().unwrap_or_default();
                        all.lock()
                            .unwrap()
                            .insert(pod.uid().unwrap(), (app, image(&pod).to_owned()));
                    }
                    std::future::ready(())
                }),
        );
        let mut rig = Self {
            dir,
            client,
            seen,
            engines: vec![],
            _pocket: pocket,
        };
        rig.images();
        rig.app().await;
        rig.engine();
        rig.engine();
        rig
    }

    fn engine(&mut self) {
        let engine = command(self.dir.path())
            .args(["engine", "--no-install"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.engines.push(engine);
    }

    /// Builds, and pods that are to go, wait for a file: the test says when.
    fn images(&self) {
        let images = graylane::embedded::open_images(self.dir.path()).unwrap();
        let wait = format!(
            "while [ ! -e {}/$GATE ]; do sleep 0.05; done",
            self.dir.path().display()
        );
        let serve = format!("trap '{wait}; exit 0' TERM; while :; do sleep 0.05; done");
        let build = format!("GATE=build; {wait}");
        for (tag, run) in [("a:v1", &serve), ("a:v2", &serve), ("builder:v1", &build)] {
            let entrypoint = ["sh", "-c", run].map(str::to_owned).to_vec();
            images
                .define(
                    tag,
                    &Manifest {
                        entrypoint,
                        ..Manifest::default()
                    },
                )
                .unwrap();
        }
    }

    fn open(&self, gate: &str) {
        fs::write(self.dir.path().join(gate), "").unwrap();
    }

    async fn app(&self) {
        let app = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": "a"}, "spec": {
            "images": {"backend": {"repository": "a", "default": "a:v1"}},
            "manifests": [{"name": "a.yaml", "template": MANIFEST}],
            "environments": [
                {"name": "gray", "namespace": "default", "values": {"replicas": 1}, "rollout": {"drainSeconds": 0}},
                {"name": "prod", "namespace": "default", "values": {"replicas": 3}, "rollout": {"batches": [1, "100%"]}},
            ],
            "workflow": {"stages": [
                {"name": "baseline", "tasks": [{"name": "deploy", "deploy": {"environment": "prod"}}]},
                {"name": "production", "tasks": [
                    {"name": "build", "build": {"image": "backend", "job": JOB, "tag": "v2"}},
                    {"name": "gate", "approval": {"requesterMayApprove": true}},
                    {"name": "deploy-gray", "deploy": {"environment": "gray"}},
                    {"name": "deploy-prod", "deploy": {"environment": "prod"}},
                    {"name": "clean", "cleanUp": {"environment": "gray"}},
                ]},
            ]},
        }});
        let app = serde_json::from_value(app).unwrap();
        self.api::<App>()
            .create(&PostParams::default(), &app)
            .await
            .unwrap();
    }

    fn api<T>(&self) -> Api<T>
    where
        T: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        T::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn ok(&self, args: &[&str]) -> String {
        program::ok(command(self.dir.path()), args)
            .await
            .trim()
            .to_owned()
    }

    async fn release(
        &self,
        name: &str,
        what: &str,
        fact: impl Fn(&ReleaseStatus) -> bool,
    ) -> ReleaseStatus {
        let status = async || self.api::<Release>().get(name).await.unwrap().status;
        until(what, async || {
            let status = status().await?;
            assert_ne!(status.phase, ReleasePhase::Failed, "{status:#?}");
            Some(status).filter(&fact)
        })
        .await
    }

    async fn task(&self, name: &str, task: &str, phase: TaskPhase) -> ReleaseStatus {
        let is = |s: &ReleaseStatus| s.tasks.iter().any(|t| t.name == task && t.phase == phase);
        self.release(name, &format!("{task} {phase:?}"), is).await
    }

    /// The process that holds the Lease, and how often it changed hands.
    async fn holder(&self) -> (Option<u32>, i32) {
        let lease = self.api::<Lease>().get_opt(ENGINE_LEASE).await.unwrap();
        let spec = lease.and_then(|l| l.spec).unwrap_or_default();
        let pid = spec
            .holder_identity
            .as_deref()
            .and_then(|h| h.split('/').nth(1)?.parse().ok());
        (pid, spec.lease_transitions.unwrap_or(0))
    }

    /// Kills the engine that acts. Another one takes over, and there is a second one again.
    async fn kill(&mut self) {
        let (pid, changes) = self.holder().await;
        let at = self
            .engines
            .iter()
            .position(|e| e.id() == pid)
            .expect("one of ours acts");
        self.engines.remove(at).kill().await.unwrap();
        let others: Vec<_> = self.engines.iter().map(Child::id).collect();
        let taken = until("a takeover", async || {
            Some(self.holder().await).filter(|now| now.0 != pid)
        })
        .await;
        assert!(others.contains(&taken.0), "{taken:?} of {others:?}");
        assert_eq!(taken.1, changes + 1, "at the first try");
        self.engine();
    }

    /// How many of an environment's pods that are to stay run v1 and v2.
    async fn split(&self, environment: &str) -> (usize, usize) {
        let selector = format!("app=a-{environment}");
        let mut pods = self
            .api::<Pod>()
            .list(&ListParams::default().labels(&selector))
            .await
            .unwrap()
            .items;
        pods.retain(|p| p.metadata.deletion_timestamp.is_none());
        let count = |wanted: &str| pods.iter().filter(|p| image(p) == wanted).count();
        (count("a:v1"), count("a:v2"))
    }

    async fn is_going(&self, environment: &str) -> bool {
        let selector = format!("app=a-{environment}");
        let pods = self
            .api::<Pod>()
            .list(&ListParams::default().labels(&selector))
            .await
            .unwrap()
            .items;
        pods.iter().any(|p| p.metadata.deletion_timestamp.is_some())
    }
}

fn batch(status: &ReleaseStatus, number: u32, phase: BatchPhase) -> bool {
    status
        .tasks
        .iter()
        .flat_map(|t| &t.batches)
        .any(|b| b.number == number && b.phase == phase)
}

/// Each task passed once and in order, each batch done once, nothing failed.
fn once(status: &ReleaseStatus) {
    let history = &status.history;
    let passed = history
        .iter()
        .filter(|h| h.action == "succeeded")
        .filter_map(|h| h.task.as_deref());
    let tasks = ["build", "gate", "deploy-gray", "deploy-prod", "clean"];
    assert_eq!(passed.collect::<Vec<_>>(), tasks, "{history:#?}");
    assert!(history.iter().all(|h| h.action != "failed"), "{history:#?}");
    assert!(
        status.tasks.iter().all(|t| t.attempt == 1),
        "{:#?}",
        status.tasks
    );
    for number in 1..=2 {
        let action = format!("batch {number} of 2 done");
        let times = history
            .iter()
            .filter(|h| h.task.as_deref() == Some("deploy-prod") && h.action == action)
            .count();
        assert_eq!(times, 1, "{action}: {history:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_is_killed_and_the_other_finishes() {
    let mut rig = Rig::start().await;
    let first = rig
        .ok(&["release", "start", "a", "--stage", "baseline"])
        .await;
    rig.release(&first, "a baseline", |s| s.phase.is_final())
        .await;
    assert_eq!(rig.split("prod").await, (3, 0));

    // While the build runs.
    let name = rig
        .ok(&["release", "start", "a", "--stage", "production"])
        .await;
    let name = name.as_str();
    let builds = || {
        rig.seen
            .lock()
            .unwrap()
            .values()
            .any(|(_, image)| image == "builder:v1")
    };
    until("a builder", async || builds().then_some(())).await;
    rig.kill().await;
    rig.open("build");

    // While it waits for a person.
    rig.task(name, "gate", TaskPhase::Waiting).await;
    rig.kill().await;
    rig.ok(&["approve", name]).await;

    // In the middle of a batch: the new pod is there, the old one is going.
    rig.release(name, "old pods going", |s| {
        batch(s, 1, BatchPhase::Retiring)
    })
    .await;
    until("one going", async || {
        rig.is_going("prod").await.then_some(())
    })
    .await;
    rig.kill().await;
    assert_eq!(
        rig.split("prod").await,
        (2, 1),
        "a batch is not taken twice"
    );
    rig.open("prod");
    rig.task(name, "deploy-prod", TaskPhase::Waiting).await;
    assert_eq!(
        (rig.split("prod").await, rig.split("gray").await),
        ((2, 1), (0, 1))
    );
    rig.ok(&["proceed", name, "--task", "deploy-prod"]).await;

    // While gray is taken down.
    rig.task(name, "clean", TaskPhase::Running).await;
    until("gray going", async || {
        rig.is_going("gray").await.then_some(())
    })
    .await;
    rig.kill().await;
    rig.open("gray");
    let done = rig.release(name, "the end", |s| s.phase.is_final()).await;
    once(&done);

    assert_eq!(
        (rig.split("prod").await, rig.split("gray").await),
        ((0, 3), (0, 0))
    );
    assert_eq!(
        rig.holder().await.1,
        4,
        "it changed hands with each kill and at no other time"
    );
    let sets = rig
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    assert_eq!(sets.len(), 2, "one revision a version");
    let prod = rig.api::<Deployment>().get("a-prod").await.unwrap();
    assert_eq!(prod.annotations()["deployment.kubernetes.io/revision"], "2");
    assert_eq!(
        rig.api::<Job>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    // No pod was made that was not needed.
    let mut made = BTreeMap::<(String, String), usize>::new();
    rig.seen
        .lock()
        .unwrap()
        .values()
        .for_each(|pod| *made.entry(pod.clone()).or_default() += 1);
    let wanted = [
        ("", "builder:v1", 1),
        ("a-gray", "a:v2", 1),
        ("a-prod", "a:v1", 3),
        ("a-prod", "a:v2", 3),
    ];
    let wanted = wanted.map(|(app, image, n)| ((app.to_owned(), image.to_owned()), n));
    assert_eq!(made, BTreeMap::from(wanted));
}
