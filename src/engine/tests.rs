//! The engine's caches on a pocket's API. The test takes the role of the loop.

mod foreign_pods;
mod lost_lease;
mod many;
mod pruning;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{Namespace, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    client::Body,
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{Options, Telemetry, act, cache::Cache, change_queue::ChangeQueue, lanes, observe};
use crate::{
    api::{App, ClusterName, Release, VariableGroup, label},
    cluster::{agent::Agent, clusters::Clusters, install},
    domain::workflow::{Observed, ProposalCache, ReleaseStep, Timers, decide_steps},
    embedded,
};

pub(super) const HOME: &str = "default";

/// Options of an engine that uses a client for its cluster, which is known by this name.
fn options_for(client: Client, name: ClusterName) -> Options {
    Options {
        client: client.clone(),
        clusters: Clusters::new(client, name, None, Arc::default(), Agent::Engine),
        namespace: HOME.into(),
        identity: "test".into(),
        prober: Arc::new(|_, _| unreachable!("nothing is verified here")),
        telemetry: Telemetry::default(),
        hops: super::HopReport::default(),
    }
}

pub(super) struct Rig {
    pub(super) options: Options,
    pub(super) cache: Cache,
    wake: Arc<ChangeQueue>,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::barred(|_, _| false).await
    }

    /// An engine whose requests are forbidden where `barred` is true of method and path.
    async fn barred(barred: fn(&Method, &str) -> bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = embedded::open_api(dir.path()).unwrap();
        let client = server.client();
        install::apply_definitions(&client).await.unwrap();
        let all: Api<CustomResourceDefinition> = Api::all(client);
        for definition in crate::api::gateway_api::gateway_definitions() {
            let (name, params) = (definition.name_any(), PatchParams::apply("test").force());
            all.patch(&name, &params, &Patch::Apply(&definition))
                .await
                .unwrap();
        }
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                if barred(request.method(), request.uri().path()) {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "that is forbidden", "reason": "Forbidden", "code": 403});
                    let body = Either::Left(Full::<Bytes>::from(status.to_string()));
                    return Ok::<_, tower::BoxError>(
                        Response::builder().status(403).body(body).unwrap(),
                    );
                }
                Ok(server.handle_request(request).await.map(Either::Right))
            }
        });
        let client = Client::new(service, HOME);
        let options = options_for(client, "home".into());
        let stop = CancellationToken::new();
        let wake = Arc::new(ChangeQueue::default());
        let cache = Cache::start_watches(&options, &wake, &TaskTracker::new(), &stop);
        cache.wait_until_synced().await;
        Self {
            options,
            cache,
            wake,
            _stop: stop.drop_guard(),
            _dir: dir,
        }
    }

    pub(super) fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
        &self,
    ) -> Api<K> {
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
        let params = PatchParams {
            field_manager: Some(by.into()),
            ..PatchParams::default()
        };
        self.api::<K>()
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Waits until the caches satisfy `fact`.
    pub(super) async fn shown(&self, what: &str, fact: impl Fn(&Cache) -> bool) {
        let wait = async {
            while !fact(&self.cache) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), wait)
            .await
            .unwrap_or_else(|_| panic!("never {what}"));
    }

    /// Reconciles the existing lane group once.
    pub(super) async fn look(&self) -> lanes::GroupOutcome {
        let group = self.cache.groups.list().pop().unwrap();
        lanes::reconcile_lane_group(&self.options, &self.cache, &group)
            .await
            .unwrap_or_else(|e| panic!("{e}"))
    }
}

