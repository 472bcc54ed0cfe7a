//! StatefulSets: which pods are new at each partition, what a lost or a broken pod does to it, and what their status
//! says at each standstill.

#[path = "statefulsets/driver.rs"]
pub mod driver;
#[path = "statefulsets/words.rs"]
mod words;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::Pod,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy},
};
use serde_json::json;

use super::cluster::{Place, cases, eventually, together};
use driver::{Set, manifest, most_missing, order, partition};
use words::{stateful_sets, stateful_sets_in_tables};

cases!(
    stateful_sets,
    stateful_sets_in_tables,
    stateful_updates,
    stateful_losses,
    stateful_ends
);

async fn stateful_updates(at: Place) {
    together!(at: partitions, two_updates_at_once, back_to_an_old_revision, on_delete, in_parallel);
}

async fn stateful_losses(at: Place) {
    together!(at: in_order, pods_lost, pods_that_crash, failed_pods_and_other_ordinals);
}

async fn stateful_ends(at: Place) {
    together!(at: minimum_seconds, deleted_in_the_background, orphans, names_that_collide);
}

async fn in_order(at: Place) {
    let set = Set::start(&at, 3, json!({})).await;
    let numbers = set.stands("0:v1 1:v1 2:v1").await;
    assert_eq!(
        (numbers.available, numbers.split(), numbers.done),
        (3, (3, 3), true)
    );
    let pod = at.api::<Pod>().get("web-1").await.unwrap();
    let revision = set.revisions().await[0].1.clone();
    let labels = pod.labels();
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-1");
    assert_eq!(labels["controller-revision-hash"], revision);
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("web-"));
    let spec = pod.spec.unwrap();
    assert_eq!(
        (spec.hostname.as_deref(), spec.subdomain.as_deref()),
        (Some("web-1"), Some("web"))
    );
    let scale = Patch::Merge(json!({"spec": {"replicas": 5}}));
    at.api::<StatefulSet>()
        .patch_scale("web", &PatchParams::default(), &scale)
        .await
        .unwrap();
    set.stands("0:v1 1:v1 2:v1 3:v1 4:v1").await;
    set.change(json!({"replicas": 1})).await;
    set.stands("0:v1").await;
    let history = set.end().await;
    assert_eq!(order(&history, 0), ["0", "1", "2", "3", "4"]);
    for state in &history {
        let last = state.keys().next_back().cloned().unwrap_or_default();
        let below = state.iter().filter(|(name, _)| **name != last);
        assert!(
            below.clone().all(|(_, pod)| pod.ready && !pod.leaving),
            "one at a time, at the top: {state:?}"
        );
    }
}

async fn partitions(at: Place) {
    let set = Set::start(&at, 4, json!({})).await;
    set.stands("0:v1 1:v1 2:v1 3:v1").await;
    set.change(partition(4)).await;
    set.release("v2").await;
    let numbers = set.stands("0:v1 1:v1 2:v1 3:v1").await;
    assert_eq!((numbers.split(), numbers.done), ((4, 0), false));
    for (step, pods) in [(3, "0:v1 1:v1 2:v1 3:v2"), (1, "0:v1 1:v2 2:v2 3:v2")] {
        set.change(partition(step)).await;
        let numbers = set.stands(pods).await;
        assert_eq!((numbers.available, numbers.done), (4, false));
        assert_eq!(numbers.split(), (step as i32, 4 - step as i32));
    }
    // A higher partition brings nothing back.
    set.change(partition(3)).await;
    assert_eq!(set.stands("0:v1 1:v2 2:v2 3:v2").await.split(), (1, 3));
    set.change(partition(0)).await;
    let numbers = set.stands("0:v2 1:v2 2:v2 3:v2").await;
    assert_eq!((numbers.split(), numbers.done), ((4, 4), true));
    assert_eq!(set.revisions().await.len(), 2);
    let history = set.end().await;
    assert_eq!(order(&history, 4), ["3", "2", "1", "0"]);
    assert_eq!(most_missing(&history, 4), 1);
}

async fn pods_lost(at: Place) {
    let set = Set::start(&at, 4, json!({})).await;
    set.stands("0:v1 1:v1 2:v1 3:v1").await;
    set.change(partition(2)).await;
    set.release("v2").await;
    let now = "0:v1 1:v1 2:v2 3:v2";
    set.stands(now).await;
    for [below, above] in [[0, 3], [1, 2]] {
        set.lose(below).await;
        set.lose(above).await;
        assert_eq!(set.stands(now).await.split(), (2, 2));
    }
    set.change(json!({"replicas": 5})).await;
    assert_eq!(set.stands("0:v1 1:v1 2:v2 3:v2 4:v2").await.split(), (2, 3));
    // All of what is left is below the partition: made of the current revision.
    set.change(json!({"replicas": 1})).await;
    set.stands("0:v1").await;
    set.change(json!({"replicas": 3})).await;
    set.stands("0:v1 1:v1 2:v2").await;
    assert_eq!(set.revisions().await.len(), 2);
    set.end().await;
}

