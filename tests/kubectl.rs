//! The real kubectl on pocket: looked up on PATH, and skipped, loudly, where there is none.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

const LIMIT: Duration = Duration::from_secs(120);

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "no-such-image:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"#;

struct Kubectl {
    dir: tempfile::TempDir,
    _pocket: Child,
}

fn is_there() -> bool {
    let found = std::process::Command::new("kubectl").args(["version", "--client"]).output();
    let there = found.is_ok_and(|o| o.status.success());
    if !there {
        eprintln!("SKIPPED: there is no kubectl on PATH, so nothing of tests/kubectl.rs was run");
    }
    there
}

impl Kubectl {
    async fn new() -> Kubectl {
        let dir = tempfile::tempdir().unwrap();
        let mut pocket = Command::new(env!("CARGO_BIN_EXE_graylane"))
            .arg("--state")
            .arg(dir.path().join("state"))
            .args(["pocket", "serve"])
            .env("XDG_CONFIG_HOME", dir.path())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(pocket.stdout.take().unwrap()).lines();
        let ready = async { while lines.next_line().await.unwrap().expect("it goes on") != "ready" {} };
        tokio::time::timeout(LIMIT, ready).await.expect("ready in time");
        Kubectl { dir, _pocket: pocket }
    }

    fn command(&self, args: &[&str]) -> Command {
        let path = |name: &str| Path::new(self.dir.path()).join(name);
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(path("state/kubeconfig")).arg("--cache-dir").arg(path("cache"));
        command.args(args).env("HOME", self.dir.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("in time").unwrap()
    }

    async fn ok_with(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn ok(&self, args: &[&str]) -> String {
        self.ok_with(args, "").await
    }

    async fn refused(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input).await;
        assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_kubectl_works() {
    if !is_there() {
        return;
    }
    let k = Kubectl::new().await;
    let kinds = k.ok(&["api-resources", "-o", "name"]).await;
    for kind in ["pods", "deployments.apps", "httproutes.gateway.networking.k8s.io"] {
        assert!(kinds.lines().any(|line| line == kind), "{kind} in {kinds}");
    }

    let told = k.ok_with(&["apply", "-f", "-"], WEB).await;
    assert_eq!(told, "deployment.apps/web created\nservice/web created\n");
    let told = k.ok_with(&["apply", "-f", "-"], WEB).await;
    assert_eq!(told, "deployment.apps/web unchanged\nservice/web unchanged\n");
    let told = k.ok_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], WEB).await;
    assert_eq!(told, "deployment.apps/web serverside-applied\nservice/web serverside-applied\n");

    let table = k.ok(&["get", "deployments,services", "-o", "wide"]).await;
    for word in ["READY", "UP-TO-DATE", "AVAILABLE", "CLUSTER-IP", "PORT(S)", "80/TCP", "app=web", "no-such-image:1"] {
        assert!(table.contains(word), "{word} in {table}");
    }
    let described = k.ok(&["describe", "deployment", "web"]).await;
    for word in ["25% max unavailable, 25% max surge", "Replicas:               2 desired"] {
        assert!(described.contains(word), "{word} in {described}");
    }
    assert_eq!(k.ok(&["scale", "deployment/web", "--replicas=3"]).await, "deployment.apps/web scaled\n");
    assert_eq!(k.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]).await, "3");
    k.ok(&["wait", "--for=jsonpath={.status.replicas}=3", "deployment/web", "--timeout=60s"]).await;
    assert!(k.ok(&["explain", "httproutes.spec"]).await.contains("parentRefs"));

    let told = k.ok(&["delete", "deployment,service", "web"]).await;
    assert_eq!(told, "deployment.apps \"web\" deleted\nservice \"web\" deleted\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_and_refusals_say_why() {
    if !is_there() {
        return;
    }
    let k = Kubectl::new().await;
    let mut watch = k.command(&["get", "configmaps", "-w", "--no-headers"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let seen = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}, "data": {"a": "1"}}"#;
    k.ok_with(&["create", "-f", "-"], seen).await;
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("in time").unwrap().unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[..2], ["seen", "1"], "{line}");
    watch.kill().await.unwrap();

    let misspelt = WEB.replace("replicas: 2", "replicaz: 2");
    let told = k.refused(&["apply", "-f", "-"], &misspelt).await;
    assert!(told.contains("unknown field \"spec.replicaz\""), "{told}");
    let negative = WEB.replace("replicas: 2", "replicas: -2");
    let told = k.refused(&["apply", "-f", "-"], &negative).await;
    assert!(told.contains("spec.replicas: Invalid value: -2: must be greater than or equal to 0"), "{told}");
    let told = k.refused(&["get", "pod", "nope"], "").await;
    assert_eq!(told, "Error from server (NotFound): pods \"nope\" not found\n");
    let told = k.refused(&["get", "statefulsets"], "").await;
    assert!(told.contains("the server doesn't have a resource type \"statefulsets\""), "{told}");
}
