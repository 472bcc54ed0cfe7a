//! What deleting means for an object, for what it owns, and for many at once.

use graylane::api::gateway_api::HttpRoute;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod, Service},
};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde_json::json;

use super::{
    cluster::{Object, Place, cases, eventually},
    transcript::{Shown, Transcript},
};

cases!(
    answers_to_deletes,
    finalizers_hold,
    in_the_background,
    in_the_foreground,
    orphans,
    owners_that_are_gone,
    owners_of_any_kind_wait,
    a_pod_is_given_its_grace
);

async fn answers_to_deletes(at: Place) {
    let mut t = Transcript::new(&at);
    for name in ["a", "b", "c", "d"] {
        t.given(
            "configmaps",
            json!({"metadata": {"name": name, "labels": {"set": "s", "keep": (name == "b").to_string()}}}),
        )
        .await;
    }
    t.delete(
        "configmaps/a",
        json!({"kind": "DeleteOptions", "apiVersion": "v1"}),
    )
    .await;
    t.delete("configmaps/a", json!(null)).await;
    t.ask(
        "DELETE",
        "configmaps/c",
        "",
        &json!({"propagationPolicy": "Odd"}).to_string(),
        Shown::All,
    )
    .await;
    t.ask(
        "DELETE",
        "configmaps/c",
        "",
        &json!({"gracePeriodSeconds": -1}).to_string(),
        Shown::Code,
    )
    .await;
    t.ask(
        "DELETE",
        "configmaps?labelSelector=set,keep!%3Dtrue",
        "",
        "",
        Shown::Parts(&[
            "/kind",
            "/apiVersion",
            "/items/0/metadata/name",
            "/items/1/metadata/name",
            "/items/2",
        ]),
    )
    .await;
    t.ask(
        "GET",
        "configmaps?labelSelector=set",
        "",
        "",
        Shown::Parts(&["/items/0/metadata/name", "/items/1"]),
    )
    .await;
    t.end("answers_to_deletes");
}

async fn finalizers_hold(at: Place) {
    let mut t = Transcript::new(&at);
    t.given(
        "configmaps",
        json!({"metadata": {"name": "a", "finalizers": ["example.com/hold", "example.com/too"]}}),
    )
    .await;
    t.delete("configmaps/a", json!(null)).await;
    t.delete("configmaps/a", json!(null)).await;
    let parts = [
        "/metadata/finalizers",
        "/metadata/deletionTimestamp",
        "/metadata/deletionGracePeriodSeconds",
    ];
    t.patch("merge", "configmaps/a", json!({"data": {"k": "v"}}), &parts)
        .await;
    let more =
        json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}).to_string();
    t.ask(
        "PATCH",
        "configmaps/a",
        "application/merge-patch+json",
        &more,
        Shown::Message,
    )
    .await;
    t.patch(
        "merge",
        "configmaps/a",
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        &parts,
    )
    .await;
    t.patch(
        "json",
        "configmaps/a",
        json!([{"op": "remove", "path": "/metadata/finalizers"}]),
        &parts,
    )
    .await;
    t.get("configmaps/a").await;
    t.post(
        "configmaps",
        json!({"metadata": {"name": "b", "finalizers": ["nogroup"]}}),
    )
    .await;
    t.end("finalizers_hold");
}

