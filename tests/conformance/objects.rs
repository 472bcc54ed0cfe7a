//! What every object does: made, read, changed, refused.

use serde_json::json;

use super::{
    cluster::{Place, cases},
    transcript::{Shown, Transcript},
};

cases!(
    names_and_conflicts,
    bodies_that_are_refused,
    generations,
    scales,
    dry_runs,
    defaults,
    invalid_deployments,
    services
);

fn web(replicas: i64) -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "paused": true, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "web:1", "ports": [{"containerPort": 80}]}]}},
        },
    })
}

async fn names_and_conflicts(at: Place) {
    let mut t = Transcript::new(&at);
    let map = |name: &str, value: &str| json!({"metadata": {"name": name}, "data": {"k": value}});
    let made = t.post("configmaps", map("a", "1")).await;
    t.post("configmaps", map("a", "2")).await;
    t.get("configmaps/nope").await;
    t.get("configmaps/a").await;
    t.say("of this version, then of a stale one, then of none");
    let mut body = map("a", "2");
    body["metadata"]["resourceVersion"] = made.version().into();
    t.put("configmaps/a", body.clone()).await;
    t.put("configmaps/a", body).await;
    t.put("configmaps/a", map("a", "3")).await;
    t.put("configmaps/a", map("a", "3")).await;
    t.put("configmaps/b", map("a", "3")).await;
    t.put("configmaps/b", map("b", "3")).await;
    let mut body = map("a", "4");
    body["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    t.ask("PUT", "configmaps/a", "", &body.to_string(), Shown::Code)
        .await;
    t.post("/api/v1/namespaces/nowhere/configmaps", map("a", "1"))
        .await;
    t.post(
        "configmaps",
        json!({"metadata": {"name": "x", "namespace": "other"}}),
    )
    .await;
    t.post("configmaps", json!({"metadata": {}})).await;
    let made = t
        .ask(
            "POST",
            "configmaps",
            "",
            &json!({"metadata": {"generateName": "gen-"}}).to_string(),
            Shown::Nothing,
        )
        .await;
    let name = made.body["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
    for name in ["Upper", "-a", "a_b", &"x".repeat(254)] {
        t.post("configmaps", map(name, "1")).await;
    }
    t.say("preconditions");
    t.delete(
        "configmaps/a",
        json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}),
    )
    .await;
    t.delete(
        "configmaps/a",
        json!({"preconditions": {"resourceVersion": made.version()}}),
    )
    .await;
    t.delete("configmaps/a", json!(null)).await;
    t.delete("configmaps/a", json!(null)).await;
    t.end("names_and_conflicts");
}

async fn bodies_that_are_refused(at: Place) {
    let mut t = Transcript::new(&at);
    for (version, kind) in [("v1", "Secret"), ("v2", "ConfigMap")] {
        let body = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
        t.ask("POST", "configmaps", "", &body.to_string(), Shown::Code)
            .await;
    }
    t.post(
        "configmaps",
        json!({"metadata": {"name": "a", "labels": {"-k": "v"}}}),
    )
    .await;
    t.post(
        "configmaps",
        json!({"metadata": {"name": "a", "labels": {"k": "a b"}}}),
    )
    .await;
    t.post(
        "configmaps",
        json!({"metadata": {"name": "a", "annotations": {"a b": "v"}}}),
    )
    .await;
    t.post(
        "configmaps",
        json!({"metadata": {"name": "a"}, "data": {"a b": "v"}}),
    )
    .await;
    // Pocket also names the fields in `details.causes`.
    let datum = json!({"metadata": {"name": "a"}, "datum": {"k": "v"}});
    t.ask(
        "POST",
        "configmaps?fieldValidation=Strict",
        "",
        &datum.to_string(),
        Shown::Message,
    )
    .await;
    t.post(
        "configmaps",
        json!({"metadata": {"name": "warned"}, "datum": {"k": "v"}}),
    )
    .await;
    let typos = json!({"metadata": {"name": "a"},
        "spec": {"replica": 3, "template": {"spec": {"containers": [{"name": "c", "immage": "x"}]}}}});
    t.ask(
        "POST",
        "apps/v1 deployments?fieldValidation=Strict",
        "",
        &typos.to_string(),
        Shown::Message,
    )
    .await;
    t.ask("POST", "configmaps", "text/plain", "{}", Shown::All)
        .await;
    t.ask(
        "PATCH",
        "configmaps/warned",
        "application/json",
        "{}",
        Shown::Code,
    )
    .await;
    t.get("nothings").await;
    t.ask(
        "PUT",
        "configmaps",
        "",
        &json!({"metadata": {"name": "a"}}).to_string(),
        Shown::All,
    )
    .await;
    t.ask(
        "POST",
        "configmaps/a",
        "",
        &json!({"metadata": {"name": "a"}}).to_string(),
        Shown::All,
    )
    .await;
    t.end("bodies_that_are_refused");
}

