//! Bad inputs on a running demo: each gives a clear error at its place, the baseline goes on serving, and the way
//! forward or back stays open.

use std::{process::Stdio, time::Duration};

use crate::support::demo::{Demo, command};
use graylane::api::{Release, ReleasePhase, ReleaseStatus, TaskPhase};
use kube::Api;
use pocket::images::Manifest;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

const LIMIT: Duration = Duration::from_mins(2);
const TAGGED: &str = "/A/a?group=gray";
const ALL_BASE: &str = "spring-cloud-a=base,spring-cloud-b=base,spring-cloud-c=base";

async fn start(demo: &Demo, app: &str, image: &str) -> String {
    let image = format!("backend={image}");
    let name = demo
        .ok(&[
            "release",
            "start",
            app,
            "--stage",
            "production",
            "--image",
            &image,
        ])
        .await
        .trim()
        .to_owned();
    demo.wait(&name, Some("approve"), "Waiting").await;
    demo.ok(&["approve", &name]).await;
    name
}

async fn until(
    demo: &Demo,
    name: &str,
    what: &str,
    fact: impl Fn(&ReleaseStatus) -> bool,
) -> ReleaseStatus {
    let api: Api<Release> = Api::namespaced(demo.client.clone(), "demo");
    let wait = async {
        loop {
            let status = api.get(name).await.unwrap().status.unwrap_or_default();
            if fact(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let Ok(status) = tokio::time::timeout(LIMIT, wait).await else {
        panic!("never {what}: {:#?}", api.get(name).await.unwrap().status);
    };
    status
}

/// The line that contains these words. What comes after it is read too: a pipe that nobody reads would end its writer.
async fn line(from: impl AsyncRead + Unpin + Send + 'static, words: &'static str) -> String {
    let mut lines = BufReader::new(from).lines();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("{line}");
            let _ = tell.send(line);
        }
    });
    let found = async {
        while let Some(line) = told.recv().await {
            if line.contains(words) {
                return line;
            }
        }
        panic!("it ended without {words:?}")
    };
    tokio::time::timeout(LIMIT, found)
        .await
        .unwrap_or_else(|_| panic!("never said {words:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_versions_a_second_engine_and_a_taken_port_are_told_at_their_place() {
    // A network that nobody else takes while this demo is down for a moment: the others take the first free one.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("network.json"), "250").unwrap();
    let mut demo = Demo::start_in(dir).await;
    let images = graylane::embedded::open_images(demo.state()).unwrap();

    // A version that runs and never serves: the task fails by its time limit, and names the pod.
    let deaf = ["sh", "-c", "while :; do sleep 0.1; done"]
        .map(str::to_owned)
        .to_vec();
    images
        .define(
            "spring-cloud-a:deaf",
            &Manifest {
                entrypoint: deaf,
                ..Manifest::default()
            },
        )
        .unwrap();
    demo.set_rollout("spring-cloud-a", "gray", "timeoutSeconds", 16.into())
        .await;
    let a = start(&demo, "spring-cloud-a", "spring-cloud-a:deaf").await;
    let failed = |attempt: u32| {
        move |s: &ReleaseStatus| {
            s.tasks[2].phase == TaskPhase::Failed && s.tasks[2].attempt == attempt
        }
    };
    let status = until(&demo, &a, "failed", failed(1)).await;
    let why = status.message.clone().unwrap_or_default();
    let pod = demo.names("spring-cloud-a", "gray").await;
    assert!(
        why.contains("not done within 16 s") && why.contains("0 of 1 new pod ready"),
        "{why}"
    );
    assert!(
        pod.len() == 1
            && why.contains(&pod[0])
            && why.contains("Unhealthy: ")
            && why.contains("probe failed"),
        "{pod:?}: {why}"
    );
    demo.ok(&["probe", TAGGED, "--count", "4", "--expect", ALL_BASE])
        .await;
    demo.ok(&["retry", &a]).await;
    until(&demo, &a, "failed again", failed(2)).await;
    demo.ok(&["abort", &a]).await;
    assert_eq!(
        until(&demo, &a, "over", |s| s.phase.is_final()).await.phase,
        ReleasePhase::Aborted
    );
    assert!(demo.names("spring-cloud-a", "gray").await.is_empty());

    // An image that is not there, until it is.
    let c = start(&demo, "spring-cloud-c", "spring-cloud-c:nope").await;
    // The kubelet's events, of which one says no more than `Error: ErrImagePull`, may come before what it writes into
    // the pod, which names the image.
    let says = |m: &String| {
        let pull = m.contains("ErrImagePull") || m.contains("ImagePullBackOff");
        pull && m.contains("0 of 1 new pod ready") && m.contains("spring-cloud-c:nope")
    };
    until(&demo, &c, "told, with the image", |s| {
        s.message.as_ref().is_some_and(says)
    })
    .await;
    demo.ok(&["probe", TAGGED, "--count", "4", "--expect", ALL_BASE])
        .await;
    let good = [graylane::embedded::HOST.placeholder, "sample", "c"]
        .map(str::to_owned)
        .to_vec();
    images
        .define(
            "spring-cloud-c:nope",
            &Manifest {
                entrypoint: good,
                ..Manifest::default()
            },
        )
        .unwrap();
    until(&demo, &c, "up", |s| {
        s.tasks
            .iter()
            .any(|t| t.name == "proceed" && t.phase == TaskPhase::Waiting)
    })
    .await;
    demo.ok(&["probe", TAGGED, "--expect", "spring-cloud-c=gray"])
        .await;
    demo.ok(&["abort", &c]).await;
    assert_eq!(
        until(&demo, &c, "over", |s| s.phase.is_final()).await.phase,
        ReleasePhase::Aborted
    );

    // A second engine does nothing but say who acts.
    let mut engine = command(demo.state())
        .args(["engine"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = line(engine.stderr.take().unwrap(), "stands by").await;
    assert!(told.contains(&format!("/{}/", demo.pid())), "{told}");
    engine.kill().await.unwrap();

    // Somebody else has the entry's port: said, and taken as soon as it is free.
    let entry = demo.entry().await;
    assert!(entry.starts_with("127.250."), "{entry}");
    demo.stop().await;
    let other = std::net::TcpListener::bind(&entry).unwrap();
    let mut second = command(demo.state());
    let second = second.args(["demo", "--headless"]);
    let mut second = second
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = line(second.stderr.take().unwrap(), "cannot answer").await;
    assert!(
        told.contains("Gateway edge") && told.contains(&entry),
        "{told}"
    );
    let group: Value = serde_json::from_str(
        &demo
            .ok(&["get", "lanegroups", "mse-demo", "-o", "json"])
            .await,
    )
    .unwrap();
    assert!(
        group["status"]["problems"][0]
            .as_str()
            .is_some_and(|p| p.contains(&entry)),
        "{group}"
    );
    drop(other);
    line(second.stdout.take().unwrap(), "ready").await;
    second.kill().await.unwrap();
}
