//! The three kinds of patches.

use serde_json::json;

use super::{
    cluster::{Place, cases},
    transcript::{Shown, Transcript},
};

cases!(merge_and_json_patches, strategic_patches);

async fn merge_and_json_patches(at: Place) {
    let mut t = Transcript::new(&at);
    t.given(
        "configmaps",
        json!({"metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}, "data": {"k": "1", "l": "2"}}),
    )
    .await;
    let parts = ["/data", "/metadata/labels"];
    let a = "configmaps/a";
    t.patch(
        "merge",
        a,
        json!({"data": {"k": null, "m": "3"}, "metadata": {"labels": {"x": null}}}),
        &parts,
    )
    .await;
    t.patch("merge", a, json!({"data": null}), &parts).await;
    t.ask(
        "PATCH",
        a,
        "application/merge-patch+json",
        &json!({"data": {"k": 1}}).to_string(),
        Shown::Code,
    )
    .await;
    t.patch("merge", a, json!({"data": {"k": "1"}}), &parts)
        .await;
    t.patch(
        "json",
        a,
        json!([{"op": "test", "path": "/data/k", "value": "1"}, {"op": "replace", "path": "/data/k", "value": "2"}]),
        &parts,
    )
    .await;
    t.patch("json", a, json!([{"op": "add", "path": "/metadata/labels/n~1o", "value": "4"}, {"op": "remove", "path": "/metadata/labels/y"}]), &parts).await;
    t.patch(
        "json",
        a,
        json!([{"op": "copy", "from": "/data/k", "path": "/data/p"}]),
        &parts,
    )
    .await;
    t.say("where the server differs from the RFC");
    for patch in [
        json!([{"op": "test", "path": "/metadata/finalizers", "value": null}]),
        json!([{"op": "replace", "path": "/data/new", "value": "n"}]),
    ] {
        t.patch("json", a, patch, &parts).await;
    }
    let list = json!({"metadata": {"finalizers": ["e.com/a", "e.com/b", "e.com/c"]}});
    t.patch("merge", a, list, &["/metadata/finalizers"]).await;
    for patch in [
        json!([{"op": "add", "path": "/metadata/finalizers/-1", "value": "e.com/d"}]),
        json!([{"op": "remove", "path": "/metadata/finalizers/-2"}]),
        json!([{"op": "test", "path": "/metadata/finalizers/-3", "value": "e.com/a"}]),
    ] {
        t.patch("json", a, patch, &["/metadata/finalizers"]).await;
    }
    t.patch(
        "merge",
        a,
        json!({"metadata": {"finalizers": null}}),
        &["/metadata/finalizers"],
    )
    .await;
    t.say("refused");
    for patch in [
        json!([{"op": "test", "path": "/data/p", "value": "other"}]),
        json!([{"op": "remove", "path": "/data/none"}]),
    ] {
        t.ask(
            "PATCH",
            a,
            "application/json-patch+json",
            &patch.to_string(),
            Shown::Code,
        )
        .await;
    }
    t.ask(
        "PATCH",
        a,
        "application/merge-patch+json",
        "[1]",
        Shown::Code,
    )
    .await;
    t.ask("PATCH", a, "application/json-patch+json", "{}", Shown::Code)
        .await;
    t.ask("PATCH", a, "application/merge-patch+json", "{", Shown::Code)
        .await;
    t.patch(
        "merge",
        "configmaps/none",
        json!({"data": {"k": "1"}}),
        &parts,
    )
    .await;
    t.ask(
        "PATCH",
        a,
        "application/strategic-merge-patch+json",
        "[]",
        Shown::Code,
    )
    .await;
    t.end("merge_and_json_patches");
}

async fn strategic_patches(at: Place) {
    let mut t = Transcript::beside_controllers(&at);
    t.given("apps/v1 deployments", json!({"metadata": {"name": "web"}, "spec": {"paused": true, "replicas": 0, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "containers": [{"name": "c", "image": "web:1", "args": ["a"], "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                {"name": "d", "image": "side:1"}],
            "volumes": [{"name": "v", "emptyDir": {}}], "tolerations": [{"key": "k", "operator": "Exists"}]}}}})).await;
    let web = "apps/v1 deployments/web";
    let spec = |spec: serde_json::Value| json!({"spec": {"template": {"spec": spec}}});
    let parts = [
        "/spec/template/spec/containers",
        "/spec/template/spec/volumes",
        "/spec/template/spec/tolerations",
        "/spec/strategy",
    ];
    for patch in [
        spec(json!({"containers": [{"name": "c", "env": [{"name": "C", "value": "3"}]}]})),
        spec(json!({"containers": [{"name": "c", "args": ["b"]}]})),
        spec(json!({"containers": [{"name": "c", "env": [{"$patch": "delete", "name": "A"}]}]})),
        spec(
            json!({"containers": [{"name": "c", "env": [{"$patch": "replace"}, {"name": "D", "value": "4"}]}]}),
        ),
        spec(
            json!({"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}], "containers": [{"name": "d", "image": "side:2"}]}),
        ),
        spec(json!({"containers": [{"name": "e", "image": "new:1"}]})),
        spec(json!({"containers": [{"$patch": "delete", "name": "e"}]})),
        spec(json!({"containers": [{"name": "c", "ports": [{"containerPort": 81, "name": "x"}]}]})),
        spec(
            json!({"volumes": [{"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "m"}}]}),
        ),
        spec(json!({"tolerations": [{"key": "l", "operator": "Exists"}]})),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        json!({"spec": {"strategy": {"$patch": "replace", "type": "RollingUpdate"}}}),
    ] {
        t.patch("strategic", web, patch, &parts).await;
    }
    t.say("status by conditions' types");
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
    for list in [
        json!([condition("Odd", "True")]),
        json!([condition("Odd", "False")]),
    ] {
        t.patch(
            "strategic",
            "apps/v1 deployments/web/status",
            json!({"status": {"conditions": list}}),
            &["/kind"],
        )
        .await;
    }
    t.end("strategic_patches");
}