/// An environment that names the home cluster by its context, a ConfigMap that the engine may not
/// read, and an object of the same name elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_release_stands_on_is_its_own_and_what_is_barred_is_told() {
    let rig =
        Rig::barred(|method, path| method == Method::GET && path.ends_with("/configmaps/conf"))
            .await;
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\n";
    let app = json!({
        "manifests": [{"name": "a.yaml", "template": template}],
        "environments": [{"name": "e", "namespace": HOME, "context": "home"}],
        "workflow": {"stages": [{"name": "s", "tasks": [{"name": "deploy", "deploy": {"environment": "e"}}]}]},
    });
    let app = App::new("a", serde_json::from_value(app).unwrap());
    rig.api()
        .create(&PostParams::default(), &app)
        .await
        .unwrap();
    let other: Namespace = serde_json::from_value(json!({"metadata": {"name": "other"}})).unwrap();
    Api::all(rig.options.client.clone())
        .create(&PostParams::default(), &other)
        .await
        .unwrap();
    for (namespace, name) in [(HOME, "ours"), ("other", "theirs")] {
        let labels = json!({label::APP: "a", label::ENVIRONMENT: "e"});
        let pod = json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        Api::namespaced(rig.options.client.clone(), namespace)
            .create(&PostParams::default(), &pod)
            .await
            .unwrap();
    }
    rig.shown("both pods", |c| {
        c.workloads.pods.list().len() == 2 && !c.apps.list().is_empty()
    })
    .await;
    let release = Release::new(
        "a-1",
        serde_json::from_value(json!({"app": "a", "stage": "s"})).unwrap(),
    );
    let observation = observe::observe_release(&rig.options, &rig.cache, &release)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    let seen = observation.facts;
    assert_eq!(seen.pods, BTreeMap::from([("e".to_owned(), 1)]));
    assert_eq!(
        seen.app.as_ref().unwrap().spec.environments[0].context,
        ClusterName::Home,
        "it is home"
    );
    assert!(seen.away.is_empty() && seen.objects.is_empty());
    let unseen: Vec<_> = seen
        .unseen
        .iter()
        .map(|(i, why)| (&*i.key.namespace.name, &*i.key.name, &**why))
        .collect();
    assert_eq!(unseen, [(HOME, "conf", "that is forbidden")]);
}

