//! A release in three batches, with all who take part in it: two engines and a cockpit that come by the way that is
//! in trouble, and a node, people and the eyes of this test that do not.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use graylane::{
    api::{App, BatchPhase, Release, ReleasePhase, ReleaseStatus, TaskPhase},
    cluster::{
        agent::Agent,
        connect::{ClusterSource, prepare_client},
        lease::ENGINE_LEASE,
        perform::perform_intent,
    },
    domain::{
        intent::{ControlIntent, Intent},
        world::{Link, World},
    },
    engine::{self, Options, Telemetry},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    coordination::v1::Lease,
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{LIMIT, View};
use crate::fake_kubelet;

pub const HOME: &str = "demo";
const TASK: &str = "deploy";
const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  replicas: 4
  selector: {matchLabels: {app: a}}
  template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: '{{ .AppStack.image.backend }}'}]}}
";
/// New and old pods at each standstill.
const EXACT: [(usize, usize); 3] = [(1, 3), (2, 2), (4, 0)];

pub struct Rollout {
    pub view: View,
    direct: Client,
    release: String,
    node: Option<(CancellationToken, JoinHandle<()>)>,
    /// All pods of the new version that ever were.
    made: Arc<Mutex<BTreeSet<String>>>,
    both: Arc<AtomicBool>,
    stop: CancellationToken,
    _ends: DropGuard,
}

