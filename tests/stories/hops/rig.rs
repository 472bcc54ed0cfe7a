//! A pocket with the services as pods, one gateway in front of and between them, and requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use graylane::{
    api::{Lane, LaneGroup, LaneGroupStatus, Served},
    cluster::{install, watch},
    demo::images,
    domain::{
        chain::{Chain, Chains},
        hop_logs::{HopLog, logs_for_cockpit},
        world::World,
    },
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams},
    runtime::wait::{await_condition, conditions::is_pod_running},
};
use pocket::images::Manifest;
use serde_json::{Value, json};
use tokio::{process::Child, sync::watch as channel, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    collector,
    gateways::{Gateway, Places, Spans},
    jaeger, zipkin,
};
use crate::support::{demo::command, ports::free, program};

const LIMIT: Duration = Duration::from_mins(2);
/// Requests that are sent at most.
const MOST_REQUESTS: usize = 3000;

/// How what the gateway knows comes to whoever watches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The gateway's access log, followed by everybody.
    Log,
    /// The same, followed by an engine, which is followed by everybody.
    Relay,
    /// Spans that the gateway sends to an engine, which is followed by everybody.
    Otlp,
    /// The same with an OpenTelemetry Collector between.
    Collector,
    /// Spans that the gateway sends to a Zipkin, which everybody asks.
    Zipkin,
    /// Spans that the gateway sends to a Jaeger, which everybody asks.
    Jaeger,
}

impl Way {
    /// A store of traces is asked, no engine.
    const fn has_store(self) -> bool {
        matches!(self, Self::Zipkin | Self::Jaeger)
    }
}

pub struct Rig {
    state: tempfile::TempDir,
    serve: Child,
    pub client: Client,
    load: JoinHandle<()>,
    pub engine: Engine,
    /// Where the store of traces is asked.
    pub store: SocketAddr,
    worlds: channel::Receiver<World>,
    chains: Chains,
    _watch: DropGuard,
}

/// Where an engine listens.
#[derive(Clone, Copy)]
pub struct Engine {
    pub otlp: SocketAddr,
    pub metrics: SocketAddr,
}

/// Who answered, in calling order.
pub fn sides(chain: &Chain) -> Vec<Served> {
    chain.steps.iter().filter_map(|s| s.served).collect()
}

impl Rig {
    pub async fn start(gateway: &Gateway, program: &Path, way: Way) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut serve = command(state.path());
        serve.args(["pocket", "serve"]).stderr(Stdio::null());
        let (serve, client) = program::serving(&mut serve, state.path()).await;
        install::apply_definitions(&client).await.unwrap();
        images::create_missing(state.path()).unwrap();
        apply::<Namespace>(&client, None, "demo", json!({})).await;

        let (entry, inside) = (free(), free());
        let engine = Engine {
            otlp: free(),
            metrics: free(),
        };
        let store = free();
        let receives = free();
        let images = graylane::embedded::open_images(state.path()).unwrap();
        if way == Way::Zipkin {
            // First of all: it takes the longest.
            zipkin::start(&client, &images, store).await;
        }
        let pods = services(&client, &format!("http://{inside}")).await;
        let spans = match way {
            Way::Log | Way::Relay => Spans::Nowhere,
            Way::Otlp => Spans::Otlp(engine.otlp),
            Way::Collector | Way::Jaeger => Spans::Otlp(receives),
            Way::Zipkin => Spans::Zipkin(store),
        };
        let places = Places {
            entry,
            inside,
            spans,
            pods,
            dir: state.path().join("gateway"),
        };
        std::fs::create_dir(&places.dir).unwrap();
        match way {
            Way::Jaeger => jaeger::start(&client, &images, &places.dir, receives, store).await,
            Way::Collector => {
                collector::start(&client, &images, &places.dir, receives, engine.otlp).await;
            }
            Way::Log | Way::Relay | Way::Otlp | Way::Zipkin => {}
        }
        let args = gateway.args(&places);
        let manifest = Manifest {
            entrypoint: vec![program.display().to_string()],
            env: gateway.env(),
            working_dir: Some(places.dir.display().to_string()),
        };
        images.define("edge:v1", &manifest).unwrap();
        let container = json!({"name": "edge", "image": "edge:v1", "args": args});
        let pod = json!({"metadata": {"labels": {"app": "edge"}}, "spec": {"hostNetwork": true, "containers": [container]}});
        apply::<Pod>(&client, Some("demo"), "edge-0", pod).await;

