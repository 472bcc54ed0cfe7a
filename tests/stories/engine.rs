//! The engine on a pocket's API with its controllers; the test is the kubelet and the gateway.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use graylane::{
    api::{
        App, Approval, ApprovalSpec, Decision, EnvironmentState, EnvironmentStatus, FIELD_MANAGER, Lane, LaneGroup,
        ProbeResult, Release, ReleasePhase, ReleaseSpec, Served, TaskPhase, gateway_api::HttpRoute,
    },
    cluster::{install, perform::perform, watch::ENGINE_LEASE},
    domain::intent::{Intent, ReleaseWish},
    engine::{self, Options, Prober},
    pocket::{controllers, network::Network, rest::ApiServer},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet, StatefulSetSpec},
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace, Pod, Service},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

const HOME: &str = "demo";

struct Rig {
    client: Client,
    stop: CancellationToken,
    _ends: DropGuard,
    _held: std::net::TcpListener,
    _dir: tempfile::TempDir,
}

/// A template for one app: prod has its own Service, gray the lane's.
const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: a-{{ .AppStack.envName }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: a-{{ .AppStack.envName }}}}
  template:
    metadata:
      labels:
        app: a-{{ .AppStack.envName }}
        {{- if eq .AppStack.envName \"gray\" }}
        alicloud.service.tag: gray
        {{- end }}
    spec: {containers: [{name: c, image: '{{ .AppStack.image.backend }}'}]}
---
apiVersion: v1
kind: Service
metadata: {name: a{{ if eq .AppStack.envName \"gray\" }}-gray{{ end }}}
spec: {selector: {app: a-{{ .AppStack.envName }}}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a-{{ .AppStack.envName }}}
data: {env: '{{ .AppStack.envName }}'}
";

fn app() -> Value {
    json!({
        "apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": "a", "namespace": HOME},
        "spec": {
            "images": {"backend": {"repository": "a", "default": "a:v1"}},
            "manifests": [{"name": "a.yaml", "template": MANIFEST}],
            "environments": [
                {"name": "gray", "lane": "gray", "namespace": HOME, "values": {"replicas": 1}, "rollout": {"drainSeconds": 0}},
                {"name": "prod", "namespace": HOME, "values": {"replicas": 4}, "rollout": {"batches": [1, "50%", "100%"]}},
            ],
            "workflow": {"stages": [
                {"name": "baseline", "tasks": [{"name": "deploy", "deploy": {"environment": "prod"}}]},
                {"name": "production", "tasks": [
                    {"name": "gate", "approval": {"requesterMayApprove": true}},
                    {"name": "deploy-gray", "deploy": {"environment": "gray"}},
                    {"name": "look", "verify": {"laneGroup": "g", "probes": [{"path": "/A"}]}},
                    {"name": "go", "proceed": {}},
                    {"name": "deploy-prod", "deploy": {"environment": "prod"}},
                    {"name": "clean", "cleanUp": {"environment": "gray"}},
                ]},
            ]},
        },
    })
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(dir.path()).unwrap();
        let (network, held) = Network::take(dir.path()).unwrap();
        server.set_network(network).await.unwrap();
        let (client, stop) = (server.client(), CancellationToken::new());
        controllers::spawn(client.clone(), &TaskTracker::new(), &stop);
        install::definitions(&client).await.unwrap();
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(HOME.into()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let rig = Self { client, stop: stop.clone(), _ends: stop.drop_guard(), _held: held, _dir: dir };
        rig.make::<App>(app()).await;
        tokio::spawn(kubelet(rig.client.clone(), rig.stop.clone()));
        rig
    }

    fn engine(&self, identity: &str) -> CancellationToken {
        let stop = self.stop.child_token();
        let options = Options {
            client: self.client.clone(),
            clusters: self.client.clone().into(),
            namespace: HOME.into(),
            identity: identity.into(),
            prober: prober(self.client.clone()),
            telemetry: engine::Telemetry::default(),
        };
        tokio::spawn(engine::run(options, stop.clone()));
        stop
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), HOME)
    }

    async fn make<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        self.api::<K>().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    async fn start(&self, stage: &str, image: &str) -> String {
        let images = [("a".to_owned(), [("backend".to_owned(), image.to_owned())].into())].into();
        let intent =
            Intent::StartRelease { apps: vec!["a".into()], stage: stage.into(), images, comment: None, window: None };
        let done = perform(&self.client, HOME, "me", intent).await.unwrap();
        done.releases().next().unwrap().to_owned()
    }

    async fn wish(&self, name: &str, wish: ReleaseWish) {
        let intent = Intent::Release { name: name.into(), seen: None, wish, comment: None };
        perform(&self.client, HOME, "me", intent).await.unwrap();
    }

    /// The release as soon as `fact` holds of it.
    async fn until(&self, name: &str, what: &str, fact: impl Fn(&Release) -> bool) -> Release {
        let found = async {
            loop {
                let release = self.api::<Release>().get(name).await.unwrap();
                if fact(&release) {
                    return release;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), found).await {
            Ok(release) => release,
            Err(_) => panic!("never {what}: {:#?}", self.api::<Release>().get(name).await.unwrap().status),
        }
    }

    async fn phase(&self, name: &str, task: &str, phase: TaskPhase) -> Release {
        self.until(name, &format!("{task} {phase:?}"), |r| {
            let tasks = r.status.iter().flat_map(|s| &s.tasks);
            tasks.clone().any(|t| t.name == task && t.phase == phase)
        })
        .await
    }

    async fn ends(&self, name: &str, phase: ReleasePhase) -> Release {
        self.until(name, &format!("{phase:?}"), |r| r.status.as_ref().is_some_and(|s| s.phase == phase)).await
    }

    async fn baseline(&self) {
        let name = self.start("baseline", "a:v1").await;
        self.ends(&name, ReleasePhase::Succeeded).await;
    }

    /// Running production pods by image.
    async fn pods(&self, deployment: &str, image: &str) -> usize {
        let pods = self.api::<Pod>().list(&ListParams::default().labels(&format!("app={deployment}"))).await.unwrap();
        let runs = |p: &&Pod| {
            p.metadata.deletion_timestamp.is_none()
                && p.spec.as_ref().is_some_and(|s| s.containers[0].image.as_deref() == Some(image))
        };
        pods.items.iter().filter(runs).count()
    }

    async fn environment(&self, name: &str) -> EnvironmentStatus {
        let app = self.api::<App>().get("a").await.unwrap();
        app.status.and_then(|s| s.environments.get(name).cloned()).unwrap_or_default()
    }

    async fn lanes(&self) {
        self.make::<LaneGroup>(json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "LaneGroup", "metadata": {"name": "g"},
            "spec": {"entry": {"gateway": "edge", "routes": [{"path": "/A", "app": "a"}]}, "apps": [{"app": "a", "port": 80}]}}))
            .await;
        self.make::<Lane>(json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Lane", "metadata": {"name": "gray"},
            "spec": {"group": "g", "tag": "gray", "enabled": true,
                "match": {"all": [{"type": "parameter", "key": "group", "op": "==", "values": ["gray"]}]}}}))
            .await;
    }

    async fn routed(&self) -> bool {
        routed(&self.client).await
    }
}

