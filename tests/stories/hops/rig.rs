//! A pocket with the services as pods, one gateway in front of and between them, and requests.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use graylane::{
    api::{Lane, LaneGroup, Served},
    cluster::{install, watch},
    demo::images,
    domain::chain::{Chain, Chains},
    pocket::images::{Images, Manifest},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::wait::{await_condition, conditions::is_pod_running},
};
use serde_json::{Value, json};
use tokio::{process::Child, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::gateways::{Gateway, Places};
use crate::support::{demo::command, ports::free, program};

const LIMIT: Duration = Duration::from_secs(120);
/// Requests that are sent at most.
const MOST_REQUESTS: usize = 3000;

pub struct Rig {
    state: tempfile::TempDir,
    serve: Child,
    client: Client,
    load: JoinHandle<()>,
}

/// Who answered, in calling order.
pub fn sides(chain: &Chain) -> Vec<Served> {
    chain.steps.iter().filter_map(|s| s.served).collect()
}

impl Rig {
    pub async fn start(gateway: &Gateway, program: &Path) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut serve = command(state.path());
        serve.args(["pocket", "serve"]).stderr(Stdio::null());
        let (serve, client) = program::serving(&mut serve, state.path()).await;
        install::definitions(&client).await.unwrap();
        images::create_missing(state.path()).unwrap();
        apply::<Namespace>(&client, None, "demo", json!({})).await;

        let (entry, inside) = (free(), free());
        let pods = services(&client, &format!("http://{inside}")).await;
        let places = Places { entry, inside, pods, dir: state.path().join("gateway") };
        std::fs::create_dir(&places.dir).unwrap();
        let args = gateway.args(&places);
        let entrypoint = vec![program.display().to_string()];
        let working_dir = Some(places.dir.display().to_string());
        let manifest = Manifest { entrypoint, env: BTreeMap::new(), working_dir };
        Images::of(state.path()).unwrap().define("edge:v1", &manifest).unwrap();
        let container = json!({"name": "edge", "image": "edge:v1", "args": args});
        let pod =
            json!({"metadata": {"labels": {"app": "edge"}}, "spec": {"hostNetwork": true, "containers": [container]}});
        apply::<Pod>(&client, Some("demo"), "edge-0", pod).await;

        let app = |letter: &str| json!({"app": format!("spring-cloud-{letter}"), "port": 80});
        let group = json!({"spec": {
            "entry": {"gateway": "gw", "routes": [{"path": "/a", "app": "spring-cloud-a"}]},
            "apps": [app("a"), app("b"), app("c")],
            "mode": "gateway",
            "hops": [{"accessLog": {"format": gateway.format(), "matchLabels": {"app": "edge"}}}],
        }});
        apply::<LaneGroup>(&client, Some("demo"), "shop", group).await;
        // As the engine would tell it.
        let status = json!({"status": {"addresses": [entry.to_string()]}});
        let groups: Api<LaneGroup> = Api::namespaced(client.clone(), "demo");
        groups.patch_status("shop", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        let rule = json!({"all": [{"type": "parameter", "key": "group", "op": "==", "values": ["gray"]}]});
        let lane = json!({"spec": {"group": "shop", "tag": "gray", "enabled": true, "match": rule}});
        apply::<Lane>(&client, Some("demo"), "gray", lane).await;
        let load = tokio::spawn(ask(format!("http://{entry}/a")));
        Self { state, serve, client, load }
    }

    /// The chains that a watcher sees until each of these was seen some times.
    pub async fn until_seen(&self, wanted: &[(Option<&str>, [Served; 3])]) -> Vec<Arc<Chain>> {
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        let mut worlds = watch::spawn(self.client.clone(), "demo", stop);
        let mut chains = Chains::new(1000);
        let mut after: BTreeMap<String, i64> = BTreeMap::new();
        let seen = async {
            loop {
                worlds.changed().await.unwrap();
                let world = worlds.borrow().clone();
                let now = Timestamp::now();
                chains.follow(&world, now);
                for chain in chains.list() {
                    let end =
                        chain.time + jiff::SignedDuration::from_micros(chain.micros.try_into().unwrap_or(i64::MAX));
                    after
                        .entry(chain.id.clone())
                        .or_insert_with(|| now.duration_since(end).as_millis().try_into().unwrap());
                }
                let count = |(tag, wanted): &(Option<&str>, [Served; 3])| {
                    chains.list().filter(|c| c.tag.as_deref() == *tag && sides(c) == wanted).count()
                };
                if wanted.iter().all(|w| count(w) >= 3) {
                    return;
                }
            }
        };
        let told = tokio::time::timeout(LIMIT, seen).await;
        let all: Vec<Arc<Chain>> = chains.list().cloned().collect();
        // For whoever measures (--nocapture): the log's past, which is read first, is none of it.
        let mut late: Vec<i64> = after.values().copied().filter(|ms| *ms < 1000).collect();
        late.sort_unstable();
        eprintln!("seen {:?} ms after the answer's end (median of {})", late.get(late.len() / 2), late.len());
        let last: Vec<_> = all.iter().rev().take(4).map(|c| (&c.tag, &c.path, &c.steps)).collect();
        assert!(told.is_ok(), "{last:#?}\n{}", self.printed());
        // The first ones are from before the gateway's own start, or before its log had told a tag.
        let is_whole = |c: &&Arc<Chain>| wanted.iter().any(|(tag, w)| c.tag.as_deref() == *tag && sides(c) == w);
        all.iter().rev().filter(is_whole).take(20).cloned().collect()
    }

    /// What a command of this cluster says when all is well.
    pub async fn ok(&self, args: &[&str]) -> String {
        let mut all = vec!["--namespace", "demo"];
        all.extend(args);
        program::ok(command(self.state.path()), &all).await
    }

    /// What the gateway has printed last.
    fn printed(&self) -> String {
        let folders = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
        let runs = folders(self.state.path().join("pods")).flat_map(|pod| folders(pod.join("edge")));
        let text: String = runs.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    pub async fn stop(mut self) {
        self.load.abort();
        let pid = rustix::process::Pid::from_raw(self.serve.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(LIMIT, self.serve.wait()).await.expect("it ends").unwrap();
    }
}

/// The pods of a, b and c, by name; one of b drops the tag.
async fn services(client: &Client, via: &str) -> BTreeMap<&'static str, IpAddr> {
    let all = [
        ("a-base", "a", ""),
        ("a-gray", "a", "gray"),
        ("b-passes", "b", ""),
        ("b-drops", "b", ""),
        ("c-base", "c", ""),
        ("c-gray", "c", "gray"),
    ];
    let mut addresses = BTreeMap::new();
    for (name, letter, tag) in all {
        let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
        let mut env = vec![
            json!({"name": "POD_IP", "valueFrom": field("status.podIP")}),
            json!({"name": "PORT", "value": "20000"}),
            json!({"name": "NEXT_VIA", "value": via}),
        ];
        let mut labels =
            json!({"graylane.dev/app": format!("spring-cloud-{letter}"), "graylane.dev/environment": "prod"});
        if !tag.is_empty() {
            labels["alicloud.service.tag"] = tag.into();
            env.push(json!({"name": "SERVICE_TAG", "value": tag}));
        }
        if name == "b-drops" {
            env.push(json!({"name": "DROP_TAG", "value": "1"}));
        }
        let image = format!("spring-cloud-{letter}:v1");
        let ready = json!({"httpGet": {"path": "/health", "port": 20000}, "periodSeconds": 1});
        let container = json!({"name": "app", "image": image, "env": env, "readinessProbe": ready});
        apply::<Pod>(
            client,
            Some("demo"),
            name,
            json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}}),
        )
        .await;
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), "demo");
    for (name, ..) in all {
        let runs = await_condition(pods.clone(), name, is_pod_running());
        let pod = tokio::time::timeout(LIMIT, runs).await.expect("it runs").unwrap().unwrap();
        addresses.insert(name, pod.status.unwrap().pod_ip.unwrap().parse().unwrap());
    }
    addresses
}

async fn apply<K>(client: &Client, namespace: Option<&str>, name: &str, mut object: Value)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    object["apiVersion"] = K::api_version(&()).as_ref().into();
    object["kind"] = K::kind(&()).as_ref().into();
    object["metadata"]["name"] = name.into();
    let resource = kube::core::ApiResource::erase::<K>(&());
    let api: Api<kube::core::DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
}

/// Tagged and untagged requests in turn, each with a trace of its own.
async fn ask(url: String) {
    let client = reqwest::Client::new();
    for n in 0..MOST_REQUESTS {
        let tagged = if n % 3 < 2 { "?group=gray&token=secret" } else { "" };
        let trace = uuid::Uuid::new_v4().simple();
        let sent =
            client.get(format!("{url}{tagged}")).header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        let _ = sent.timeout(Duration::from_secs(5)).send().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
