//! Pruning of finished releases on a real API: some in each pass, with their dependents, despite
//! concurrent changes.

use futures::{StreamExt, stream};
use http::Method;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{HOME, Rig};
use crate::{
    api::{App, Approval, Release, label},
    engine::prune,
};

/// An App with a history limit, and finished releases of it, each with an Approval and a build Job
/// without an owner.
async fn seed(rig: &Rig, limit: u32, releases: u32) {
    let spec = json!({"manifests": [], "environments": [], "history": {"limit": limit},
        "workflow": {"stages": [{"name": "s", "tasks": []}]}});
    let app = App::new("a", serde_json::from_value(spec).unwrap());
    rig.api()
        .create(&PostParams::default(), &app)
        .await
        .unwrap();
    stream::iter(1..=releases)
        .for_each_concurrent(16, |n| finished(rig, n))
        .await;
    let all = usize::try_from(releases).unwrap();
    rig.shown("all of it", |c| {
        let final_ones = c
            .releases
            .list()
            .iter()
            .filter(|r| r.status.as_ref().is_some_and(|s| s.phase.is_final()))
            .count();
        (final_ones, c.approvals.list().len(), c.jobs.list().len()) == (all, all, all)
            && !c.apps.list().is_empty()
    })
    .await;
}

async fn finished(rig: &Rig, n: u32) {
    let name = format!("a-{n}");
    let spec = json!({"app": "a", "stage": "s"});
    let made = Release::new(&name, serde_json::from_value(spec).unwrap());
    let mut made = rig
        .api()
        .create(&PostParams::default(), &made)
        .await
        .unwrap();
    made.status = Some(serde_json::from_value(json!({"phase": "Succeeded"})).unwrap());
    let uid = made.uid().unwrap();
    rig.api::<Release>()
        .replace_status(&name, &PostParams::default(), &made)
        .await
        .unwrap();
    let spec = json!({"release": name, "releaseUid": uid, "task": "t", "attempt": 1, "decision": "pass", "approver": "ann"});
    let approval = Approval::new(&name, serde_json::from_value(spec).unwrap());
    rig.api()
        .create(&PostParams::default(), &approval)
        .await
        .unwrap();
    rig.api()
        .create(&PostParams::default(), &job(&name, &name, &uid))
        .await
        .unwrap();
}

fn job(name: &str, release: &str, uid: &str) -> Job {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {label::APP: "a"},
            "annotations": {label::RELEASE: release, label::CREATED_BY: uid}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    }))
    .unwrap()
}

async fn names<K>(rig: &Rig) -> Vec<String>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = rig.api();
    api.list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(ResourceExt::name_any)
        .collect()
}

/// Waits until the caches show this many releases after a deletion.
async fn left(rig: &Rig, releases: usize) {
    rig.shown("what is left", |c| c.releases.list().len() == releases)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_go_some_at_each_look_with_what_is_theirs_and_the_newest_stay() {
    let rig = Rig::new().await;
    seed(&rig, 2, 40).await;
    let elsewhere = rig.api::<Job>();
    // A Job from the manifests, created by the first release, belongs to an environment.
    let mut own = job(
        "own",
        "a-1",
        &rig.api::<Release>()
            .get("a-1")
            .await
            .unwrap()
            .uid()
            .unwrap(),
    );
    own.labels_mut()
        .insert(label::ENVIRONMENT.into(), "e".into());
    elsewhere
        .create(&PostParams::default(), &own)
        .await
        .unwrap();
    rig.shown("that job", |c| c.jobs.list().len() == 41).await;
    assert!(
        prune::prune_releases(&rig.options, &rig.cache)
            .await
            .unwrap()
            .more,
        "not all at once"
    );
    let some = names::<Release>(&rig).await;
    assert!(
        some.len() == 8 && !some.contains(&"a-1".into()),
        "the oldest go first: {some:?}"
    );
    left(&rig, 8).await;
    assert!(
        !prune::prune_releases(&rig.options, &rig.cache)
            .await
            .unwrap()
            .more
    );
    assert_eq!(names::<Release>(&rig).await, ["a-39", "a-40"]);
    assert_eq!(names::<Approval>(&rig).await, ["a-39", "a-40"]);
    assert_eq!(names::<Job>(&rig).await, ["a-39", "a-40", "own"]);
    left(&rig, 2).await;
    prune::prune_releases(&rig.options, &rig.cache)
        .await
        .unwrap();
    assert_eq!(names::<Release>(&rig).await, ["a-39", "a-40"]);
    assert!(
        rig.options
            .telemetry
            .to_open_metrics()
            .contains("graylane_pruned_releases_total 38"),
        "{}",
        rig.options.telemetry.to_open_metrics()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_quicker_is_no_trouble_and_what_changed_is_looked_at_again() {
    let rig = Rig::new().await;
    seed(&rig, 0, 4).await;
    // Nothing has to wait for the watches, so the caches are out of date.
    rig.api::<Release>()
        .delete("a-1", &DeleteParams::default())
        .await
        .unwrap();
    let noted = json!({"metadata": {"labels": {"seen": "yes"}}});
    rig.api::<Release>()
        .patch("a-2", &PatchParams::default(), &Patch::Merge(&noted))
        .await
        .unwrap();
    prune::prune_releases(&rig.options, &rig.cache)
        .await
        .unwrap();
    rig.shown("the change", |c| {
        c.releases.list().iter().all(|r| r.name_any() != "a-1")
    })
    .await;
    rig.shown("what is left", |c| {
        c.releases.list().iter().all(|r| r.name_any() != "a-3")
    })
    .await;
    // Then it is deleted, and so is what another person's deletion left behind.
    prune::prune_releases(&rig.options, &rig.cache)
        .await
        .unwrap();
    rig.shown("the end", |c| c.releases.list().len() <= 2).await;
    prune::prune_releases(&rig.options, &rig.cache)
        .await
        .unwrap();
    assert_eq!(
        names::<Release>(&rig).await,
        ["a-4"],
        "its number is counted on from"
    );
    assert_eq!(names::<Approval>(&rig).await, ["a-4"]);
    assert_eq!(names::<Job>(&rig).await, ["a-4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_told_with_what_gives_it() {
    let rig =
        Rig::barred(|method, path| method == Method::DELETE && path.contains("/releases/")).await;
    seed(&rig, 0, 3).await;
    let told = prune::prune_releases(&rig.options, &rig.cache)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        told.contains("deleting release a-") && told.contains("graylane install"),
        "{told}"
    );
    assert_eq!(names::<Release>(&rig).await.len(), 3);
    assert_eq!(rig.options.namespace, HOME);
}