async fn routed(client: &Client) -> bool {
    let routes: Api<HttpRoute> = Api::namespaced(client.clone(), HOME);
    let all = routes.list(&ListParams::default()).await.unwrap();
    all.iter().flat_map(|r| &r.spec.rules).flat_map(|r| &r.backend_refs).any(|b| b.name == "a-gray")
}

/// Passes when the lane's route is there: what a request would find.
fn prober(client: Client) -> Prober {
    Arc::new(move |_, probe| {
        let client = client.clone();
        async move {
            let passed = routed(&client).await;
            let message = (!passed).then(|| "no route".to_owned());
            Ok(vec![ProbeResult { probe, status: 200, chain: vec![], passed, message }])
        }
        .boxed()
    })
}

/// Every pod runs and is ready, but those whose image says `broken`; what is deleted ends at once.
async fn kubelet(client: Client, stop: CancellationToken) {
    let pods: Api<Pod> = Api::all(client.clone());
    let work = async {
        let mut number = 1_u16;
        loop {
            for pod in pods.list(&ListParams::default()).await.map(|l| l.items).unwrap_or_default() {
                let own: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
                if pod.metadata.deletion_timestamp.is_some() {
                    let _ = own.delete(&pod.name_any(), &kube::api::DeleteParams::default().grace_period(0)).await;
                    continue;
                }
                let image = pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap_or_default();
                if pod.status.as_ref().is_some_and(|s| s.pod_ip.is_some()) || image.contains("broken") {
                    continue;
                }
                number += 1;
                let at = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap().to_string();
                let ip = format!("10.0.{}.{}", number / 250, number % 250 + 1);
                let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": at,
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at}]}});
                let _ = own.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_gate_gray_lane_batches_and_clean_up() {
    let rig = Rig::new().await;
    rig.lanes().await;
    rig.engine("one");
    rig.baseline().await;
    assert_eq!(rig.pods("a-prod", "a:v1").await, 4);
    let name = rig.start("production", "a:v2").await;
    rig.phase(&name, "gate", TaskPhase::Waiting).await;
    assert!(rig.api::<Deployment>().get_opt("a-gray").await.unwrap().is_none(), "not before somebody approved");
    rig.wish(&name, ReleaseWish::Decide { task: "gate".into(), attempt: 1, decision: Decision::Pass }).await;
    let release = rig.phase(&name, "go", TaskPhase::Waiting).await;
    assert!(rig.routed().await, "the probe could only pass through the lane's route");
    assert!(release.status.unwrap().tasks[2].probes.iter().all(|p| p.passed));
    let lane = rig.api::<Lane>().get("gray").await.unwrap().status.unwrap();
    assert_eq!(lane.apps[0].served, Served::Gray, "{lane:?}");
    let gray = rig.environment("gray").await;
    assert_eq!((gray.state, gray.inventory.len()), (EnvironmentState::Running, 3));
    rig.wish(&name, ReleaseWish::Allow { task: "go".into(), batch: 1 }).await;
    let held = rig.phase(&name, "deploy-prod", TaskPhase::Waiting).await;
    assert_eq!((rig.pods("a-prod", "a:v2").await, rig.pods("a-prod", "a:v1").await), (1, 3));
    let batches: Vec<u32> = held.status.unwrap().tasks[4].batches.iter().map(|b| b.target).collect();
    assert_eq!(batches, [1, 2, 4]);
    rig.wish(&name, ReleaseWish::Allow { task: "deploy-prod".into(), batch: 2 }).await;
    rig.ends(&name, ReleasePhase::Succeeded).await;
    assert_eq!((rig.pods("a-prod", "a:v2").await, rig.pods("a-prod", "a:v1").await), (4, 0));
    let spec = rig.api::<Deployment>().get("a-prod").await.unwrap().spec.unwrap();
    assert!(spec.paused != Some(true) && spec.min_ready_seconds.unwrap_or(0) == 0);
    assert!(!rig.routed().await);
    assert_eq!(rig.environment("gray").await.state, EnvironmentState::Cleaned);
    assert!(rig.api::<Deployment>().get_opt("a-gray").await.unwrap().is_none());
    assert!(rig.api::<Service>().get_opt("a-gray").await.unwrap().is_none());
    assert!(rig.api::<ConfigMap>().get_opt("a-gray").await.unwrap().is_none());
    assert!(rig.api::<Service>().get_opt("a").await.unwrap().is_some());
    assert_eq!(rig.pods("a-gray", "a:v2").await, 0);
}

