//! An application that runs already becomes an App, gets a gray version, and is released: what ran goes on until the
//! release rolls it.

use std::{collections::BTreeSet, path::Path, process::Stdio};

use crate::support::program;

use graylane::{
    api::{App, label},
    cluster::install,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use pocket::images::{Images, Manifest};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

fn command(state: &Path) -> Command {
    let mut command = program::command(state, "ann");
    command.args(["-n", "default"]);
    command
}

/// A pocket, and an engine beside it.
pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    client: Client,
    _pocket: Child,
    _engine: Child,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (pocket, client) =
            program::serving(command(dir.path()).args(["pocket", "serve"]), dir.path()).await;
        // By itself the engine installs them some time after its start.
        install::apply_definitions(&client).await.unwrap();
        let engine = command(dir.path())
            .arg("engine")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            dir,
            client,
            _pocket: pocket,
            _engine: engine,
        }
    }

    fn api<T>(&self) -> Api<T>
    where
        T: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        T::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn ok(&self, args: &[&str]) -> String {
        program::ok(command(self.dir.path()), args).await
    }

    async fn refused(&self, code: i32, args: &[&str]) -> String {
        let output = program::run(command(self.dir.path()), args).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8(output.stderr).unwrap()
    }

    async fn pods(&self, selector: &str) -> Vec<Pod> {
        self.api()
            .list(&ListParams::default().labels(selector))
            .await
            .unwrap()
            .items
    }

    pub(crate) async fn until(
        &self,
        what: &str,
        selector: &str,
        fact: impl Fn(&[Pod]) -> bool,
    ) -> Vec<Pod> {
        program::until(what, async || {
            Some(self.pods(selector).await).filter(|pods| fact(pods))
        })
        .await
    }
}

pub(crate) fn ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .clone()
            .any(|c| c.type_ == "Ready" && c.status == "True")
}

fn uids(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().filter_map(ResourceExt::uid).collect()
}

