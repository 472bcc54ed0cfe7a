//! Real processes as pods: rollouts, crashes, logs, the graceful end, and that nothing outlives its pocket.

use std::{path::Path, process::Stdio, time::Duration};

use futures::{AsyncBufReadExt, TryStreamExt};
use graylane::cluster::{
    agent::Agent,
    connect::{ClusterSource, connect},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams},
};
use pocket::{
    controllers,
    images::{Images, Manifest},
    kubelet,
    network::Network,
    rest::ApiServer,
};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const LIMIT: Duration = Duration::from_mins(1);

struct Fixture {
    client: Client,
    server: ApiServer,
    images: Images,
    stop: CancellationToken,
    tasks: TaskTracker,
    _held: std::net::TcpListener,
}

impl Fixture {
    async fn start(dir: &Path) -> Self {
        let server = graylane::embedded::open_api(dir).unwrap();
        let (network, held) = Network::claim_for(dir).unwrap();
        server.set_network(network).await.unwrap();
        let (client, stop, tasks) = (
            server.client(),
            CancellationToken::new(),
            TaskTracker::new(),
        );
        controllers::spawn(client.clone(), &tasks, &stop);
        let config = kubelet::Config {
            state: dir.into(),
            network,
            program: env!("CARGO_BIN_EXE_graylane").into(),
            host: graylane::embedded::HOST,
            back_off: (Duration::from_millis(50), Duration::from_millis(200)),
        };
        let logs = kubelet::spawn(client.clone(), config, &tasks, &stop).unwrap();
        server.set_log_source(logs);
        Self {
            client,
            server,
            images: graylane::embedded::open_images(dir).unwrap(),
            stop,
            tasks,
            _held: held,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.server.close().await;
    }

    /// An image that is a shell script.
    fn image(&self, name: &str, script: &str) {
        let entrypoint = ["sh", "-c", script].map(String::from).to_vec();
        self.images
            .define(
                name,
                &Manifest {
                    entrypoint,
                    ..Manifest::default()
                },
            )
            .unwrap();
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn pod(&self, name: &str, spec: Value) -> Pod {
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        self.pods()
            .create(
                &PostParams::default(),
                &serde_json::from_value(pod).unwrap(),
            )
            .await
            .unwrap()
    }

    async fn until<T>(&self, what: &str, name: &str, fact: impl Fn(&Pod) -> Option<T>) -> T {
        within(what, async || {
            fact(&self.pods().get_opt(name).await.unwrap()?)
        })
        .await
    }

    async fn log(&self, name: &str, params: &LogParams) -> String {
        self.pods().logs(name, params).await.unwrap()
    }

    async fn said(&self, reason: &str) -> String {
        within(reason, async || {
            let all = Api::<Event>::namespaced(self.client.clone(), "default")
                .list(&ListParams::default())
                .await
                .unwrap();
            all.into_iter()
                .find(|e| e.reason.as_deref() == Some(reason))
                .and_then(|e| e.message)
        })
        .await
    }
}

async fn within<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

const SERVES: &str = "trap 'echo bye; exit 0' TERM; echo up $POD_IP; while :; do sleep 0.05; done";

fn ready(pod: &Pod) -> bool {
    controllers::pods::is_ready(pod)
}

fn gone(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_and_its_rollback_move_real_processes() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::start(dir.path()).await;
    f.image("web:v1", SERVES);
    f.image("web:v2", SERVES);
    let api: Api<Deployment> = Api::namespaced(f.client.clone(), "default");
    let spec = |image: &str| {
        json!({"metadata": {"name": "web"}, "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]}}}})
    };
    api.create(
        &PostParams::default(),
        &serde_json::from_value(spec("web:v1")).unwrap(),
    )
    .await
    .unwrap();
    for image in ["web:v1", "web:v2", "web:v1"] {
        api.patch("web", &PatchParams::default(), &Patch::Merge(spec(image)))
            .await
            .unwrap();
        within(image, async || {
            let status = api.get("web").await.unwrap();
            let (generation, status) = (status.metadata.generation, status.status?);
            let all = [
                status.replicas,
                status.updated_replicas,
                status.available_replicas,
            ];
            (status.observed_generation == generation && all == [Some(4); 3]).then_some(())
        })
        .await;
        let params = ListParams::default();
        let pods = within("the old are gone", async || {
            let pods = f.pods().list(&params).await.unwrap().items;
            (pods.len() == 4).then_some(pods)
        })
        .await;
        let mut ips: Vec<_> = pods
            .iter()
            .map(|p| p.status.clone().unwrap().pod_ip.unwrap())
            .collect();
        ips.sort();
        ips.dedup();
        assert_eq!(ips.len(), 4, "an address each");
        for pod in pods {
            assert_eq!(
                pod.spec.as_ref().unwrap().containers[0].image.as_deref(),
                Some(image)
            );
            let ip = pod.status.clone().unwrap().pod_ip.unwrap();
            let name = pod.name_any();
            within("its log", async || {
                f.log(&name, &LogParams::default())
                    .await
                    .contains(&ip)
                    .then_some(())
            })
            .await;
        }
    }
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_are_counted_told_and_kept_as_the_previous_log() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::start(dir.path()).await;
    f.image("bad:v1", "echo run; exit 3");
    f.pod(
        "bad",
        json!({"containers": [{"name": "c", "image": "bad:v1"}]}),
    )
    .await;
    f.until("backs off", "bad", |pod| {
        let status = &pod.status.as_ref()?.container_statuses.as_ref()?[0];
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let last = status.last_state.as_ref()?.terminated.as_ref()?;
        let reason = waiting.reason.as_deref() == Some("CrashLoopBackOff");
        (reason && status.restart_count >= 2 && last.exit_code == 3).then_some(())
    })
    .await;
    let previous = LogParams {
        previous: true,
        ..LogParams::default()
    };
    // While the next run begins there may be none for a moment.
    let log = within("the previous log", async || {
        f.pods().logs("bad", &previous).await.ok()
    })
    .await;
    assert_eq!(log, "run\n");
    assert!(
        f.said("BackOff")
            .await
            .contains("Back-off restarting failed container")
    );
    f.pod(
        "none",
        json!({"containers": [{"name": "c", "image": "none:v1"}]}),
    )
    .await;
    let told = f
        .until("says why", "none", |pod| {
            pod.status.as_ref()?.container_statuses.as_ref()?[0]
                .state
                .as_ref()?
                .waiting
                .as_ref()?
                .message
                .clone()
        })
        .await;
    assert!(
        told.contains("there is no image none:v1 in the store"),
        "{told}"
    );
    f.image("none:v1", SERVES);
    f.until("starts when the image is there", "none", |pod| {
        ready(pod).then_some(())
    })
    .await;
    f.pod(
        "wish",
        json!({"containers": [{"name": "c", "image": "none:v1"}],
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
    )
    .await;
    assert!(f.said("FailedScheduling").await.contains("hostPath"));
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_end_is_waited_for_and_its_last_words_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::start(dir.path()).await;
    f.image(
        "slow:v1",
        "trap 'sleep 0.4; echo last; exit 0' TERM; echo up; while :; do sleep 0.05; done",
    );
    f.pod(
        "slow",
        json!({"containers": [{"name": "c", "image": "slow:v1"}]}),
    )
    .await;
    f.until("ready", "slow", |pod| ready(pod).then_some(()))
        .await;
    let follow = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let mut lines = f.pods().log_stream("slow", &follow).await.unwrap().lines();
    assert_eq!(lines.try_next().await.unwrap().as_deref(), Some("up"));
    f.pods()
        .delete("slow", &DeleteParams::default())
        .await
        .unwrap();
    // The shell may tell of its own child's end in between.
    let rest: Vec<String> = tokio::time::timeout(LIMIT, lines.try_collect())
        .await
        .expect("the log ends")
        .unwrap();
    assert_eq!(rest.last().map(String::as_str), Some("last"), "{rest:?}");
    within("the object goes", async || {
        f.pods()
            .get_opt("slow")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    // One that ignores TERM is killed when its grace is over.
    f.image(
        "deaf:v1",
        "trap '' TERM; echo $$; while :; do sleep 0.05; done",
    );
    f.pod("deaf", json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "deaf:v1"}]})).await;
    let pid = within("its pid", async || {
        let pod = f.pods().get("deaf").await.unwrap();
        if !ready(&pod) {
            return None;
        }
        f.log("deaf", &LogParams::default())
            .await
            .lines()
            .next()
            .map(str::to_owned)
    })
    .await;
    f.pods()
        .delete("deaf", &DeleteParams::default())
        .await
        .unwrap();
    within("the object goes", async || {
        f.pods()
            .get_opt("deaf")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    assert!(gone(&pid));
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_decide_readiness_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::start(dir.path()).await;
    f.image("probed:v1", SERVES);
    let flag = dir.path().join("flag");
    let probe = json!({"exec": {"command": ["test", "-e", flag]}, "periodSeconds": 1, "failureThreshold": 1});
    let spec = json!({"terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "probed:v1", "readinessProbe": probe}]});
    f.pod("probed", spec).await;
    f.until("runs", "probed", |pod| {
        (controllers::pods::phase(pod) == "Running").then_some(())
    })
    .await;
    assert!(f.said("Unhealthy").await.contains("Readiness probe failed"));
    assert!(!ready(&f.pods().get("probed").await.unwrap()));
    std::fs::write(&flag, "").unwrap();
    f.until("ready", "probed", |pod| ready(pod).then_some(()))
        .await;
    std::fs::remove_file(&flag).unwrap();
    f.until("not ready", "probed", |pod| (!ready(pod)).then_some(()))
        .await;
    let probe = json!({"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1});
    let spec = json!({"terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "probed:v1", "livenessProbe": probe}]});
    f.pod("sick", spec).await;
    f.until("restarted", "sick", |pod| {
        let status = pod.status.as_ref()?.container_statuses.clone()?;
        (status[0].restart_count >= 1).then_some(())
    })
    .await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_killed_pocket_and_the_pod_starts_again_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::start(dir.path()).await;
    f.image(
        "tree:v1",
        "trap '' TERM; sleep 1000 & echo $!; echo $$; while :; do sleep 0.05; done",
    );
    let made = f
        .pod(
            "tree",
            json!({"containers": [{"name": "c", "image": "tree:v1"}]}),
        )
        .await;
    let pids = async |f: &Fixture| {
        within("its pids", async || {
            let pod = f.pods().get("tree").await.unwrap();
            if !ready(&pod) {
                return None;
            }
            let lines: Vec<String> = f
                .log("tree", &LogParams::default())
                .await
                .lines()
                .map(str::to_owned)
                .collect();
            (lines.len() == 2).then_some(lines)
        })
        .await
    };
    let first = pids(&f).await;
    f.stop().await;
    assert!(
        first.iter().all(|pid| gone(pid)),
        "a clean end takes everything along"
    );

    let mut serve = tokio::process::Command::new(env!("CARGO_BIN_EXE_graylane"))
        .arg("--state")
        .arg(dir.path())
        .args(["pocket", "serve"])
        .env("XDG_CONFIG_HOME", dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let file = dir
        .path()
        .join("pods")
        .join(made.uid().unwrap())
        .join("c/1.log");
    let second = within("the next run", async || {
        let text = std::fs::read_to_string(&file).ok()?;
        let pids: Vec<String> = text
            .lines()
            .filter_map(|l| Some(l.rsplit(' ').next()?.to_owned()))
            .collect();
        (pids.len() == 2).then_some(pids)
    })
    .await;
    assert!(second.iter().all(|pid| !gone(pid)));
    // Its number must be in the state, or the next run gets the same.
    within("its status", async || {
        let client = connect(&ClusterSource::State(dir.path().into()), None, Agent::Cli)
            .await
            .ok()?
            .client;
        let pod = Api::<Pod>::namespaced(client, "default")
            .get("tree")
            .await
            .ok()?;
        (pod.status?.container_statuses?[0].restart_count == 1).then_some(())
    })
    .await;
    serve.start_kill().unwrap();
    serve.wait().await.unwrap();
    within("nothing is left", async || {
        second.iter().all(|pid| gone(pid)).then_some(())
    })
    .await;

    let f = Fixture::start(dir.path()).await;
    f.until("the third run", "tree", |pod| {
        (pod.status.as_ref()?.container_statuses.as_ref()?[0].restart_count == 2).then_some(())
    })
    .await;
    let third = pids(&f).await;
    assert!(third.iter().all(|pid| !gone(pid)));
    let again = f.pods().get("tree").await.unwrap();
    assert_eq!(again.uid(), made.uid(), "the same pod");
    let status = &again.status.unwrap().container_statuses.unwrap()[0];
    assert_eq!(status.restart_count, 2);
    let last = status.last_state.clone().unwrap().terminated.unwrap();
    assert_eq!(last.reason.as_deref(), Some("ContainerStatusUnknown"));
    f.stop().await;
}

/// A service of another user at an address; none where this user may not become another one.
fn stranger(ip: std::net::Ipv4Addr) -> Option<tokio::process::Child> {
    let graylane = env!("CARGO_BIN_EXE_graylane");
    let other = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let may = std::process::Command::new("setpriv")
        .args(other)
        .args([graylane, "--version"])
        .output();
    if !may.is_ok_and(|o| o.status.success()) {
        eprintln!(
            "SKIPPED: what another user listens at, for setpriv is not there or not permitted"
        );
        return None;
    }
    let mut command = tokio::process::Command::new("setpriv");
    command
        .args(other)
        .args([graylane, "sample", "a"])
        .env("POD_IP", ip.to_string())
        .env("PORT", "21001");
    Some(
        command
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_user_listens_at_in_a_pods_place_is_told_and_never_ready() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::start(dir.path()).await;
    f.image("idle:v1", "sleep 1000");
    let spec = json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "idle:v1",
        "readinessProbe": {"tcpSocket": {"port": 21001}, "periodSeconds": 1}}]});
    f.pod("victim", spec.clone()).await;
    let ip: std::net::Ipv4Addr = f
        .until("an address", "victim", |p| {
            p.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
        })
        .await;
    let Some(mut first) = stranger(ip) else {
        return f.stop().await;
    };
    let events: Api<Event> = Api::namespaced(f.client.clone(), "default");
    within("it is told", async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        let words = format!("user 65534 listens at {ip}:21001");
        all.iter()
            .any(|e| e.message.as_ref().is_some_and(|m| m.contains(&words)))
            .then_some(())
    })
    .await;
    assert!(!ready(&f.pods().get("victim").await.unwrap()));
    first.kill().await.unwrap();

    // The next address is not given while somebody else listens there.
    let [a, b, c, d] = ip.octets();
    let next = std::net::Ipv4Addr::new(a, b, c, d + 1);
    let _second = stranger(next).unwrap();
    within("it listens", async || {
        tokio::net::TcpStream::connect((next, 21001)).await.ok()
    })
    .await;
    f.pod("other", spec).await;
    let given: std::net::Ipv4Addr = f
        .until("an address", "other", |p| {
            p.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
        })
        .await;
    assert!(given != next && given != ip, "{given}");
    within("who has it is told", async || {
        let all = events
            .list(&ListParams::default().fields("involvedObject.name=other"))
            .await
            .unwrap();
        let words = format!("user 65534 listens at {next}:21001");
        let told = |e: &Event| {
            e.type_.as_deref() == Some("Warning")
                && e.message.as_ref().is_some_and(|m| m.contains(&words))
        };
        all.iter().any(told).then_some(())
    })
    .await;
    f.stop().await;
}
