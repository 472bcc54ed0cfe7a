//! Pocket's API as `kube::Client` sees it, in process.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    Preconditions, WatchEvent, WatchParams,
};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use pocket::rest::ApiServer;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(1);

struct Pocket {
    dir: tempfile::TempDir,
    server: ApiServer,
    client: Client,
}

fn pocket() -> Pocket {
    let dir = tempfile::tempdir().unwrap();
    let server = graylane::embedded::open_api(dir.path()).unwrap();
    let client = server.client();
    Pocket {
        dir,
        server,
        client,
    }
}

fn config_map(name: &str, labels: Value, data: Value) -> ConfigMap {
    let map = json!({"metadata": {"name": name, "labels": labels}, "data": data});
    serde_json::from_value(map).unwrap()
}

fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "sample:1"}]},
            },
        },
    })
}

fn status_of(error: kube::Error) -> kube::core::Status {
    match error {
        kube::Error::Api(status) => *status,
        other => panic!("no Status: {other:?}"),
    }
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(LIMIT, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("never: {what}"))
}

#[tokio::test]
async fn services_made_at_one_instant_share_no_node_port() {
    let p = pocket();
    let services: Api<DynamicObject> = Api::namespaced_with(
        p.client.clone(),
        "default",
        &ApiResource::erase::<k8s_openapi::api::core::v1::Service>(&()),
    );
    let service = |name: String, node: i64| -> DynamicObject {
        let port = json!({"port": 80, "nodePort": node});
        let spec = json!({"type": "NodePort", "ports": [port]});
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}))
            .unwrap()
    };
    let make = async |name: String, node: i64| {
        let (by_apply, object) = (name.ends_with('1'), service(name.clone(), node));
        if by_apply {
            services
                .patch(&name, &PatchParams::apply("t"), &Patch::Apply(&object))
                .await
        } else {
            services.create(&PostParams::default(), &object).await
        }
    };
    // As many as would hardly ever all be different if they were drawn at the same time.
    let made = futures::future::join_all((0..200).map(|n| make(format!("drawn-{n}"), 0))).await;
    let port = |s: &DynamicObject| s.data["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    let mut ports: Vec<i64> = made.iter().map(|s| port(s.as_ref().unwrap())).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 200);
    let free = (30000..40000).find(|n| !ports.contains(n)).unwrap();
    let named = futures::future::join_all((0..20).map(|n| make(format!("named-{n}"), free))).await;
    assert_eq!(named.iter().filter(|s| s.is_ok()).count(), 1);
    for refused in named.into_iter().filter_map(Result::err) {
        assert!(
            status_of(refused)
                .message
                .contains("provided port is already allocated")
        );
    }
}

#[tokio::test]
async fn create_read_update_and_conflict() {
    let p = pocket();
    let maps: Api<ConfigMap> = Api::namespaced(p.client.clone(), "default");
    let made = maps
        .create(
            &PostParams::default(),
            &config_map("a", json!({}), json!({"k": "1"})),
        )
        .await
        .unwrap();
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());

    let again = maps
        .create(
            &PostParams::default(),
            &config_map("a", json!({}), json!({})),
        )
        .await;
    let status = status_of(again.unwrap_err());
    assert_eq!(
        (status.code, status.reason.as_str()),
        (409, "AlreadyExists")
    );
    assert_eq!(status.message, "configmaps \"a\" already exists");

    let mut first = maps.get("a").await.unwrap();
    let mut second = first.clone();
    first
        .data
        .get_or_insert_default()
        .insert("k".into(), "2".into());
    let updated = maps
        .replace("a", &PostParams::default(), &first)
        .await
        .unwrap();
    assert_ne!(updated.resource_version(), made.resource_version());
    assert_eq!(updated.uid(), made.uid());
    second
        .data
        .get_or_insert_default()
        .insert("k".into(), "3".into());
    let status = status_of(
        maps.replace("a", &PostParams::default(), &second)
            .await
            .unwrap_err(),
    );
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );

    // A write that changes nothing is no change.
    let same = maps
        .replace("a", &PostParams::default(), &updated)
        .await
        .unwrap();
    assert_eq!(same.resource_version(), updated.resource_version());

    let status = status_of(maps.get("nope").await.unwrap_err());
    assert_eq!(
        (status.code, status.message.as_str()),
        (404, "configmaps \"nope\" not found")
    );
    let elsewhere: Api<ConfigMap> = Api::namespaced(p.client.clone(), "nowhere");
    let status = status_of(
        elsewhere
            .create(
                &PostParams::default(),
                &config_map("a", json!({}), json!({})),
            )
            .await
            .unwrap_err(),
    );
    assert_eq!(
        (status.code, status.message.as_str()),
        (404, "namespaces \"nowhere\" not found")
    );
}

