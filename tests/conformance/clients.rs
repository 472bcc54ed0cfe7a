//! What a kube client of any program does: the calls that kube-rs' own integration tests make of kinds that pocket
//! serves, made here anew.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
    events::v1::Event as NewEvent,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{
        DeleteParams, DynamicObject, ListParams, ObjectMeta, PartialObjectMetaExt, Patch,
        PatchParams, PostParams, WatchEvent, WatchParams, entry::CommitError,
    },
    core::{
        ApiResource, GroupVersion, GroupVersionKind,
        object::{HasSpec, NotUsed, Object},
    },
    discovery::{self, Discovery, Scope, verbs},
    runtime::{
        conditions::is_pod_running,
        controller::Action,
        events::{Event, EventType, Recorder},
        finalizer::{Event as Finalizer, finalizer},
        wait::{await_condition, delete::delete_and_finalize},
    },
};
use serde::Deserialize;
use serde_json::json;

use super::cluster::{LIMIT, Place, cases};

cases!(
    entries_are_made_changed_and_conflict,
    groups_are_discovered_both_ways,
    every_kind_that_can_be_listed_is,
    a_pod_is_watched_replaced_and_deleted,
    metadata_alone,
    own_types_of_known_kinds,
    events_are_told_and_counted,
    finalizers_and_restarts,
);

fn pod(name: &str) -> Pod {
    let pod = json!({"metadata": {"name": name, "labels": {"app": "clients"}},
        "spec": {"terminationGracePeriodSeconds": 1, "restartPolicy": "Never", "containers": [{"name": "main", "image": "any:1"}]}});
    serde_json::from_value(pod).unwrap()
}

async fn running(pods: &Api<Pod>, name: &str) {
    let wait = await_condition(pods.clone(), name, is_pod_running());
    tokio::time::timeout(LIMIT, wait).await.unwrap().unwrap();
}

async fn entries_are_made_changed_and_conflict(at: Place) {
    let api: Api<ConfigMap> = Api::namespaced(at.client.clone(), &at.namespace);
    let map = |value: &str| ConfigMap {
        data: Some(BTreeMap::from([("key".to_owned(), value.to_owned())])),
        ..ConfigMap::default()
    };
    let value = async || {
        api.get_opt("entry")
            .await
            .unwrap()
            .and_then(|m| m.data?.remove("key"))
    };
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let (one, two, trial) = (
        api.entry("entry").await.unwrap(),
        api.entry("entry").await.unwrap(),
        api.entry("entry").await.unwrap(),
    );
    trial.or_insert(|| map("dry")).commit(&dry).await.unwrap();
    assert_eq!(value().await, None);
    let mut one = one.or_insert(|| map("1"));
    one.commit(&PostParams::default()).await.unwrap();
    one.get_mut().data = map("2").data;
    one.commit(&PostParams::default()).await.unwrap();
    assert_eq!(value().await.as_deref(), Some("2"));
    let refused = two
        .or_insert(|| map("3"))
        .commit(&PostParams::default())
        .await;
    assert!(
        matches!(refused, Err(CommitError::Save(kube::Error::Api(s))) if s.is_already_exists())
    );
    let mut late = api.entry("entry").await.unwrap().or_insert(|| map("4"));
    one.get_mut().data = map("5").data;
    one.commit(&PostParams::default()).await.unwrap();
    late.get_mut().data = map("6").data;
    let refused = late.commit(&PostParams::default()).await;
    assert!(matches!(refused, Err(CommitError::Save(kube::Error::Api(s))) if s.is_conflict()));
    assert_eq!(value().await.as_deref(), Some("5"));
}

