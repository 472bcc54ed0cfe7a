//! A newcomer's first steps: a Kustomize folder becomes a commented file, the file an App, the App a release.

use std::fs;

use crate::adopt::{Rig, define_images, ready};

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout}
spec:
  replicas: 2
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec:
      terminationGracePeriodSeconds: 5
      containers: [{name: main, image: checkout:1}]
";
const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: checkout}
spec:
  selector: {app: checkout}
  ports: [{port: 80, targetPort: 8080}]
";
const SETTINGS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: checkout-settings}
data: {greeting: hello}
";

/// The folder as Kustomize renders it, by whichever tool is here; else as it is, from one file.
async fn write_app(rig: &Rig, app: &str) {
    let folder = rig.dir.path().join("checkout");
    fs::create_dir(&folder).unwrap();
    for (name, text) in [
        ("deployment.yaml", DEPLOYMENT),
        ("service.yaml", SERVICE),
        ("settings.yaml", SETTINGS),
        (
            "kustomization.yaml",
            "resources: [deployment.yaml, service.yaml, settings.yaml]\n",
        ),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    let is_here = |program: &str| {
        std::process::Command::new(program)
            .arg("version")
            .output()
            .is_ok()
    };
    let folder = folder.display().to_string();
    if is_here("kustomize") || is_here("kubectl") {
        rig.ok(&["init", &folder, "--add-gray", "--to", app]).await;
        return;
    }
    eprintln!(
        "SKIPPED: there is neither kustomize nor kubectl on PATH, so no Kustomize folder was rendered"
    );
    let whole = rig.dir.path().join("whole.yaml");
    fs::write(&whole, [DEPLOYMENT, SERVICE, SETTINGS].join("---\n")).unwrap();
    let whole = whole.display().to_string();
    rig.ok(&["init", "-f", &whole, "--add-gray", "--to", app])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_becomes_an_app_that_is_released() {
    let rig = Rig::start().await;
    define_images(&graylane::embedded::open_images(rig.dir.path()).unwrap());
    let file = |name: &str| rig.dir.path().join(name).display().to_string();
    let (app, lanes) = (file("app.yaml"), file("lanes.yaml"));
    write_app(&rig, &app).await;
    assert!(
        fs::read_to_string(&app)
            .unwrap()
            .contains("# The Kubernetes objects, as Go templates.")
    );
    rig.ok(&["apply", "-f", &app]).await;

    // The first version, without an approval.
    let start = ["release", "start", "checkout", "--stage"];
    let first = rig.ok(&[&start[..], &["baseline"]].concat()).await;
    let done = ["--phase", "Succeeded", "--timeout", "100s"];
    rig.ok(&[&["release", "wait", first.trim()][..], &done].concat())
        .await;
    let both = |pods: &[_]| pods.iter().filter(|p| ready(p)).count() == 2;
    rig.until("two pods", "app=checkout", both).await;

    // The second one, with gray beside it.
    let second = rig
        .ok(&[&start[..], &["production", "--image", "backend=checkout:2"]].concat())
        .await;
    let second = second.trim();
    let waits = |task| {
        [
            "release",
            "wait",
            second,
            "--task",
            task,
            "--phase",
            "Waiting",
            "--timeout",
            "100s",
        ]
    };
    rig.ok(&waits("approve")).await;
    rig.ok(&["--user", "bob", "approve", second]).await;
    rig.ok(&waits("proceed-gray")).await;
    rig.until("a gray pod", "app=checkout-gray", |pods| {
        pods.iter().filter(|p| ready(p)).count() == 1
    })
    .await;

    // And the lane that leads to it.
    rig.ok(&[
        "init",
        "app/checkout",
        "--lane-group",
        "chain",
        "--gateway",
        "edge",
        "--path",
        "/pay",
        "--to",
        &lanes,
    ])
    .await;
    rig.ok(&["apply", "-f", &lanes]).await;
    let lane = rig.ok(&["get", "lanes", "-o", "yaml"]).await;
    assert!(lane.contains("tag: gray"), "{lane}");
    rig.ok(&["abort", second]).await;
}