/// The same for a StatefulSet: one batch, back, and all of it, each to the pod.
#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_is_released_batch_by_batch_and_brought_back() {
    let rig = Rig::new().await;
    rig.engine("one");
    let manifest = MANIFEST.replace("kind: Deployment", "kind: StatefulSet");
    let stateful = json!({"spec": {"manifests": [{"name": "a.yaml", "template": manifest}]}});
    rig.api::<App>().patch("a", &PatchParams::default(), &Patch::Merge(&stateful)).await.unwrap();
    rig.baseline().await;
    let set = async || rig.api::<StatefulSet>().get("a-prod").await.unwrap().spec.unwrap();
    let partition = |s: StatefulSetSpec| s.update_strategy.unwrap().rolling_update.unwrap().partition;
    let new = async || {
        let pods = rig.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        let new = pods.iter().filter(|p| p.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("a:v2"));
        let mut names: Vec<String> = new.map(ResourceExt::name_any).collect();
        names.sort();
        names
    };
    for back in [true, false] {
        let name = rig.start("baseline", "a:v2").await;
        let held = rig.phase(&name, "deploy", TaskPhase::Waiting).await;
        let task = &held.status.unwrap().tasks[0];
        assert_eq!(task.batches.iter().map(|b| b.target).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!((new().await, partition(set().await)), (vec!["a-prod-3".to_owned()], Some(3)));
        if back {
            rig.wish(&name, ReleaseWish::Abort).await;
            rig.ends(&name, ReleasePhase::Aborted).await;
            assert_eq!((new().await, rig.pods("a-prod", "a:v1").await), (vec![], 4));
        } else {
            rig.wish(&name, ReleaseWish::Allow { task: "deploy".into(), batch: 2 }).await;
            rig.ends(&name, ReleasePhase::Succeeded).await;
            assert_eq!((new().await.len(), rig.pods("a-prod", "a:v1").await), (4, 0));
        }
        assert_eq!(partition(set().await).unwrap_or(0), 0, "the user's own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_in_mid_batch_brings_everything_back() {
    let rig = Rig::new().await;
    rig.lanes().await;
    rig.engine("one");
    rig.baseline().await;
    let name = rig.start("production", "a:v2").await;
    rig.phase(&name, "gate", TaskPhase::Waiting).await;
    rig.wish(&name, ReleaseWish::Decide { task: "gate".into(), attempt: 1, decision: Decision::Pass }).await;
    rig.phase(&name, "go", TaskPhase::Waiting).await;
    rig.wish(&name, ReleaseWish::Allow { task: "go".into(), batch: 1 }).await;
    rig.phase(&name, "deploy-prod", TaskPhase::Waiting).await;
    rig.wish(&name, ReleaseWish::Abort).await;
    rig.ends(&name, ReleasePhase::Aborted).await;
    assert_eq!((rig.pods("a-prod", "a:v1").await, rig.pods("a-prod", "a:v2").await), (4, 0));
    assert!(rig.api::<Deployment>().get_opt("a-gray").await.unwrap().is_none() && !rig.routed().await);
    assert_eq!(rig.environment("gray").await.state, EnvironmentState::Cleaned);
    assert_eq!(rig.environment("prod").await.images["backend"], "a:v1");
}

/// An engine is stopped at each wait of the story, without giving anything up, and another one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn another_engine_goes_on_where_one_ended_and_two_never_act_at_once() {
    let rig = Rig::new().await;
    rig.lanes().await;
    let first = rig.engine("one");
    rig.baseline().await;
    let second = rig.engine("two");
    let name = rig.start("production", "a:v2").await;
    rig.phase(&name, "gate", TaskPhase::Waiting).await;
    let holder = || async { rig.api::<Lease>().get(ENGINE_LEASE).await.unwrap().spec.unwrap().holder_identity };
    assert_eq!(holder().await.as_deref(), Some("one"));
    first.cancel();
    rig.wish(&name, ReleaseWish::Decide { task: "gate".into(), attempt: 1, decision: Decision::Pass }).await;
    rig.phase(&name, "go", TaskPhase::Waiting).await;
    assert_eq!(holder().await.as_deref(), Some("two"));
    rig.wish(&name, ReleaseWish::Allow { task: "go".into(), batch: 1 }).await;
    rig.phase(&name, "deploy-prod", TaskPhase::Waiting).await;
    second.cancel();
    rig.wish(&name, ReleaseWish::Allow { task: "deploy-prod".into(), batch: 2 }).await;
    rig.engine("three");
    rig.ends(&name, ReleasePhase::Succeeded).await;
    assert_eq!((rig.pods("a-prod", "a:v2").await, rig.pods("a-prod", "a:v1").await), (4, 0));
    let revisions = rig.api::<ReplicaSet>().list(&ListParams::default().labels("app=a-prod")).await.unwrap();
    assert_eq!(revisions.items.len(), 2, "nothing was rolled twice");
}

/// What runs already, made by other hands and without our labels, is rolled batch by batch like anything else.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_was_there_before_graylane_is_not_rolled_at_once() {
    let rig = Rig::new().await;
    rig.make::<Deployment>(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a-prod"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "a-prod"}}, "template": {"metadata": {"labels": {"app": "a-prod"}},
            "spec": {"containers": [{"name": "c", "image": "a:v0"}]}}}}))
        .await;
    let serves = async {
        while rig.api::<Deployment>().get("a-prod").await.unwrap().status.and_then(|s| s.ready_replicas) != Some(4) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), serves).await.unwrap();
    rig.engine("one");
    let name = rig.start("baseline", "a:v1").await;
    rig.phase(&name, "deploy", TaskPhase::Waiting).await;
    assert_eq!((rig.pods("a-prod", "a:v1").await, rig.pods("a-prod", "a:v0").await), (1, 3));
    rig.wish(&name, ReleaseWish::Abort).await;
    rig.ends(&name, ReleasePhase::Aborted).await;
    assert_eq!(rig.pods("a-prod", "a:v0").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_at_its_task_and_a_foreign_hand_is_named() {
    let rig = Rig::new().await;
    rig.engine("one");
    rig.baseline().await;
    // A template that asks for what is not there: all errors, with their places.
    let broken = json!({"spec": {"manifests": [{"name": "a.yaml", "template": "kind: {{ .Values.nope }}\nx: {{ .Values.nada }}"}]}});
    let whole = json!({"spec": {"manifests": app()["spec"]["manifests"]}});
    let apps = rig.api::<App>();
    apps.patch("a", &PatchParams::default(), &Patch::Merge(&broken)).await.unwrap();
    let name = rig.start("baseline", "a:v2").await;
    let failed = rig.phase(&name, "deploy", TaskPhase::Failed).await;
    let why = failed.status.unwrap().tasks[0].message.clone().unwrap();
    assert!(
        why.contains("a.yaml:1:") && why.contains("nope") && why.contains("a.yaml:2:") && why.contains("nada"),
        "{why}"
    );
    apps.patch("a", &PatchParams::default(), &Patch::Merge(&whole)).await.unwrap();
    rig.wish(&name, ReleaseWish::Retry { task: "deploy".into(), force: false }).await;
    rig.phase(&name, "deploy", TaskPhase::Waiting).await;
    // Somebody sets an image while the latch holds: the next batch would roll what nobody approved.
    let foreign = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "a:evil"}]}}}});
    let by = PatchParams { field_manager: Some("kubectl-set".into()), ..PatchParams::default() };
    rig.api::<Deployment>().patch("a-prod", &by, &Patch::Merge(&foreign)).await.unwrap();
    rig.wish(&name, ReleaseWish::Allow { task: "deploy".into(), batch: 2 }).await;
    let failed = rig.phase(&name, "deploy", TaskPhase::Failed).await;
    let why = failed.status.unwrap().tasks[0].message.clone().unwrap();
    assert!(why.contains("a:evil") && why.contains("kubectl-set"), "{why}");
    assert_eq!(rig.pods("a-prod", "a:evil").await, 0);
    rig.wish(&name, ReleaseWish::Retry { task: "deploy".into(), force: false }).await;
    rig.ends(&name, ReleasePhase::Succeeded).await;
    assert_eq!(rig.pods("a-prod", "a:v2").await, 4);
    // A stage that is not there, made past the command line's own check.
    let spec = ReleaseSpec { app: "a".into(), stage: "nope".into(), ..ReleaseSpec::default() };
    let made = rig.api::<Release>().create(&PostParams::default(), &Release::new("odd", spec)).await.unwrap();
    let odd = rig.ends(&made.name_any(), ReleasePhase::Failed).await;
    assert!(odd.status.unwrap().message.unwrap().contains("it has baseline, production"));
}

