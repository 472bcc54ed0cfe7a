//! What other hands do in the middle of a rollout: the gate is closed, it is told, and a whole state comes back by either
//! way out.

use graylane::{
    api::{App, Release, ReleasePhase, TaskPhase, label},
    domain::intent::ControlIntent,
};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy},
    core::NamespaceResourceScope,
};
use serde_json::{Value, json};

use super::{
    cluster::{Object, Place, cases, eventually},
    story::rig::{MANIFEST, Rig},
};

cases!(
    resumed_and_undone_behind_the_first_batch,
    deleted_in_the_middle,
    made_again_from_what_was_saved,
    a_stateful_set_made_again_over_its_pods,
);

/// What kubectl's own hint leads to: `rollout resume`, then `rollout undo`.
async fn resumed_and_undone_behind_the_first_batch(at: Place) {
    let hand = async |at: &Place| {
        let api = at.api::<Deployment>();
        let resumed = Patch::Merge(json!({"spec": {"paused": null}}));
        api.patch("a-prod", &by("kubectl-rollout"), &resumed)
            .await
            .unwrap();
        let sets = at
            .api::<ReplicaSet>()
            .list(&ListParams::default().labels("app=a-prod"))
            .await
            .unwrap()
            .items;
        let image = |set: &ReplicaSet| {
            set.spec
                .as_ref()?
                .template
                .as_ref()?
                .spec
                .as_ref()?
                .containers
                .first()?
                .image
                .clone()
        };
        let old = sets
            .iter()
            .find(|set| image(set).as_deref() == Some("a:v1"))
            .unwrap();
        let mut template = serde_json::to_value(&old.spec.as_ref().unwrap().template).unwrap();
        template["metadata"]["labels"]
            .as_object_mut()
            .unwrap()
            .remove("pod-template-hash");
        let own = |key: &str| key.starts_with("deployment.kubernetes.io/");
        let mut annotations = old.annotations().clone();
        annotations.retain(|key, _| !own(key));
        let live = api.get("a-prod").await.unwrap();
        annotations.extend(
            live.annotations()
                .iter()
                .filter(|(key, _)| own(key))
                .map(|(k, v)| (k.clone(), v.clone())),
        );
        let undone: json_patch::Patch = serde_json::from_value(json!([
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "replace", "path": "/metadata/annotations", "value": annotations},
        ]))
        .unwrap();
        api.patch("a-prod", &by("kubectl-rollout"), &Patch::Json::<()>(undone))
            .await
            .unwrap();
    };
    // Told is what the engine meets first.
    either_way(
        &at,
        "Deployment",
        &["it was resumed", "image now a:v1"],
        1,
        hand,
    )
    .await;
}

async fn deleted_in_the_middle(at: Place) {
    let hand = async |at: &Place| {
        at.api::<Deployment>()
            .delete("a-prod", &DeleteParams::background())
            .await
            .unwrap();
        gone(&at.api::<Deployment>()).await;
    };
    either_way(
        &at,
        "Deployment",
        &["it is gone in the middle of its rollout", "being deleted"],
        0,
        hand,
    )
    .await;
}

/// Paused as it was saved, and with no ReplicaSet: its controller makes none.
async fn made_again_from_what_was_saved(at: Place) {
    let hand = async |at: &Place| {
        let api = at.api::<Deployment>();
        let saved = saved(&api.get("a-prod").await.unwrap());
        api.delete("a-prod", &DeleteParams::background())
            .await
            .unwrap();
        gone(&api).await;
        at.create::<Deployment>(saved).await;
        let sets = async || {
            at.api::<ReplicaSet>()
                .list(&ListParams::default().labels("app=a-prod"))
                .await
                .unwrap()
        };
        eventually("nothing of it runs", async || {
            sets().await.items.is_empty().then_some(())
        })
        .await;
    };
    either_way(
        &at,
        "Deployment",
        &["deleted and recreated it", "it is gone", "being deleted"],
        0,
        hand,
    )
    .await;
}

/// `kubectl delete --cascade=orphan`, and what was saved before it applied again.
async fn a_stateful_set_made_again_over_its_pods(at: Place) {
    let hand = async |at: &Place| {
        let api = at.api::<StatefulSet>();
        let saved = saved(&api.get("a-prod").await.unwrap());
        let alone = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Orphan),
            ..DeleteParams::default()
        };
        api.delete("a-prod", &alone).await.unwrap();
        gone(&api).await;
        at.create::<StatefulSet>(saved).await;
    };
    either_way(
        &at,
        "StatefulSet",
        &["deleted and recreated it", "it is gone", "being deleted"],
        1,
        hand,
    )
    .await;
}

fn by(manager: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.into()),
        ..PatchParams::default()
    }
}

