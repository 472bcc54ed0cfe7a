//! `graylane demo --headless` in a fresh state folder, and its command line.

use std::{collections::BTreeSet, path::Path, process::Output, time::Duration};

use graylane::api::{App, label};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{
    processes,
    program::{self, LIMIT},
};

pub struct Demo {
    dir: tempfile::TempDir,
    child: Child,
    pub client: Client,
}

impl Demo {
    /// Starts it and waits until production serves.
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// The same, in a state folder in which something is already.
    pub async fn start_in(dir: tempfile::TempDir) -> Self {
        let (child, client) = spawn(dir.path()).await;
        Self { dir, child, client }
    }

    /// The same workspace elsewhere, where this process is the engine.
    pub fn around(dir: tempfile::TempDir, child: Child, client: Client) -> Self {
        Self { dir, child, client }
    }

    /// KILL to the process alone, whatever it is at; a new one on the same state, as soon as production serves
    /// again. Of the old one's children none may be left then.
    pub async fn kill(&mut self) {
        let children = processes::below(self.pid());
        self.child.kill().await.unwrap();
        (self.child, self.client) = spawn(self.dir.path()).await;
        let gone = async {
            while children.iter().any(processes::Process::is_there) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, gone).await;
        assert!(
            !children.is_empty() && waited.is_ok(),
            "outlived their pocket: {children:?}"
        );
    }

    pub fn state(&self) -> &Path {
        self.dir.path()
    }

    pub async fn run(&self, args: &[&str]) -> Output {
        program::run(command(self.dir.path()), args).await
    }

    pub async fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let (out, told) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success(),
            "{args:?}: {told}{out}{}",
            self.releases().await
        );
        out.into_owned()
    }

    pub async fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert_eq!(
            output.status.code(),
            Some(1),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Waits for a phase of a release, or of one of its tasks.
    pub async fn wait(&self, name: &str, task: Option<&str>, phase: &str) {
        let task = task.map(|t| vec!["--task", t]).unwrap_or_default();
        self.ok(&[
            &[
                "release",
                "wait",
                name,
                "--phase",
                phase,
                "--timeout",
                "180s",
            ][..],
            &task,
        ]
        .concat())
            .await;
    }

    pub async fn wait_batch(&self, name: &str, task: &str, batch: u32) {
        let batch = batch.to_string();
        let what = [
            "--task",
            task,
            "--batch",
            &batch,
            "--phase",
            "Done",
            "--timeout",
            "180s",
        ];
        self.ok(&[&["release", "wait", name][..], &what].concat())
            .await;
    }

    /// For failures: how everything stands.
    async fn releases(&self) -> String {
        let output = self.run(&["release", "list", "-o", "wide"]).await;
        format!("\n{}", String::from_utf8_lossy(&output.stdout))
    }

    /// `host:port` of the entry.
    pub async fn entry(&self) -> String {
        let group: Value = serde_json::from_str(
            &self
                .ok(&["get", "lanegroups", "mse-demo", "-o", "json"])
                .await,
        )
        .unwrap();
        group["status"]["addresses"][0]
            .as_str()
            .unwrap_or_else(|| panic!("no entry: {group}"))
            .to_owned()
    }

    async fn listed(&self, app: &str, environment: &str) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "demo");
        let selector = format!("{}={app},{}={environment}", label::APP, label::ENVIRONMENT);
        pods.list(&ListParams::default().labels(&selector))
            .await
            .unwrap()
            .items
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Names of the pods of an environment.
    pub async fn names(&self, app: &str, environment: &str) -> Vec<String> {
        self.listed(app, environment)
            .await
            .iter()
            .map(ResourceExt::name_any)
            .collect()
    }

    /// Uids of the pods of an environment.
    pub async fn pods(&self, app: &str, environment: &str) -> BTreeSet<String> {
        self.listed(app, environment)
            .await
            .iter()
            .filter_map(ResourceExt::uid)
            .collect()
    }

    /// Pods of production with an image of that tag, and the others, without those that are going.
    pub async fn split(&self, app: &str, tag: &str) -> (usize, usize) {
        let pods = self.listed(app, "prod").await;
        let image = |p: &Pod| {
            p.spec
                .as_ref()
                .and_then(|s| s.containers[0].image.clone())
                .unwrap_or_default()
        };
        let here: Vec<&Pod> = pods
            .iter()
            .filter(|p| p.metadata.deletion_timestamp.is_none())
            .collect();
        let fresh = here
            .iter()
            .filter(|p| image(p).ends_with(&format!(":{tag}")))
            .count();
        (fresh, here.len() - fresh)
    }

    /// A window of A and C, each with its v2: the names of its releases.
    pub async fn start_window(&self) -> [String; 2] {
        let start = [
            "release",
            "start",
            "spring-cloud-a",
            "spring-cloud-c",
            "--stage",
            "production",
        ];
        let images = [
            "spring-cloud-a/backend=spring-cloud-a:v2",
            "spring-cloud-c/backend=spring-cloud-c:v2",
        ];
        let told = self
            .ok(&[&start[..], &["--image", images[0], "--image", images[1]]].concat())
            .await;
        let names: Vec<String> = told.lines().map(str::to_owned).collect();
        names.try_into().unwrap_or_else(|_| panic!("{told}"))
    }

    /// After which batches production of an App stops.
    pub async fn set_pause(&self, app: &str, pause: &str) {
        self.set_rollout(app, "prod", "pause", pause.into()).await;
    }

    /// A word of an environment's `rollout`.
    pub async fn set_rollout(&self, app: &str, environment: &str, word: &str, value: Value) {
        let apps: Api<App> = Api::namespaced(self.client.clone(), "demo");
        let found = apps.get(app).await.unwrap();
        let at = found
            .spec
            .environments
            .iter()
            .position(|e| e.name == environment)
            .unwrap();
        let patch = json!([{"op": "add", "path": format!("/spec/environments/{at}/rollout/{word}"), "value": value}]);
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        apps.patch(app, &PatchParams::default(), &Patch::Json::<()>(patch))
            .await
            .unwrap();
    }

    /// SIGTERM, and a clean end.
    pub async fn stop(&mut self) {
        let pid =
            rustix::process::Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = tokio::time::timeout(LIMIT, self.child.wait())
            .await
            .expect("ends on SIGTERM")
            .unwrap();
        assert!(ended.success(), "{ended}");
    }
}

/// Starts it and waits until production serves.
async fn spawn(state: &Path) -> (Child, Client) {
    program::serving(command(state).args(["demo", "--headless"]), state).await
}

pub fn command(state: &Path) -> Command {
    program::command(state, "captain")
}