/// What another manager has is told with its name, and taken only by the attempt for which somebody asked.
#[tokio::test(flavor = "multi_thread")]
async fn fields_of_another_manager_are_taken_only_when_asked() {
    let rig = Rig::new().await;
    rig.engine("one");
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a-prod"}, "data": {"env": "x"}});
    let maps = rig.api::<ConfigMap>();
    maps.patch("a-prod", &PatchParams::apply("gitops"), &Patch::Apply(&theirs)).await.unwrap();
    let name = rig.start("baseline", "a:v1").await;
    let is_theirs = async || maps.get("a-prod").await.unwrap().data.unwrap()["env"] == "x";
    for (attempt, force) in [(1, false), (2, true)] {
        let fails = |r: &Release| {
            r.status.as_ref().and_then(|s| s.tasks.first()).is_some_and(|t| {
                let why = t.message.as_deref().unwrap_or_default();
                let told = ["ConfigMap demo/a-prod", "\"gitops\"", ".data.env", "--force-conflicts"];
                t.attempt == attempt && t.phase == TaskPhase::Failed && told.iter().all(|w| why.contains(w))
            })
        };
        rig.until(&name, "the conflict", fails).await;
        assert!(is_theirs().await);
        rig.wish(&name, ReleaseWish::Retry { task: "deploy".into(), force }).await;
    }
    rig.ends(&name, ReleasePhase::Succeeded).await;
    assert!(!is_theirs().await);
}

