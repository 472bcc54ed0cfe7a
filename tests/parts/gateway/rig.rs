//! A gateway on loopback, made from objects written here, and upstreams that do as they are told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::ports::free;
use graylane::{
    api::{Entry, EntryRoute, Lane, LaneApp, LaneGroup, LaneGroupSpec, LaneMatch, LaneSpec},
    domain::{
        hop::Hop,
        lanes,
        routes::{LaneVersion, RouteInputs, entry_routes, plan_routes},
    },
    gateway::{Applied, Gateway, HopSink, Limits, Objects},
};
use serde_json::{Value, from_value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub async fn get(to: SocketAddr, path: &str, headers: &str) -> Answer {
    send(
        to,
        &format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"),
    )
    .await
}

pub async fn send(to: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    read_answer(&mut stream).await
}

/// The head of an answer, in small letters.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(
            stream
                .read_u8()
                .await
                .unwrap_or_else(|e| panic!("{e} after {:?}", String::from_utf8_lossy(&head))),
        );
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

/// Reads an answer with a content-length, a chunked one, or one that ends with the connection.
pub async fn read_answer(stream: &mut TcpStream) -> Answer {
    let head = read_head(stream).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "))
        .map(|n| n.trim().parse::<usize>().unwrap());
    let mut body = vec![0; length.unwrap_or(0)];
    match length {
        Some(_) => drop(stream.read_exact(&mut body).await.unwrap()),
        None => drop(stream.read_to_end(&mut body).await.unwrap()),
    }
    Answer {
        status,
        head,
        body: String::from_utf8(body).unwrap(),
    }
}

/// A server that tells its name and the request, and does what the path says.
pub struct Upstream {
    name: String,
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    open: AtomicUsize,
    paths: Mutex<Vec<String>>,
    release: Notify,
    changed: Notify,
}

impl Upstream {
    pub async fn start(name: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(State::default()));
        let (shared, told) = (state.clone(), name.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, SeqCst);
                shared.open.fetch_add(1, SeqCst);
                let (state, name) = (shared.clone(), told.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &name, &state).await;
                    state.open.fetch_sub(1, SeqCst);
                    state.changed.notify_waiters();
                });
            }
        });
        Self {
            name: name.into(),
            address,
            state,
        }
    }

    /// Somebody else at an address.
    pub fn at(name: &str, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            state: Arc::default(),
        }
    }

    /// An address where nobody listens.
    pub async fn refusing(name: &str) -> Self {
        Self::at(name, free())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.state.paths.lock().unwrap().len()
    }

    /// Lets `/wait` go on.
    pub fn release(&self) {
        self.state.release.notify_waiters();
    }

    /// A request for that path has come.
    pub async fn seen(&self, path: &str) {
        self.until(|| self.state.paths.lock().unwrap().iter().any(|p| p == path))
            .await;
    }

    /// No connection is open.
    pub async fn closed(&self) {
        self.until(|| self.state.open.load(SeqCst) == 0).await;
    }

    async fn until(&self, fact: impl Fn() -> bool) {
        let wait = async {
            while !fact() {
                let changed = self.state.changed.notified();
                let _ = tokio::time::timeout(Duration::from_millis(20), changed).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), wait)
            .await
            .expect("the fact");
    }
}

async fn serve(mut stream: TcpStream, name: &str, state: &State) -> std::io::Result<()> {
    loop {
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head)
            .replace("\r\n", "\n")
            .to_lowercase();
        let mut words = head.split(' ');
        let (method, path) = (
            words.next().unwrap().to_uppercase(),
            words.next().unwrap().to_owned(),
        );
        state.paths.lock().unwrap().push(path.clone());
        state.changed.notify_waiters();
        match path.as_str() {
            "/wait" => state.release.notified().await,
            "/never" | "/never/x" => std::future::pending().await,
            "/drop" => return Ok(()),
            "/upgrade" => {
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(answer).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await?;
                return Ok(());
            }
            "/echo" => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                    .await?;
                // Chunks in are chunks out.
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await?;
                return Ok(());
            }
            _ => {}
        }
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "))
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        let mut sent = vec![0; length];
        stream.read_exact(&mut sent).await?;
        if head.contains("transfer-encoding: chunked") {
            let mut end = vec![];
            while !end.ends_with(b"0\r\n\r\n") {
                end.push(stream.read_u8().await?);
            }
        }
        let body = format!(
            "{name} {method} {path} {head}\n{}",
            String::from_utf8_lossy(&sent)
        );
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        if path == "/last" {
            return Ok(());
        }
    }
}

