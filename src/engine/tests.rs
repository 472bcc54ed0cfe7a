//! The engine's caches on a pocket's API; the test is the loop.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, Pod},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    client::Body,
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{Options, Telemetry, cache::Cache, lanes, observe, wake::Wake};
use crate::{
    api::{App, Release, label},
    cluster::{clusters::Clusters, install},
    pocket::rest::ApiServer,
};

pub(super) const HOME: &str = "default";

pub(super) struct Rig {
    pub(super) options: Options,
    pub(super) cache: Cache,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::barred(|_| false).await
    }

    /// Of an engine that may not GET what `barred` says of the path.
    async fn barred(barred: fn(&str) -> bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(dir.path()).unwrap();
        let client = server.client();
        install::definitions(&client).await.unwrap();
        let all: Api<CustomResourceDefinition> = Api::all(client);
        for definition in crate::api::gateway_api::definitions() {
            let (name, params) = (definition.name_any(), PatchParams::apply("test").force());
            all.patch(&name, &params, &Patch::Apply(&definition)).await.unwrap();
        }
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                if request.method() == Method::GET && barred(request.uri().path()) {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "that is forbidden", "reason": "Forbidden", "code": 403});
                    let body = Either::Left(Full::<Bytes>::from(status.to_string()));
                    return Ok::<_, tower::BoxError>(Response::builder().status(403).body(body).unwrap());
                }
                Ok(server.handle(request).await.map(Either::Right))
            }
        });
        let client = Client::new(service, HOME);
        let options = Options {
            client: client.clone(),
            clusters: Clusters::new(client, Some("home".into()), None, Arc::default()),
            namespace: HOME.into(),
            identity: "test".into(),
            prober: Arc::new(|_, _| unreachable!("nothing is verified here")),
            telemetry: Telemetry::default(),
        };
        let stop = CancellationToken::new();
        let cache = Cache::start(&options, &Arc::new(Wake::default()), &TaskTracker::new(), &stop);
        cache.ready().await;
        Self { options, cache, _stop: stop.drop_guard(), _dir: dir }
    }

    pub(super) fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.options.client.clone(), HOME)
    }

    pub(super) async fn patch<K>(&self, name: &str, by: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let params = PatchParams { field_manager: Some(by.into()), ..PatchParams::default() };
        self.api::<K>().patch(name, &params, &Patch::Merge(patch)).await.unwrap();
    }

    /// Waits until the caches show this.
    pub(super) async fn shown(&self, what: &str, fact: impl Fn(&Cache) -> bool) {
        let wait = async {
            while !fact(&self.cache) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("never {what}"));
    }

    /// One look at the lane group that is there.
    pub(super) async fn look(&self) -> lanes::Looked {
        let group = self.cache.groups.state().pop().unwrap();
        lanes::look(&self.options, &self.cache, &group).await.unwrap_or_else(|e| panic!("{e}"))
    }
}

/// An environment that names home by its context, a ConfigMap that the engine may not see, and a namesake elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_release_stands_on_is_its_own_and_what_is_barred_is_told() {
    let rig = Rig::barred(|path| path.ends_with("/configmaps/conf")).await;
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\n";
    let app = json!({
        "manifests": [{"name": "a.yaml", "template": template}],
        "environments": [{"name": "e", "namespace": HOME, "context": "home"}],
        "workflow": {"stages": [{"name": "s", "tasks": [{"name": "deploy", "deploy": {"environment": "e"}}]}]},
    });
    let app = App::new("a", serde_json::from_value(app).unwrap());
    rig.api().create(&PostParams::default(), &app).await.unwrap();
    let other: Namespace = serde_json::from_value(json!({"metadata": {"name": "other"}})).unwrap();
    Api::all(rig.options.client.clone()).create(&PostParams::default(), &other).await.unwrap();
    for (namespace, name) in [(HOME, "ours"), ("other", "theirs")] {
        let labels = json!({label::APP: "a", label::ENVIRONMENT: "e"});
        let pod = json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        Api::namespaced(rig.options.client.clone(), namespace).create(&PostParams::default(), &pod).await.unwrap();
    }
    rig.shown("both pods", |c| c.workloads.pods.state().len() == 2 && !c.apps.state().is_empty()).await;
    let release = Release::new("a-1", serde_json::from_value(json!({"app": "a", "stage": "s"})).unwrap());
    let facts = observe::facts(&rig.options, &rig.cache, &release).await.unwrap_or_else(|e| panic!("{e}"));
    let now = Timestamp::now();
    let seen = facts.observed(&release, &[], &[], None, None, (now, now));
    assert_eq!(*seen.pods, BTreeMap::from([("e".to_owned(), 1)]));
    assert_eq!(seen.app.unwrap().spec.environments[0].context, None, "it is home");
    assert!(seen.away.is_empty() && seen.objects.is_empty());
    let unseen: Vec<_> = seen.unseen.iter().map(|(i, why)| (&*i.namespace, &*i.name, &**why)).collect();
    assert_eq!(unseen, [(HOME, "conf", "that is forbidden")]);
}
