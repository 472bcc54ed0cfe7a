//! A pocket's API with its controllers, an App, and a test that is the kubelet and the gateway.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use graylane::{
    api::{
        App, EnvironmentStatus, Lane, LaneGroup, ProbeResult, Release, ReleasePhase, TaskPhase, gateway_api::HttpRoute,
    },
    cluster::{install, perform::perform},
    domain::intent::{Intent, ReleaseWish},
    engine::{self, Options, Prober},
    pocket::{controllers, network::Network, rest::ApiServer},
};
use k8s_openapi::api::core::v1::{Namespace, Pod};
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

pub const HOME: &str = "demo";

pub struct Rig {
    pub client: Client,
    pub stop: CancellationToken,
    _ends: DropGuard,
    _held: std::net::TcpListener,
    _dir: tempfile::TempDir,
}

/// A template for one app: prod has its own Service, gray the lane's.
pub const MANIFEST: &str = "apiVersion: apps/v1
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

pub fn app() -> Value {
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
    pub async fn new() -> Self {
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

    pub fn engine(&self, identity: &str) -> CancellationToken {
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

    pub fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), HOME)
    }

    pub async fn make<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        self.api::<K>().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    pub async fn start(&self, stage: &str, image: &str) -> String {
        let images = [("a".to_owned(), [("backend".to_owned(), image.to_owned())].into())].into();
        let intent =
            Intent::StartRelease { apps: vec!["a".into()], stage: stage.into(), images, comment: None, window: None };
        let done = perform(&self.client, HOME, "me", intent).await.unwrap();
        done.releases().next().unwrap().to_owned()
    }

    pub async fn wish(&self, name: &str, wish: ReleaseWish) {
        let intent = Intent::Release { name: name.into(), seen: None, wish, comment: None };
        perform(&self.client, HOME, "me", intent).await.unwrap();
    }

    /// The release as soon as `fact` holds of it.
    pub async fn until(&self, name: &str, what: &str, fact: impl Fn(&Release) -> bool) -> Release {
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

    pub async fn phase(&self, name: &str, task: &str, phase: TaskPhase) -> Release {
        self.until(name, &format!("{task} {phase:?}"), |r| {
            let tasks = r.status.iter().flat_map(|s| &s.tasks);
            tasks.clone().any(|t| t.name == task && t.phase == phase)
        })
        .await
    }

    pub async fn ends(&self, name: &str, phase: ReleasePhase) -> Release {
        self.until(name, &format!("{phase:?}"), |r| r.status.as_ref().is_some_and(|s| s.phase == phase)).await
    }

    pub async fn baseline(&self) {
        let name = self.start("baseline", "a:v1").await;
        self.ends(&name, ReleasePhase::Succeeded).await;
    }

    /// Running production pods by image.
    pub async fn pods(&self, deployment: &str, image: &str) -> usize {
        let pods = self.api::<Pod>().list(&ListParams::default().labels(&format!("app={deployment}"))).await.unwrap();
        let runs = |p: &&Pod| {
            p.metadata.deletion_timestamp.is_none()
                && p.spec.as_ref().is_some_and(|s| s.containers[0].image.as_deref() == Some(image))
        };
        pods.items.iter().filter(runs).count()
    }

    pub async fn environment(&self, name: &str) -> EnvironmentStatus {
        let app = self.api::<App>().get("a").await.unwrap();
        app.status.and_then(|s| s.environments.get(name).cloned()).unwrap_or_default()
    }

    pub async fn lanes(&self) {
        self.make::<LaneGroup>(json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "LaneGroup", "metadata": {"name": "g"},
            "spec": {"entry": {"gateway": "edge", "routes": [{"path": "/A", "app": "a"}]}, "apps": [{"app": "a", "port": 80}]}}))
            .await;
        self.make::<Lane>(json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Lane", "metadata": {"name": "gray"},
            "spec": {"group": "g", "tag": "gray", "enabled": true,
                "match": {"all": [{"type": "parameter", "key": "group", "op": "==", "values": ["gray"]}]}}}))
            .await;
    }

    pub async fn routed(&self) -> bool {
        routed(&self.client).await
    }
}

pub async fn routed(client: &Client) -> bool {
    let routes: Api<HttpRoute> = Api::namespaced(client.clone(), HOME);
    let all = routes.list(&ListParams::default()).await.unwrap();
    all.iter().flat_map(|r| &r.spec.rules).flat_map(|r| &r.backend_refs).any(|b| b.name == "a-gray")
}

/// Passes when the lane's route is there: what a request would find.
pub fn prober(client: Client) -> Prober {
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
pub async fn kubelet(client: Client, stop: CancellationToken) {
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
