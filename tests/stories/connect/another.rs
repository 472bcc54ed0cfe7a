//! Environments in another context: two clusters, one of which is away for a while.

use std::{process::Stdio, sync::Arc, time::Duration};

use super::door::{Door, Play};
use graylane::{
    api::{App, ClusterName, ReleasePhase, label},
    cluster::{agent::Agent, clusters::Clusters, perform::perform_intent, watch},
    domain::{
        batches::Latch,
        intent::Intent,
        rights::Right,
        world::{Link, World},
    },
    engine,
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use pocket::controllers;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::LIMIT;

/// Pods run as soon as they are there.
async fn kubelet(client: kube::Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    loop {
        for pod in pods
            .list(&ListParams::default())
            .await
            .map(|l| l.items)
            .unwrap_or_default()
        {
            let own: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
            if pod.metadata.deletion_timestamp.is_some() {
                let _ = own
                    .delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                    .await;
            } else if pod.status.as_ref().is_none_or(|s| s.pod_ip.is_none()) {
                let status = json!({"status": {"phase": "Running", "podIP": "10.0.0.1",
                    "conditions": [{"type": "Ready", "status": "True"}]}});
                let _ = own
                    .patch_status(
                        &pod.name_any(),
                        &PatchParams::default(),
                        &Patch::Merge(status),
                    )
                    .await;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn deployments(door: &Door) -> Vec<String> {
    let api: Api<Deployment> = Api::all(door.behind.clone());
    api.list(&ListParams::default())
        .await
        .unwrap()
        .items
        .iter()
        .map(ResourceExt::name_any)
        .collect()
}

/// A release goes through two clusters; the one that cannot be reached holds up its own environment
/// only.
#[tokio::test(flavor = "multi_thread")]
async fn an_environment_in_another_context_is_deployed_seen_and_torn_down_there() {
    /// What somebody may who may nothing.
    const NOTHING: &str = r#"{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "metadata": {},
        "spec": {}, "status": {"resourceRules": [], "nonResourceRules": [], "incomplete": false}}"#;
    const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: 'a-{{ .AppStack.envName }}'}
spec:
  replicas: 1
  selector: {matchLabels: {app: a}}
  template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: '{{ .AppStack.image.backend }}'}]}}