/// There are many releases, kept for long, and few workloads. Only the workloads' managed fields
/// are needed.
#[tokio::test(flavor = "multi_thread")]
async fn who_wrote_it_is_held_of_workloads_and_of_nothing_that_piles_up() {
    use k8s_openapi::api::apps::v1::Deployment;

    let rig = Rig::new().await;
    let app = json!({
        "manifests": [{"name": "a.yaml", "template": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\n"}],
        "environments": [{"name": "e", "namespace": HOME}],
        "workflow": {"stages": [{"name": "s", "tasks": [{"name": "deploy", "deploy": {"environment": "e"}}]}]},
    });
    let app = App::new("a", serde_json::from_value(app).unwrap());
    let release = Release::new(
        "a-1",
        serde_json::from_value(json!({"app": "a", "stage": "s"})).unwrap(),
    );
    let pod = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "a"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": pod}});
    let params = PostParams::default();
    let app = rig.api().create(&params, &app).await.unwrap();
    let written = rig.api().create(&params, &release).await.unwrap();
    let deployment: Deployment = serde_json::from_value(deployment).unwrap();
    rig.api().create(&params, &deployment).await.unwrap();
    rig.shown("them", |c| {
        !c.apps.list().is_empty()
            && !c.releases.list().is_empty()
            && !c.workloads.deployments.list().is_empty()
    })
    .await;
    fn writers<K: Resource>(all: &[Arc<K>]) -> usize {
        all.iter()
            .filter_map(|o| o.meta().managed_fields.as_ref())
            .map(Vec::len)
            .sum()
    }
    let held = |c: &Cache| (writers(&c.apps.list()), writers(&c.releases.list()));
    assert_eq!(
        (writers(&[Arc::new(written.clone())]), held(&rig.cache)),
        (1, (0, 0))
    );
    assert_eq!(writers(&rig.cache.workloads.deployments.list()), 1);
    // The server's answer to our own write counts until the watch delivers it.
    let mut newer = (written, app);
    newer.0.metadata.resource_version = Some("1000000".into());
    newer.1.metadata.resource_version = Some("1000000".into());
    rig.cache.releases.record_write(&newer.0);
    rig.cache.apps.record_write(&newer.1);
    assert_eq!(
        rig.cache.releases.list()[0].resource_version().as_deref(),
        Some("1000000")
    );
    assert_eq!(held(&rig.cache), (0, 0));
}

/// Watches of different kinds are not ordered: what a release begins with is read from the API, and
/// frozen.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_begins_with_the_app_and_the_groups_as_they_are_and_keeps_both() {
    let rig = Rig::new().await;
    let group = |level: &str| {
        VariableGroup::new(
            "shared",
            serde_json::from_value(json!({"values": {"level": level}})).unwrap(),
        )
    };
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {level: '{{ .Values.level }}'}\n";
    let app = json!({
        "manifests": [{"name": "a.yaml", "template": template}],
        "environments": [{"name": "e", "namespace": HOME, "variableGroups": ["shared"]}],
        "workflow": {"stages": [{"name": "s", "tasks": [{"name": "go", "proceed": {}}, {"name": "up", "deploy": {"environment": "e"}}]}]},
    });
    let look = async |release: &Release| {
        let observation = observe::observe_release(&rig.options, &rig.cache, release)
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        let facts = observation.facts;
        let decision = decide_steps(&Observed {
            release,
            others: &[],
            facts: &facts,
            probes: None,
            trouble: None,
            timers: &Timers::default(),
            rendered: &ProposalCache::default(),
            clock: Duration::ZERO,
            now: Timestamp::now(),
        });
        if release.status.as_ref().and_then(|s| s.revision.as_ref())
            != decision.status.revision.as_ref()
        {
            let app = facts.app.as_ref().expect("it is frozen to something");
            rig.cache
                .revisions
                .ensure_revision(&rig.options, app, &[])
                .await
                .unwrap_or_else(|e| panic!("{e}"));
        }
        decision
    };
    let revisions = async || {
        let all = rig
            .api::<ControllerRevision>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        all.into_iter().map(|r| r.name_any()).collect::<Vec<_>>()
    };
    // No watch has delivered it when the release arrives.
    let app = App::new("a", serde_json::from_value(app).unwrap());
    rig.api()
        .create(&PostParams::default(), &app)
        .await
        .unwrap();
    let mut release = Release::new(
        "a-1",
        serde_json::from_value(json!({"app": "a", "stage": "s"})).unwrap(),
    );
    let told = look(&release).await.status.message.unwrap_or_default();
    assert!(told.contains("there is no variable group shared"), "{told}");
    rig.api()
        .create(&PostParams::default(), &group("old"))
        .await
        .unwrap();
    release.status = Some(look(&release).await.status);
    let begun = json!({"e": {"level": "old"}});
    assert_eq!(json!(release.status.as_ref().unwrap().variables), begun);
    rig.patch::<VariableGroup>(
        "shared",
        "ann",
        json!({"spec": {"values": {"level": "new"}}}),
    )
    .await;
    let first = release.status.as_ref().unwrap().revision.clone().unwrap();
    assert_eq!(revisions().await, [first.as_str()]);
    // An operator removes the gate and changes the manifest.
    let evil = json!({"spec": {
        "manifests": [{"name": "a.yaml", "template": template.replace("{{ .Values.level }}", "evil")}],
        "workflow": {"stages": [{"name": "s", "tasks": [{"name": "up", "deploy": {"environment": "e"}}]}]},
    }});
    rig.patch::<App>("a", "eve", evil).await;
    rig.shown("the edit", |c| {
        c.apps
            .list()
            .iter()
            .any(|a| a.spec.workflow.stages[0].tasks.len() == 1)
    })
    .await;
    assert_eq!(
        look(&release).await.status.tasks.len(),
        2,
        "it still waits at its gate"
    );
    release.spec.control.allow.insert("go".into(), 1);
    let mut steps = vec![];
    for _ in 0..3 {
        let decision = look(&release).await;
        release.status = Some(decision.status);
        steps.extend(decision.steps);
    }
    let applied = |step: &ReleaseStep| match step {
        ReleaseStep::Apply { object, .. } => Some(object["data"]["level"].clone()),
        _ => None,
    };
    let levels: Vec<Value> = steps.iter().filter_map(applied).collect();
    assert!(
        !levels.is_empty() && levels.iter().all(|l| l == "old"),
        "{levels:?}"
    );
    assert_eq!(json!(release.status.unwrap().variables), begun);
    // The frozen revision cannot be changed, and no release uses it any more when the next one
    // begins.
    let params = PatchParams::default();
    let edit = Patch::Merge(json!({"data": {"manifests": []}}));
    let told = rig
        .api::<ControllerRevision>()
        .patch(&first, &params, &edit)
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("immutable"), "{told}");
    let next = Release::new(
        "a-2",
        serde_json::from_value(json!({"app": "a", "stage": "s"})).unwrap(),
    );
    let second = look(&next).await.status.revision.unwrap();
    assert_ne!(second, first);
    assert_eq!(revisions().await, [second]);
}

