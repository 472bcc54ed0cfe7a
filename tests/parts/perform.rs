//! Intents against a cluster: what is written, what is refused, who wins when two act at once.

mod apps;
mod edit;
mod races;

use std::collections::BTreeMap;

use graylane::{
    api::{App, Approval, Decision, EnvironmentLock, Lane, LaneSpec, Release},
    cluster::{
        install,
        perform::{Outcome, PerformError, perform_intent},
    },
    domain::{
        intent::{ControlIntent, Intent, ReleaseIntent, ReleaseState, SeenObject, TaskDecision},
        lanes::text,
        revision::Revision,
    },
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

const NS: &str = "demo";

struct Fixture {
    client: Client,
    _dir: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let client = graylane::embedded::open_api(dir.path()).unwrap().client();
    install::apply_definitions(&client).await.unwrap();
    let f = Fixture { client, _dir: dir };
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(f.client.clone());
    let demo = serde_json::from_value(json!({"metadata": {"name": NS}})).unwrap();
    namespaces
        .create(&PostParams::default(), &demo)
        .await
        .unwrap();
    for name in ["a", "c"] {
        f.create(
            "App",
            name,
            json!({"images": {"backend": {"repository": name}}, "manifests": [],
                "environments": [{"name": "gray", "namespace": NS, "lane": "gray"}],
                "workflow": {"stages": [{"name": "production", "tasks": []}]}}),
        )
        .await;
    }
    f.create(
        "LaneGroup",
        "g",
        json!({"entry": {"gateway": "edge", "routes": [{"path": "/A", "app": "a"}]}, "apps": [{"app": "a", "port": 1}]}),
    )
    .await;
    f
}

impl Fixture {
    async fn create(&self, kind: &str, name: &str, spec: Value) {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("graylane.dev", "v1alpha1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), NS, &resource);
        let object = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn wish(&self, by: &str, intent: Intent) -> Result<Outcome, PerformError> {
        perform_intent(&self.client, NS, by, intent).await
    }

    async fn start(&self, apps: &[&str]) -> Result<Outcome, PerformError> {
        let apps = apps.iter().map(ToString::to_string).collect();
        let (images, stage) = (BTreeMap::new(), "production".into());
        self.wish(
            "ann",
            Intent::StartRelease {
                apps,
                stage,
                images,
                comment: None,
                window: None,
            },
        )
        .await
    }

    async fn release(&self, name: &str) -> Release {
        Api::namespaced(self.client.clone(), NS)
            .get(name)
            .await
            .unwrap()
    }

    /// As an engine would write it: frozen to the App as it is.
    async fn status(&self, name: &str, mut status: Value) {
        let api: Api<Release> = Api::namespaced(self.client.clone(), NS);
        let apps: Api<App> = Api::namespaced(self.client.clone(), NS);
        let app = apps
            .get(&api.get(name).await.unwrap().spec.app)
            .await
            .unwrap();
        let (revisions, revision): (Api<ControllerRevision>, _) = (
            Api::namespaced(self.client.clone(), NS),
            Revision::from_app(&app),
        );
        let _there_already = revisions
            .create(&PostParams::default(), &revision.to_object(&app))
            .await;
        status["revision"] = revision.name().into();
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn about(
        &self,
        by: &str,
        name: &str,
        wish: impl Into<ReleaseIntent>,
        comment: Option<&str>,
    ) -> Result<Outcome, PerformError> {
        let comment = comment.map(str::to_owned);
        self.wish(
            by,
            Intent::Release {
                name: name.into(),
                seen: None,
                wish: wish.into(),
                comment,
            },
        )
        .await
    }
}

fn waiting() -> Value {
    json!({"phase": "Waiting", "digests": {"backend": "sha256:1"}, "tasks": [
        {"name": "gate", "kind": "approval", "phase": "Waiting", "attempt": 1},
        {"name": "prod", "kind": "deploy", "phase": "Failed", "attempt": 2, "batches": [
            {"number": 1, "target": 1, "phase": "Done"}, {"number": 2, "target": 4, "phase": "Pending"}]}]})
}

/// State of a release that an intent about it depends on.
fn read_state(release: &Release) -> Box<ReleaseState> {
    Box::new(ReleaseState::from_release(release))
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_released_together_share_a_window_and_nothing_is_made_when_one_is_wrong() {
    let f = fixture().await;
    let told = f.start(&["a", "x"]).await.unwrap_err().to_string();
    assert!(told.contains("no app x"), "{told}");
    let releases: Api<Release> = Api::namespaced(f.client.clone(), NS);
    assert!(
        releases
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );

    let done = f.start(&["a", "c"]).await.unwrap();
    assert_eq!(done.release_names().collect::<Vec<_>>(), ["a-1", "c-1"]);
    let (a, c) = (f.release("a-1").await, f.release("c-1").await);
    assert!(a.spec.window.is_some() && a.spec.window == c.spec.window);
    assert_eq!(
        (a.spec.requester.as_str(), a.spec.stage.as_str()),
        ("ann", "production")
    );

    let told = f.start(&["a"]).await.unwrap_err().to_string();
    assert!(told.contains("a-1") && told.contains("Pending"), "{told}");
    f.status("a-1", json!({"phase": "Succeeded"})).await;
    assert_eq!(
        f.start(&["a"])
            .await
            .unwrap()
            .release_names()
            .collect::<Vec<_>>(),
        ["a-2"]
    );
    assert_eq!(f.release("a-2").await.spec.window, None);

    let images = [(
        "a".to_owned(),
        [("front".to_owned(), "x:1".to_owned())].into(),
    )]
    .into();
    f.status("a-2", json!({"phase": "Aborted"})).await;
    let start = Intent::StartRelease {
        apps: vec!["a".into()],
        stage: "production".into(),
        images,
        comment: None,
        window: None,
    };
    let told = f.wish("ann", start).await.unwrap_err().to_string();
    assert!(told.contains("front") && told.contains("backend"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_become_levels_and_the_last_one_is_told() {
    let f = fixture().await;
    f.start(&["a"]).await.unwrap();
    f.status("a-1", waiting()).await;
    f.about("bob", "a-1", ControlIntent::Pause, Some("lunch"))
        .await
        .unwrap();
    let allow = || ControlIntent::Allow {
        task: "prod".into(),
        batch: 2,
    };
    let told = f
        .about("ann", "a-1", allow(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("paused (pause by bob): resume it first"),
        "{told}"
    );
    // Though no engine has looked in between.
    f.about("ann", "a-1", ControlIntent::Resume, None)
        .await
        .unwrap();
    f.about("ann", "a-1", allow(), None).await.unwrap();
    for batch in [1, 2] {
        let again = ControlIntent::Allow {
            task: "prod".into(),
            batch,
        };
        let told = f
            .about("cat", "a-1", again, None)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("been told to proceed already (let batch 2 of prod proceed by ann)"),
            "{told}"
        );
    }
    for _ in 0..2 {
        f.about(
            "ann",
            "a-1",
            ControlIntent::Retry {
                task: "prod".into(),
                force: false,
            },
            None,
        )
        .await
        .unwrap();
    }
    let control = f.release("a-1").await.spec.control;
    assert!(!control.paused && !control.abort);
    assert_eq!(
        control.allow["prod"], 2,
        "an allowance is never given twice, nor taken back by a smaller one"
    );
    assert_eq!(control.retry["prod"], 2, "said twice, it is one retry");
    let last = control.last.unwrap();
    assert_eq!(
        (last.by.as_str(), last.action.as_str(), last.comment),
        ("ann", "retry prod", None)
    );

    for (wish, part) in [
        (
            ControlIntent::Allow {
                task: "prod".into(),
                batch: 9,
            },
            "has 2 batches",
        ),
        (
            ControlIntent::Allow {
                task: "gate".into(),
                batch: 1,
            },
            "approval",
        ),
        (
            ControlIntent::Retry {
                task: "gate".into(),
                force: false,
            },
            "nothing to retry",
        ),
        (
            ControlIntent::Skip { task: "nil".into() },
            "no task \"nil\"",
        ),
        (
            ControlIntent::Skip {
                task: "gate".into(),
            },
            "cannot be skipped",
        ),
    ] {
        let told = f
            .about("ann", "a-1", wish, None)
            .await
            .unwrap_err()
            .to_string();
        assert!(told.contains(part), "{told}");
    }
    f.about("ann", "a-1", ControlIntent::Abort, None)
        .await
        .unwrap();
    let told = f
        .about("ann", "a-1", ControlIntent::Resume, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("being aborted"), "{told}");
    f.status("a-1", json!({"phase": "Aborted"})).await;
    let told = f
        .about("ann", "a-1", ControlIntent::Pause, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("is over"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_depends_on_where_the_release_stands_not_on_every_write() {
    let f = fixture().await;
    f.start(&["a"]).await.unwrap();
    f.status("a-1", waiting()).await;
    let release = f.release("a-1").await;
    let seen = SeenObject {
        uid: release.uid().unwrap().into(),
        version: None,
        state: Some(read_state(&release)),
    };
    let allow = |seen: &SeenObject| Intent::Release {
        name: "a-1".into(),
        seen: Some(seen.clone()),
        wish: ReleaseIntent::Control(ControlIntent::Allow {
            task: "prod".into(),
            batch: 2,
        }),
        comment: None,
    };
    let mut told = waiting();
    told["message"] = json!("the engine tells something");
    f.status("a-1", told.clone()).await;
    f.wish("ann", allow(&seen)).await.unwrap();
    // The same again would be upon another wish, and a batch further it would be about something else.
    let lost = f.wish("bob", allow(&seen)).await.unwrap_err();
    assert!(matches!(lost, PerformError::Stale { .. }), "{lost}");
    let seen = SeenObject {
        state: Some(read_state(&f.release("a-1").await)),
        ..seen
    };
    told["tasks"][1]["batches"][1]["phase"] = json!("Done");
    f.status("a-1", told).await;
    let lost = f.wish("bob", allow(&seen)).await.unwrap_err();
    assert!(matches!(lost, PerformError::Stale { .. }), "{lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_decides_once_about_these_images_and_this_attempt() {
    let f = fixture().await;
    f.start(&["a"]).await.unwrap();
    let decide = |attempt, decision| TaskDecision {
        task: "gate".into(),
        attempt,
        decision,
        digest: None,
    };
    let told = f
        .about("bob", "a-1", decide(1, Decision::Pass), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("no approval task"), "{told}");
    f.status("a-1", waiting()).await;
    let stale = f
        .about("bob", "a-1", decide(2, Decision::Pass), None)
        .await
        .unwrap_err();
    assert!(matches!(stale, PerformError::Stale { .. }), "{stale}");
    // Two of the same person at once, and one of another.
    let (one, two, other) = tokio::join!(
        f.about("bob", "a-1", decide(1, Decision::Pass), Some("fine")),
        f.about("bob", "a-1", decide(1, Decision::Refuse), None),
        f.about("cat", "a-1", decide(1, Decision::Pass), None),
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    // Hers is recorded in any case; she is told of a refusal that came first.
    match other {
        Err(PerformError::Outrun { why, .. }) => {
            assert!(two.is_ok() && why.contains("bob refused"), "{why}");
        }
        other => drop(other.unwrap()),
    }
    let approvals: Api<Approval> = Api::namespaced(f.client.clone(), NS);
    let all = approvals.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(all.len(), 2);
    let uid = f.release("a-1").await.uid().unwrap();
    assert!(
        all.iter()
            .all(|a| a.spec.release_uid.as_str() == uid && a.spec.images["backend"] == "sha256:1")
    );
    let bound = |a: &Approval| a.spec.revision.is_some() && a.spec.digest.is_some();
    assert!(all.iter().all(bound), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_to_what_was_shown_and_to_what_the_engine_would_apply() {
    let f = fixture().await;
    f.start(&["a"]).await.unwrap();
    let decide = |digest: &str| TaskDecision {
        task: "gate".into(),
        attempt: 1,
        decision: Decision::Pass,
        digest: Some(digest.into()),
    };
    f.status("a-1", waiting()).await;
    let other = format!("sha256:{}", "0".repeat(64));
    let stale = f
        .about("bob", "a-1", decide(&other), None)
        .await
        .unwrap_err();
    assert!(
        matches!(&stale, PerformError::Stale { why, .. } if why.contains("not what you were shown")),
        "{stale}"
    );
    // The engine would apply something else than what is rendered here.
    let mut told = waiting();
    told["tasks"][0]["digest"] = other.as_str().into();
    f.status("a-1", told).await;
    let refused = f
        .about("bob", "a-1", decide(&other), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("the engine would apply something else"),
        "{refused}"
    );
    // Begun before releases were frozen.
    let api: Api<Release> = Api::namespaced(f.client.clone(), NS);
    let none = Patch::Merge(json!({"status": {"revision": null}}));
    api.patch_status("a-1", &PatchParams::default(), &none)
        .await
        .unwrap();
    let refused = f
        .about("bob", "a-1", decide(&other), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("is not frozen yet"), "{refused}");
    let approvals: Api<Approval> = Api::namespaced(f.client.clone(), NS);
    assert!(
        approvals
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_stops_for_all_that_run_and_only_those() {
    let f = fixture().await;
    f.start(&["a", "c"]).await.unwrap();
    f.status("c-1", json!({"phase": "Succeeded"})).await;
    let done = f.wish("ann", Intent::StopTheLine).await.unwrap();
    assert_eq!(done.release_names().collect::<Vec<_>>(), ["a-1"]);
    assert!(f.release("a-1").await.spec.control.paused);
    assert!(!f.release("c-1").await.spec.control.paused);
    assert_eq!(
        f.wish("ann", Intent::StopTheLine).await.unwrap().objects,
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_never_saved_with_errors_nor_over_somebody_elses_change() {
    let f = fixture().await;
    let lanes: Api<Lane> = Api::namespaced(f.client.clone(), NS);
    let spec = |rule: &str| {
        let mut spec = LaneSpec {
            group: "g".into(),
            tag: "gray".into(),
            enabled: true,
            ..LaneSpec::default()
        };
        spec.rule.all = vec![text::parse_condition(rule).unwrap()];
        spec
    };
    let set = |seen, rule: &str| Intent::SetLane {
        name: "l".into(),
        seen,
        spec: spec(rule),
    };
    let told = f
        .wish("ann", set(None, "header x regex ("))
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("match.all[0]"), "{told}");
    assert!(lanes.get_opt("l").await.unwrap().is_none());

    f.wish("ann", set(None, "parameter group == gray"))
        .await
        .unwrap();
    let told = f
        .wish("bob", set(None, "parameter group == blue"))
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("exists already"), "{told}");
    let lane = lanes.get("l").await.unwrap();
    let seen = SeenObject {
        uid: lane.uid().unwrap().into(),
        version: lane.resource_version(),
        state: None,
    };
    f.wish("ann", set(Some(seen.clone()), "parameter group == red"))
        .await
        .unwrap();
    let lost = f
        .wish("bob", set(Some(seen.clone()), "parameter group == blue"))
        .await
        .unwrap_err();
    assert!(matches!(lost, PerformError::Stale { .. }), "{lost}");
    assert_eq!(
        lanes.get("l").await.unwrap().spec.rule.all[0].values,
        ["red"]
    );

    let same = || {
        Some(SeenObject {
            version: None,
            ..seen.clone()
        })
    };
    f.wish(
        "bob",
        Intent::EnableLane {
            name: "l".into(),
            seen: same(),
            enabled: false,
        },
    )
    .await
    .unwrap();
    assert!(!lanes.get("l").await.unwrap().spec.enabled);
    let namesake = Some(SeenObject {
        uid: "another".into(),
        version: None,
        state: None,
    });
    let lost = f
        .wish(
            "bob",
            Intent::DeleteLane {
                name: "l".into(),
                seen: namesake,
            },
        )
        .await
        .unwrap_err();
    assert!(matches!(lost, PerformError::Stale { .. }), "{lost}");
    f.wish(
        "bob",
        Intent::DeleteLane {
            name: "l".into(),
            seen: same(),
        },
    )
    .await
    .unwrap();
    assert!(lanes.get_opt("l").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_environment_is_not_torn_down_and_is_anothers_to_keep() {
    let f = fixture().await;
    let lock = |by: Option<&str>| Intent::Lock {
        app: "a".into(),
        environment: "gray".into(),
        seen: None,
        lock: by.map(|by| EnvironmentLock {
            by: by.into(),
            reason: "audit".into(),
        }),
    };
    let down = || Intent::Teardown {
        app: "a".into(),
        environment: "gray".into(),
        comment: None,
    };
    f.wish("ann", lock(Some("ann"))).await.unwrap();
    let told = f
        .wish("bob", lock(Some("bob")))
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("locked by ann: audit"), "{told}");
    let told = f.wish("bob", down()).await.unwrap_err().to_string();
    assert!(told.contains("locked by ann: audit"), "{told}");
    f.wish("ann", lock(None)).await.unwrap();
    let done = f.wish("bob", down()).await.unwrap();
    assert_eq!(done.release_names().collect::<Vec<_>>(), ["a-1"]);
    assert_eq!(
        f.release("a-1").await.spec.teardown.unwrap().environment,
        "gray"
    );
    let told = f.wish("bob", down()).await.unwrap_err().to_string();
    assert!(told.contains("a-1 tears it down already"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_environment_left_behind_can_be_torn_down_and_nothing_else_that_the_app_has_not() {
    let f = fixture().await;
    let apps: Api<App> = Api::namespaced(f.client.clone(), NS);
    let item =
        json!({"apiVersion": "v1", "kind": "Service", "namespace": NS, "name": "a", "uid": "u"});
    let told =
        json!({"old": {"state": "Running", "inventory": [item]}, "older": {"state": "Cleaned"}});
    let status = Patch::Merge(json!({"status": {"environments": told}}));
    apps.patch_status("a", &PatchParams::default(), &status)
        .await
        .unwrap();
    let down = |name: &str| Intent::Teardown {
        app: "a".into(),
        environment: name.into(),
        comment: None,
    };
    for name in ["older", "oldest"] {
        let told = f.wish("bob", down(name)).await.unwrap_err().to_string();
        assert!(
            told.contains("no environment") && told.contains("it has gray"),
            "{told}"
        );
    }
    let done = f.wish("bob", down("old")).await.unwrap();
    assert_eq!(done.release_names().collect::<Vec<_>>(), ["a-1"]);
}