pub struct Rig {
    pub gateway: Gateway,
    objects: Objects,
    hops: Arc<Mutex<Vec<Hop>>>,
}

impl Rig {
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Self {
        let hops: Arc<Mutex<Vec<Hop>>> = Arc::default();
        let into = hops.clone();
        let sink = HopSink::new(move |hop| into.lock().unwrap().push(hop.clone()));
        let gateway = Gateway::new("127.0.0.1".parse().unwrap(), limits, sink);
        Self {
            gateway,
            objects: Objects::default(),
            hops,
        }
    }

    pub fn apply(&mut self) -> Applied {
        self.gateway.apply(&self.objects)
    }

    /// The first `n` hops, when they have come.
    pub async fn hops(&self, n: usize) -> Vec<Hop> {
        for _ in 0..6000 {
            let hops = self.hops.lock().unwrap().clone();
            if hops.len() >= n {
                return hops;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("only {:?}", self.hops.lock().unwrap());
    }

    /// Keeps none of the hops that have come.
    pub fn forget_hops(&self) {
        self.hops.lock().unwrap().clear();
    }

    /// A Service of these pods with their tags, on an address of its own.
    pub fn service(&mut self, name: &str, pods: &[(&Upstream, Option<&str>)]) -> SocketAddr {
        let address = free();
        self.service_at(name, pods, address);
        address
    }

    /// The same with a named port.
    pub fn service_of(
        &mut self,
        name: &str,
        port: &str,
        pods: &[(&Upstream, Option<&str>)],
    ) -> SocketAddr {
        let address = self.service(name, pods);
        let service = Arc::make_mut(self.objects.services.last_mut().unwrap());
        service.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].name = Some(port.into());
        for slice in self.objects.slices.iter_mut().rev().take(pods.len()) {
            Arc::make_mut(slice).ports.as_mut().unwrap()[0].name = Some(port.into());
        }
        address
    }

    pub fn hops_so_far(&self) -> Arc<Mutex<Vec<Hop>>> {
        self.hops.clone()
    }

    /// What `lanes` made.
    pub fn lane_objects(&self) -> (LaneGroup, Lane) {
        (
            (*self.objects.groups[0]).clone(),
            (*self.objects.lanes[0]).clone(),
        )
    }

    pub fn has_hops(&self) -> bool {
        !self.hops.lock().unwrap().is_empty()
    }

    pub fn service_at(
        &mut self,
        name: &str,
        pods: &[(&Upstream, Option<&str>)],
        address: SocketAddr,
    ) {
        let spec =
            json!({"clusterIP": address.ip().to_string(), "ports": [{"port": address.port()}]});
        self.objects.services.push(object(
            json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec}),
        ));
        self.replace(name, pods);
    }

    /// Other pods behind a Service. Each gets a slice of its own, as they listen on ports of their own.
    pub fn replace(&mut self, name: &str, pods: &[(&Upstream, Option<&str>)]) {
        let of = |s: &k8s_openapi::api::discovery::v1::EndpointSlice| {
            s.metadata.labels.as_ref().is_some_and(|l| {
                l.get("kubernetes.io/service-name")
                    .is_some_and(|n| n == name)
            })
        };
        self.objects.slices.retain(|s| !of(s));
        for (pod, tag) in pods {
            let meta = json!({"name": pod.name, "namespace": "ns", "labels": {"kubernetes.io/service-name": name}});
            self.objects.slices.push(object(json!({
                "metadata": meta, "addressType": "IPv4",
                "ports": [{"port": pod.address().port()}],
                "endpoints": [{"addresses": [pod.address.ip().to_string()], "conditions": {"ready": true},
                    "targetRef": {"kind": "Pod", "name": pod.name}}],
            })));
            let app = name.trim_end_matches("-gray");
            let mut labels = json!({"graylane.dev/app": app});
            if let Some(tag) = tag {
                labels["alicloud.service.tag"] = json!(tag);
            }
            self.objects.pods.push(object(
                json!({"metadata": {"name": pod.name, "namespace": "ns", "labels": labels}}),
            ));
        }
    }

    /// Sets an annotation of a Service.
    pub fn annotate(&mut self, name: &str, key: &str, value: &str) {
        let of = |s: &&mut Arc<k8s_openapi::api::core::v1::Service>| {
            s.metadata.name.as_deref() == Some(name)
        };
        let service = Arc::make_mut(self.objects.services.iter_mut().find(of).unwrap());
        service
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(key.into(), value.into());
    }

    /// As if a Service had not been seen.
    pub fn forget(&mut self, name: &str) {
        self.objects
            .services
            .retain(|s| s.metadata.name.as_deref() != Some(name));
    }

    /// From now on the lane holds rather than falls back.
    pub fn hold(&mut self) {
        Arc::make_mut(&mut self.objects.lanes[0]).spec.on_loss = graylane::api::OnLoss::Hold;
    }

    pub fn route(&mut self, spec: Value) {
        let n = self.objects.routes.len();
        let meta = json!({"name": format!("route-{n}"), "namespace": "ns"});
        self.objects
            .routes
            .push(object(json!({"metadata": meta, "spec": spec})));
    }

    /// Nothing but this group and its lanes, at this entry.
    pub fn entry_of(&mut self, entry: SocketAddr, group: &LaneGroup, lanes: &[Lane]) {
        let objects = &mut self.objects;
        objects.classes = vec![object(json!({
            "metadata": {"name": "pocket"}, "spec": {"controllerName": "graylane.dev/lane-gateway"},
        }))];
        let listener = json!({"name": "http", "port": entry.port(), "protocol": "HTTP"});
        objects.gateways = vec![object(json!({
            "metadata": {"name": "edge", "namespace": "ns"},
            "spec": {"gatewayClassName": "pocket", "listeners": [listener], "addresses": [{"value": entry.ip()}]},
        }))];
        objects.routes = entry_routes(group, lanes, &|_, _| false)
            .into_iter()
            .map(Arc::new)
            .collect();
        objects.groups = vec![Arc::new(group.clone())];
        objects.lanes = lanes.iter().cloned().map(Arc::new).collect();
    }

    /// The group `demo` with a lane `gray`, entry `/A` to the first app, and the routes that the engine would
    /// write while `gray` is ready for these apps. Answers the entry's address.
    pub fn lanes(&mut self, apps: &[&str], gray: &[(&str, &str)], condition: &str) -> SocketAddr {
        let entry = free();
        let listener = json!({"name": "http", "port": entry.port(), "protocol": "HTTP"});
        self.objects.classes.push(object(json!({
            "metadata": {"name": "pocket"}, "spec": {"controllerName": "graylane.dev/lane-gateway"},
        })));
        self.objects.gateways.push(object(json!({
            "metadata": {"name": "edge", "namespace": "ns"},
            "spec": {"gatewayClassName": "pocket", "listeners": [listener]},
        })));
        let port = |app: &str| {
            let found = self
                .objects
                .services
                .iter()
                .find(|s| s.metadata.name.as_deref() == Some(app))
                .unwrap();
            u16::try_from(found.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].port).unwrap()
        };
        let routes = vec![EntryRoute {
            path: "/A".into(),
            app: apps[0].into(),
            rewrite: Some("/".into()),
        }];
        let spec = LaneGroupSpec {
            entry: Entry {
                gateway: "edge".into(),
                host: None,
                routes,
            },
            apps: apps
                .iter()
                .map(|a| LaneApp {
                    app: (*a).into(),
                    service: None,
                    port: port(a),
                })
                .collect(),
            ..LaneGroupSpec::default()
        };
        let mut group = LaneGroup::new("demo", spec);
        group.metadata.namespace = Some("ns".into());
        let rule = LaneMatch {
            all: vec![lanes::text::parse_condition(condition).unwrap()],
            ..LaneMatch::default()
        };
        let spec = LaneSpec {
            group: "demo".into(),
            tag: "gray".into(),
            enabled: true,
            rule,
            ..LaneSpec::default()
        };
        let mut lane = Lane::new("gray", spec);
        lane.metadata.namespace = Some("ns".into());
        let up = LaneVersion {
            expected: true,
            service: true,
            ready: 1,
        };
        let version = |app: &str, tag: &str| {
            if gray.contains(&(app, tag)) {
                up
            } else {
                LaneVersion::default()
            }
        };
        let mut planned = plan_routes(&RouteInputs {
            group: &group,
            lanes: std::slice::from_ref(&lane),
            version: &version,
            open: &|_, _| Ok(()),
        });
        // Gray Services listen on ports of their own here, which no real ones do.
        for route in &mut planned.routes {
            for backend in route
                .spec
                .rules
                .iter_mut()
                .flat_map(|r| &mut r.backend_refs)
            {
                backend.port = Some(port(&backend.name));
            }
        }
        self.objects
            .routes
            .extend(planned.routes.into_iter().map(Arc::new));
        self.objects.groups.push(Arc::new(group));
        self.objects.lanes.push(Arc::new(lane));
        entry
    }
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(from_value(value).unwrap())
}