        let app = |letter: &str| json!({"app": format!("spring-cloud-{letter}"), "port": 80});
        let log =
            json!({"accessLog": {"format": gateway.format(), "matchLabels": {"app": "edge"}}});
        let group = json!({"spec": {
            "entry": {"gateway": "gw", "routes": [{"path": "/a", "app": "spring-cloud-a"}]},
            "apps": [app("a"), app("b"), app("c")],
            "mode": "gateway",
            "hops": match way {
                Way::Log | Way::Relay => vec![log],
                Way::Otlp | Way::Collector => vec![],
                Way::Zipkin => vec![json!({"zipkin": {"url": format!("http://{store}")}})],
                Way::Jaeger => vec![json!({"jaeger": {"url": format!("http://{store}"), "gatewayName": gateway.service_name()}})],
            },
        }});
        apply::<LaneGroup>(&client, Some("demo"), "shop", group).await;
        let rule =
            json!({"all": [{"type": "parameter", "key": "group", "op": "==", "values": ["gray"]}]});
        let lane =
            json!({"spec": {"group": "shop", "tag": "gray", "enabled": true, "match": rule}});
        apply::<Lane>(&client, Some("demo"), "gray", lane).await;
        if way == Way::Log || way.has_store() {
            // As an engine would tell it.
            let status = json!({"status": {"addresses": [entry.to_string()]}});
            let groups: Api<LaneGroup> = Api::namespaced(client.clone(), "demo");
            groups
                .patch_status("shop", &PatchParams::default(), &Patch::Merge(&status))
                .await
                .unwrap();
        } else {
            let entrypoint = vec![env!("CARGO_BIN_EXE_graylane").to_owned()];
            let env = BTreeMap::from([(
                "XDG_CONFIG_HOME".to_owned(),
                state.path().display().to_string(),
            )]);
            images
                .define(
                    "engine:v1",
                    &Manifest {
                        entrypoint,
                        env,
                        working_dir: None,
                    },
                )
                .unwrap();
            start_engine(&client, "engine-0", state.path(), engine, way).await;
            // Whoever comes from now on leaves the gateway's log to the engine.
            let is_told = |status: &LaneGroupStatus| {
                status.span_log.is_some()
                    && status.hops.iter().all(|h| h.problem.is_none())
                    && !status.hops.is_empty()
            };
            let groups: Api<LaneGroup> = Api::namespaced(client.clone(), "demo");
            let told = async || groups.get("shop").await.ok()?.status.filter(is_told);
            program::until("an engine that tells where it writes hops", told).await;
        }
        if way.has_store() {
            // Whoever finds that it does not answer asks again later and later.
            let page = if way == Way::Zipkin {
                "health"
            } else {
                "api/v3/services"
            };
            let answers = async || {
                reqwest::get(format!("http://{store}/{page}"))
                    .await
                    .ok()?
                    .error_for_status()
                    .ok()
            };
            program::until("a store of traces that answers", answers).await;
        }
        let load = tokio::spawn(ask(format!("http://{entry}/a")));
        let stop = CancellationToken::new();
        let worlds = watch::spawn(client.clone(), "demo", stop.clone());
        let (chains, _watch) = (Chains::new(1000), stop.drop_guard());
        Self {
            state,
            serve,
            client,
            load,
            engine,
            store,
            worlds,
            chains,
            _watch,
        }
    }

    /// The chains of requests since that time that a watcher sees, until each of these was seen some times.
    pub async fn until_seen(
        &mut self,
        wanted: &[(Option<&str>, [Served; 3])],
        since: Timestamp,
    ) -> Vec<Arc<Chain>> {
        let Self { worlds, chains, .. } = self;
        let mut after: BTreeMap<String, i64> = BTreeMap::new();
        let seen = async {
            loop {
                worlds.changed().await.unwrap();
                let world = worlds.borrow().clone();
                let now = Timestamp::now();
                chains.follow_world(&world, now);
                for chain in chains.all_chains() {
                    let end = chain.time
                        + jiff::SignedDuration::from_micros(
                            chain.micros.try_into().unwrap_or(i64::MAX),
                        );
                    after
                        .entry(chain.id.clone())
                        .or_insert_with(|| now.duration_since(end).as_millis().try_into().unwrap());
                }
                let count = |(tag, wanted): &(Option<&str>, [Served; 3])| {
                    let fits = |c: &&Arc<Chain>| {
                        c.tag.as_deref() == *tag && sides(c) == wanted && c.time >= since
                    };
                    chains.all_chains().filter(fits).count()
                };
                if wanted.iter().all(|w| count(w) >= 3) {
                    return;
                }
            }
        };
        let told = tokio::time::timeout(LIMIT, seen).await;
        let all: Vec<Arc<Chain>> = chains.all_chains().cloned().collect();
        // For whoever measures (--nocapture): the log's past, which is read first, is none of it.
        let mut late: Vec<i64> = after.values().copied().filter(|ms| *ms < 1000).collect();
        late.sort_unstable();
        eprintln!(
            "seen {:?} ms after the answer's end (median of {})",
            late.get(late.len() / 2),
            late.len()
        );
        let last: Vec<_> = all
            .iter()
            .rev()
            .take(4)
            .map(|c| (&c.tag, &c.path, &c.steps))
            .collect();
        assert!(
            told.is_ok(),
            "{last:#?}\n{}\n{}",
            self.printed("edge"),
            self.printed("engine")
        );
        // The first ones are from before the gateway's own start, or before its log had told a tag.
        let is_whole = |c: &&Arc<Chain>| {
            wanted
                .iter()
                .any(|(tag, w)| c.tag.as_deref() == *tag && sides(c) == w)
        };
        all.iter()
            .rev()
            .filter(|c| c.time >= since)
            .filter(is_whole)
            .take(20)
            .cloned()
            .collect()
    }

    /// Every trace that was seen has one chain.
    pub fn assert_each_once(&self) {
        let mut traces: Vec<&str> = self.chains.all_chains().map(|c| c.trace.as_str()).collect();
        traces.sort_unstable();
        let twice: Vec<_> = traces.windows(2).filter(|two| two[0] == two[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    /// The logs that whoever watches follows, in words.
    pub fn followed(&self) -> Vec<String> {
        let words = |log: &HopLog| match log {
            HopLog::LaneGateway => "lane gateway".to_owned(),
            HopLog::Spans { namespace, .. } => format!("spans in {namespace}"),
            HopLog::Access(log) => log.display_name(),
            HopLog::Store(store) => store.store_kind().to_owned(),
        };
        logs_for_cockpit(&self.worlds.borrow(), &BTreeSet::new())
            .iter()
            .map(words)
            .collect()
    }

    /// What the lane group tells of its sources: each with its pods.
    pub fn sources(&self) -> Vec<(String, u32)> {
        let world = self.worlds.borrow();
        let status = world.groups["shop"].status.clone().unwrap_or_default();
        status
            .hops
            .into_iter()
            .map(|h| (h.source, h.pods))
            .collect()
    }

    /// Kills the engine's pod at once, and starts another.
    pub async fn replace_engine(&self) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "demo");
        pods.delete("engine-0", &DeleteParams::default().grace_period(0))
            .await
            .unwrap();
        start_engine(
            &self.client,
            "engine-1",
            self.state.path(),
            self.engine,
            Way::Relay,
        )
        .await;
    }

    /// What a command of this cluster says when all is well.
    pub async fn ok(&self, args: &[&str]) -> String {
        let mut all = vec!["--namespace", "demo"];
        all.extend(args);
        program::ok(command(self.state.path()), &all).await
    }

    /// The result of a probe of that path, once its chain is as long as that. Spans may be later
    /// than a probe waits, on a busy machine.
    pub async fn until_probed(&self, path: &str, apps: usize) -> Value {
        let args = ["--namespace", "demo", "probe", path, "-o", "json"];
        let probed = async || {
            let output = command(self.state.path()).args(args).output().await.ok()?;
            let probed: Value = serde_json::from_slice(&output.stdout).ok()?;
            (probed["chain"].as_array()?.len() == apps).then_some(probed)
        };
        program::until("a probe whose chain is told", probed).await
    }

    /// What the pods with that container have printed last.
    pub fn printed(&self, container: &str) -> String {
        let folders = |dir: PathBuf| {
            std::fs::read_dir(dir)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path())
        };
        let runs =
            folders(self.state.path().join("pods")).flat_map(|pod| folders(pod.join(container)));
        let text: String = runs
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .collect();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    pub async fn stop(mut self) {
        self.load.abort();
        let pid =
            rustix::process::Pid::from_raw(self.serve.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(LIMIT, self.serve.wait())
            .await
            .expect("it ends")
            .unwrap();
    }
}

/// An engine as `install` sets it, as a pod.
async fn start_engine(client: &Client, name: &str, state: &Path, at: Engine, way: Way) {
    let state = state.display().to_string();
    let metrics = at.metrics.to_string();
    let mut args = vec![
        "--state",
        &state,
        "--namespace",
        "demo",
        "engine",
        "--no-install",
    ];
    args.extend(["--write-spans", "demo", "--listen", &metrics]);
    let receives = at.otlp.to_string();
    match way {
        Way::Otlp => args.extend(["--otlp-grpc", &receives]),
        Way::Collector => args.extend(["--otlp-http", &receives]),
        Way::Log | Way::Relay | Way::Zipkin | Way::Jaeger => {}
    }
    let container = json!({"name": "engine", "image": "engine:v1", "args": args});
    let pod = json!({"metadata": {"labels": install::engine_labels("demo")},
        "spec": {"hostNetwork": true, "containers": [container]}});
    apply::<Pod>(client, Some("demo"), name, pod).await;
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
        let mut labels = json!({"graylane.dev/app": format!("spring-cloud-{letter}"), "graylane.dev/environment": "prod"});
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
        let pod = tokio::time::timeout(LIMIT, runs)
            .await
            .expect("it runs")
            .unwrap()
            .unwrap();
        addresses.insert(name, pod.status.unwrap().pod_ip.unwrap().parse().unwrap());
    }
    addresses
}

pub async fn apply<K>(client: &Client, namespace: Option<&str>, name: &str, mut object: Value)
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
    api.patch(
        name,
        &PatchParams::apply("test").force(),
        &Patch::Apply(&object),
    )
    .await
    .unwrap();
}

/// Tagged and untagged requests in turn, each with a trace of its own.
async fn ask(url: String) {
    let client = reqwest::Client::new();
    for n in 0..MOST_REQUESTS {
        let tagged = if n % 3 < 2 {
            "?group=gray&token=secret"
        } else {
            ""
        };
        let trace = uuid::Uuid::new_v4().simple();
        let sent = client
            .get(format!("{url}{tagged}"))
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        let _ = sent.timeout(Duration::from_secs(5)).send().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