/// As `kubectl get -o yaml` has it, without what only a server writes.
fn saved<K: Resource + serde::Serialize + Clone>(live: &K) -> Value {
    let mut live = live.clone();
    let meta = live.meta_mut();
    (meta.uid, meta.resource_version, meta.creation_timestamp) = (None, None, None);
    (meta.generation, meta.managed_fields) = (None, None);
    let mut saved = serde_json::to_value(&live).unwrap();
    saved.as_object_mut().unwrap().remove("status");
    saved
}

async fn gone<K: Object + Resource<Scope = NamespaceResourceScope>>(api: &Api<K>) {
    eventually("it is gone", async || {
        api.get_opt("a-prod").await.unwrap().is_none().then_some(())
    })
    .await;
}

/// Behind the first batch another hand is at it. `left` is how many pods of the new version there are then at most.
async fn either_way(
    at: &Place,
    kind: &str,
    words: &[&str],
    left: usize,
    hand: impl AsyncFn(&Place),
) {
    let rig = Rig::new(at).await;
    rig.engine("one");
    let manifest = MANIFEST.replace("kind: Deployment", &format!("kind: {kind}"));
    let app = json!({"spec": {"manifests": [{"name": "a.yaml", "template": manifest}]}});
    at.api::<App>()
        .patch("a", &PatchParams::default(), &Patch::Merge(&app))
        .await
        .unwrap();
    rig.baseline().await;
    for abort in [true, false] {
        let name = rig.start("baseline", "a:v2").await;
        rig.phase(&name, "deploy", TaskPhase::Waiting).await;
        assert_eq!(rig.split().await, (3, 1));
        hand(at).await;
        let told = |r: &Release| {
            let task = r.status.as_ref().and_then(|s| s.tasks.first());
            let any = |why: &str| words.iter().any(|w| why.contains(w));
            task.is_some_and(|t| {
                t.phase == TaskPhase::Failed && t.message.as_deref().is_some_and(any)
            })
        };
        let failed = rig.until(&name, &format!("{words:?}"), told).await;
        assert!(
            failed
                .status
                .unwrap()
                .message
                .unwrap()
                .starts_with(&format!("{kind} a-prod: "))
        );
        // Whatever somebody lets through now goes through nothing.
        let allowed = json!({"spec": {"control": {"allow": {"deploy": 2}}}});
        at.api::<Release>()
            .patch(&name, &PatchParams::default(), &Patch::Merge(&allowed))
            .await
            .unwrap();
        eventually("what that hand did", async || {
            (rig.split().await.1 <= left).then_some(())
        })
        .await;
        let none = json!({"spec": {"control": {"allow": null}}});
        at.api::<Release>()
            .patch(&name, &PatchParams::default(), &Patch::Merge(&none))
            .await
            .unwrap();
        if abort {
            rig.wish(&name, ControlIntent::Abort).await;
            rig.ends(&name, ReleasePhase::Aborted).await;
            whole(at, &rig, kind, (4, 0)).await;
        } else {
            rig.wish(
                &name,
                ControlIntent::Retry {
                    task: "deploy".into(),
                    force: false,
                },
            )
            .await;
            rig.phase(&name, "deploy", TaskPhase::Waiting).await;
            assert_eq!(
                rig.split().await,
                (3, 1),
                "the batches go on, or begin anew"
            );
            rig.wish(
                &name,
                ControlIntent::Allow {
                    task: "deploy".into(),
                    batch: 2,
                },
            )
            .await;
            rig.ends(&name, ReleasePhase::Succeeded).await;
            whole(at, &rig, kind, (0, 4)).await;
        }
    }
}

/// So many pods of either version, and no setting of a rollout's own.
async fn whole(at: &Place, rig: &Rig, kind: &str, pods: (usize, usize)) {
    eventually("the pods", async || {
        (rig.split().await == pods).then_some(())
    })
    .await;
    let live = if kind == "StatefulSet" {
        serde_json::to_value(at.api::<StatefulSet>().get("a-prod").await.unwrap()).unwrap()
    } else {
        serde_json::to_value(at.api::<Deployment>().get("a-prod").await.unwrap()).unwrap()
    };
    let spec = &live["spec"];
    assert!(
        spec["minReadySeconds"].is_null() && spec["paused"].is_null(),
        "{spec}"
    );
    assert_eq!(live["metadata"]["annotations"][label::LATCH], Value::Null);
    if kind == "StatefulSet" {
        assert_eq!(
            spec["updateStrategy"]["rollingUpdate"]["partition"]
                .as_u64()
                .unwrap_or(0),
            0
        );
        return;
    }
    let own = json!({"maxSurge": "25%", "maxUnavailable": "25%"});
    assert_eq!(
        (
            &spec["strategy"]["rollingUpdate"],
            &spec["progressDeadlineSeconds"]
        ),
        (&own, &json!(600))
    );
}
