//! The story by graylane's engine: approvals, gray up, the lane's routes, batches 1, 2, 4, clean-up; and an abort.

#[path = "story/rig.rs"]
pub mod rig;

use graylane::api::{Decision, EnvironmentState, Lane, LaneGroup, ReleasePhase, Served, TaskPhase};
use graylane::domain::intent::{ControlIntent, TaskDecision};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Service},
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};

use super::cluster::{Kind, Place, cases, eventually, pocket};
use rig::Rig;

cases!(
    gate_gray_lane_batches_and_clean_up,
    an_abort_in_mid_batch,
    the_next_engine_goes_on
);

async fn gate_gray_lane_batches_and_clean_up(at: Place) {
    let rig = Rig::new(&at).await;
    rig.lanes().await;
    rig.engine("one");
    rig.baseline().await;
    assert_eq!(rig.split().await, (4, 0));
    let name = rig.start("production", "a:v2").await;
    rig.phase(&name, "gate", TaskPhase::Waiting).await;
    assert!(
        at.api::<Deployment>()
            .get_opt("a-gray")
            .await
            .unwrap()
            .is_none(),
        "not before somebody approved"
    );
    rig.wish(
        &name,
        TaskDecision {
            task: "gate".into(),
            attempt: 1,
            decision: Decision::Pass,
            digest: None,
        },
    )
    .await;
    let release = rig.phase(&name, "go", TaskPhase::Waiting).await;
    assert!(
        rig.routed().await,
        "the probe could only pass through the lane's route"
    );
    assert!(
        release.status.unwrap().tasks[2]
            .probes
            .iter()
            .all(|p| p.passed)
    );
    let lane = at.api::<Lane>().get("gray").await.unwrap().status.unwrap();
    assert_eq!(lane.apps[0].served, Served::Gray, "{lane:?}");
    let gray = rig.environment("gray").await;
    assert_eq!(
        (gray.state, gray.inventory.len()),
        (EnvironmentState::Running, 3)
    );
    rig.wish(
        &name,
        ControlIntent::Allow {
            task: "go".into(),
            batch: 1,
        },
    )
    .await;
    let held = rig.phase(&name, "deploy-prod", TaskPhase::Waiting).await;
    assert_eq!(rig.split().await, (3, 1));
    let batches: Vec<u32> = held.status.unwrap().tasks[4]
        .batches
        .iter()
        .map(|b| b.target)
        .collect();
    assert_eq!(batches, [1, 2, 4]);
    rig.wish(
        &name,
        ControlIntent::Allow {
            task: "deploy-prod".into(),
            batch: 2,
        },
    )
    .await;
    rig.ends(&name, ReleasePhase::Succeeded).await;
    assert_eq!(rig.split().await, (0, 4));
    let spec = at
        .api::<Deployment>()
        .get("a-prod")
        .await
        .unwrap()
        .spec
        .unwrap();
    assert!(
        spec.paused != Some(true) && spec.min_ready_seconds.unwrap_or(0) == 0,
        "{spec:?}"
    );
    assert!(!rig.routed().await);
    assert_eq!(
        rig.environment("gray").await.state,
        EnvironmentState::Cleaned
    );
    assert!(
        at.api::<Deployment>()
            .get_opt("a-gray")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        at.api::<Service>()
            .get_opt("a-gray")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        at.api::<ConfigMap>()
            .get_opt("a-gray")
            .await
            .unwrap()
            .is_none()
    );
    assert!(at.api::<Service>().get_opt("a").await.unwrap().is_some());
}

async fn an_abort_in_mid_batch(at: Place) {
    let rig = Rig::new(&at).await;
    rig.lanes().await;
    rig.engine("one");
    rig.baseline().await;
    let name = rig.to_mid_batch().await;
    rig.wish(&name, ControlIntent::Abort).await;
    rig.ends(&name, ReleasePhase::Aborted).await;
    assert_eq!(rig.split().await, (4, 0));
    assert!(
        at.api::<Deployment>()
            .get_opt("a-gray")
            .await
            .unwrap()
            .is_none()
            && !rig.routed().await
    );
    assert_eq!(
        rig.environment("gray").await.state,
        EnvironmentState::Cleaned
    );
    assert_eq!(rig.environment("prod").await.images["backend"], "a:v1");
}

async fn the_next_engine_goes_on(at: Place) {
    let rig = Rig::new(&at).await;
    rig.lanes().await;
    let first = rig.engine("one");
    rig.baseline().await;
    let name = rig.to_mid_batch().await;
    first.cancel();
    rig.wish(
        &name,
        ControlIntent::Allow {
            task: "deploy-prod".into(),
            batch: 2,
        },
    )
    .await;
    rig.engine("two");
    rig.ends(&name, ReleasePhase::Succeeded).await;
    assert_eq!(rig.split().await, (0, 4));
    let sets = at
        .api::<ReplicaSet>()
        .list(&ListParams::default().labels("app=a-prod"))
        .await
        .unwrap();
    assert_eq!(sets.items.len(), 2, "nothing was rolled twice");
}

/// A cluster may not have the Gateway API: releases go on, the lane group says why nothing is routed, and what is
/// installed later is found.
#[test]
fn without_the_gateway_api() {
    super::cluster::block_on(async {
        let pocket = pocket().await;
        let at = Place {
            client: pocket.client.clone(),
            namespace: "alone".into(),
            kind: Kind::Pocket,
        };
        at.make().await;
        let definitions: Api<CustomResourceDefinition> = Api::all(at.client.clone());
        let mut removed = vec![];
        for name in [
            "gateways.gateway.networking.k8s.io",
            "httproutes.gateway.networking.k8s.io",
        ] {
            removed.push(definitions.get(name).await.unwrap());
            definitions
                .delete(name, &DeleteParams::default())
                .await
                .unwrap();
            eventually("it is gone", async || {
                definitions
                    .get_opt(name)
                    .await
                    .unwrap()
                    .is_none()
                    .then_some(())
            })
            .await;
        }
        let rig = Rig::new(&at).await;
        rig.lanes().await;
        rig.engine("one");
        rig.baseline().await;
        assert_eq!(rig.split().await, (4, 0));
        let groups = at.api::<LaneGroup>();
        let told = async |words: &str| {
            let status = groups.get("g").await.unwrap().status.unwrap_or_default();
            status
                .problems
                .iter()
                .any(|p| p.contains(words))
                .then_some(())
        };
        eventually("the group says so", async || {
            told("does not serve the Gateway API").await
        })
        .await;
        for mut definition in removed {
            definition.metadata.resource_version = None;
            definition.metadata.uid = None;
            definitions
                .create(&Default::default(), &definition)
                .await
                .unwrap();
        }
        eventually("it is found", async || {
            told("there is no Gateway edge").await
        })
        .await;
    });
}
