//! The same story on a real API server with its own controllers, where they and Traefik are at hand.
//!
//! A real API server takes no endpoint of the loopback. So all of it runs in a network of its own, in which the
//! addresses of [`POD_NETWORK`] are this machine's: nothing of the machine's own network is touched.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use graylane::{
    cluster::install::{ENGINE_NAMESPACE, EngineDeployment, InstallSpec},
    demo::{images, seed},
};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use pocket::{kubelet, network::Network};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ALL_BASE, LIMIT, apply_workspace, connected, node_logs, play, skipped, traefik, traefik_args,
};
use crate::{
    control_plane::{self, ControlPlane},
    support::{
        demo::{Demo, command},
        installed,
        ports::free,
    },
};

/// The account that `install` makes for the engine of `demo`.
const ENGINE: &str = "system:serviceaccount:graylane-system:graylane-engine-demo";
const POD_NETWORK: [u8; 2] = [10, 99];
/// Said to the one that is started in there.
const INSIDE: &str = "GRAYLANE_TEST_INSIDE";
const TEST: &str = "traefik::real::the_story_through_traefik_on_a_real_api_server";
const SET_UP: &str = "ip link set lo up && ip route add local 10.99.0.0/16 dev lo";

/// A network of its own, and of whoever is started in it.
fn unshare(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--net",
        "--kill-child",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    command.stdin(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_through_traefik_on_a_real_api_server() {
    let Some(program) = traefik() else {
        return skipped("no traefik at $TRAEFIK, in target/peers/bin, on PATH");
    };
    if control_plane::binaries().is_none() {
        return skipped("no real control plane");
    }
    if env::var_os(INSIDE).is_some() {
        return inside(&program).await;
    }
    let tried = unshare(SET_UP).output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        return skipped(&format!(
            "a network of its own cannot be had here (unshare, ip): {tried:?}"
        ));
    }
    let again = move || {
        let mut command = unshare(&format!("{SET_UP} && exec \"$@\""));
        command
            .arg(env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(INSIDE, "1")
            .output()
    };
    let played = tokio::task::spawn_blocking(again).await.unwrap().unwrap();
    let told = [played.stdout, played.stderr]
        .map(|t| String::from_utf8_lossy(&t).into_owned())
        .concat();
    assert!(
        played.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

async fn inside(program: &Path) {
    let plane = ControlPlane::start().await.expect("its binaries are there");
    let client = plane.client("admin").await;
    installed::definitions(&client).await;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_owned();
    // As a pocket's: with it every command that names this folder speaks to the real API server.
    std::fs::copy(plane.kubeconfig("admin"), state.join("kubeconfig")).unwrap();
    images::create_missing(&state).unwrap();
    namespaces(&client).await;
    // The engine has the rights that `install` gives it, and no others; its pods are this process's child.
    let engine = EngineDeployment {
        image: "none".into(),
        replicas: 0,
        namespace: ENGINE_NAMESPACE.into(),
        otlp: false,
    };
    let deploy_to = vec!["demo-test".into(), "demo-pre".into()];
    let wanted = InstallSpec {
        namespace: seed::NAMESPACE.into(),
        deploy_to,
        engine: Some(engine),
    };
    rights(&client, &wanted).await;

    let network = Network::with_base(POD_NETWORK);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let node = kubelet::Config {
        state: state.clone(),
        network,
        program: env!("CARGO_BIN_EXE_graylane").into(),
        host: graylane::embedded::HOST,
        back_off: (Duration::from_secs(1), Duration::from_secs(30)),
    };
    kubelet::spawn(client.clone(), node, &tasks, &stop).unwrap();

    let (entry, between) = (free().port(), free().port());
    apply_workspace(&state, entry, between).await;
    let log = std::fs::File::create(state.join("engine.log")).unwrap();
    let its = dir.path().join("engine");
    std::fs::create_dir(&its).unwrap();
    std::fs::copy(
        plane.certificate_user(ENGINE, "engines", 60 * LIMIT),
        its.join("kubeconfig"),
    )
    .unwrap();
    let engine = command(&its)
        .args(["engine", "--no-install"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut gateway = run_traefik(program, &state, network.node_address(), entry, between).await;
    let printed = state.join("logs/traefik/log");
    node_logs::show(
        &client,
        network.node_address(),
        "traefik",
        "traefik-0",
        &printed,
    )
    .await;
    let seeded = tokio::time::timeout(2 * LIMIT, seed::seed_workspace(&client, |_| {})).await;
    let told = || std::fs::read_to_string(state.join("engine.log")).unwrap_or_default();
    seeded
        .unwrap_or_else(|_| panic!("the first versions never come: {}", told()))
        .unwrap();

    let mut demo = Demo::around(dir, engine, connected(&state).await);
    serves(&demo).await;
    play(&demo, between, || {
        std::fs::read_to_string(state.join("logs/traefik/log")).unwrap_or_default()
    })
    .await;
    assert!(gateway.try_wait().unwrap().is_none(), "Traefik ended");
    gateway.kill().await.unwrap();
    demo.stop().await;
    stop.cancel();
    tasks.close();
    tokio::time::timeout(LIMIT, tasks.wait())
        .await
        .expect("the pods end");
}

/// As a process: its output is what a kubelet would serve as its pod's log.
async fn run_traefik(
    program: &Path,
    state: &Path,
    node: std::net::Ipv4Addr,
    entry: u16,
    between: u16,
) -> tokio::process::Child {
    let args = traefik_args(state, Some(node.to_string()), entry, between).await;
    let log = std::fs::File::create(state.join("logs/traefik/log")).unwrap();
    tokio::process::Command::new(program)
        .args(args)
        .current_dir(state.join("logs/traefik"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// As a demo that is ready: production answers, by routes that somebody has taken.
async fn serves(demo: &Demo) {
    let ready = async {
        loop {
            let group: Value = demo
                .ok(&["get", "lanegroups", "mse-demo", "-o", "json"])
                .await
                .parse()
                .unwrap();
            let routes = group["status"]["routes"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let taken = routes.len() == 4 && routes.iter().all(|r| r["accepted"] == true);
            if taken
                && demo
                    .run(&["probe", "/A/a", "--expect", ALL_BASE])
                    .await
                    .status
                    .success()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LIMIT, ready)
        .await
        .expect("production answers through Traefik");
}

/// What `install` brings, but for its policies: the demo's first releases are requested by nobody who is a user here.
async fn rights(client: &Client, wanted: &InstallSpec) {
    let kinds = [
        "ClusterRole",
        "ClusterRoleBinding",
        "Namespace",
        "RoleBinding",
        "ServiceAccount",
    ];
    installed::apply(client, wanted, &kinds).await;
}

/// Those of the workspace; their pods get no token, for which they had to have a volume that only a container has.
async fn namespaces(client: &Client) {
    for name in ["demo", "demo-test", "demo-pre", "traefik"] {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
        let there = await_condition(
            accounts.clone(),
            "default",
            |found: Option<&ServiceAccount>| found.is_some(),
        );
        tokio::time::timeout(LIMIT, there)
            .await
            .expect("an account")
            .unwrap();
        let none = Patch::Merge(json!({"automountServiceAccountToken": false}));
        accounts
            .patch("default", &PatchParams::default(), &none)
            .await
            .unwrap();
    }
}
