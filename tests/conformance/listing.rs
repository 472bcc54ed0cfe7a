//! Lists and watches: selections, pages, order, and what is too old.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::json;

use super::{
    cluster::{LIMIT, Place, cases},
    transcript::{Shown, Transcript},
};

cases!(selections_and_pages, a_watch_tells_in_order);

async fn selections_and_pages(at: Place) {
    let mut t = Transcript::new(&at);
    for n in 0..5 {
        let labels = json!({"n": n.to_string(), "odd": (n % 2 == 1).to_string(), "set": "s"});
        t.given(
            "configmaps",
            json!({"metadata": {"name": format!("m{n}"), "labels": labels}}),
        )
        .await;
    }
    let names = [
        "/items/0/metadata/name",
        "/items/1/metadata/name",
        "/items/2/metadata/name",
        "/kind",
        "/apiVersion",
    ];
    for query in [
        "labelSelector=set%3Ds,odd%3Dtrue",
        "labelSelector=n%20in%20(1,4),set",
        "labelSelector=set,n%20notin%20(0,1,2)",
        "labelSelector=!set",
        "labelSelector=set,odd!%3Dtrue",
        "labelSelector=set&fieldSelector=metadata.name%3Dm2",
        "labelSelector=set&fieldSelector=metadata.name!%3Dm2,metadata.name!%3Dm0",
    ] {
        t.ask(
            "GET",
            &format!("configmaps?{query}"),
            "",
            "",
            Shown::Parts(&names),
        )
        .await;
    }
    t.say("refused");
    for query in [
        "labelSelector=a%20b",
        "fieldSelector=data.k%3Dv",
        "fieldSelector=nothing",
        "continue=nonsense",
        "limit=x",
    ] {
        t.ask("GET", &format!("configmaps?{query}"), "", "", Shown::Code)
            .await;
    }
    t.say("pages");
    let parts = [
        "/items/0/metadata/name",
        "/items/1/metadata/name",
        "/items/2",
        "/metadata/continue",
        "/metadata/remainingItemCount",
    ];
    let first = t
        .ask(
            "GET",
            "configmaps?labelSelector=set&limit=2",
            "",
            "",
            Shown::Parts(&parts[..4]),
        )
        .await;
    let token = first.body["metadata"]["continue"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = t.path("configmaps");
    let get = async |query: String| -> serde_json::Value {
        let request = http::Request::get(format!("{path}?{query}"))
            .body(Vec::new())
            .unwrap();
        at.client.request(request).await.unwrap()
    };
    let token: String =
        percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC)
            .to_string();
    at.api::<ConfigMap>()
        .delete("m2", &DeleteParams::default())
        .await
        .unwrap();
    let second = get(format!("labelSelector=set&limit=10&continue={token}")).await;
    let found: Vec<&str> = second["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["m2", "m3", "m4"], "all pages are of one moment");
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first.body["metadata"]["resourceVersion"]
    );
    t.ask(
        "GET",
        "configmaps?labelSelector=set",
        "|application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "",
        Shown::Parts(&[
            "/kind",
            "/apiVersion",
            "/items/0/kind",
            "/items/0/metadata/name",
            "/items/0/data",
        ]),
    )
    .await;
    t.ask(
        "GET",
        "configmaps/m1",
        "|application/json;as=Table;g=meta.k8s.io;v=v1",
        "",
        Shown::Parts(&[
            "/kind",
            "/columnDefinitions/0/name",
            "/columnDefinitions/1/name",
            "/columnDefinitions/2/name",
            "/rows/0/cells/0",
            "/rows/0/cells/1",
        ]),
    )
    .await;
    for query in [
        "resourceVersion=0",
        "resourceVersion=0&resourceVersionMatch=NotOlderThan",
    ] {
        t.ask(
            "GET",
            &format!("configmaps?labelSelector=set&{query}"),
            "",
            "",
            Shown::Parts(&["/kind"]),
        )
        .await;
    }
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersion=1&resourceVersionMatch=Odd",
        "resourceVersion=abc",
    ] {
        t.ask("GET", &format!("configmaps?{query}"), "", "", Shown::Code)
            .await;
    }
    t.end("selections_and_pages");
}

async fn a_watch_tells_in_order(at: Place) {
    let maps: Api<ConfigMap> = at.api();
    at.create::<ConfigMap>(json!({"metadata": {"name": "old", "labels": {"in": "yes"}}}))
        .await;
    let from = maps
        .list(&Default::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let watch = WatchParams::default().labels("in=yes").timeout(60);
    let mut events = maps.watch(&watch, &from).await.unwrap().boxed();
    let label = async |name: &str, value: &str| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"in": value}}}));
        maps.patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    };
    at.create::<ConfigMap>(json!({"metadata": {"name": "a", "labels": {"in": "no"}}}))
        .await;
    label("a", "yes").await;
    maps.patch(
        "a",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"k": "v"}})),
    )
    .await
    .unwrap();
    label("a", "no").await;
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    maps.patch("old", &dry, &Patch::Merge(json!({"data": {"k": "v"}})))
        .await
        .unwrap();
    maps.delete("old", &DeleteParams::default()).await.unwrap();
    let (mut seen, mut versions) = (vec![], vec![]);
    while seen.len() < 4 {
        let event = tokio::time::timeout(LIMIT, events.try_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let (sign, map) = match event {
            WatchEvent::Added(m) => ('+', m),
            WatchEvent::Modified(m) => ('~', m),
            // Leaving the selection, the object is as it was last selected; deleted, as it was last.
            WatchEvent::Deleted(m) => ('-', m),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(why) => panic!("{why:?}"),
        };
        seen.push(format!("{sign}{} {}", map.name_any(), map.labels()["in"]));
        versions.push(map.resource_version().unwrap().parse::<u64>().unwrap());
    }
    assert_eq!(seen, ["+a yes", "~a yes", "-a yes", "-old yes"]);
    assert!(
        versions.is_sorted(),
        "the version of an event is the moment's: {versions:?}"
    );

    // With initial events: what is there, then a bookmark that says that this was all.
    let path = format!("/api/v1/namespaces/{}/configmaps", at.namespace);
    let query = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=30&labelSelector=in";
    let request = http::Request::get(format!("{path}?{query}"))
        .body(Vec::new())
        .unwrap();
    let mut events = at
        .client
        .request_events::<ConfigMap>(request)
        .await
        .unwrap()
        .boxed();
    let mut seen = vec![];
    loop {
        let event = tokio::time::timeout(LIMIT, events.try_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        match event {
            WatchEvent::Added(m) => seen.push(m.name_any()),
            WatchEvent::Bookmark(b) => {
                assert_eq!(b.metadata.annotations["k8s.io/initial-events-end"], "true");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["a"]);
    tokio::time::timeout(Duration::from_millis(1), events.try_next())
        .await
        .expect_err("nothing more happens");
}