/// The forced rollback: the template alone brings nothing back while a pod is broken.
async fn pods_that_crash(at: Place) {
    let set = Set::start(&at, 3, json!({})).await;
    set.stands("0:v1 1:v1 2:v1").await;
    set.change(partition(2)).await;
    set.release("crash").await;
    let numbers = set.stands("0:v1 1:v1 2:crash!").await;
    assert_eq!(
        (numbers.available, numbers.split(), numbers.done),
        (2, (2, 1), false)
    );
    set.release("v1").await;
    let numbers = set.stands("0:v1 1:v1 2:crash!").await;
    assert_eq!((numbers.split(), numbers.done), ((2, 2), true));
    set.change(partition(0)).await;
    set.stands("0:v1 1:v1 2:crash!").await;
    set.lose(2).await;
    let numbers = set.stands("0:v1 1:v1 2:v1").await;
    assert_eq!((numbers.split(), numbers.done), ((3, 3), true));
    // With the bad pod gone first, the controller makes it anew as it was told last.
    set.release("crash").await;
    set.stands("0:v1 1:v1 2:crash!").await;
    set.lose(2).await;
    set.stands("0:v1 1:v1 2:crash!").await;
    // What is too much goes first; then the update takes what is left.
    set.change(json!({"replicas": 1})).await;
    set.stands("0:crash!").await;
    set.end().await;
}

async fn two_updates_at_once(at: Place) {
    let set = Set::start(&at, 4, json!({})).await;
    set.stands("0:v1 1:v1 2:v1 3:v1").await;
    set.change(partition(2)).await;
    set.release("v2").await;
    set.stands("0:v1 1:v1 2:v2 3:v2").await;
    set.release("v3").await;
    let numbers = set.stands("0:v1 1:v1 2:v3 3:v3").await;
    assert_eq!((numbers.split(), numbers.done), ((2, 2), false));
    set.lose(0).await;
    set.stands("0:v1 1:v1 2:v3 3:v3").await;
    set.change(partition(0)).await;
    let numbers = set.stands("0:v3 1:v3 2:v3 3:v3").await;
    assert!(numbers.done);
    let numbers: Vec<i64> = set
        .revisions()
        .await
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    set.end().await;
}

async fn back_to_an_old_revision(at: Place) {
    let set = Set::start(&at, 2, json!({"revisionHistoryLimit": 10})).await;
    set.stands("0:v1 1:v1").await;
    let first = set.revisions().await[0].1.clone();
    set.change(partition(1)).await;
    set.release("v2").await;
    set.stands("0:v1 1:v2").await;
    let second = set.revisions().await[1].1.clone();
    set.release("v1").await;
    let numbers = set.stands("0:v1 1:v1").await;
    assert_eq!((numbers.split(), numbers.done), ((2, 2), true));
    assert_eq!(set.revisions().await, [(2, second), (3, first)]);
    // The image's policy alone is another template.
    let policy =
        json!({"containers": [{"name": "c", "image": "web:v1", "imagePullPolicy": "Always"}]});
    set.change(json!({"template": {"spec": policy}})).await;
    eventually("a third", async || {
        (set.revisions().await.len() == 3).then_some(())
    })
    .await;
    set.change(partition(0)).await;
    eventually("everything is updated", async || {
        set.numbers().await.done.then_some(())
    })
    .await;
    set.change(json!({"revisionHistoryLimit": 0})).await;
    eventually("only what is in use", async || {
        (set.revisions().await.len() == 1).then_some(())
    })
    .await;
    set.end().await;
}

async fn minimum_seconds(at: Place) {
    let set = Set::start(&at, 2, json!({"minReadySeconds": 3600})).await;
    let numbers = set.stands("0:v1").await;
    assert_eq!(
        (numbers.ready, numbers.available, numbers.done),
        (1, 0, true)
    );
    set.change(json!({"minReadySeconds": 0})).await;
    assert_eq!(set.stands("0:v1 1:v1").await.available, 2);
    // One second passes by itself: nobody but the clock tells.
    set.change(json!({"minReadySeconds": 1})).await;
    set.release("v2").await;
    assert_eq!(set.stands("0:v2 1:v2").await.split(), (2, 2));
    eventually("by the clock alone", async || {
        (set.numbers().await.available == 2).then_some(())
    })
    .await;
    set.end().await;
}