#[tokio::test]
async fn generation_counts_the_spec_and_status_is_apart() {
    let p = pocket();
    let deployments: Api<Deployment> = Api::namespaced(p.client.clone(), "default");
    let mut body = deployment("web", 2);
    body["status"] = json!({"replicas": 99});
    let made = deployments
        .create(
            &PostParams::default(),
            &serde_json::from_value(body).unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    assert_eq!(made.status.unwrap_or_default().replicas, None);

    let patch = Patch::Merge(json!({"status": {"replicas": 2}, "spec": {"replicas": 7}}));
    let after = deployments
        .patch_status("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(after.spec.as_ref().unwrap().replicas, Some(2));
    assert_eq!(after.status.unwrap().replicas, Some(2));
    assert_eq!(after.metadata.generation, Some(1));

    let after = deployments
        .patch("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(after.spec.as_ref().unwrap().replicas, Some(7));
    assert_eq!(after.metadata.generation, Some(2));

    let patch: json_patch::Patch =
        serde_json::from_value(json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]))
            .unwrap();
    let after = deployments
        .patch("web", &PatchParams::default(), &Patch::<()>::Json(patch))
        .await
        .unwrap();
    assert_eq!(after.metadata.generation, Some(3));
    assert_eq!(after.status.unwrap().replicas, Some(2));

    let scale = deployments.get_scale("web").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let status = scale.status.unwrap();
    assert_eq!(
        (status.replicas, status.selector.as_deref()),
        (2, Some("app=web"))
    );
    let scaled = Patch::Merge(json!({"spec": {"replicas": 5}}));
    deployments
        .patch_scale("web", &PatchParams::default(), &scaled)
        .await
        .unwrap();
    let after = deployments.get("web").await.unwrap();
    assert_eq!(after.spec.unwrap().replicas, Some(5));
    assert_eq!(after.metadata.generation, Some(4));
}

#[tokio::test]
async fn selectors_and_pages() {
    let p = pocket();
    let maps: Api<ConfigMap> = Api::namespaced(p.client.clone(), "default");
    for n in 0..7 {
        let labels = json!({"n": n.to_string(), "odd": (n % 2 == 1).to_string()});
        maps.create(
            &PostParams::default(),
            &config_map(&format!("m{n}"), labels, json!({})),
        )
        .await
        .unwrap();
    }
    let names = async |params: ListParams| -> Vec<String> {
        maps.list(&params)
            .await
            .unwrap()
            .iter()
            .map(|m| m.name_any())
            .collect()
    };
    assert_eq!(
        names(ListParams::default().labels("odd=true,n in (1,3,4)")).await,
        ["m1", "m3"]
    );
    assert_eq!(
        names(
            ListParams::default()
                .fields("metadata.name!=m1")
                .labels("odd!=false")
        )
        .await,
        ["m3", "m5"]
    );
    let refused = maps.list(&ListParams::default().fields("data.k=v")).await;
    let status = status_of(refused.unwrap_err());
    let words =
        "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
    assert_eq!((status.code, status.message.as_str()), (400, words));

    let page = maps.list(&ListParams::default().limit(3)).await.unwrap();
    assert_eq!(page.metadata.remaining_item_count, Some(4));
    let token = page.metadata.continue_.clone().unwrap();
    // What happens between two pages is not seen: all pages are of one moment.
    maps.delete("m4", &DeleteParams::default()).await.unwrap();
    maps.create(
        &PostParams::default(),
        &config_map("m45", json!({}), json!({})),
    )
    .await
    .unwrap();
    let next = maps
        .list(&ListParams::default().limit(10).continue_token(&token))
        .await
        .unwrap();
    let found: Vec<String> = next.iter().map(|m| m.name_any()).collect();
    assert_eq!(found, ["m3", "m4", "m5", "m6"]);
    assert_eq!(
        next.metadata.resource_version,
        page.metadata.resource_version
    );
}

#[tokio::test]
async fn a_watch_sees_its_selection_change() {
    let p = pocket();
    let maps: Api<ConfigMap> = Api::namespaced(p.client.clone(), "default");
    let post = PostParams::default();
    maps.create(&post, &config_map("old", json!({"in": "yes"}), json!({})))
        .await
        .unwrap();
    let rv = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let watch = WatchParams::default().labels("in=yes").timeout(20);
    let mut events = maps.watch(&watch, &rv).await.unwrap().boxed();
    let label = async |name: &str, value: &str| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"in": value}}}));
        maps.patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    };
    maps.create(&post, &config_map("a", json!({"in": "no"}), json!({})))
        .await
        .unwrap();
    label("a", "yes").await;
    let patch = Patch::Merge(json!({"data": {"k": "v"}}));
    maps.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    label("a", "no").await;
    let elsewhere: Api<ConfigMap> = Api::namespaced(p.client.clone(), "kube-system");
    elsewhere
        .create(&post, &config_map("x", json!({"in": "yes"}), json!({})))
        .await
        .unwrap();
    maps.delete("old", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let event = tokio::time::timeout(LIMIT, events.try_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        seen.push(match event {
            WatchEvent::Added(m) => format!("+{}", m.name_any()),
            WatchEvent::Modified(m) => format!("~{}", m.name_any()),
            // Leaving the selection, the object is as it was last selected; deleted, as it was last.
            WatchEvent::Deleted(m) => {
                format!("-{} {:?}", m.name_any(), m.labels().get("in").unwrap())
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["+a", "~a", "-a \"yes\"", "-old \"yes\""]);
}

#[tokio::test]
async fn kubes_watcher_works_both_ways_of_listing() {
    let p = pocket();
    let maps: Api<ConfigMap> = Api::namespaced(p.client.clone(), "default");
    let post = PostParams::default();
    for name in ["a", "b"] {
        maps.create(&post, &config_map(name, json!({}), json!({})))
            .await
            .unwrap();
    }
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let mut events = watcher(maps.clone(), config).boxed();
        let mut listed = Vec::new();
        loop {
            let event = tokio::time::timeout(LIMIT, events.try_next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            match event {
                watcher::Event::InitApply(m) => listed.push(m.name_any()),
                watcher::Event::InitDone => break,
                _ => {}
            }
        }
        assert_eq!(listed, ["a", "b"]);
        maps.create(&post, &config_map("c", json!({}), json!({})))
            .await
            .unwrap();
        let event = tokio::time::timeout(LIMIT, events.try_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(matches!(event, watcher::Event::Apply(m) if m.name_any() == "c"));
        maps.delete("c", &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_keeps_all_and_old_versions_are_gone() {
    let p = pocket();
    let maps: Api<ConfigMap> = Api::namespaced(p.client.clone(), "default");
    let made = maps
        .create(
            &PostParams::default(),
            &config_map("a", json!({}), json!({"k": "v"})),
        )
        .await
        .unwrap();
    let old = made.resource_version().unwrap();
    maps.create(
        &PostParams::default(),
        &config_map("b", json!({}), json!({})),
    )
    .await
    .unwrap();
    let locked = graylane::embedded::open_api(p.dir.path()).err().unwrap();
    assert!(locked.is_running_elsewhere(), "{locked}");
    p.server.close().await;

    let server = graylane::embedded::open_api(p.dir.path()).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let kept = maps.get("a").await.unwrap();
    assert_eq!(kept, made);
    let status = match maps.watch(&WatchParams::default().timeout(5), &old).await {
        Err(error) => status_of(error),
        Ok(stream) => match stream.boxed().try_next().await {
            Ok(Some(WatchEvent::Error(status))) => *status,
            other => panic!("{other:?}"),
        },
    };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn finalizers_hold_an_object_and_preconditions_a_delete() {
    let p = pocket();
    let maps: Api<ConfigMap> = Api::namespaced(p.client.clone(), "default");
    let mut held = config_map("held", json!({}), json!({}));
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    let wrong = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("other".into()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    assert_eq!(
        status_of(maps.delete("held", &wrong).await.unwrap_err()).code,
        409
    );

    let answer = maps.delete("held", &DeleteParams::default()).await.unwrap();
    assert!(answer.left().unwrap().metadata.deletion_timestamp.is_some());
    let add =
        Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}));
    let refused = maps.patch("held", &PatchParams::default(), &add).await;
    assert_eq!(status_of(refused.unwrap_err()).code, 422);
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &free)
        .await
        .unwrap();
    assert!(maps.get_opt("held").await.unwrap().is_none());

    maps.create(
        &PostParams::default(),
        &config_map("own", json!({}), json!({})),
    )
    .await
    .unwrap();
    let foreground = DeleteParams::foreground();
    maps.delete("own", &foreground).await.unwrap();
    assert_eq!(
        maps.get("own").await.unwrap().finalizers(),
        ["foregroundDeletion"]
    );
}

#[tokio::test]
async fn a_pod_on_a_node_is_given_its_grace() {
    let p = pocket();
    let pods: Api<Pod> = Api::namespaced(p.client.clone(), "default");
    let pod = |name: &str, node: Option<&str>| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 7, "containers": [{"name": "c", "image": "i"}]},
        }))
        .unwrap()
    };
    pods.create(&PostParams::default(), &pod("free", None))
        .await
        .unwrap();
    pods.create(&PostParams::default(), &pod("bound", Some("pocket")))
        .await
        .unwrap();
    pods.delete("free", &DeleteParams::default()).await.unwrap();
    assert!(pods.get_opt("free").await.unwrap().is_none());
    pods.delete("bound", &DeleteParams::default())
        .await
        .unwrap();
    let waiting = pods.get("bound").await.unwrap();
    assert_eq!(waiting.metadata.deletion_grace_period_seconds, Some(7));
    pods.delete("bound", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert!(pods.get_opt("bound").await.unwrap().is_none());
}

#[tokio::test]
async fn a_namespace_takes_its_contents_along() {
    let p = pocket();
    let namespaces: Api<Namespace> = Api::all(p.client.clone());
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "demo"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(p.client.clone(), "demo");
    let mut held = config_map("held", json!({}), json!({}));
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    maps.create(
        &PostParams::default(),
        &config_map("a", json!({}), json!({})),
    )
    .await
    .unwrap();
    namespaces
        .delete("demo", &DeleteParams::default())
        .await
        .unwrap();
    let phase = namespaces.get("demo").await.unwrap().status.unwrap().phase;
    assert_eq!(phase.as_deref(), Some("Terminating"));
    eventually("a is gone", async || {
        maps.get_opt("a").await.unwrap().is_none().then_some(())
    })
    .await;
    let refused = maps
        .create(
            &PostParams::default(),
            &config_map("late", json!({}), json!({})),
        )
        .await;
    let status = status_of(refused.unwrap_err());
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    assert!(namespaces.get_opt("demo").await.unwrap().is_some());
    let free = Patch::Merge(json!({"metadata": {"finalizers": []}}));
    maps.patch("held", &PatchParams::default(), &free)
        .await
        .unwrap();
    eventually("the namespace is gone", async || {
        namespaces
            .get_opt("demo")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

fn widgets() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "spec": {
                            "type": "object",
                            "required": ["size"],
                            "properties": {
                                "size": {"type": "integer", "minimum": 1, "maximum": 10},
                                "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                            },
                        },
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                }},
            }],
        },
    }))
    .unwrap()
}