async fn generations(at: Place) {
    let mut t = Transcript::beside_controllers(&at);
    let mut body = web(2);
    body["status"] = json!({"replicas": 99});
    body["metadata"]["generation"] = 7.into();
    t.given("apps/v1 deployments", body).await;
    let parts = ["/metadata/generation", "/spec/replicas", "/metadata/labels"];
    let web = "apps/v1 deployments/web";
    t.patch(
        "merge",
        web,
        json!({"metadata": {"labels": {"a": "b"}}}),
        &parts,
    )
    .await;
    t.patch("merge", web, json!({"spec": {"replicas": 2}}), &parts)
        .await;
    t.patch(
        "merge",
        web,
        json!({"spec": {"replicas": 3}, "status": {"replicas": 9}}),
        &parts,
    )
    .await;
    t.patch(
        "merge",
        web,
        json!({"metadata": {"generation": 99, "creationTimestamp": "2001-01-01T00:00:00Z"}}),
        &parts,
    )
    .await;
    // It tells each field twice.
    t.ask(
        "PATCH",
        web,
        "application/merge-patch+json",
        &json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}}).to_string(),
        Shown::Code,
    )
    .await;
    t.patch("merge", web, json!({"metadata": {"name": "other"}}), &parts)
        .await;
    t.patch(
        "merge",
        web,
        json!({"metadata": {"resourceVersion": "1"}}),
        &parts,
    )
    .await;
    t.ask(
        "PATCH",
        web,
        "application/merge-patch+json",
        &json!({"kind": "ReplicaSet"}).to_string(),
        Shown::Code,
    )
    .await;
    t.patch(
        "merge",
        "apps/v1 deployments/web/status",
        json!({"spec": {"replicas": 5}, "metadata": {"labels": {"s": "t"}}}),
        &parts,
    )
    .await;
    t.patch(
        "merge",
        "apps/v1 deployments/none",
        json!({"spec": {"replicas": 5}}),
        &parts,
    )
    .await;
    t.end("generations");
}

async fn scales(at: Place) {
    let mut t = Transcript::beside_controllers(&at);
    t.given("apps/v1 deployments", web(2)).await;
    let scale = "apps/v1 deployments/web/scale";
    let now = t
        .ask(
            "GET",
            scale,
            "",
            "",
            Shown::Parts(&[
                "/kind",
                "/apiVersion",
                "/spec",
                "/status/selector",
                "/metadata/name",
            ]),
        )
        .await;
    let parts = ["/kind", "/spec", "/status/selector"];
    t.patch("merge", scale, json!({"spec": {"replicas": 4}}), &parts)
        .await;
    t.patch(
        "json",
        scale,
        json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]),
        &parts,
    )
    .await;
    let mut body = now.body.clone();
    body["metadata"] =
        json!({"name": "web", "namespace": at.namespace, "resourceVersion": now.version()});
    t.put(scale, body.clone()).await;
    body["metadata"]["resourceVersion"] = json!(null);
    body["spec"]["replicas"] = 6.into();
    t.ask("PUT", scale, "", &body.to_string(), Shown::Parts(&parts))
        .await;
    body["spec"]["replicas"] = (-1).into();
    t.put(scale, body).await;
    t.get("apps/v1 deployments/none/scale").await;
    t.ask(
        "GET",
        "apps/v1 deployments/web",
        "",
        "",
        Shown::Parts(&["/spec/replicas", "/metadata/generation"]),
    )
    .await;
    t.end("scales");
}

async fn dry_runs(at: Place) {
    let mut t = Transcript::new(&at);
    let map = json!({"metadata": {"name": "a"}, "data": {"k": "1"}});
    t.post("configmaps?dryRun=All", map.clone()).await;
    t.get("configmaps/a").await;
    t.given("configmaps", map.clone()).await;
    t.post("configmaps?dryRun=All", map.clone()).await;
    t.patch(
        "merge",
        "configmaps/a?dryRun=All",
        json!({"data": {"k": "2"}}),
        &["/data"],
    )
    .await;
    t.delete("configmaps/a?dryRun=All", json!(null)).await;
    t.get("configmaps/a").await;
    t.post("configmaps?dryRun=Some", map).await;
    t.end("dry_runs");
}

