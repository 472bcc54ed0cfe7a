//! Finished releases that their App's history no longer keeps go, with their Approvals, build Jobs and those Jobs' pods.

use std::collections::BTreeSet;

use graylane::{
    api::{App, Approval, Decision, Release, ReleasePhase, TaskPhase},
    cluster::perform::perform_intent,
    domain::intent::{ControlIntent, Intent, TaskDecision},
};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde_json::{Value, json};

use super::{
    cluster::{Object, Place, cases, eventually},
    story::rig::Rig,
};

cases!(finished_releases_go_and_the_needed_ones_stay);

/// Beside its ConfigMap a Job of its own, which the first release makes and no later one.
const MANIFEST: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: p}
data: {image: '{{ .AppStack.image.backend }}'}
---
apiVersion: batch/v1
kind: Job
metadata: {name: p-own}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: once}]}}}
";
const BUILD: &str = "apiVersion: batch/v1
kind: Job
metadata: {name: build}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: builder}]}}}
";

fn app(home: &str) -> Value {
    json!({
        "apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": "p", "namespace": home},
        "spec": {
            "images": {"backend": {"repository": "p"}},
            "manifests": [{"name": "p.yaml", "template": MANIFEST}],
            "environments": [{"name": "prod", "namespace": home}],
            "workflow": {"stages": [{"name": "s", "tasks": [
                {"name": "build", "build": {"image": "backend", "job": BUILD}},
                {"name": "gate", "approval": {"requesterMayApprove": true}},
                {"name": "deploy", "deploy": {"environment": "prod"}},
            ]}]},
        },
    })
}

async fn names<K: Object + Resource<Scope = NamespaceResourceScope>>(
    at: &Place,
) -> BTreeSet<String> {
    at.api::<K>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(ResourceExt::name_any)
        .collect()
}

async fn start(at: &Place) -> String {
    let (apps, images) = (vec!["p".to_owned()], Default::default());
    let intent = Intent::StartRelease {
        apps,
        stage: "s".into(),
        images,
        comment: None,
        window: None,
    };
    let done = perform_intent(&at.client, &at.namespace, "admin", intent)
        .await
        .unwrap();
    done.release_names().next().unwrap().to_owned()
}

async fn finished_releases_go_and_the_needed_ones_stay(at: Place) {
    let rig = Rig::new(&at).await;
    rig.engine("one");
    let made = at.create::<App>(app(&at.namespace)).await;
    assert_eq!(made.spec.history.limit, 20, "by default");
    for n in 1..=5 {
        let name = start(&at).await;
        assert_eq!(name, format!("p-{n}"));
        rig.phase(&name, "gate", TaskPhase::Waiting).await;
        let decision = if n == 4 {
            Decision::Refuse
        } else {
            Decision::Pass
        };
        rig.wish(
            &name,
            TaskDecision {
                task: "gate".into(),
                attempt: 1,
                decision,
                digest: None,
            },
        )
        .await;
        if n == 4 {
            rig.phase(&name, "gate", TaskPhase::Failed).await;
            rig.wish(&name, ControlIntent::Abort).await;
            rig.ends(&name, ReleasePhase::Aborted).await;
        } else {
            rig.ends(&name, ReleasePhase::Succeeded).await;
        }
    }
    // As they were made before they had owners: of the first release, and of one that somebody has deleted.
    let free = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
    let approvals = names::<Approval>(&at).await;
    let first = approvals
        .iter()
        .find(|a| a.starts_with("p-1-gate-1-admin-"))
        .unwrap();
    at.api::<Approval>()
        .patch(first, &PatchParams::default(), &free)
        .await
        .unwrap();
    at.api::<Job>()
        .patch("p-1-build-1", &PatchParams::default(), &free)
        .await
        .unwrap();
    let spec = json!({"release": "p-0", "releaseUid": "gone", "task": "gate", "attempt": 1, "decision": "pass", "approver": "admin"});
    let lost = Approval::new("lost", serde_json::from_value(spec).unwrap());
    at.api::<Approval>()
        .create(&PostParams::default(), &lost)
        .await
        .unwrap();
    // One that waits is not counted and never goes.
    let live = start(&at).await;
    rig.phase(&live, "gate", TaskPhase::Waiting).await;

    let strict = Patch::Merge(json!({"spec": {"history": {"limit": 1}}}));
    at.api::<App>()
        .patch("p", &PatchParams::default(), &strict)
        .await
        .unwrap();
    let set = |all: &[&str]| {
        all.iter()
            .map(|s| (*s).to_owned())
            .collect::<BTreeSet<String>>()
    };
    eventually("the others are gone", async || {
        let pods = names::<Pod>(&at).await;
        let builds = ["p-1-build", "p-2-build", "p-3-build", "p-4-build"];
        let gone = names::<Release>(&at).await == set(&["p-5", "p-6"])
            && names::<Approval>(&at)
                .await
                .iter()
                .map(|a| a.starts_with("p-5-gate-1-admin-"))
                .eq([true])
            && names::<Job>(&at).await == set(&["p-5-build-1", "p-6-build-1", "p-own"])
            && !pods
                .iter()
                .any(|pod| builds.iter().any(|b| pod.starts_with(b)));
        gone.then_some(())
    })
    .await;
    // What it waits for is still there, and no name comes twice.
    rig.wish(
        &live,
        TaskDecision {
            task: "gate".into(),
            attempt: 1,
            decision: Decision::Pass,
            digest: None,
        },
    )
    .await;
    rig.ends(&live, ReleasePhase::Succeeded).await;
    assert_eq!(start(&at).await, "p-7");
}