fn widget_api(client: Client) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "example.com".into(),
        version: "v1".into(),
        api_version: "example.com/v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
    };
    Api::namespaced_with(client, "default", &resource)
}

fn widget(name: &str, spec: Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

#[tokio::test]
async fn a_definition_brings_its_resource_and_takes_it_along() {
    let p = pocket();
    let definitions: Api<CustomResourceDefinition> = Api::all(p.client.clone());
    let api = widget_api(p.client.clone());
    assert_eq!(status_of(api.get("w").await.unwrap_err()).code, 404);
    definitions
        .create(&PostParams::default(), &widgets())
        .await
        .unwrap();
    let established = kube::runtime::wait::conditions::is_crd_established();
    tokio::time::timeout(
        LIMIT,
        kube::runtime::wait::await_condition(
            definitions.clone(),
            "widgets.example.com",
            established,
        ),
    )
    .await
    .unwrap()
    .unwrap();
    let made = api
        .create(&PostParams::default(), &widget("w", json!({"size": 3})))
        .await
        .unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    assert_eq!(made.data["spec"], json!({"size": 3, "colour": "red"}));
    let bad = api
        .create(
            &PostParams::default(),
            &widget("bad", json!({"size": 30, "colour": "green"})),
        )
        .await;
    let status = status_of(bad.unwrap_err());
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        status.message,
        "Widget.example.com \"bad\" is invalid: [spec.size: Invalid value: 30: spec.size in body should be less than or \
         equal to 10, spec.colour: Unsupported value: \"green\": supported values: \"red\", \"blue\"]"
    );
    let patch = Patch::Merge(json!({"status": {"ready": true}}));
    let after = api
        .patch_status("w", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(after.data["status"]["ready"], true);
    assert_eq!(after.metadata.generation, Some(1));

    definitions
        .delete("widgets.example.com", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the definition is gone", async || {
        definitions
            .get_opt("widgets.example.com")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    assert_eq!(status_of(api.get("w").await.unwrap_err()).code, 404);
    definitions
        .create(&PostParams::default(), &widgets())
        .await
        .unwrap();
    assert!(
        api.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn dry_runs_and_collections() {
    let p = pocket();
    let maps: Api<ConfigMap> = Api::namespaced(p.client.clone(), "default");
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    maps.create(&dry, &config_map("a", json!({}), json!({})))
        .await
        .unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
    for name in ["a", "b", "c"] {
        let labels = json!({"keep": (name == "b").to_string()});
        maps.create(&PostParams::default(), &config_map(name, labels, json!({})))
            .await
            .unwrap();
    }
    maps.delete_collection(
        &DeleteParams::default(),
        &ListParams::default().labels("keep!=true"),
    )
    .await
    .unwrap();
    let left: Vec<String> = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(|m| m.name_any())
        .collect();
    assert_eq!(left, ["b"]);

    let mut unnamed = config_map("", json!({}), json!({}));
    unnamed.metadata.name = None;
    unnamed.metadata.generate_name = Some("gen-".into());
    let made = maps.create(&PostParams::default(), &unnamed).await.unwrap();
    assert!(made.name_any().starts_with("gen-") && made.name_any().len() == 9);
}

#[tokio::test]
async fn apply_owns_its_fields_and_others_conflict() {
    let p = pocket();
    let deployments: Api<Deployment> = Api::namespaced(p.client.clone(), "default");
    let wanted = |replicas: i64| Patch::Apply(deployment("web", replicas));
    let mine = PatchParams::apply("mine");
    let made = deployments.patch("web", &mine, &wanted(2)).await.unwrap();
    assert!(made.uid().is_some());
    let again = deployments.patch("web", &mine, &wanted(2)).await.unwrap();
    assert_eq!(again.resource_version(), made.resource_version());
    let refused = deployments
        .patch("web", &PatchParams::apply("other"), &wanted(3))
        .await;
    let status = status_of(refused.unwrap_err());
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"mine\": .spec.replicas"
    );
    assert_eq!(
        status.details.unwrap().causes[0].reason,
        "FieldManagerConflict"
    );
    let forced = deployments
        .patch("web", &PatchParams::apply("other").force(), &wanted(3))
        .await
        .unwrap();
    assert_eq!(forced.spec.unwrap().replicas, Some(3));
    let managers: Vec<_> = forced
        .metadata
        .managed_fields
        .unwrap()
        .into_iter()
        .map(|m| m.manager.unwrap())
        .collect();
    assert_eq!(managers, ["mine", "other"]);

    let env = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "main", "env": [{"name": "A", "value": "1"}]},
    ]}}}});
    let after = deployments
        .patch("web", &PatchParams::default(), &Patch::Strategic(env))
        .await
        .unwrap();
    let container = &after.spec.unwrap().template.spec.unwrap().containers[0];
    assert_eq!(container.image.as_deref(), Some("sample:1"));
    assert_eq!(container.env.as_ref().unwrap()[0].name, "A");
}

