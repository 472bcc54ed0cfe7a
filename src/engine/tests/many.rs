//! Many releases that begin at once: no App waits for another, and no object gets two owners.

use std::time::Duration;

use http::{Method, Request};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    client::Body,
    core::NamespaceResourceScope,
};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{HOME, options_for};
use crate::{
    api::{App, Approval, ClusterName, ObjectKey, ObjectRef, Release, ReleasePhase, label},
    cluster::{install, owner},
    domain::owner::Owner,
    embedded,
    engine::run_engine,
};

/// A pocket's API, and an engine on it whose requests for what `hangs` names are never answered.
struct Fleet {
    client: Client,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

impl Fleet {
    async fn new(hangs: &'static str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let server = embedded::open_api(dir.path()).unwrap();
        let client = server.client();
        install::apply_definitions(&client).await.unwrap();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                if request.method() == Method::GET && request.uri().path().ends_with(hangs) {
                    std::future::pending::<()>().await;
                }
                Ok::<_, tower::BoxError>(server.handle_request(request).await)
            }
        });
        let engines = Client::new(service, HOME);
        let options = options_for(engines, ClusterName::Home);
        let stop = CancellationToken::new();
        tokio::spawn(run_engine(options, stop.clone()));
        Self {
            client,
            _stop: stop.drop_guard(),
            _dir: dir,
        }
    }

    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), HOME)
    }

    /// Creates an App with one ConfigMap of that name, and a release of it.
    async fn begin(&self, app: &str, map: &str, gated: bool) {
        let template = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {map}}}\ndata: {{by: {app}}}\n"
        );
        let gate = json!({"name": "gate", "approval": {"requesterMayApprove": true}});
        let deploy = json!({"name": "deploy", "deploy": {"environment": "e"}});
        let spec = json!({
            "manifests": [{"name": "m.yaml", "template": template}],
            "environments": [{"name": "e", "namespace": HOME}],
            "workflow": {"stages": [{"name": "s", "tasks": if gated { vec![gate, deploy] } else { vec![deploy] }}]},
        });
        let made = App::new(app, serde_json::from_value(spec).unwrap());
        self.api()
            .create(&PostParams::default(), &made)
            .await
            .unwrap();
        let spec = json!({"app": app, "stage": "s", "requester": "me"});
        let made = Release::new(&format!("{app}-1"), serde_json::from_value(spec).unwrap());
        self.api()
            .create(&PostParams::default(), &made)
            .await
            .unwrap();
    }

    /// Waits until the releases satisfy `fact`, and returns them.
    async fn until(&self, what: &str, fact: impl Fn(&[Release]) -> bool) -> Vec<Release> {
        let found = async {
            loop {
                let all = self
                    .api::<Release>()
                    .list(&ListParams::default())
                    .await
                    .unwrap()
                    .items;
                if fact(&all) {
                    return all;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), found)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"))
    }

    async fn control(&self, release: &str, control: Value) {
        let patch = Patch::Merge(json!({"spec": {"control": control}}));
        self.api::<Release>()
            .patch(release, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

fn phase(release: &Release) -> ReleasePhase {
    release.status.as_ref().map(|s| s.phase).unwrap_or_default()
}

fn told(release: &Release) -> String {
    release
        .status
        .as_ref()
        .and_then(|s| s.message.clone())
        .unwrap_or_default()
}

fn count(all: &[Release], wanted: ReleasePhase) -> usize {
    all.iter().filter(|r| phase(r) == wanted).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_answered_holds_up_no_other_app() {
    const MANY: usize = 30;
    let fleet = Fleet::new("/configmaps/map-0").await;
    for n in 0..MANY {
        fleet
            .begin(&format!("a{n}"), &format!("map-{n}"), true)
            .await;
    }
    // All but the one whose ConfigMap is never returned reach their gates, later ones too.
    fleet
        .until("all begin", |all| {
            count(all, ReleasePhase::Waiting) == MANY - 1
        })
        .await;
    fleet.begin("late", "map-late", true).await;
    let all = fleet
        .until("also a late one", |all| {
            count(all, ReleasePhase::Waiting) == MANY
        })
        .await;
    for release in all.iter().filter(|r| phase(r) == ReleasePhase::Waiting) {
        let status = release.status.as_ref().unwrap();
        let gate = status.tasks.iter().find(|t| t.name == "gate").unwrap();
        let spec = json!({"release": release.name_any(), "releaseUid": release.uid(), "task": "gate", "attempt": 1,
            "decision": "pass", "approver": "ann", "revision": status.revision, "digest": gate.digest});
        let made = Approval::new(
            &format!("yes-{}", release.name_any()),
            serde_json::from_value(spec).unwrap(),
        );
        fleet
            .api()
            .create(&PostParams::default(), &made)
            .await
            .unwrap();
    }
    fleet
        .until("all get on", |all| {
            count(all, ReleasePhase::Succeeded) == MANY
        })
        .await;
    let maps = fleet
        .api::<ConfigMap>()
        .list(&ListParams::default().labels(label::APP))
        .await
        .unwrap()
        .items;
    assert_eq!(maps.len(), MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_apps_that_make_one_object_at_the_same_time_one_has_it() {
    const PAIRS: usize = 6;
    let fleet = Fleet::new("/nothing").await;
    for n in 0..PAIRS {
        for side in ["b", "c"] {
            fleet
                .begin(&format!("{side}{n}"), &format!("shared-{n}"), false)
                .await;
        }
    }
    let all = fleet
        .until("one of each wins", |all| {
            count(all, ReleasePhase::Succeeded) == PAIRS
                && count(all, ReleasePhase::Failed) == PAIRS
        })
        .await;
    let versions = async || {
        let maps = fleet
            .api::<ConfigMap>()
            .list(&ListParams::default().labels(label::APP))
            .await
            .unwrap()
            .items;
        maps.into_iter()
            .map(|m| (m.uid(), m.resource_version(), m.data))
            .collect::<Vec<_>>()
    };
    let before = versions().await;
    for lost in all.iter().filter(|r| phase(r) == ReleasePhase::Failed) {
        let (app, n) = (&lost.spec.app, &lost.spec.app[1..]);
        let winner = format!("{}{n}", if app.starts_with('b') { "c" } else { "b" });
        let want = format!("ConfigMap {HOME}/shared-{n} belongs to environment e of app {winner}");
        assert!(told(lost).contains(&want), "{}", told(lost));
        fleet
            .control(&lost.name_any(), json!({"abort": true}))
            .await;
    }
    fleet
        .until("the others are rolled back", |all| {
            count(all, ReleasePhase::Aborted) == PAIRS
        })
        .await;
    assert_eq!(
        versions().await,
        before,
        "nobody wrote, and nobody took it away"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_adopted_is_not_written_over_until_somebody_does() {
    let fleet = Fleet::new("/nothing").await;
    let maps = fleet.api::<ConfigMap>();
    let foreign: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "map"}, "data": {"theirs": "x"}}))
            .unwrap();
    let by = PostParams {
        field_manager: Some("kubectl-create".into()),
        ..PostParams::default()
    };
    let before = maps.create(&by, &foreign).await.unwrap();
    fleet.begin("a", "map", false).await;
    let all = fleet
        .until("it is refused", |all| count(all, ReleasePhase::Failed) == 1)
        .await;
    assert!(
        told(&all[0]).contains(
            "ConfigMap default/map exists already and belongs to no App (written by kubectl-create)"
        ),
        "{}",
        told(&all[0])
    );
    assert_eq!(maps.get("map").await.unwrap(), before);
    let object = ObjectRef::new("v1", "ConfigMap", ObjectKey::at_home(HOME, "map"));
    let me = Owner {
        home: Some(HOME.into()),
        app: "a".into(),
        environment: "e".into(),
    };
    owner::adopt_object(fleet.client.clone(), &object, &me, None)
        .await
        .unwrap();
    fleet.control("a-1", json!({"retry": {"deploy": 1}})).await;
    fleet
        .until("then it is written", |all| {
            count(all, ReleasePhase::Succeeded) == 1
        })
        .await;
    let data = maps.get("map").await.unwrap().data.unwrap();
    assert_eq!(
        (data["by"].as_str(), data["theirs"].as_str()),
        ("a", "x"),
        "and nothing else of it is taken"
    );
}