/// Two releases begun in one instant: exactly one takes the environment.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_releases_of_an_app_the_second_waits() {
    let rig = Rig::new().await;
    let engine = rig.engine("one");
    rig.baseline().await;
    engine.cancel();
    for name in ["x-1", "x-2"] {
        let images = [("backend".to_owned(), format!("a:{name}"))].into();
        let spec = ReleaseSpec { app: "a".into(), stage: "baseline".into(), images, ..ReleaseSpec::default() };
        rig.api::<Release>().create(&PostParams::default(), &Release::new(name, spec)).await.unwrap();
    }
    rig.engine("two");
    rig.phase("x-1", "deploy", TaskPhase::Waiting).await;
    let second = rig.phase("x-2", "deploy", TaskPhase::Pending).await;
    let why = second.status.unwrap().tasks[0].message.clone().unwrap_or_default();
    assert!(why.contains("held by release x-1"), "{why}");
    assert_eq!(rig.pods("a-prod", "a:x-2").await, 0);
    rig.wish("x-1", ReleaseWish::Abort).await;
    rig.phase("x-2", "deploy", TaskPhase::Waiting).await;
    assert_eq!((rig.pods("a-prod", "a:x-2").await, rig.pods("a-prod", "a:v1").await), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_other_images_or_of_a_namesake_does_not_count() {
    let rig = Rig::new().await;
    rig.engine("one");
    rig.baseline().await;
    let name = rig.start("production", "a:v2").await;
    let release = rig.phase(&name, "gate", TaskPhase::Waiting).await;
    let approve = |uid: Option<String>, image: &str, by: &str| {
        let images = [("backend".to_owned(), image.to_owned())].into();
        let spec = ApprovalSpec {
            release: name.clone(),
            release_uid: uid.unwrap(),
            task: "gate".into(),
            attempt: 1,
            decision: Decision::Pass,
            approver: by.into(),
            comment: None,
            images,
        };
        Approval::new(&format!("by-{by}"), spec)
    };
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let api = rig.api::<Approval>();
    api.create(&params, &approve(Some("another".into()), "a:v2", "ann")).await.unwrap();
    api.create(&params, &approve(release.uid(), "a:v3", "bob")).await.unwrap();
    let told = rig.until(&name, "told", |r| {
        let words = r.status.iter().filter_map(|s| s.message.clone());
        words.clone().any(|m| m.contains("bob decided on other images"))
    });
    assert_eq!(told.await.status.unwrap().tasks[0].phase, TaskPhase::Waiting);
    api.create(&params, &approve(release.uid(), "a:v2", "eve")).await.unwrap();
    rig.phase(&name, "gate", TaskPhase::Succeeded).await;
}