async fn in_parallel(at: Place) {
    let set = Set::start(
        &at,
        3,
        json!({"podManagementPolicy": "Parallel", "template": driver::template("crash")}),
    )
    .await;
    set.stands("0:crash! 1:crash! 2:crash!").await;
    // Broken pods are replaced, one by one from the top.
    set.release("v1").await;
    set.stands("0:v1 1:v1 2:v1").await;
    set.release("crash").await;
    set.stands("0:v1 1:v1 2:crash!").await;
    set.release("v3").await;
    assert!(set.stands("0:v3 1:v3 2:v3").await.done);
    set.change(json!({"replicas": 0})).await;
    let numbers = set.stands("").await;
    assert_eq!((numbers.split(), numbers.done), ((0, 0), true));
    let history = set.end().await;
    assert_eq!(order(&history, 3), ["2", "1", "0", "2", "2", "1", "0"]);
}

async fn on_delete(at: Place) {
    let set = Set::start(&at, 3, json!({"updateStrategy": {"type": "OnDelete"}})).await;
    set.stands("0:v1 1:v1 2:v1").await;
    set.release("v2").await;
    assert_eq!(set.stands("0:v1 1:v1 2:v1").await.split(), (3, 0));
    set.lose(1).await;
    assert_eq!(set.stands("0:v1 1:v2 2:v1").await.split(), (2, 1));
    set.lose(2).await;
    set.lose(0).await;
    let numbers = set.stands("0:v2 1:v2 2:v2").await;
    // Nothing says that it is over.
    assert_eq!((numbers.split(), numbers.done), ((0, 3), false));
    set.end().await;
}

async fn failed_pods_and_other_ordinals(at: Place) {
    let set = Set::start(&at, 2, json!({"ordinals": {"start": 3}})).await;
    set.stands("3:v1 4:v1").await;
    let pods: Api<Pod> = at.api();
    let uid = pods.get("web-3").await.unwrap().uid();
    let failed = json!({"status": {"phase": "Failed"}});
    pods.patch_status("web-3", &PatchParams::default(), &Patch::Merge(failed))
        .await
        .unwrap();
    eventually("another one", async || {
        let pod = pods.get_opt("web-3").await.unwrap()?;
        (pod.uid() != uid).then_some(())
    })
    .await;
    set.stands("3:v1 4:v1").await;
    // A partition counts from the first.
    set.change(partition(1)).await;
    set.release("v2").await;
    set.stands("3:v1 4:v2").await;
    set.change(json!({"ordinals": {"start": 2}})).await;
    set.stands("2:v1 3:v2").await;
    set.end().await;
}

async fn deleted_in_the_background(at: Place) {
    let set = Set::start(&at, 2, json!({})).await;
    set.stands("0:v1 1:v1").await;
    at.api::<StatefulSet>()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    let gone =
        async || (set.pods().await.is_empty() && set.revisions().await.is_empty()).then_some(());
    eventually("all is gone", gone).await;
    set.end().await;
}

/// Pods and revisions stay, and are the next set's of that name.
async fn orphans(at: Place) {
    let set = Set::start(&at, 2, json!({})).await;
    set.stands("0:v1 1:v1").await;
    let (pods, revisions) = (set.pods().await, set.revisions().await);
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    at.api::<StatefulSet>()
        .delete("web", &orphan)
        .await
        .unwrap();
    eventually("it is gone", async || {
        at.api::<StatefulSet>()
            .get_opt("web")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    let all = ListParams::default();
    let alone = at
        .api::<ControllerRevision>()
        .list(&all)
        .await
        .unwrap()
        .items;
    assert!(alone.iter().all(|r| r.owner_references().is_empty()));
    assert!(
        at.api::<Pod>()
            .list(&all)
            .await
            .unwrap()
            .items
            .iter()
            .all(|p| p.owner_references().is_empty())
    );
    at.create::<StatefulSet>(manifest(3, json!({}))).await;
    set.stands("0:v1 1:v1 2:v1").await;
    assert_eq!(set.revisions().await, revisions);
    let now = set.pods().await;
    assert!(pods.iter().all(|(name, pod)| now[name] == *pod), "{now:?}");
    set.end().await;
}

/// Another's revision bears the name: the next hash is salted, and the status tells.
async fn names_that_collide(at: Place) {
    let set = Set::start(&at, 1, json!({})).await;
    assert_eq!(set.stands("0:v1").await.collisions, 0);
    let name = set.revisions().await[0].1.clone();
    at.api::<StatefulSet>()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    let gone =
        async || (set.pods().await.is_empty() && set.revisions().await.is_empty()).then_some(());
    eventually("all is gone", gone).await;
    let other = json!({"metadata": {"name": name}, "revision": 1, "data": {"spec": {}}});
    at.create::<ControllerRevision>(other).await;
    at.create::<StatefulSet>(manifest(1, json!({}))).await;
    assert_eq!(set.stands("0:v1").await.collisions, 1);
    let names: Vec<String> = set
        .revisions()
        .await
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert!(names.len() == 2 && names.contains(&name), "{names:?}");
    set.end().await;
}