/// A client learns that a kind of Kubernetes' own is not served, and those that read a fixed list of kinds go on.
#[tokio::test]
async fn what_is_not_served_is_told_in_discovery_in_lists_and_in_refusals() {
    let p = pocket();
    let ask = async |method: &str, path: &str, body: Value| {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        let answer = p
            .client
            .send(request.body(body.to_string().into_bytes().into()).unwrap())
            .await
            .unwrap();
        let warning = answer
            .headers()
            .get("warning")
            .map(|w| w.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let code = answer.status().as_u16();
        let body = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .unwrap()
            .to_bytes();
        (
            code,
            warning,
            serde_json::from_slice::<Value>(&body).unwrap(),
        )
    };
    for (base, plural, kind, name) in [
        ("/apis/batch/v1", "cronjobs", "CronJob", "cronjobs.batch"),
        (
            "/apis/apps/v1",
            "daemonsets",
            "DaemonSet",
            "daemonsets.apps",
        ),
        (
            "/api/v1",
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
        ),
        (
            "/apis/autoscaling/v2",
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers.autoscaling",
        ),
    ] {
        let path = format!("{base}/namespaces/default/{plural}");
        let said = format!("pocket does not serve {name}");
        let (_, _, told) = ask("GET", base, Value::Null).await;
        let row = told["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == plural)
            .unwrap();
        assert_eq!(
            row["categories"],
            json!(["not-served-by-pocket"]),
            "{plural}"
        );
        let (code, warning, list) = ask("GET", &path, Value::Null).await;
        assert_eq!(
            (code, &list["kind"], &list["items"]),
            (200, &json!(format!("{kind}List")), &json!([]))
        );
        assert!(warning.contains(&said), "{warning}");
        let object = json!({"kind": kind, "metadata": {"name": "x"}});
        for (method, path) in [
            ("POST", path.clone()),
            ("DELETE", path.clone()),
            ("DELETE", format!("{path}/x")),
        ] {
            let (code, _, refusal) = ask(method, &path, object.clone()).await;
            assert_eq!(
                (code, &refusal["reason"], &refusal["message"]),
                (501, &json!("NotImplemented"), &json!(said))
            );
        }
        assert_eq!(ask("GET", &format!("{path}/x"), Value::Null).await.0, 404);
    }
    let (code, _, refusal) = ask(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        json!({}),
    )
    .await;
    assert_eq!((code, &refusal["reason"]), (501, &json!("NotImplemented")));
}

/// Pocket has no roles: what an account may there is all but graylane's own, the cluster's, and what is elsewhere.
#[tokio::test]
async fn a_service_account_is_acted_as_in_its_own_namespace_and_nobody_else_is() {
    use graylane::{
        cluster::{agent::Agent, clusters::Clusters, install},
        domain::account::Account,
    };

    let p = pocket();
    install::apply_definitions(&p.client).await.unwrap();
    for name in ["here", "there"] {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::all(p.client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }
    let deployer = Clusters::from_client(p.client.clone(), Agent::Engine)
        .client_acting_as(&Account::deployer("here".into()));
    let object = |api_version: &str, kind: &str| {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource =
            ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, kind));
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
        (
            resource,
            serde_json::from_value::<DynamicObject>(object).unwrap(),
        )
    };
    for (namespace, api_version, kind, may) in [
        (Some("here"), "v1", "ConfigMap", true),
        (Some("here"), "v1", "ServiceAccount", true),
        (Some("there"), "v1", "ConfigMap", false),
        (Some("here"), "coordination.k8s.io/v1", "Lease", false),
        (Some("here"), "apps/v1", "ControllerRevision", false),
        (Some("here"), "graylane.dev/v1alpha1", "App", false),
        (Some("here"), "graylane.dev/v1alpha1", "Release", false),
        (None, "v1", "Namespace", false),
    ] {
        let (resource, object) = object(api_version, kind);
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(deployer.clone(), namespace, &resource),
            None => Api::all_with(deployer.clone(), &resource),
        };
        // What it lacks a right for is refused before the object is looked at.
        let made = api.create(&PostParams::default(), &object).await;
        assert_eq!(made.is_ok(), may, "{namespace:?} {kind}: {made:?}");
        if !may {
            let status = status_of(made.unwrap_err());
            let who =
                "User \"system:serviceaccount:here:graylane-deployer\" cannot create resource";
            assert!(
                status.code == 403 && status.message.contains(who),
                "{status:?}"
            );
            assert_eq!(status_of(api.get("x").await.unwrap_err()).code, 403);
            assert_eq!(
                status_of(api.delete("x", &DeleteParams::default()).await.unwrap_err()).code,
                403
            );
            assert_eq!(
                status_of(api.list(&ListParams::default()).await.unwrap_err()).code,
                403
            );
        }
    }

    let ask = async |header: &str, whom: &str| {
        let request =
            http::Request::get("/api/v1/namespaces/here/configmaps/x").header(header, whom);
        p.server
            .handle_request(
                request
                    .body(http_body_util::Full::<bytes::Bytes>::default())
                    .unwrap(),
            )
            .await
            .status()
            .as_u16()
    };
    for (header, whom, code) in [
        ("impersonate-user", "system:serviceaccount:here:any", 200),
        ("impersonate-user", "system:serviceaccount:there:any", 403),
        ("impersonate-user", "ann", 403),
        ("impersonate-user", "system:serviceaccount:here", 403),
        ("impersonate-group", "system:masters", 403),
        ("impersonate-uid", "7", 403),
        ("impersonate-extra-a", "b", 403),
    ] {
        assert_eq!(ask(header, whom).await, code, "{header}: {whom}");
    }
}
