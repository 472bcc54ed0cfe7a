//! The Deployment algorithm, step by step through our batches: exactly as many new pods as allowed at every hold,
//! and on the way never fewer Ready than promised.

#[path = "rollouts/driver.rs"]
mod driver;

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::cluster::{Place, cases, eventually};
use driver::{Rollout, deployment};
use graylane::domain::batches::RolloutAction;

cases!(
    batches_are_exact,
    an_abort_is_one_patch,
    a_crashing_version_costs_nothing,
    lost_pods_come_back_as_they_were,
    scaled_in_the_middle,
    a_foreign_hand_stops_it,
    recreate_is_one_batch,
);

async fn batches_are_exact(at: Place) {
    let mut r = Rollout::start(&at, 6, json!(null)).await;
    r.release("v2", &["1", "50%", "100%"]).await;
    for (upto, new) in [(1, 1), (2, 3)] {
        assert_eq!(r.go(upto).await, RolloutAction::Held);
        r.settles(new, 6 - new).await;
        assert_eq!(r.live().await.spec.unwrap().paused, Some(true));
    }
    assert_eq!(r.go(3).await, RolloutAction::Done);
    r.settles(6, 0).await;
    let spec = r.live().await.spec.unwrap();
    let left = deployment("v2", 6, json!(null)).spec.unwrap();
    assert_eq!(
        (
            spec.paused,
            spec.min_ready_seconds,
            spec.progress_deadline_seconds
        ),
        (None, None, Some(600))
    );
    assert_eq!(
        spec.template.spec.unwrap().containers[0].image,
        left.template.spec.unwrap().containers[0].image
    );
    assert_eq!(r.revisions().await, 2);
    let seen = r.end().await;
    assert!(seen.fewest_ready >= 6 && seen.most <= 9, "{seen:?}");
    assert!(seen.new_only_grew, "{seen:?}");
}

async fn an_abort_is_one_patch(at: Place) {
    let mut r = Rollout::start(&at, 6, json!(null)).await;
    r.release("v2", &["3", "100%"]).await;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    r.settles(3, 3).await;
    assert_eq!(r.undo().await, 1, "one patch");
    let all_old = async || (r.counts().await == (0, 6)).then_some(());
    eventually("all is old again", all_old).await;
    let spec = r.live().await.spec.unwrap();
    assert_eq!(
        (
            spec.paused,
            spec.min_ready_seconds,
            spec.progress_deadline_seconds
        ),
        (None, None, Some(600))
    );
    // The user's own strategy lets a quarter of six go missing.
    let seen = r.end().await;
    assert!(seen.fewest_ready >= 5, "{seen:?}");
}

async fn a_crashing_version_costs_nothing(at: Place) {
    let mut r = Rollout::start(&at, 4, json!(null)).await;
    r.release("crash", &["50%", "100%"]).await;
    let told = r.stuck(1).await;
    assert!(told.contains("CrashLoopBackOff"), "{told}");
    // Two are allowed, one above the replicas at a time: the first one never gets ready.
    r.settles(1, 4).await;
    r.undo().await;
    eventually("all is old again", async || {
        (r.counts().await == (0, 4)).then_some(())
    })
    .await;
    let seen = r.end().await;
    assert!(seen.fewest_ready >= 4 && seen.most <= 5, "{seen:?}");
}

async fn lost_pods_come_back_as_they_were(at: Place) {
    let mut r = Rollout::start(&at, 5, json!(null)).await;
    r.release("v2", &["2", "100%"]).await;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    r.settles(2, 3).await;
    let pods: Api<Pod> = at.api();
    for image in ["web:v1", "web:v2"] {
        let all = pods.list(&ListParams::default()).await.unwrap().items;
        let one = all
            .iter()
            .find(|p| p.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image))
            .unwrap();
        let (name, uid) = (one.metadata.name.clone().unwrap(), one.metadata.uid.clone());
        pods.delete(&name, &Default::default()).await.unwrap();
        eventually("it is gone", async || {
            let there = pods.get_opt(&name).await.unwrap();
            there.is_none_or(|p| p.metadata.uid != uid).then_some(())
        })
        .await;
        r.settles(2, 3).await;
    }
    assert_eq!(r.go(1).await, RolloutAction::Held);
    assert_eq!(r.go(2).await, RolloutAction::Done);
    r.settles(5, 0).await;
    assert_eq!(r.revisions().await, 2);
}

async fn scaled_in_the_middle(at: Place) {
    let mut r = Rollout::start(&at, 6, json!(null)).await;
    r.release("v2", &["50%", "100%"]).await;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    r.settles(3, 3).await;
    let scale = Patch::Merge(json!({"spec": {"replicas": 8}}));
    at.api::<k8s_openapi::api::apps::v1::Deployment>()
        .patch_scale("web", &PatchParams::default(), &scale)
        .await
        .unwrap();
    eventually("eight", async || {
        let (new, old) = r.counts().await;
        (new + old == 8).then_some(())
    })
    .await;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    r.settles(4, 4).await;
    assert_eq!(r.go(2).await, RolloutAction::Done);
    r.settles(8, 0).await;
    let seen = r.end().await;
    assert!(seen.fewest_ready >= 6, "{seen:?}");
}

async fn a_foreign_hand_stops_it(at: Place) {
    let mut r = Rollout::start(&at, 4, json!(null)).await;
    r.release("v2", &["1", "100%"]).await;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    let by = PatchParams {
        field_manager: Some("kubectl-set".into()),
        ..PatchParams::default()
    };
    // Times of managed fields are whole seconds: whoever created it must not have done so in this one.
    let created = r.live().await.metadata.creation_timestamp.unwrap().0;
    eventually("another second", async || {
        (jiff::Timestamp::now().as_second() > created.as_second()).then_some(())
    })
    .await;
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:evil"}]}}}});
    let api = at.api::<k8s_openapi::api::apps::v1::Deployment>();
    api.patch("web", &by, &Patch::Strategic(patch))
        .await
        .unwrap();
    let RolloutAction::Stop(why) = r.go(2).await else {
        panic!("it went on")
    };
    assert!(
        why.contains("web:evil") && why.contains("kubectl-set"),
        "{why}"
    );
    let sets: Api<ReplicaSet> = at.api();
    let sets = sets.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(sets.len(), 2, "paused: no set of a third version");
}

async fn recreate_is_one_batch(at: Place) {
    let mut r = Rollout::start(&at, 3, json!({"type": "Recreate"})).await;
    r.release("v2", &["1", "100%"]).await;
    assert_eq!(r.go(2).await, RolloutAction::Done);
    r.settles(3, 0).await;
    let seen = r.end().await;
    assert!(
        seen.most <= 3 && seen.mixed == 0,
        "never both versions: {seen:?}"
    );
}