async fn groups_are_discovered_both_ways(at: Place) {
    let client = &at.client;
    let apps = discovery::group(client, "apps").await.unwrap();
    let (known, can) = apps.recommended_kind("Deployment").unwrap();
    assert_eq!(
        (known.plural.as_str(), known.api_version.as_str()),
        ("deployments", "apps/v1")
    );
    assert!(can.supports_operation(verbs::PATCH) && can.scope == Scope::Namespaced);
    let pinned = discovery::pinned_kind(client, &GroupVersionKind::gvk("apps", "v1", "Deployment"))
        .await
        .unwrap();
    assert_eq!(pinned.0, known);
    let group = discovery::oneshot::pinned_group(client, &GroupVersion::gv("apps", "v1"))
        .await
        .unwrap();
    assert_eq!(group.recommended_kind("Deployment").unwrap().0, known);
    let core = client.list_core_api_versions_aggregated().await.unwrap();
    let v1 = core.items[0]
        .versions
        .iter()
        .find(|v| v.version.as_deref() == Some("v1"))
        .unwrap();
    let pods = v1
        .resources
        .iter()
        .find(|r| r.resource.as_deref() == Some("pods"))
        .unwrap();
    assert_eq!(pods.scope.as_deref(), Some("Namespaced"));
    assert!(
        !client
            .list_api_groups_aggregated()
            .await
            .unwrap()
            .items
            .is_empty()
    );
    for discovered in [
        Discovery::new(client.clone())
            .run_aggregated()
            .await
            .unwrap(),
        Discovery::new(client.clone())
            .filter(&["", "apps"])
            .run()
            .await
            .unwrap(),
    ] {
        assert!(discovered.has_group("") && discovered.has_group("apps"));
        let known = discovered
            .resolve_gvk(&GroupVersionKind::gvk("", "v1", "Pod"))
            .unwrap();
        assert_eq!(known.0.plural, "pods");
    }
}

/// What discovery says can be listed is, also kinds of which pocket has none.
async fn every_kind_that_can_be_listed_is(at: Place) {
    let discovered = Discovery::new(at.client.clone())
        .run_aggregated()
        .await
        .unwrap();
    for group in discovered.groups_alphabetical() {
        for (resource, can) in group.recommended_resources() {
            // Other cases bring and take definitions meanwhile.
            let foreign = resource.group.ends_with("example.com");
            if foreign || !can.supports_operation(verbs::LIST) {
                continue;
            }
            let api: Api<DynamicObject> = match can.scope {
                Scope::Namespaced => {
                    Api::namespaced_with(at.client.clone(), &at.namespace, &resource)
                }
                Scope::Cluster => Api::all_with(at.client.clone(), &resource),
            };
            let listed = api.list(&ListParams::default().limit(1)).await;
            assert!(listed.is_ok(), "{}: {:?}", resource.plural, listed.err());
        }
    }
}

async fn a_pod_is_watched_replaced_and_deleted(at: Place) {
    let pods: Api<Pod> = Api::namespaced(at.client.clone(), &at.namespace);
    pods.create(&PostParams::default(), &pod("one"))
        .await
        .unwrap();
    let params = WatchParams::default()
        .fields("metadata.name=one")
        .timeout(60);
    let mut events = pods.watch(&params, "0").await.unwrap().boxed();
    let seen = async {
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    if pod.status.and_then(|s| s.phase).as_deref() == Some("Running") {
                        return;
                    }
                }
                WatchEvent::Bookmark(_) => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("the watch ended first");
    };
    tokio::time::timeout(LIMIT, seen).await.unwrap();
    let mut live = pods.get("one").await.unwrap();
    live.spec.as_mut().unwrap().active_deadline_seconds = Some(500);
    let replaced = pods
        .replace("one", &PostParams::default(), &live)
        .await
        .unwrap();
    assert_eq!(replaced.spec.unwrap().active_deadline_seconds, Some(500));
    let params = DeleteParams::default();
    let gone = delete_and_finalize(pods.clone(), "one", &params);
    tokio::time::timeout(LIMIT, gone).await.unwrap().unwrap();
    assert!(pods.get_opt("one").await.unwrap().is_none());
}