/// All that the server adds to what people write.
async fn defaults(at: Place) {
    let mut t = Transcript::beside_controllers(&at);
    let mut body = web(2);
    body["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"path": "/", "port": 80}});
    body["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "v", "configMap": {"name": "x"}}, {"name": "e"}]);
    body["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]);
    t.post("apps/v1 deployments", body).await;
    t.post("batch/v1 jobs", json!({"metadata": {"name": "j"}, "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "web"}]}}}})).await;
    t.post(
        "secrets",
        json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}}),
    )
    .await;
    t.post(
        "coordination.k8s.io/v1 leases",
        json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}}),
    )
    .await;
    t.post("apps/v1 replicasets", json!({"metadata": {"name": "r"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "web:latest"}]}}}})).await;
    t.end("defaults");
}

async fn invalid_deployments(at: Place) {
    let mut t = Transcript::beside_controllers(&at);
    let change = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut body = web(2);
        change(&mut body["spec"]);
        body
    };
    let bodies = [
        change(&|s| s["replicas"] = (-1).into()),
        change(&|s| s["selector"] = json!({})),
        change(&|s| s["selector"] = json!({"matchLabels": {"app": "other"}})),
        change(&|s| s["template"]["metadata"]["labels"] = json!({})),
        change(&|s| s["template"]["spec"]["containers"] = json!([])),
        change(&|s| s["template"]["spec"]["containers"][0]["name"] = "A b".into()),
        change(&|s| s["template"]["spec"]["containers"][0]["image"] = "".into()),
        change(&|s| s["template"]["spec"]["restartPolicy"] = "Never".into()),
        change(&|s| {
            s["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 0}]);
        }),
        change(&|s| {
            s["template"]["spec"]["containers"] =
                json!([{"name": "c", "image": "x"}, {"name": "c", "image": "y"}]);
        }),
        change(&|s| s["strategy"] = json!({"type": "Odd"})),
        change(&|s| s["strategy"] = json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}})),
        change(&|s| s["strategy"] = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}})),
        change(&|s| {
            s["strategy"] = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}});
        }),
        change(&|s| s["strategy"] = json!({"rollingUpdate": {"maxSurge": "many"}})),
        change(&|s| s["strategy"] = json!({"rollingUpdate": {"maxUnavailable": "101%"}})),
        change(&|s| s["minReadySeconds"] = (-1).into()),
        change(&|s| s["minReadySeconds"] = 700.into()),
        change(&|s| s["progressDeadlineSeconds"] = 0.into()),
        change(&|s| s["revisionHistoryLimit"] = (-1).into()),
    ];
    for body in bodies {
        t.ask(
            "POST",
            "apps/v1 deployments",
            "",
            &body.to_string(),
            Shown::Nothing,
        )
        .await;
    }
    t.say("a change of what may not change");
    t.given("apps/v1 deployments", web(2)).await;
    t.patch("merge", "apps/v1 deployments/web", json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}}), &["/kind"]).await;
    t.end("invalid_deployments");
}

async fn services(at: Place) {
    let mut t = Transcript::new(&at);
    t.post(
        "services",
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
    )
    .await;
    t.post("services", json!({"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}})).await;
    t.post(
        "services",
        json!({"metadata": {"name": "twice"}, "spec": {"ports": [{"port": 80}, {"port": 81}]}}),
    )
    .await;
    t.post(
        "services",
        json!({"metadata": {"name": "none"}, "spec": {"ports": []}}),
    )
    .await;
    t.post(
        "services",
        json!({"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 80}]}}),
    )
    .await;
    t.post(
        "services",
        json!({"metadata": {"name": "odd"}, "spec": {"type": "Odd", "ports": [{"port": 80}]}}),
    )
    .await;
    t.post(
        "services",
        json!({"metadata": {"name": "port"}, "spec": {"ports": [{"port": 0}]}}),
    )
    .await;
    t.patch(
        "merge",
        "services/web",
        json!({"spec": {"selector": {"app": "other"}}}),
        &["/spec/selector", "/spec/type"],
    )
    .await;
    t.end("services");
}