fn web() -> serde_json::Value {
    json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

async fn deployed(at: &Place) {
    at.create::<Deployment>(web()).await;
    let ready = async || {
        let status = at
            .api::<Deployment>()
            .get("web")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        (status.available_replicas == Some(2)).then_some(())
    };
    eventually("it serves", ready).await;
}

/// (Deployments, ReplicaSets, pods)
async fn there(at: &Place) -> (usize, usize, usize) {
    let all = ListParams::default();
    (
        at.api::<Deployment>().list(&all).await.unwrap().items.len(),
        at.api::<ReplicaSet>().list(&all).await.unwrap().items.len(),
        at.api::<Pod>().list(&all).await.unwrap().items.len(),
    )
}

async fn in_the_background(at: Place) {
    deployed(&at).await;
    at.api::<Deployment>()
        .delete("web", &DeleteParams::background())
        .await
        .unwrap();
    assert_eq!(there(&at).await.0, 0, "the owner goes at once");
    eventually("what it owned too", async || {
        (there(&at).await == (0, 0, 0)).then_some(())
    })
    .await;
}

async fn in_the_foreground(at: Place) {
    deployed(&at).await;
    let held = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let pods = at.api::<Pod>();
    let name = pods.list(&ListParams::default()).await.unwrap().items[0]
        .metadata
        .name
        .clone()
        .unwrap();
    pods.patch(&name, &PatchParams::default(), &held)
        .await
        .unwrap();
    at.api::<Deployment>()
        .delete("web", &DeleteParams::foreground())
        .await
        .unwrap();
    let web = at.api::<Deployment>().get("web").await.unwrap();
    assert!(web.metadata.deletion_timestamp.is_some());
    assert_eq!(
        web.metadata.finalizers.as_deref(),
        Some(&["foregroundDeletion".to_owned()][..])
    );
    eventually("one pod left", async || {
        (there(&at).await.2 == 1).then_some(())
    })
    .await;
    assert_eq!(there(&at).await, (1, 1, 1), "owners wait for what they own");
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch(&name, &PatchParams::default(), &free)
        .await
        .unwrap();
    eventually("all gone", async || {
        (there(&at).await == (0, 0, 0)).then_some(())
    })
    .await;
}

async fn orphans(at: Place) {
    deployed(&at).await;
    at.api::<Deployment>()
        .delete("web", &DeleteParams::orphan())
        .await
        .unwrap();
    eventually("the owner is gone", async || {
        (there(&at).await.0 == 0).then_some(())
    })
    .await;
    let sets = at
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    assert_eq!(
        (
            sets.len(),
            sets[0]
                .metadata
                .owner_references
                .clone()
                .unwrap_or_default()
                .len()
        ),
        (1, 0)
    );
    // Made again, it takes them over.
    let (set, pods) = (sets[0].metadata.uid.clone(), there(&at).await.2);
    deployed(&at).await;
    let owned = async || {
        let sets = at
            .api::<ReplicaSet>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        let owners = sets[0]
            .metadata
            .owner_references
            .clone()
            .unwrap_or_default();
        (sets.len() == 1 && sets[0].metadata.uid == set && owners.len() == 1).then_some(())
    };
    eventually("adopted", owned).await;
    assert_eq!(there(&at).await.2, pods);
}

/// An owner as its dependents name it; each blocks its deletion.
fn owned_by<K: Resource<DynamicType = ()>>(owners: &[&K]) -> serde_json::Value {
    let reference = |o: &&K| {
        json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "name": o.meta().name, "uid": o.meta().uid,
            "blockOwnerDeletion": true})
    };
    owners.iter().map(reference).collect()
}

async fn map(at: &Place, name: &str, owners: serde_json::Value) -> ConfigMap {
    at.create(json!({"metadata": {"name": name, "ownerReferences": owners}}))
        .await
}

async fn route(at: &Place, name: &str, owners: serde_json::Value) -> HttpRoute {
    at.create(json!({"metadata": {"name": name, "ownerReferences": owners}, "spec": {}}))
        .await
}

async fn names<K: Object + Resource<Scope = NamespaceResourceScope>>(at: &Place) -> Vec<String> {
    let all = at
        .api::<K>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    all.iter()
        .map(ResourceExt::name_any)
        .filter(|n| n != "kube-root-ca.crt")
        .collect()
}

/// Of every kind: built in, and by definition.
async fn owners_that_are_gone(at: Place) {
    let (owner, other) = (
        map(&at, "owner", json!([])).await,
        route(&at, "other", json!([])).await,
    );
    let mut namesake = owner.clone();
    namesake.metadata.uid = Some("00000000-0000-0000-0000-000000000001".into());
    map(&at, "stray", owned_by(&[&namesake])).await;
    map(&at, "both", owned_by(&[&owner, &namesake])).await;
    map(&at, "owned", owned_by(&[&owner])).await;
    route(&at, "owned", owned_by(&[&owner])).await;
    map(&at, "of-other", owned_by(&[&other])).await;
    let service = json!({"metadata": {"name": "owned", "ownerReferences": owned_by(&[&owner])},
        "spec": {"ports": [{"port": 80}]}});
    at.create::<Service>(service).await;
    eventually("of a namesake", async || {
        (!names::<ConfigMap>(&at).await.contains(&"stray".into())).then_some(())
    })
    .await;
    let owners = async || {
        at.api::<ConfigMap>()
            .get("both")
            .await
            .unwrap()
            .owner_references()
            .len()
    };
    eventually("the one that lives is left", async || {
        (owners().await == 1).then_some(())
    })
    .await;
    assert_eq!(
        names::<ConfigMap>(&at).await,
        ["both", "of-other", "owned", "owner"]
    );
    at.api::<ConfigMap>()
        .delete("owner", &DeleteParams::default())
        .await
        .unwrap();
    eventually("what it owned", async || {
        (names::<ConfigMap>(&at).await == ["of-other"]).then_some(())
    })
    .await;
    eventually("of a kind by definition", async || {
        (names::<HttpRoute>(&at).await == ["other"]).then_some(())
    })
    .await;
    eventually("a Service", async || {
        names::<Service>(&at).await.is_empty().then_some(())
    })
    .await;
    at.api::<HttpRoute>()
        .delete("other", &DeleteParams::default())
        .await
        .unwrap();
    eventually("of an owner by definition", async || {
        names::<ConfigMap>(&at).await.is_empty().then_some(())
    })
    .await;
}