impl Rollout {
    /// Up to where the first version runs. `direct` is not in trouble.
    pub async fn start(direct: Client, engines: PathBuf, cockpit: PathBuf) -> Self {
        let app = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": "a"}, "spec": {
        "images": {"backend": {"repository": "a", "default": "a:v1"}},
        "manifests": [{"name": "a.yaml", "template": MANIFEST}],
        "environments": [{"name": "prod", "namespace": HOME,
            "rollout": {"batches": [1, "50%", "100%"], "pause": "every"}}],
        "workflow": {"stages": [{"name": "go", "tasks": [{"name": TASK, "deploy": {"environment": "prod"}}]}]}}});
        let apps: Api<App> = Api::namespaced(direct.clone(), HOME);
        apps.create(
            &PostParams::default(),
            &serde_json::from_value(app).unwrap(),
        )
        .await
        .unwrap();
        let stop = CancellationToken::new();
        let mut this = Self {
            view: View::of(cockpit),
            release: String::new(),
            node: None,
            made: Arc::default(),
            both: Arc::default(),
            stop: stop.clone(),
            _ends: stop.drop_guard(),
            direct,
        };
        this.look_on();
        this.engines(engines);
        this.node();
        this.view.live().await;
        this.begin("a:v1").await;
        this.status("the first version", |s| s.phase == ReleasePhase::Succeeded)
            .await;
        assert_eq!(this.split().await, (0, 4));
        this
    }

    fn api<T>(&self) -> Api<T>
    where
        T: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.direct.clone(), HOME)
    }

    fn look_on(&self) {
        let (pods, made) = (self.api::<Pod>(), Arc::clone(&self.made));
        let seen = watcher(pods, watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .for_each(move |pod| {
                if let Ok(pod) = pod
                    && image(&pod) == "a:v2"
                {
                    made.lock().unwrap().insert(pod.uid().unwrap());
                }
                std::future::ready(())
            });
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(seen).await });
    }

    /// Two, as in a cluster; and somebody who sees whether both act at once.
    fn engines(&self, file: PathBuf) {
        let source = ClusterSource::Kubectl {
            kubeconfig: Some(file),
            context: None,
        };
        let told: [Telemetry; 2] = ["one", "two"].map(|identity| {
            let connected = prepare_client(&source, Some(HOME), Agent::Engine).unwrap();
            let telemetry = Telemetry::default();
            let client = telemetry.meter_client(connected.client);
            let options = Options {
                clusters: connected.clusters.with_home_client(client.clone()),
                client,
                namespace: HOME.into(),
                identity: identity.into(),
                prober: Arc::new(|_, _| Box::pin(async { Ok(vec![]) })),
                telemetry: telemetry.clone(),
                hops: graylane::engine::HopReport::default(),
            };
            tokio::spawn(engine::run_engine(options, self.stop.clone()));
            telemetry
        });
        let (both, stop) = (Arc::clone(&self.both), self.stop.clone());
        let acts = move |n: usize| {
            told[n]
                .to_open_metrics()
                .lines()
                .any(|line| line == "graylane_lease_held 1")
        };
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                // The first one asked again: between two looks it may have changed hands.
                if acts(0) && acts(1) && acts(0) {
                    both.store(true, Ordering::SeqCst);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
    }

    /// From now on new pods start.
    pub fn node(&mut self) {
        if self.node.is_some() {
            return;
        }
        let stop = self.stop.child_token();
        let work = fake_kubelet::run(self.direct.clone(), Duration::from_millis(50), stop.clone());
        self.node = Some((stop, tokio::spawn(work)));
    }

    async fn begin(&mut self, image: &str) {
        let images = [(
            "a".to_owned(),
            [("backend".to_owned(), image.to_owned())].into(),
        )]
        .into();
        let apps = vec!["a".into()];
        let start = Intent::StartRelease {
            apps,
            stage: "go".into(),
            images,
            comment: None,
            window: None,
        };
        let done = perform_intent(&self.direct, HOME, "admin", start)
            .await
            .unwrap();
        let name = done.release_names().next().unwrap();
        name.clone_into(&mut self.release);
    }

    /// Lets that batch begin. It gets as far as to new pods that nobody starts.
    pub async fn surge(&mut self, batch: u32) {
        let (stop, node) = self.node.take().expect("it runs between batches");
        stop.cancel();
        node.await.unwrap();
        if batch == 1 {
            self.begin("a:v2").await;
        } else {
            let wish = ControlIntent::Allow {
                task: TASK.into(),
                batch,
            };
            let wish = Intent::Release {
                name: self.release.clone(),
                seen: None,
                wish: wish.into(),
                comment: None,
            };
            perform_intent(&self.direct, HOME, "admin", wish)
                .await
                .unwrap();
        }
        self.status(&format!("batch {batch} surges"), |s| {
            phase(s, batch) == BatchPhase::Surging
        })
        .await;
        let before = batch.checked_sub(2).map_or(0, |i| EXACT[i as usize].0);
        eventually("a new pod", async || {
            (self.split().await.0 > before).then_some(())
        })
        .await;
    }

    /// The new pods start; the batch ends just where it should, and the cockpit shows that.
    pub async fn settle(&mut self, batch: u32) {
        let status = self.settle_unseen(batch).await;
        self.show(batch, &status).await;
    }

    /// The release says so.
    pub async fn told(&self, words: &str) {
        let says = |s: &ReleaseStatus| {
            s.tasks
                .iter()
                .any(|t| t.message.as_ref().is_some_and(|m| m.contains(words)))
        };
        self.status(words, says).await;
    }

    pub async fn settle_unseen(&mut self, batch: u32) -> ReleaseStatus {
        self.node();
        let last = batch as usize == EXACT.len();
        let stands = |s: &ReleaseStatus| {
            let waits = s.tasks.iter().any(|t| t.phase == TaskPhase::Waiting);
            phase(s, batch) == BatchPhase::Done
                && (waits || last && s.phase == ReleasePhase::Succeeded)
        };
        let status = self.status(&format!("batch {batch} done"), stands).await;
        assert_eq!(
            self.split().await,
            EXACT[batch as usize - 1],
            "batch {batch} is exact"
        );
        for later in batch + 1..=3 {
            assert_eq!(phase(&status, later), BatchPhase::Pending, "{status:#?}");
        }
        status
    }

    pub async fn show(&mut self, batch: u32, status: &ReleaseStatus) {
        let name = self.release.clone();
        let shown = |w: &World| {
            let known = w.releases.get(&name).and_then(|r| r.status.as_ref());
            w.link == Link::Live
                && known == Some(status)
                && w.pods_of("a", "prod").filter(|p| p.ready).count() == 4
        };
        self.view
            .until(&format!("batch {batch} is seen"), shown)
            .await;
    }

    /// How often the Lease changed hands, when nothing was done twice.
    pub async fn once(self) -> i32 {
        let status = self
            .api::<Release>()
            .get(&self.release)
            .await
            .unwrap()
            .status
            .unwrap();
        let history = &status.history;
        for (action, times) in [("succeeded", 1), ("failed", 0)]
            .map(|(action, times)| (action.to_owned(), times))
            .into_iter()
            .chain((1..=3).map(|n| (format!("batch {n} of 3 done"), 1)))
        {
            let of_task = |h: &&graylane::api::HistoryEntry| {
                h.task.as_deref() == Some(TASK) && h.action == action
            };
            assert_eq!(
                history.iter().filter(of_task).count(),
                times,
                "{action}: {history:#?}"
            );
        }
        assert_eq!(status.tasks[0].attempt, 1, "{status:#?}");
        let sets = self
            .api::<ReplicaSet>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        assert_eq!(sets.len(), 2, "one revision a version");
        let deployment = self.api::<Deployment>().get("a").await.unwrap();
        assert_eq!(
            deployment.annotations()["deployment.kubernetes.io/revision"],
            "2"
        );
        let spec = deployment.spec.unwrap();
        assert!(
            spec.paused != Some(true) && spec.min_ready_seconds.unwrap_or(0) == 0,
            "{spec:?}"
        );
        assert_eq!(
            self.made.lock().unwrap().len(),
            4,
            "no pod was made that was not needed"
        );
        assert!(
            !self.both.load(Ordering::SeqCst),
            "two engines acted at once"
        );
        let lease = self
            .api::<Lease>()
            .get(ENGINE_LEASE)
            .await
            .unwrap()
            .spec
            .unwrap();
        lease.lease_transitions.unwrap_or(0)
    }

    /// New and old pods that are to stay.
    async fn split(&self) -> (usize, usize) {
        let mut pods = self
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        pods.retain(|p| p.metadata.deletion_timestamp.is_none());
        let new = pods.iter().filter(|p| image(p) == "a:v2").count();
        (new, pods.len() - new)
    }

    async fn status(&self, what: &str, fact: impl Fn(&ReleaseStatus) -> bool) -> ReleaseStatus {
        let look = async || {
            let status = self
                .api::<Release>()
                .get(&self.release)
                .await
                .unwrap()
                .status?;
            assert_ne!(status.phase, ReleasePhase::Failed, "{what}: {status:#?}");
            Some(status)
        };
        let found = eventually(what, async || look().await.filter(&fact));
        let Ok(status) = tokio::time::timeout(LIMIT, found).await else {
            panic!("never: {what}: {:#?}", look().await);
        };
        status
    }
}

fn image(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|s| s.containers[0].image.as_deref())
        .unwrap_or_default()
}

fn phase(status: &ReleaseStatus, batch: u32) -> BatchPhase {
    let found = status
        .tasks
        .iter()
        .flat_map(|t| &t.batches)
        .find(|b| b.number == batch);
    found.map_or(BatchPhase::Pending, |b| b.phase)
}

pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(LIMIT * 2, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("never: {what}"))
}