/// Two Apps of two installations create an object of one name at the same moment: exactly one
/// succeeds, and its later apply owns the fields.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_make_one_object_one_does_and_owns_its_fields() {
    use k8s_openapi::api::core::v1::ConfigMap;

    let rig = Rig::new().await;
    let object = |app: &str, n: usize, data: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c-{n}"), "namespace": HOME,
            "labels": {label::APP: app, label::ENVIRONMENT: "prod"},
            "annotations": {label::HOME: app, label::APPLIED: data.to_string()}}, "data": data})
    };
    let written = |object: &Value| {
        act::object_api(
            &rig.options,
            &crate::api::ObjectRef::from_object(object),
            &crate::domain::account::Account::deployer(HOME.into()),
        )
    };
    for n in 0..10 {
        let put = async |app: &'static str| {
            let wanted = object(app, n, json!({"by": app, app: "x"}));
            let api = written(&wanted);
            act::apply_object(&api, &wanted, None, false).await.unwrap()
        };
        let (a, b) = tokio::join!(put("a"), put("b"));
        assert!(a != b, "{a}, {b}");
        let app = if a { "a" } else { "b" };
        let there = rig.api::<ConfigMap>().get(&format!("c-{n}")).await.unwrap();
        let wanted = json!({"by": app, app: "x"});
        let data = |c: &ConfigMap| serde_json::to_value(&c.data).unwrap();
        assert_eq!(
            (there.labels()[label::APP].as_str(), data(&there)),
            (app, wanted.clone())
        );
        assert_eq!(there.annotations()[label::APPLIED], wanted.to_string());
        let fewer = object(app, n, json!({"by": app}));
        let (api, version) = (written(&fewer), there.resource_version());
        assert!(
            act::apply_object(&api, &fewer, version.as_deref(), false)
                .await
                .unwrap()
        );
        let there = rig.api::<ConfigMap>().get(&format!("c-{n}")).await.unwrap();
        assert_eq!(
            data(&there),
            json!({"by": app}),
            "{:#?}",
            there.metadata.managed_fields
        );
    }
    // An engine is killed while it creates the object, and another one continues.
    let killed = object("a", 99, json!({"by": "a", "x": "y"}));
    let params = PostParams {
        field_manager: Some(crate::api::FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    rig.api::<ConfigMap>()
        .create(&params, &serde_json::from_value(killed.clone()).unwrap())
        .await
        .unwrap();
    for data in [json!({"by": "a", "x": "y"}), json!({"by": "a"})] {
        let version = rig
            .api::<ConfigMap>()
            .get("c-99")
            .await
            .unwrap()
            .resource_version();
        let wanted = object("a", 99, data.clone());
        let api = written(&wanted);
        assert!(
            act::apply_object(&api, &wanted, version.as_deref(), false)
                .await
                .unwrap()
        );
        let there = rig.api::<ConfigMap>().get("c-99").await.unwrap();
        assert_eq!(serde_json::to_value(&there.data).unwrap(), data);
    }
}