async fn metadata_alone(at: Place) {
    let pods: Api<Pod> = Api::namespaced(at.client.clone(), &at.namespace);
    pods.create(&PostParams::default(), &pod("meta"))
        .await
        .unwrap();
    running(&pods, "meta").await;
    let got = pods.get_metadata("meta").await.unwrap();
    assert_eq!(got.labels().get("app").map(String::as_str), Some("clients"));
    let list = pods.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(
        list.items
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>(),
        ["meta"]
    );
    let annotations = BTreeMap::from([("test".to_owned(), "123".to_owned())]);
    let patch = ObjectMeta {
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
    .into_request_partial::<Pod>();
    let patched = pods
        .patch_metadata("meta", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    assert_eq!(
        patched.annotations().get("test").map(String::as_str),
        Some("123")
    );
    let types = patched.types.unwrap();
    assert_eq!(
        (types.kind.as_str(), types.api_version.as_str()),
        ("PartialObjectMetadata", "meta.k8s.io/v1")
    );
    let mut events = pods
        .watch_metadata(&WatchParams::default(), "0")
        .await
        .unwrap()
        .boxed();
    let first = tokio::time::timeout(LIMIT, events.try_next())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(first, Some(WatchEvent::Added(p)) if p.name_any() == "meta"));
}

#[derive(Clone, Debug, Deserialize)]
struct Simple {
    containers: Vec<Image>,
}

#[derive(Clone, Debug, Deserialize)]
struct Image {
    image: String,
}

async fn own_types_of_known_kinds(at: Place) {
    let pods: Api<Pod> = Api::namespaced(at.client.clone(), &at.namespace);
    pods.create(&PostParams::default(), &pod("simple"))
        .await
        .unwrap();
    let resource = ApiResource::erase::<Pod>(&());
    let simple: Api<Object<Simple, NotUsed>> =
        Api::namespaced_with(at.client.clone(), &at.namespace, &resource);
    let list = simple.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items[0].spec().containers[0].image, "any:1");
}

async fn events_are_told_and_counted(at: Place) {
    let maps: Api<ConfigMap> = Api::namespaced(at.client.clone(), &at.namespace);
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("about".into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let about = maps
        .create(&PostParams::default(), &map)
        .await
        .unwrap()
        .object_ref(&());
    let recorder = Recorder::new(at.client.clone(), "clients".into());
    let event = |note: &str| Event {
        type_: EventType::Normal,
        reason: "Told".into(),
        note: Some(note.into()),
        action: "Tell".into(),
        secondary: None,
    };
    let events: Api<NewEvent> = Api::namespaced(at.client.clone(), &at.namespace);
    let told = async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        all.into_iter()
            .find(|e| e.reason.as_deref() == Some("Told"))
            .unwrap()
    };
    recorder.publish(&event("once"), &about).await.unwrap();
    let first = told().await;
    assert_eq!(
        (first.note.as_deref(), first.series.is_some()),
        (Some("once"), false)
    );
    recorder.publish(&event("twice"), &about).await.unwrap();
    assert_eq!(told().await.series.map(|s| s.count), Some(2));
}

async fn finalizers_and_restarts(at: Place) {
    let maps: Api<ConfigMap> = Api::namespaced(at.client.clone(), &at.namespace);
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("held".into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let made = maps.create(&PostParams::default(), &map).await.unwrap();
    let step = async |object: ConfigMap| {
        let seen = std::sync::Mutex::new("nothing");
        let act = |event: Finalizer<ConfigMap>| {
            *seen.lock().unwrap() = if matches!(event, Finalizer::Apply(_)) {
                "apply"
            } else {
                "cleanup"
            };
            std::future::ready(Ok::<_, std::io::Error>(Action::await_change()))
        };
        finalizer(&maps, "example.com/held", object.into(), act)
            .await
            .unwrap();
        *seen.lock().unwrap()
    };
    step(made).await;
    assert_eq!(step(maps.get("held").await.unwrap()).await, "apply");
    maps.delete("held", &DeleteParams::default()).await.unwrap();
    assert_eq!(step(maps.get("held").await.unwrap()).await, "cleanup");
    assert!(maps.get_opt("held").await.unwrap().is_none());

    let deployments: Api<Deployment> = Api::namespaced(at.client.clone(), &at.namespace);
    let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "any:1"}]}}}});
    deployments
        .create(
            &PostParams::default(),
            &serde_json::from_value(deployment).unwrap(),
        )
        .await
        .unwrap();
    let restarted = deployments.restart("web").await.unwrap();
    let annotations = restarted
        .spec
        .unwrap()
        .template
        .metadata
        .unwrap()
        .annotations
        .unwrap();
    assert!(annotations.contains_key("kube.kubernetes.io/restartedAt"));
}
