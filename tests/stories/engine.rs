//! The engine on a pocket's API with its controllers; the test is the kubelet and the gateway.

mod rig;

use std::time::Duration;

use graylane::{
    api::{
        App, Approval, ApprovalSpec, Decision, EnvironmentState, FIELD_MANAGER, Lane, Release, ReleasePhase,
        ReleaseSpec, Served, TaskPhase,
    },
    cluster::watch::ENGINE_LEASE,
    domain::intent::ReleaseWish,
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet, StatefulSetSpec},
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod, Service},
};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use rig::{MANIFEST, Rig, app};

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
