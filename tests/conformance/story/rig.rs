//! One app with a gray and a production environment, an engine, and what people do.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use graylane::{
    api::{
        App, Decision, EnvironmentStatus, Lane, LaneGroup, ProbeResult, Release, ReleasePhase,
        TaskPhase, gateway_api::HttpRoute,
    },
    cluster::perform::perform_intent,
    domain::intent::{ControlIntent, Intent, ReleaseIntent, TaskDecision},
    engine::{self, Options, Prober},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cluster::{LIMIT, Place};

pub struct Rig {
    at: Place,
    stop: CancellationToken,
    _ends: DropGuard,
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

pub fn app(home: &str) -> Value {
    json!({
        "apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": "a", "namespace": home},
        "spec": {
            "images": {"backend": {"repository": "a", "default": "a:v1"}},
            "manifests": [{"name": "a.yaml", "template": MANIFEST}],
            "environments": [
                {"name": "gray", "lane": "gray", "namespace": home, "values": {"replicas": 1}, "rollout": {"drainSeconds": 0}},
                {"name": "prod", "namespace": home, "values": {"replicas": 4}, "rollout": {"batches": [1, "50%", "100%"]}},
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
    pub async fn new(at: &Place) -> Self {
        at.create::<App>(app(&at.namespace)).await;
        let stop = CancellationToken::new();
        Self {
            at: at.clone(),
            stop: stop.clone(),
            _ends: stop.drop_guard(),
        }
    }

    pub fn engine(&self, identity: &str) -> CancellationToken {
        let stop = self.stop.child_token();
        let options = Options {
            client: self.at.client.clone(),
            clusters: self.at.client.clone().into(),
            namespace: self.at.namespace.clone(),
            identity: identity.into(),
            prober: prober(&self.at),
            telemetry: engine::Telemetry::default(),
            hops: engine::HopReport::default(),
        };
        tokio::spawn(engine::run_engine(options, stop.clone()));
        stop
    }

    pub async fn start(&self, stage: &str, image: &str) -> String {
        let images = [(
            "a".to_owned(),
            [("backend".to_owned(), image.to_owned())].into(),
        )]
        .into();
        let intent = Intent::StartRelease {
            apps: vec!["a".into()],
            stage: stage.into(),
            images,
            comment: None,
            window: None,
        };
        let done = perform_intent(&self.at.client, &self.at.namespace, "admin", intent)
            .await
            .unwrap();
        done.release_names().next().unwrap().to_owned()
    }

    pub async fn wish(&self, name: &str, wish: impl Into<ReleaseIntent>) {
        let intent = Intent::Release {
            name: name.into(),
            seen: None,
            wish: wish.into(),
            comment: None,
        };
        perform_intent(&self.at.client, &self.at.namespace, "admin", intent)
            .await
            .unwrap();
    }

    /// The release as soon as `fact` holds of it.
    pub async fn until(&self, name: &str, what: &str, fact: impl Fn(&Release) -> bool) -> Release {
        let found = async {
            loop {
                let release = self.at.api::<Release>().get(name).await.unwrap();
                if fact(&release) {
                    return release;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let Ok(release) = tokio::time::timeout(LIMIT, found).await else {
            panic!(
                "never {what}: {:#?}",
                self.at.api::<Release>().get(name).await.unwrap().status
            );
        };
        release
    }

    pub async fn phase(&self, name: &str, task: &str, phase: TaskPhase) -> Release {
        self.until(name, &format!("{task} {phase:?}"), |r| {
            r.status
                .iter()
                .flat_map(|s| &s.tasks)
                .any(|t| t.name == task && t.phase == phase)
        })
        .await
    }

    pub async fn ends(&self, name: &str, phase: ReleasePhase) -> Release {
        self.until(name, &format!("{phase:?}"), |r| {
            r.status.as_ref().is_some_and(|s| s.phase == phase)
        })
        .await
    }

    pub async fn baseline(&self) {
        let name = self.start("baseline", "a:v1").await;
        self.ends(&name, ReleasePhase::Succeeded).await;
    }

    /// A release of v2 that waits after its first production batch.
    pub async fn to_mid_batch(&self) -> String {
        let name = self.start("production", "a:v2").await;
        self.phase(&name, "gate", TaskPhase::Waiting).await;
        self.wish(
            &name,
            TaskDecision {
                task: "gate".into(),
                attempt: 1,
                decision: Decision::Pass,
                digest: None,
            },
        )
        .await;
        self.phase(&name, "go", TaskPhase::Waiting).await;
        self.wish(
            &name,
            ControlIntent::Allow {
                task: "go".into(),
                batch: 1,
            },
        )
        .await;
        self.phase(&name, "deploy-prod", TaskPhase::Waiting).await;
        name
    }

    /// Pods of an image that are not going.
    pub async fn pods(&self, deployment: &str, image: &str) -> usize {
        let selector = ListParams::default().labels(&format!("app={deployment}"));
        let runs = |p: &&Pod| {
            p.metadata.deletion_timestamp.is_none()
                && p.spec
                    .as_ref()
                    .is_some_and(|s| s.containers[0].image.as_deref() == Some(image))
        };
        self.at
            .api::<Pod>()
            .list(&selector)
            .await
            .unwrap()
            .iter()
            .filter(runs)
            .count()
    }

    /// Production's pods of v1 and of v2.
    pub async fn split(&self) -> (usize, usize) {
        (
            self.pods("a-prod", "a:v1").await,
            self.pods("a-prod", "a:v2").await,
        )
    }

    pub async fn environment(&self, name: &str) -> EnvironmentStatus {
        let app = self.at.api::<App>().get("a").await.unwrap();
        app.status
            .and_then(|s| s.environments.get(name).cloned())
            .unwrap_or_default()
    }

    pub async fn lanes(&self) {
        let group = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "LaneGroup", "metadata": {"name": "g"},
            "spec": {"entry": {"gateway": "edge", "routes": [{"path": "/A", "app": "a"}]}, "apps": [{"app": "a", "port": 80}]}});
        self.at.create::<LaneGroup>(group).await;
        let lane = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Lane", "metadata": {"name": "gray"},
            "spec": {"group": "g", "tag": "gray", "enabled": true,
                "match": {"all": [{"type": "parameter", "key": "group", "op": "==", "values": ["gray"]}]}}});
        self.at.create::<Lane>(lane).await;
    }

    pub async fn routed(&self) -> bool {
        routed(&self.at).await
    }
}

async fn routed(at: &Place) -> bool {
    let routes: Api<HttpRoute> = at.api();
    let all = routes.list(&ListParams::default()).await.unwrap();
    all.iter()
        .flat_map(|r| &r.spec.rules)
        .flat_map(|r| &r.backend_refs)
        .any(|b| b.name == "a-gray")
}

/// Passes when the lane's route is there: what a request would find.
fn prober(at: &Place) -> Prober {
    let at = at.clone();
    Arc::new(move |_, probe| {
        let at = at.clone();
        async move {
            let passed = routed(&at).await;
            let message = (!passed).then(|| "no route".to_owned());
            Ok(vec![ProbeResult {
                probe,
                status: 200,
                chain: vec![],
                passed,
                message,
            }])
        }
        .boxed()
    })
}
