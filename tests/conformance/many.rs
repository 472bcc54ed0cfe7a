//! Many releases that begin at once: all of them begin and end, and none waits for the others' pods. Twenty in every run;
//! `GRAYLANE_MANY=200` plays as many, and tells with `--nocapture` when the last had begun and ended.

use std::time::{Duration, Instant};

use futures::future::join_all;
use graylane::{
    api::{App, Release, ReleasePhase},
    cluster::perform::perform_intent,
    domain::intent::Intent,
};
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{
    cluster::{LIMIT, Place, cases},
    story::rig::Rig,
};

cases!(all_that_begin_at_once_end);

const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ .AppStack.appName }}'}
spec:
  replicas: 1
  selector: {matchLabels: {app: '{{ .AppStack.appName }}'}}
  template:
    metadata: {labels: {app: '{{ .AppStack.appName }}'}}
    spec: {containers: [{name: c, image: '{{ .AppStack.image.backend }}'}]}
";

fn app(home: &str, name: &str) -> Value {
    json!({
        "apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": name, "namespace": home},
        "spec": {
            "images": {"backend": {"repository": "m", "default": "m:v1"}},
            "manifests": [{"name": "m.yaml", "template": MANIFEST}],
            "environments": [{"name": "prod", "namespace": home}],
            "workflow": {"stages": [{"name": "s", "tasks": [{"name": "deploy", "deploy": {"environment": "prod"}}]}]},
        },
    })
}

async fn all_that_begin_at_once_end(at: Place) {
    let many = std::env::var("GRAYLANE_MANY")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20);
    // A long run is given as much longer.
    let limit = LIMIT * many / 20;
    let rig = Rig::new(&at).await;
    rig.engine("one");
    let names: Vec<String> = (0..many).map(|n| format!("m-{n}")).collect();
    join_all(
        names
            .iter()
            .map(|name| at.create::<App>(app(&at.namespace, name))),
    )
    .await;
    let began = Instant::now();
    let start = |name: &String| Intent::StartRelease {
        apps: vec![name.clone()],
        stage: "s".into(),
        images: Default::default(),
        comment: None,
        window: None,
    };
    for told in join_all(
        names
            .iter()
            .map(|name| perform_intent(&at.client, &at.namespace, "admin", start(name))),
    )
    .await
    {
        told.unwrap();
    }
    let mut running = None;
    let all = async {
        loop {
            let releases = at
                .api::<Release>()
                .list(&ListParams::default())
                .await
                .unwrap()
                .items;
            let phase = |r: &Release| r.status.as_ref().map(|s| s.phase).unwrap_or_default();
            if releases.iter().all(|r| phase(r) != ReleasePhase::Pending) {
                running.get_or_insert_with(|| began.elapsed());
            }
            if releases.iter().all(|r| phase(r) == ReleasePhase::Succeeded) {
                return releases.len();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ended = tokio::time::timeout(limit, all).await.expect("all succeed");
    assert_eq!(ended, names.len());
    eprintln!(
        "{:?}: {many} releases had begun after {running:?} and ended after {:?}",
        at.kind,
        began.elapsed()
    );
}