/// Two images that only run.
pub(crate) fn define_images(images: &Images) {
    let run = [
        "sh",
        "-c",
        "trap 'exit 0' TERM; while :; do sleep 0.1; done",
    ];
    for tag in ["checkout:1", "checkout:2"] {
        let manifest = Manifest {
            entrypoint: run.map(str::to_owned).to_vec(),
            ..Manifest::default()
        };
        images.define(tag, &manifest).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_adopted_untouched_and_released() {
    let rig = Rig::start().await;
    let images = graylane::embedded::open_images(rig.dir.path()).unwrap();
    define_images(&images);
    let labels = json!({"app": "checkout"});
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "checkout", "labels": labels},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 5, "containers": [
                {"name": "main", "image": "checkout:1", "env": [{"name": "BRACES", "value": "{{ .kept }}"}]}]}}}
    }))
    .unwrap();
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "checkout"}, "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    }))
    .unwrap();
    rig.api()
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    rig.api()
        .create(&PostParams::default(), &service)
        .await
        .unwrap();
    let before = rig
        .until("three pods", "app=checkout", |p| {
            p.iter().filter(|p| ready(p)).count() == 3
        })
        .await;

    // Shown, and not a thing written.
    let why = rig.refused(1, &["adopt", "deployment/chekout"]).await;
    assert!(
        why.contains("no Deployment chekout in namespace default; there is only checkout"),
        "{why}"
    );
    let why = rig.refused(2, &["adopt", "statefulset/checkout"]).await;
    assert!(why.contains("only a Deployment can be adopted"), "{why}");
    let adopt = ["adopt", "deployment/checkout", "--environment", "prod"];
    let why = rig.refused(2, &adopt).await;
    assert!(why.contains("needs --yes"), "{why}");
    let printed = rig.ok(&[&adopt[..], &["--print"]].concat()).await;
    assert!(
        printed.contains("kind: App") && printed.contains("{{ .AppStack.image.backend }}"),
        "{printed}"
    );
    assert!(
        rig.api::<App>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let untouched: Deployment = rig.api().get("checkout").await.unwrap();
    assert_eq!(untouched.metadata.labels.unwrap().len(), 1);

    // Adopted: the pods are the same, and the engine labels them, also one that is made anew.
    let told = rig.ok(&[&adopt[..], &["--yes"]].concat()).await;
    for part in [
        "Deployment checkout: nothing",
        "Service checkout: nothing",
        "prod in namespace default, batches 1, 50%, 100%",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    let ours = format!("{}=checkout,{}=prod", label::APP, label::ENVIRONMENT);
    let after = rig.until("labelled pods", &ours, |p| p.len() == 3).await;
    assert_eq!(uids(&after), uids(&before));
    rig.api::<Pod>()
        .delete(&after[0].name_any(), &DeleteParams::default())
        .await
        .unwrap();
    let fresh = |p: &[Pod]| {
        p.iter()
            .filter(|p| ready(p) && !before.iter().any(|b| b.uid() == p.uid()))
            .count()
    };
    rig.until("a labelled replacement", &ours, |p| fresh(p) == 1)
        .await;
    let app: App = rig.api().get("checkout").await.unwrap();
    let inventory = &app.status.unwrap().environments["prod"].inventory;
    assert!(
        inventory.len() == 2 && inventory.iter().all(|i| !i.uid.is_empty()),
        "{inventory:?}"
    );

    // Gray beside it, without another task changing.
    let why = rig.refused(1, &[&adopt[..], &["--yes"]].concat()).await;
    assert!(
        why.contains("exists already") && why.contains("--add-gray"),
        "{why}"
    );
    let told = rig
        .ok(&[&adopt[..], &["--add-gray", "--yes"]].concat())
        .await;
    let gone = told
        .lines()
        .filter(|l| l.starts_with('-') && !l.starts_with("---"));
    assert_eq!(gone.collect::<Vec<_>>(), [""; 0], "{told}");

    // Released: gray, then prod by batches; gray goes.
    let release = rig
        .ok(&[
            "release",
            "start",
            "checkout",
            "--stage",
            "production",
            "--image",
            "backend=checkout:2",
        ])
        .await;
    let release = release.trim();
    let wait = ["release", "wait", release, "--timeout", "100s"];
    rig.ok(&[&wait[..], &["--task", "approve", "--phase", "Waiting"]].concat())
        .await;
    rig.ok(&["--user", "bob", "approve", release]).await;
    rig.ok(&[&wait[..], &["--task", "proceed-gray", "--phase", "Waiting"]].concat())
        .await;
    let gray = rig.pods("app=checkout-gray").await;
    assert_eq!(gray.len(), 1);
    assert_eq!(gray[0].labels()[label::SERVICE_TAG], "gray");
    assert_eq!(
        rig.pods("app=checkout").await.len(),
        3,
        "neither more nor less for the baseline's Service"
    );
    rig.ok(&["proceed", release]).await;
    rig.ok(&[&wait[..], &["--task", "deploy-prod", "--phase", "Waiting"]].concat())
        .await;
    rig.ok(&["proceed", release]).await;
    rig.ok(&[&wait[..], &["--phase", "Succeeded"]].concat())
        .await;
    let image = |p: &Pod| {
        p.spec.as_ref().unwrap().containers[0]
            .image
            .clone()
            .unwrap()
    };
    let pods = rig
        .until("three new pods", "app=checkout", |p| p.len() == 3)
        .await;
    assert!(
        pods.iter().all(|p| image(p) == "checkout:2"),
        "{:?}",
        pods.iter().map(image).collect::<Vec<_>>()
    );
    let value: Value =
        serde_json::to_value(&pods[0].spec.as_ref().unwrap().containers[0].env).unwrap();
    assert_eq!(value, json!([{"name": "BRACES", "value": "{{ .kept }}"}]));
    rig.until("gray gone", "app=checkout-gray", <[Pod]>::is_empty)
        .await;
}
