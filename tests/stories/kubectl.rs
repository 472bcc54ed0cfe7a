//! The real kubectl on pocket: looked up on PATH, and skipped, loudly, where there is none.

mod agree;

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use crate::support::program;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

const LIMIT: Duration = Duration::from_mins(2);

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
    state: PathBuf,
    _pocket: Option<Child>,
}

fn is_there() -> bool {
    let found = std::process::Command::new("kubectl")
        .args(["version", "--client"])
        .output();
    let there = found.is_ok_and(|o| o.status.success());
    if !there {
        eprintln!(
            "SKIPPED: there is no kubectl on PATH, so nothing of tests/stories/kubectl.rs was run"
        );
    }
    there
}

impl Kubectl {
    async fn new() -> Kubectl {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (pocket, _) = program::serving(
            program::command(&state, "ann").args(["pocket", "serve"]),
            &state,
        )
        .await;
        Kubectl {
            dir,
            state,
            _pocket: Some(pocket),
        }
    }

    /// At a pocket that somebody else runs.
    fn of(state: &Path) -> Kubectl {
        Kubectl {
            dir: tempfile::tempdir().unwrap(),
            state: state.into(),
            _pocket: None,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(self.state.join("kubeconfig"));
        command
            .arg("--cache-dir")
            .arg(self.dir.path().join("cache"));
        command
            .args(args)
            .env("HOME", self.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .expect("in time")
            .unwrap()
    }

    async fn ok_with(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// An image that says a line every 100 ms until it is asked to end.
    async fn build(&self, tag: &str) {
        let folder = self.dir.path().join(tag);
        std::fs::create_dir_all(&folder).unwrap();
        let script = format!(
            "trap 'exit 0' TERM; n=0; while :; do n=$((n+1)); echo {tag} $n; sleep 0.1; done"
        );
        let manifest = serde_json::json!({"entrypoint": ["sh", "-c", script]});
        std::fs::write(folder.join("image.yaml"), manifest.to_string()).unwrap();
        let image = format!("tick:{tag}");
        program::ok(
            program::command(&self.state, "ann"),
            &["pocket", "build", folder.to_str().unwrap(), "-t", &image],
        )
        .await;
    }

    async fn ok(&self, args: &[&str]) -> String {
        self.ok_with(args, "").await
    }

    async fn refused(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input).await;
        assert!(
            !output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
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
    for kind in [
        "pods",
        "deployments.apps",
        "httproutes.gateway.networking.k8s.io",
    ] {
        assert!(kinds.lines().any(|line| line == kind), "{kind} in {kinds}");
    }

    let told = k.ok_with(&["apply", "-f", "-"], WEB).await;
    assert_eq!(told, "deployment.apps/web created\nservice/web created\n");
    let told = k.ok_with(&["apply", "-f", "-"], WEB).await;
    assert_eq!(
        told,
        "deployment.apps/web unchanged\nservice/web unchanged\n"
    );
    // Of a List kubectl reads the schemas of OpenAPI 2 first, in protobuf.
    let map = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "listed"}}"#;
    let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{map}]}}"#);
    let told = k.ok_with(&["apply", "-f", "-"], &list).await;
    assert!(told.contains("configmap/listed created"), "{told}");
    let told = k
        .ok_with(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            WEB,
        )
        .await;
    assert_eq!(
        told,
        "deployment.apps/web serverside-applied\nservice/web serverside-applied\n"
    );

    let table = k.ok(&["get", "deployments,services", "-o", "wide"]).await;
    for word in [
        "READY",
        "UP-TO-DATE",
        "AVAILABLE",
        "CLUSTER-IP",
        "PORT(S)",
        "80/TCP",
        "app=web",
        "no-such-image:1",
    ] {
        assert!(table.contains(word), "{word} in {table}");
    }
    let described = k.ok(&["describe", "deployment", "web"]).await;
    for word in [
        "25% max unavailable, 25% max surge",
        "Replicas:               2 desired",
    ] {
        assert!(described.contains(word), "{word} in {described}");
    }
    assert_eq!(
        k.ok(&["scale", "deployment/web", "--replicas=3"]).await,
        "deployment.apps/web scaled\n"
    );
    assert_eq!(
        k.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"])
            .await,
        "3"
    );
    k.ok(&[
        "wait",
        "--for=jsonpath={.status.replicas}=3",
        "deployment/web",
        "--timeout=60s",
    ])
    .await;
    let explained = k
        .ok(&[
            "explain",
            "deploy.spec.template.spec.containers.livenessProbe",
        ])
        .await;
    assert!(
        explained.contains("httpGet") && explained.contains("<HTTPGetAction>"),
        "{explained}"
    );
    assert!(
        k.ok(&["explain", "httproutes.spec"])
            .await
            .contains("parentRefs")
    );

    let told = k.ok(&["delete", "deployment,service", "web"]).await;
    assert_eq!(
        told,
        "deployment.apps \"web\" deleted\nservice \"web\" deleted\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_and_refusals_say_why() {
    if !is_there() {
        return;
    }
    let k = Kubectl::new().await;
    let mut watch = k
        .command(&[
            "get",
            "configmaps",
            "-w",
            "--no-headers",
            "--field-selector",
            "metadata.name=seen",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    k.ok(&["create", "configmap", "seen", "--from-literal=a=1"])
        .await;
    let line = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .expect("in time")
        .unwrap()
        .unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[..2], ["seen", "1"], "{line}");
    watch.kill().await.unwrap();

    let misspelt = WEB.replace("replicas: 2", "replicaz: 2");
    let told = k.refused(&["apply", "-f", "-"], &misspelt).await;
    assert!(told.contains("unknown field \"spec.replicaz\""), "{told}");
    let mistyped = WEB.replace("replicas: 2", "replicas: two");
    let told = k.refused(&["apply", "-f", "-"], &mistyped).await;
    let words = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
    assert!(told.contains(words), "{told}");
    let negative = WEB.replace("replicas: 2", "replicas: -2");
    let told = k.refused(&["apply", "-f", "-"], &negative).await;
    assert!(
        told.contains("spec.replicas: Invalid value: -2: must be greater than or equal to 0"),
        "{told}"
    );
    let told = k.refused(&["get", "pod", "nope"], "").await;
    assert_eq!(
        told,
        "Error from server (NotFound): pods \"nope\" not found\n"
    );
    let daemons = WEB.replace("kind: Deployment", "kind: DaemonSet");
    let told = k.refused(&["create", "-f", "-"], &daemons).await;
    assert!(
        told.contains("pocket does not serve daemonsets.apps"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_roll_log_and_go() {
    if !is_there() {
        return;
    }
    let k = Kubectl::new().await;
    k.build("v1").await;
    k.build("v2").await;
    // What kubectl creates by itself comes as protobuf.
    k.ok(&[
        "create",
        "deployment",
        "web",
        "--image=tick:v1",
        "--replicas=2",
        "--port=80",
    ])
    .await;
    let image = [
        "get",
        "deploy",
        "web",
        "-o",
        "jsonpath={.spec.template.spec.containers[0].image}",
    ];
    let done = k
        .ok(&["rollout", "status", "deploy/web", "--timeout=60s"])
        .await;
    assert!(done.ends_with("successfully rolled out\n"), "{done}");

    let told = k
        .ok(&["logs", "deploy/web", "--tail=1", "--timestamps"])
        .await;
    let (time, line) = told.trim().split_once(' ').unwrap();
    assert!(
        time.parse::<jiff::Timestamp>().is_ok() && line.starts_with("v1 "),
        "{told}"
    );
    let mut follow = k
        .command(&["logs", "-f", "-l", "app=web", "--tail=1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    for _ in 0..5 {
        let line = tokio::time::timeout(LIMIT, lines.next_line())
            .await
            .expect("in time")
            .unwrap()
            .unwrap();
        assert!(line.starts_with("v1 "), "{line}");
    }
    follow.kill().await.unwrap();
    let told = k.refused(&["logs", "deploy/web", "--previous"], "").await;
    assert!(
        told.contains("previous terminated container \"tick\""),
        "{told}"
    );

    k.ok(&["set", "image", "deploy/web", "tick=tick:v2"]).await;
    k.ok(&["rollout", "status", "deploy/web", "--timeout=60s"])
        .await;
    let history = k.ok(&["rollout", "history", "deploy/web"]).await;
    assert!(
        history.contains("\n1 ") && history.contains("\n2 "),
        "{history}"
    );
    k.ok(&["rollout", "undo", "deploy/web"]).await;
    assert_eq!(k.ok(&image).await, "tick:v1");
    k.ok(&["rollout", "pause", "deploy/web"]).await;
    let told = k.refused(&["rollout", "restart", "deploy/web"], "").await;
    assert!(told.contains("can't restart paused deployment"), "{told}");
    k.ok(&["rollout", "resume", "deploy/web"]).await;
    k.ok(&["rollout", "status", "deploy/web", "--timeout=60s"])
        .await;
    for (kind, patch, image_now) in [
        (
            "strategic",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"tick","image":"tick:a"}]}}}}"#,
            "tick:a",
        ),
        (
            "json",
            r#"[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"tick:v2"}]"#,
            "tick:v2",
        ),
        ("merge", r#"{"spec":{"paused":true}}"#, "tick:v2"),
    ] {
        k.ok(&["patch", "deploy", "web", "--type", kind, "-p", patch])
            .await;
        assert_eq!(k.ok(&image).await, image_now);
    }
    k.ok(&["label", "deploy", "web", "tier=x"]).await;
    assert_eq!(
        k.ok(&["get", "deploy", "-A", "-l", "tier=x", "-o", "name"])
            .await,
        "deployment.apps/web\n"
    );

    let pods = k
        .ok(&[
            "get",
            "pods",
            "--field-selector",
            "status.phase=Running",
            "--sort-by",
            ".metadata.creationTimestamp",
            "--no-headers",
        ])
        .await;
    // The newest: older ones may be on their way out.
    let newest = pods.lines().last().unwrap();
    let pod = newest.split_whitespace().next().unwrap();
    let described = k.ok(&["describe", "pod", pod]).await;
    for word in [
        "Controlled By:  ReplicaSet/web-",
        "Started container tick",
        "Port:           80/TCP",
    ] {
        assert!(described.contains(word), "{word} in {described}");
    }
    for refused in [
        ["exec", pod, "--", "true"].as_slice(),
        &["attach", pod],
        &["port-forward", pod, "0:80"],
    ] {
        let told = k.refused(refused, "").await;
        assert!(
            told.contains("pocket does not serve the ") && told.contains(" subresource of pods"),
            "{told}"
        );
    }
    assert_eq!(k.ok(&["auth", "can-i", "delete", "pods"]).await, "yes\n");
    assert_eq!(
        k.ok(&[
            "auth",
            "whoami",
            "-o",
            "jsonpath={.status.userInfo.username}"
        ])
        .await,
        "you"
    );
    let all = k.ok(&["auth", "can-i", "--list", "-n", "default"]).await;
    assert!(all.contains("*.*"), "{all}");
    let told = k
        .run(
            &["auth", "can-i", "create", "pods", "--subresource=exec"],
            "",
        )
        .await;
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        "no - pocket does not serve this\n"
    );

    k.ok(&["delete", "deploy", "web", "--cascade=orphan"]).await;
    let sets = k.ok(&["get", "rs", "-o", "name"]).await;
    assert!(sets.contains("replicaset.apps/web-"), "{sets}");
    k.ok(&["delete", "rs", "-l", "app=web", "--cascade=foreground"])
        .await;
    assert_eq!(k.ok(&["get", "pods", "-o", "name"]).await, "");
}
