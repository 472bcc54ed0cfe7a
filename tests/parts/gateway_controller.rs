//! The lane gateway on pocket's API: objects are written, traffic follows, statuses come back.

use std::{net::SocketAddr, time::Duration};

use super::gateway::rig::{Upstream, get};
use crate::ports::free;
use graylane::{
    api::{
        Lane, LaneGroup,
        gateway_api::{Gateway, GatewayClass, HttpRoute},
    },
    cluster::install,
    gateway,
};
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

struct Fixture {
    client: Client,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), gateway::GatewayError>>,
    _dir: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let client = graylane::embedded::open_api(dir.path()).unwrap().client();
    install::apply_definitions(&client).await.unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(gateway::run_gateway(
        client.clone(),
        "127.0.0.1".parse().unwrap(),
        |_| {},
        stop.clone(),
    ));
    let f = Fixture {
        client,
        stop,
        task,
        _dir: dir,
    };
    // The gateway brings Gateway API's kinds along.
    f.until("HTTPRoutes are served", async |f| {
        f.api::<HttpRoute>().list(&Default::default()).await.is_ok()
    })
    .await;
    let namespaces: Api<Namespace> = Api::all(f.client.clone());
    let demo = serde_json::from_value(json!({"metadata": {"name": "ns"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &demo)
        .await
        .unwrap();
    f
}

impl Fixture {
    fn api<K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>>(
        &self,
    ) -> Api<K> {
        Api::namespaced(self.client.clone(), "ns")
    }

    async fn create<K>(&self, object: Value)
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let typed: K = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &typed)
            .await
            .unwrap();
    }

    async fn until(&self, what: &str, fact: impl AsyncFn(&Self) -> bool) {
        let wait = async {
            while !fact(self).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// A Service with one pod, as the controllers would leave it.
    async fn service(&self, name: &str, upstream: &Upstream) -> SocketAddr {
        let address = free();
        let ports = json!([{"port": address.port()}]);
        let spec = json!({"clusterIP": "127.0.0.1", "ports": ports});
        self.create::<Service>(json!({"metadata": {"name": name}, "spec": spec}))
            .await;
        let labels = json!({"kubernetes.io/service-name": name});
        self.create::<EndpointSlice>(json!({
            "metadata": {"name": name, "labels": labels}, "addressType": "IPv4",
            "ports": [{"port": upstream.address().port()}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        }))
        .await;
        address
    }
}

async fn says(to: SocketAddr, path: &str) -> String {
    match tokio::net::TcpStream::connect(to).await {
        Ok(_) => get(to, path, "").await.body,
        Err(_) => String::new(),
    }
}

fn conditions(of: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]) -> Vec<String> {
    of.iter()
        .map(|c| format!("{}={}:{}", c.type_, c.status, c.reason))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_follows_the_objects_and_statuses_say_so() {
    let f = fixture().await;
    let (a, gray) = (Upstream::start("A").await, Upstream::start("Agray").await);
    let service = f.service("a", &a).await;
    let gray_service = f.service("a-gray", &gray).await;
    f.until("the Service answers", async |_| {
        says(service, "/").await.starts_with("A ")
    })
    .await;

    // An entry with a lane.
    let entry = free();
    let classes: Api<GatewayClass> = Api::all(f.client.clone());
    let class = json!({"metadata": {"name": "pocket"}, "spec": {"controllerName": "graylane.dev/lane-gateway"}});
    classes
        .create(
            &PostParams::default(),
            &serde_json::from_value(class).unwrap(),
        )
        .await
        .unwrap();
    let listener = json!({"name": "http", "port": entry.port(), "protocol": "HTTP"});
    f.create::<Gateway>(
        json!({"metadata": {"name": "edge"}, "spec": {"gatewayClassName": "pocket", "listeners": [listener]}}),
    )
    .await;
    f.create::<LaneGroup>(json!({"metadata": {"name": "demo"}, "spec": {
        "entry": {"gateway": "edge", "routes": [{"path": "/A", "app": "a"}]}, "apps": [{"app": "a", "port": service.port()}],
    }})).await;
    f.create::<Lane>(json!({"metadata": {"name": "gray"}, "spec": {"group": "demo", "tag": "gray", "enabled": true,
        "match": {"all": [{"type": "parameter", "key": "group", "op": "==", "values": ["gray"]}]}}}))
        .await;
    f.create::<HttpRoute>(json!({"metadata": {"name": "entry"}, "spec": {
        "parentRefs": [{"name": "edge"}],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/A"}}],
            "filters": [{"type": "ExtensionRef", "extensionRef": {"group": "graylane.dev", "kind": "LaneGroup", "name": "demo"}}],
            "backendRefs": [{"name": "a", "port": service.port()}]}],
    }})).await;
    f.create::<HttpRoute>(json!({"metadata": {"name": "a"}, "spec": {
        "parentRefs": [{"group": "", "kind": "Service", "name": "a"}],
        "rules": [
            {"matches": [{"headers": [{"name": "x-mse-tag", "value": "gray"}]}], "backendRefs": [{"name": "a-gray", "port": gray_service.port()}]},
            {"backendRefs": [{"name": "a", "port": service.port()}]},
        ],
    }})).await;
    f.until("the lane is open", async |_| {
        says(entry, "/A/x?group=gray").await.starts_with("Agray ")
    })
    .await;
    assert!(says(entry, "/A/x").await.starts_with("A "));

    // What is said of it.
    f.until("the routes are accepted", async |f| {
        let routes = f
            .api::<HttpRoute>()
            .list(&Default::default())
            .await
            .unwrap()
            .items;
        routes.iter().all(|r| {
            r.status.as_ref().is_some_and(|s| {
                s.parents.len() == 1
                    && s.parents[0].controller_name == "graylane.dev/lane-gateway"
                    && s.parents[0]
                        .conditions
                        .iter()
                        .all(|c| c.observed_generation == r.metadata.generation)
                    && conditions(&s.parents[0].conditions)
                        == ["Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs"]
            })
        })
    })
    .await;
    f.until("the Gateway is programmed", async |f| {
        let gateway = f.api::<Gateway>().get("edge").await.unwrap();
        gateway.status.is_some_and(|s| {
            conditions(&s.conditions) == ["Accepted=True:Accepted", "Programmed=True:Programmed"]
                && s.addresses[0].value.as_deref() == Some("127.0.0.1")
                && s.listeners[0].attached_routes == 1
        })
    })
    .await;

    // A lane that is disabled takes nothing; a missing backend is said.
    let off = json!({"spec": {"enabled": false}});
    f.api::<Lane>()
        .patch("gray", &PatchParams::default(), &Patch::Merge(&off))
        .await
        .unwrap();
    f.until("the lane is closed", async |_| {
        says(entry, "/A/x?group=gray").await.starts_with("A ")
    })
    .await;
    f.api::<Service>()
        .delete("a-gray", &DeleteParams::default())
        .await
        .unwrap();
    f.until("the route misses its backend", async |f| {
        let route = f.api::<HttpRoute>().get("a").await.unwrap();
        route.status.is_some_and(|s| {
            conditions(&s.parents[0].conditions)[1] == "ResolvedRefs=False:BackendNotFound"
        })
    })
    .await;

    f.stop.cancel();
    f.task.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(entry).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_stands_in_the_gateways_status_until_it_is_free() {
    let f = fixture().await;
    let taken = std::net::TcpListener::bind(free()).unwrap();
    let classes: Api<GatewayClass> = Api::all(f.client.clone());
    let class = json!({"metadata": {"name": "pocket"}, "spec": {"controllerName": "graylane.dev/lane-gateway"}});
    classes
        .create(
            &PostParams::default(),
            &serde_json::from_value(class).unwrap(),
        )
        .await
        .unwrap();
    let listener =
        json!({"name": "http", "port": taken.local_addr().unwrap().port(), "protocol": "HTTP"});
    f.create::<Gateway>(
        json!({"metadata": {"name": "edge"}, "spec": {"gatewayClassName": "pocket", "listeners": [listener]}}),
    )
    .await;
    let programmed = async |f: &Fixture| {
        let status = f
            .api::<Gateway>()
            .get("edge")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        let listener = status.listeners.first().cloned().unwrap_or_default();
        let found = listener
            .conditions
            .into_iter()
            .find(|c| c.type_ == "Programmed");
        found
            .map(|c| (c.status, c.reason, c.message))
            .unwrap_or_default()
    };
    f.until("the port is told", async |f| {
        let (status, reason, words) = programmed(f).await;
        status == "False"
            && reason == "PortUnavailable"
            && words.contains("cannot listen on 127.0.0.1:")
            && words.contains("taken by ")
    })
    .await;
    drop(taken);
    f.until("the port is taken", async |f| {
        programmed(f).await.0 == "True"
    })
    .await;
    f.stop.cancel();
    f.task.await.unwrap().unwrap();
}