";
    let (home, far) = (Door::open().await, Door::open().await);
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    for door in [&home, &far] {
        controllers::spawn(door.behind.clone(), &TaskTracker::new(), &stop);
        let (kubelet, stop) = (kubelet(door.behind.clone()), stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(kubelet).await });
    }
    let app = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": "a"}, "spec": {
    "images": {"backend": {"repository": "a", "default": "a:v1"}},
    "manifests": [{"name": "a.yaml", "template": MANIFEST}],
    "environments": [{"name": "test", "namespace": "demo"},
        {"name": "gray", "context": "far", "namespace": "demo", "lane": "gray"},
        {"name": "prod", "context": "far", "namespace": "demo"}],
    "workflow": {"stages": [{"name": "go", "tasks": [
        {"name": "deploy-test", "deploy": {"environment": "test"}},
        {"name": "deploy-prod", "deploy": {"environment": "prod"}},
    ]}]}}});
    let apps: Api<App> = Api::namespaced(home.behind.clone(), "demo");
    apps.create(
        &PostParams::default(),
        &serde_json::from_value(app).unwrap(),
    )
    .await
    .unwrap();
    far.cut(true);
    let file = far.kubeconfig("far", "", "{token: one}");
    let clusters = Clusters::new(
        home.behind.clone(),
        ClusterName::Home,
        Some(file),
        Arc::default(),
        Agent::Engine,
    );
    let options = engine::Options {
        client: home.behind.clone(),
        clusters: clusters.clone(),
        namespace: "demo".into(),
        identity: "one".into(),
        prober: Arc::new(|_, _| Box::pin(async { Ok(vec![]) })),
        telemetry: engine::Telemetry::default(),
        hops: engine::HopReport::default(),
    };
    tokio::spawn(engine::run_engine(options, stop.clone()));
    let mut worlds = watch::spawn(clusters, "demo", stop.clone());
    let mut until = async |what: &str, fact: &(dyn Fn(&World) -> bool + Sync)| {
        let found = tokio::time::timeout(LIMIT, worlds.wait_for(|w| fact(w))).await;
        found
            .unwrap_or_else(|_| panic!("never: {what}"))
            .unwrap()
            .clone()
    };
    let perform = async |intent| {
        perform_intent(&home.behind, "demo", "me", intent)
            .await
            .unwrap()
    };
    let images = [(
        "a".to_owned(),
        [("backend".to_owned(), "a:v1".to_owned())].into(),
    )]
    .into();
    let start = Intent::StartRelease {
        apps: vec!["a".into()],
        stage: "go".into(),
        images,
        comment: None,
        window: None,
    };
    let done = perform(start).await;
    let release = done.release_names().next().unwrap().to_owned();
    let told = |w: &World, words: &str| {
        let status = w.releases.get(&release).and_then(|r| r.status.as_ref());
        status.is_some_and(|s| {
            s.tasks
                .iter()
                .any(|t| t.message.as_ref().is_some_and(|m| m.contains(words)))
        })
    };
    let world = until("that the far one is waited for", &|w| {
        told(w, "waits for context far")
    })
    .await;
    assert_eq!(world.link, Link::Live, "home lives");
    until("that the far one is offline", &|w| {
        w.clusters
            .get(&ClusterName::from("far"))
            .is_some_and(|l| l.stale_since().is_some())
    })
    .await;
    assert_eq!(
        deployments(&home).await,
        ["a-test"],
        "the environment at home went on"
    );
    far.calm();
    far.play("selfsubjectrulesreviews", Play::Tell(NOTHING));
    let phase = |w: &World, name: &str| {
        w.releases
            .get(name)
            .and_then(|r| r.status.as_ref())
            .map(|s| s.phase)
    };
    until("its end", &|w| {
        phase(w, &release) == Some(ReleasePhase::Succeeded)
    })
    .await;
    assert_eq!(
        (deployments(&home).await, deployments(&far).await),
        (vec!["a-test".into()], vec!["a-prod".to_owned()])
    );
    let world = until("the far pod", &|w| {
        w.pods_of("a", "prod").any(|p| p.ready)
            && w.clusters[&ClusterName::from("far")] == Link::Live
    })
    .await;
    assert_eq!(
        world.pods_of("a", "prod").next().unwrap().key.namespace,
        "far/demo".into()
    );
    let inventory = &world.apps["a"].status.as_ref().unwrap().environments["prod"].inventory;
    assert_eq!(
        (
            inventory[0].object.key.namespace.to_string().as_str(),
            inventory[0].uid.is_empty()
        ),
        ("far/demo", false)
    );

    // Rights, logs, tables and what stands half-way are that cluster's too.
    let logs =
        |w: &World, namespace: &str| w.rights.explain_missing(Right::Logs, &namespace.into());
    let world = until("that its logs are not permitted", &|w| {
        logs(w, "far/demo").is_some()
    })
    .await;
    assert_eq!(logs(&world, "demo"), None, "at home they are");
    assert_eq!(
        logs(&world, "far/demo").unwrap(),
        "not permitted: needs get pods/log in namespace demo of context far"
    );
    far.calm();
    far.play("/log?", Play::Tell("words from afar\n"));
    home.play("/log?", Play::Tell("words from home\n"));
    let pods = [("test", "words from home\n"), ("prod", "words from afar\n")];
    let files = [
        home.kubeconfig("home", "", "{token: one}"),
        far.dir.path().join("far.yaml"),
    ];
    let files = std::env::join_paths(files).unwrap();
    let run = async |args: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_graylane"));
        command
            .args(["--context", "home"])
            .args(args)
            .env("KUBECONFIG", &files);
        command
            .env("XDG_CONFIG_HOME", home.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let out = tokio::time::timeout(LIMIT, command.output())
            .await
            .unwrap()
            .unwrap();
        (
            String::from_utf8(out.stdout).unwrap(),
            String::from_utf8(out.stderr).unwrap(),
        )
    };
    for (environment, words) in pods {
        let pod = world.pods_of("a", environment).next().unwrap().key.clone();
        let full = format!("{}/{}", pod.namespace, pod.name);
        for name in [&pod.name, &full] {
            let (out, told) = run(&["logs", name]).await;
            assert_eq!(out, words, "{name}: {told}");
        }
    }
    let (out, told) = run(&["get", "environments", "a/prod", "-o", "json"]).await;
    let row: serde_json::Value =
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {told}"));
    assert_eq!((&row["ready"], &row["replicas"]), (&json!(1), &json!(1)));
    let latch: Latch = Latch {
        release: "gone".into(),
        release_uid: "u".into(),
        task: "t".into(),
        ..Latch::default()
    };
    let mut latch = serde_json::to_value(latch).unwrap();
    latch["before"]["template"] = json!({"metadata": {"labels": {"app": "a"}}});
    let latched = json!({"metadata": {"annotations": {label::LATCH: latch.to_string()}}});
    let there: Api<Deployment> = Api::namespaced(far.behind.clone(), "demo");
    there
        .patch("a-prod", &PatchParams::default(), &Patch::Merge(latched))
        .await
        .unwrap();
    let (out, told) = run(&["rescue"]).await;
    let way = "graylane rescue far/demo/a-prod --kind deployment --finish";
    assert!(
        out.contains(way) && out.contains("kubectl --context far -n demo patch"),
        "{out}{told}"
    );
    let (out, told) = run(&["rescue", "far/demo/a-prod", "--finish"]).await;
    assert!(out.contains("is being finished"), "{out}{told}");
    assert_eq!(run(&["rescue"]).await.0, "no workload is half-way\n");

    // No lane leads there: told when it is applied, and by its status for good.
    let file = home.dir.path().join("lanes.yaml");
    let lanes = "apiVersion: graylane.dev/v1alpha1\nkind: LaneGroup\nmetadata: {name: g}\nspec:\n  \
        entry: {gateway: edge, routes: [{path: /A, app: a}]}\n  apps: [{app: a, port: 80}]\n---\n\
        apiVersion: graylane.dev/v1alpha1\nkind: Lane\nmetadata: {name: gray}\nspec:\n  group: g\n  tag: gray\n  \
        match: {all: [{type: parameter, key: group, op: '==', values: [gray]}]}\n";
    std::fs::write(&file, lanes).unwrap();
    let (out, told) = run(&["apply", "-f", file.to_str().unwrap()]).await;
    const AWAY: &str = "environment gray of a is in context far";
    assert!(
        out.contains("lane/gray created") && told.contains(AWAY),
        "{out}{told}"
    );
    until("that the lane says so", &|w| {
        let status = w.lanes.get("gray").and_then(|l| l.status.as_ref());
        status.is_some_and(|s| s.problems.iter().any(|p| p.contains(AWAY)))
    })
    .await;

    let down = Intent::Teardown {
        app: "a".into(),
        environment: "prod".into(),
        comment: None,
    };
    let down = perform(down).await;
    let down = down.release_names().next().unwrap().to_owned();
    until("the end of the teardown", &|w| {
        phase(w, &down) == Some(ReleasePhase::Succeeded)
    })
    .await;
    assert_eq!(
        (deployments(&home).await, deployments(&far).await),
        (vec!["a-test".to_owned()], vec![])
    );
}
