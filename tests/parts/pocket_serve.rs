//! `graylane pocket serve`: one process holds a state folder, others come in by its kubeconfig, the end is clean.

use std::{path::Path, process::Stdio, time::Duration};

use graylane::cluster::{
    agent::Agent,
    connect::{ClusterSource, connect},
};
use k8s_openapi::api::core::v1::Pod;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const LIMIT: Duration = Duration::from_mins(1);

fn command(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graylane"));
    command
        .arg("--state")
        .arg(state)
        .args(args)
        .env("XDG_CONFIG_HOME", state)
        .env_remove("KUBECONFIG");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn serve(state: &Path) -> Child {
    let mut serve = command(state, &["pocket", "serve"]);
    let mut child = serve
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody reads what it says beside: it goes on.
    drop(child.stderr.take());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(line.as_deref(), Some("ready"));
    child
}

async fn run(state: &Path, args: &[&str]) -> (i32, String, String) {
    let output = tokio::time::timeout(LIMIT, command(state, args).output())
        .await
        .expect("in time")
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

async fn end(child: &mut Child, signal: rustix::process::Signal) -> std::process::ExitStatus {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    tokio::time::timeout(LIMIT, child.wait())
        .await
        .expect("ends in time")
        .unwrap()
}

/// `default/kubernetes`, as in every cluster: its address is the one that the kubeconfig names.
async fn the_api_is_a_service_of_its_own(kubeconfig: &str) {
    use k8s_openapi::api::core::v1::{Endpoints, Service};
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = kube::config::Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
            .await
            .unwrap();
    let url = config.cluster_url.clone();
    let client = kube::Client::try_from(config).unwrap();
    let service = kube::Api::<Service>::namespaced(client.clone(), "default")
        .get("kubernetes")
        .await
        .unwrap();
    let spec = service.spec.unwrap();
    let port = spec.ports.as_ref().unwrap()[0].port;
    assert_eq!(
        format!("{}:{port}", spec.cluster_ip.unwrap()),
        url.authority().unwrap().as_str()
    );
    let endpoints = kube::Api::<Endpoints>::namespaced(client, "default")
        .get("kubernetes")
        .await
        .unwrap();
    let address = &endpoints.subsets.as_ref().unwrap()[0]
        .addresses
        .as_ref()
        .unwrap()[0]
        .ip;
    assert_eq!(Some(address.as_str()), url.host());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_is_there_after_a_clean_end_and_after_a_kill() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    let mut first = serve(&state).await;
    let (code, _, told) = run(&state, &["pocket", "serve"]).await;
    assert_eq!(code, 1);
    assert!(
        told.contains("runs in") && told.contains("already"),
        "{told}"
    );

    let file = base.path().join("ns.yaml");
    std::fs::write(
        &file,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: kept}\n",
    )
    .unwrap();
    let apply = ["apply", "-f", file.to_str().unwrap()];
    let (code, out, told) = run(&state, &apply).await;
    assert_eq!(
        (code, out.as_str()),
        (0, "namespace/kept created\n"),
        "{told}"
    );
    let (_, kubeconfig, _) = run(&state, &["pocket", "kubeconfig"]).await;
    assert!(
        kubeconfig.contains("certificate-authority-data"),
        "{kubeconfig}"
    );
    the_api_is_a_service_of_its_own(&kubeconfig).await;
    assert!(
        end(&mut first, rustix::process::Signal::TERM)
            .await
            .success()
    );
    let (code, _, told) = run(&state, &["pocket", "kubeconfig"]).await;
    assert!(code == 1 && told.contains("no pocket runs in"), "{told}");

    let mut second = serve(&state).await;
    let (code, _, told) = run(&state, &["logs", "graylane-system/lane-gateway"]).await;
    assert_eq!(code, 0, "{told}");
    assert!(
        !end(&mut second, rustix::process::Signal::KILL)
            .await
            .success()
    );
    let mut third = serve(&state).await;
    let again = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kept, labels: {seen: 'yes'}}\n";
    std::fs::write(&file, again).unwrap();
    let (_, out, told) = run(&state, &apply).await;
    assert_eq!(out, "namespace/kept configured\n", "{told}");
    let (code, _, told) = run(&state, &["--context", "x", "pocket", "serve"]).await;
    assert!(code == 2, "{told}");
    assert!(
        end(&mut third, rustix::process::Signal::INT)
            .await
            .success()
    );
    assert!(std::fs::read_dir(state.join("logs")).unwrap().count() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_built_from_folders_with_or_without_a_running_pocket() {
    let base = tempfile::tempdir().unwrap();
    let (state, context) = (base.path().join("state"), base.path().join("context"));
    std::fs::create_dir(&context).unwrap();
    let build = [
        "pocket",
        "build",
        context.to_str().unwrap(),
        "--tag",
        "web:v1",
    ];
    let (code, _, told) = run(&state, &build).await;
    assert!(code == 1 && told.contains("image.yaml"), "{told}");
    std::fs::write(context.join("image.yaml"), "entrypoint: [/bin/true]\n").unwrap();
    let (code, out, told) = run(&state, &build).await;
    assert!(code == 0 && out.starts_with("web:v1 sha256:"), "{told}");
    let (_, out, _) = run(&state, &["pocket", "images"]).await;
    assert!(out.contains("web:v1") && out.contains("/bin/true"), "{out}");
}

/// A full disk, played by a limit on the size of files: what was acknowledged stays, what was not is refused with the
/// file's name, and all goes on when there is space again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_loses_nothing() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    // What the limit does besides the error is to send XFSZ.
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "trap '' XFSZ; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_graylane"),
        "--state",
    ]);
    shell
        .arg(&state)
        .args(["pocket", "serve"])
        .env("XDG_CONFIG_HOME", &state)
        .env_remove("KUBECONFIG");
    let mut server = shell
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let ready = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(ready.as_deref(), Some("ready"));
    let pid = Pid::from_raw(server.id().unwrap().try_into().unwrap());
    let most = getrlimit(Resource::Fsize);
    let limit = |bytes| {
        prlimit(
            pid,
            Resource::Fsize,
            Rlimit {
                current: bytes,
                maximum: most.maximum,
            },
        )
        .unwrap()
    };
    let config_map = |name: String| {
        let file = base.path().join(format!("{name}.yaml"));
        let data = "x".repeat(400_000);
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{d: {data}}}\n"
        );
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    limit(Some(
        std::fs::metadata(state.join("store.redb")).unwrap().len(),
    ));
    let mut kept = vec![];
    let refused = loop {
        let name = format!("c-{}", kept.len());
        let (code, _, told) = run(&state, &["apply", "-f", &config_map(name.clone())]).await;
        if code != 0 {
            break told;
        }
        kept.push(name);
        assert!(kept.len() < 100, "never full");
    };
    assert!(
        refused.contains("could not be written") && refused.contains("store.redb"),
        "{refused}"
    );
    limit(most.current);
    let last = format!("c-{}", kept.len());
    let (code, out, told) = run(&state, &["apply", "-f", &config_map(last.clone())]).await;
    assert_eq!(
        (code, out),
        (0, format!("configmap/{last} created\n")),
        "{told}"
    );
    kept.push(last);
    assert!(
        end(&mut server, rustix::process::Signal::KILL)
            .await
            .code()
            .is_none()
    );
    let _again = serve(&state).await;
    for name in kept {
        let (code, out, told) = run(&state, &["apply", "-f", &config_map(name.clone())]).await;
        assert_eq!(
            (code, out),
            (0, format!("configmap/{name} unchanged\n")),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_used_is_told_by_its_path() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let state = base.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("store.redb"), vec![7; 9000]).unwrap();
    for (dir, words) in [
        (&file, "Not a directory"),
        (&file.join("below"), "Not a directory"),
        (&state, "store.redb: damaged"),
    ] {
        let (code, _, told) = run(dir, &["pocket", "serve"]).await;
        assert!(
            code == 1 && told.contains(&dir.display().to_string()) && told.contains(words),
            "{told}"
        );
        assert!(!told.contains("panicked"), "{told}");
    }
    assert_eq!(
        std::fs::read(state.join("store.redb")).unwrap(),
        vec![7; 9000],
        "nothing is overwritten"
    );
}