/// Until the collector has heard of all that is there: of a later one that it takes.
async fn heard_of(at: &Place) {
    let mut gone = ConfigMap::default();
    gone.metadata.name = Some("gone".into());
    gone.metadata.uid = Some("00000000-0000-0000-0000-000000000002".into());
    map(at, "later", owned_by(&[&gone])).await;
    route(at, "later", owned_by(&[&gone])).await;
    let later = |names: Vec<String>| names.iter().any(|n| n == "later");
    let none =
        async || !later(names::<ConfigMap>(at).await) && !later(names::<HttpRoute>(at).await);
    eventually("heard of", async || none().await.then_some(())).await;
}

/// Deleted in the foreground an owner waits for whom it owns, whatever that is; orphaned they stay.
async fn owners_of_any_kind_wait(at: Place) {
    let owner = route(&at, "owner", json!([])).await;
    let held = json!({"metadata": {"name": "owned", "finalizers": ["example.com/hold"],
        "ownerReferences": owned_by(&[&owner])}});
    let middle = at.create::<ConfigMap>(held).await;
    route(&at, "leaf", owned_by(&[&middle])).await;
    let mut free = owned_by(&[&owner]);
    free[0]["blockOwnerDeletion"] = false.into();
    map(&at, "free", free).await;
    heard_of(&at).await;
    at.api::<HttpRoute>()
        .delete("owner", &DeleteParams::foreground())
        .await
        .unwrap();
    eventually("the others", async || {
        (names::<HttpRoute>(&at).await == ["owner"]).then_some(())
    })
    .await;
    eventually("and the free", async || {
        (names::<ConfigMap>(&at).await == ["owned"]).then_some(())
    })
    .await;
    let waits = at.api::<HttpRoute>().get("owner").await.unwrap();
    assert_eq!(
        waits.metadata.finalizers.as_deref(),
        Some(&["foregroundDeletion".to_owned()][..])
    );
    let go = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    at.api::<ConfigMap>()
        .patch("owned", &PatchParams::default(), &go)
        .await
        .unwrap();
    eventually("then the owner", async || {
        names::<HttpRoute>(&at).await.is_empty().then_some(())
    })
    .await;

    let owner = map(&at, "owner", json!([])).await;
    route(&at, "owned", owned_by(&[&owner])).await;
    map(&at, "owned", owned_by(&[&owner])).await;
    heard_of(&at).await;
    at.api::<ConfigMap>()
        .delete("owner", &DeleteParams::orphan())
        .await
        .unwrap();
    eventually("gone", async || {
        (names::<ConfigMap>(&at).await == ["owned"]).then_some(())
    })
    .await;
    let (map, route) = (
        at.api::<ConfigMap>().get("owned").await,
        at.api::<HttpRoute>().get("owned").await,
    );
    assert_eq!(
        (
            map.unwrap().owner_references().len(),
            route.unwrap().owner_references().len()
        ),
        (0, 0)
    );
}

/// On somebody's node, whose kubelet never comes.
async fn a_pod_is_given_its_grace(at: Place) {
    let mut t = Transcript::beside_controllers(&at);
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"nodeName": "elsewhere", "terminationGracePeriodSeconds": 7, "containers": [{"name": "c", "image": "i"}]}});
    t.ask(
        "POST",
        "pods",
        "",
        &pod("p").to_string(),
        Shown::Parts(&["/status", "/spec/nodeName", "/metadata/generation"]),
    )
    .await;
    let parts = [
        "/metadata/deletionGracePeriodSeconds",
        "/metadata/deletionTimestamp",
        "/metadata/generation",
        "/kind",
    ];
    t.ask("DELETE", "pods/p", "", "", Shown::Parts(&parts))
        .await;
    t.ask(
        "DELETE",
        "pods/p",
        "",
        &json!({"gracePeriodSeconds": 60}).to_string(),
        Shown::Parts(&parts),
    )
    .await;
    t.ask(
        "DELETE",
        "pods/p",
        "",
        &json!({"gracePeriodSeconds": 3}).to_string(),
        Shown::Parts(&parts),
    )
    .await;
    t.ask(
        "DELETE",
        "pods/p",
        "",
        &json!({"gracePeriodSeconds": 0}).to_string(),
        Shown::Parts(&parts),
    )
    .await;
    t.get("pods/p").await;
    t.say("bound only by a binding, and only once");
    t.given("pods", pod("q")).await;
    let moved = json!({"spec": {"nodeName": "other"}}).to_string();
    t.ask(
        "PATCH",
        "pods/q",
        "application/merge-patch+json",
        &moved,
        Shown::Code,
    )
    .await;
    let binding = json!({"metadata": {"name": "q"}, "target": {"kind": "Node", "name": "other"}});
    t.ask(
        "POST",
        "pods/q/binding",
        "",
        &binding.to_string(),
        Shown::All,
    )
    .await;
    at.api::<Pod>()
        .delete("q", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    t.end("a_pod_is_given_its_grace");
}