/// By a shell, so that the limits of this process stay as they are.
async fn serve_with(state: &Path, prepare: &str) -> Child {
    let mut shell = Command::new("sh");
    let script = format!("{prepare}; exec \"$@\"");
    shell
        .args([
            "-c",
            &script,
            "sh",
            env!("CARGO_BIN_EXE_graylane"),
            "--state",
        ])
        .arg(state)
        .args(["pocket", "serve"]);
    shell
        .env("XDG_CONFIG_HOME", state)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let mut child = shell.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(line.as_deref(), Some("ready"));
    child
}

async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

/// Paths that somebody else may read.
fn open_to_others(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::symlink_metadata(dir).unwrap();
    if !meta.is_symlink() && meta.permissions().mode() & 0o077 != 0 {
        found.push(dir.into());
    }
    if meta.is_dir() {
        std::fs::read_dir(dir)
            .unwrap()
            .for_each(|e| open_to_others(&e.unwrap().path(), found));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_any_umask_the_state_is_its_owners_and_containers_get_what_was() {
    let base = tempfile::tempdir().unwrap();
    let (state, context) = (base.path().join("state"), base.path().join("context"));
    std::fs::create_dir(&context).unwrap();
    let image = "entrypoint: [sh, -c, 'umask; ulimit -Sn; exec sleep 1000']\n";
    std::fs::write(context.join("image.yaml"), image).unwrap();
    let mut server = serve_with(&state, "umask 0002; ulimit -Sn 321").await;
    let (code, _, told) = run(
        &state,
        &[
            "pocket",
            "build",
            context.to_str().unwrap(),
            "--tag",
            "i:v1",
        ],
    )
    .await;
    assert_eq!(code, 0, "{told}");
    let file = base.path().join("pod.yaml");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: default}\nspec:\n  \
        terminationGracePeriodSeconds: 1\n  containers: [{name: c, image: 'i:v1'}]\n  \
        volumes: [{name: v, downwardAPI: {items: [{path: x, fieldRef: {fieldPath: metadata.name}}]}}]\n";
    std::fs::write(&file, pod).unwrap();
    let (code, _, told) = run(&state, &["apply", "-f", file.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{told}");
    let log = until("its words", async || {
        let (_, out, _) = run(&state, &["logs", "default/p"]).await;
        (out.lines().count() >= 2).then_some(out)
    })
    .await;
    assert!(log.contains("0002") && log.contains("321"), "{log}");
    let mut found = vec![];
    open_to_others(&state, &mut found);
    assert!(found.is_empty(), "{found:?}");
    assert!(
        end(&mut server, rustix::process::Signal::TERM)
            .await
            .success()
    );
}

/// More connections that send nothing than there are descriptors: the API answers all the same, soon, and a pod goes on.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_stop_neither_the_api_nor_probes() {
    let base = tempfile::tempdir().unwrap();
    let (state, context) = (base.path().join("state"), base.path().join("context"));
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("image.yaml"), "entrypoint: [sleep, '1000']\n").unwrap();
    let mut server = serve_with(&state, "ulimit -n 300").await;
    run(
        &state,
        &[
            "pocket",
            "build",
            context.to_str().unwrap(),
            "--tag",
            "i:v1",
        ],
    )
    .await;
    let file = base.path().join("pod.yaml");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: default}\nspec:\n  \
        terminationGracePeriodSeconds: 1\n  containers:\n  - {name: c, image: 'i:v1', \
        livenessProbe: {exec: {command: ['true']}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}}\n";
    std::fs::write(&file, pod).unwrap();
    let (code, _, told) = run(&state, &["apply", "-f", file.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{told}");
    let (_, kubeconfig, _) = run(&state, &["pocket", "kubeconfig"]).await;
    let address = kubeconfig
        .lines()
        .find_map(|l| l.split_once("https://"))
        .unwrap()
        .1
        .trim_matches(['"', ' '])
        .to_owned();
    let mut silent = vec![];
    for _ in 0..400 {
        silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    // All are let go: those that found no place at once, the others when nothing came.
    for mut stream in silent {
        let mut byte = [0];
        let end =
            tokio::time::timeout(LIMIT, tokio::io::AsyncReadExt::read(&mut stream, &mut byte))
                .await;
        assert!(matches!(end, Ok(Ok(0) | Err(_))), "{end:?}");
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pod = until("an answer", async || {
        let client = connect(&ClusterSource::State(state.clone()), None, Agent::Cli)
            .await
            .ok()?
            .client;
        kube::Api::<Pod>::namespaced(client, "default")
            .get("p")
            .await
            .ok()
    })
    .await;
    let container = &pod
        .status
        .as_ref()
        .unwrap()
        .container_statuses
        .as_ref()
        .unwrap()[0];
    assert_eq!(
        (container.restart_count, container.ready),
        (0, true),
        "{pod:?}"
    );
    assert!(
        end(&mut server, rustix::process::Signal::TERM)
            .await
            .success()
    );
}
