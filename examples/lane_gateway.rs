//! The lane gateway's data plane alone, from a static table: no Kubernetes, for measuring.
//!
//! `lane_gateway LISTEN BASE GRAY`: requests with `group=gray` go to GRAY with the lane tag set, others to
//! BASE. `benches/gateway.sh` compares its CPU time with nginx's on the same rule.

use std::{net::SocketAddr, sync::Arc};

use graylane::gateway::{Gateway, HopSink, Limits, Objects};
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // One core, as its rival gets one worker.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<SocketAddr>());
    let (Some(listen), Some(base), Some(gray)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: lane_gateway LISTEN BASE GRAY, each an address with its port".into());
    };
    let (listen, base, gray) = (listen?, base?, gray?);
    let mut objects = Objects::default();
    for (name, to, tag) in [("app", base, None), ("app-gray", gray, Some("gray"))] {
        objects.services.push(object(
            json!({"metadata": meta(name), "spec": {"ports": [{"port": 80}]}}),
        )?);
        let mut slice = meta(name);
        slice["labels"] = json!({"kubernetes.io/service-name": name});
        objects.slices.push(object(json!({
            "metadata": slice, "addressType": "IPv4", "ports": [{"port": to.port()}],
            "endpoints": [{"addresses": [to.ip()], "targetRef": {"kind": "Pod", "name": name}}],
        }))?);
        let mut pod = meta(name);
        pod["labels"] =
            json!({"graylane.dev/app": "app", "alicloud.service.tag": tag.unwrap_or_default()});
        objects.pods.push(object(json!({ "metadata": pod }))?);
    }
    let class = json!({"metadata": {"name": "pocket"}, "spec": {"controllerName": "graylane.dev/lane-gateway"}});
    objects.classes.push(object(class)?);
    let listener = json!({"name": "http", "port": listen.port(), "protocol": "HTTP"});
    let spec = json!({"gatewayClassName": "pocket", "listeners": [listener], "addresses": [{"value": listen.ip()}]});
    objects
        .gateways
        .push(object(json!({"metadata": meta("edge"), "spec": spec}))?);
    let entry = json!({"gateway": "edge", "routes": [{"path": "/", "app": "app"}]});
    let spec = json!({"entry": entry, "apps": [{"app": "app", "port": 80}]});
    objects.groups.push(object(
        json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "LaneGroup", "metadata": meta("g"), "spec": spec}),
    )?);
    let condition = json!({"type": "parameter", "key": "group", "op": "==", "values": ["gray"]});
    let spec = json!({"group": "g", "tag": "gray", "enabled": true, "match": {"all": [condition]}});
    objects.lanes.push(object(
        json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Lane", "metadata": meta("gray"), "spec": spec}),
    )?);
    let to = |name: &str| json!([{"name": name, "port": 80}]);
    let colour = json!({"type": "ExtensionRef", "extensionRef": {"group": "graylane.dev", "kind": "LaneGroup", "name": "g"}});
    for (name, spec) in [
        (
            "entry",
            json!({"parentRefs": [{"name": "edge"}], "rules": [{"filters": [colour], "backendRefs": to("app")}]}),
        ),
        (
            "app",
            json!({"parentRefs": [{"group": "", "kind": "Service", "name": "app"}], "rules": [
                {"matches": [{"headers": [{"name": "x-mse-tag", "value": "gray"}]}], "backendRefs": to("app-gray")},
                {"backendRefs": to("app")},
            ]}),
        ),
    ] {
        objects.routes.push(object(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta(name), "spec": spec}))?);
    }
    let mut gateway = Gateway::new(listen.ip(), Limits::default(), HopSink::new(|_| ()));
    if let Some(why) = gateway.apply(&objects).failed.into_values().next() {
        return Err(why.into());
    }
    tokio::signal::ctrl_c().await?;
    gateway.drain().await;
    Ok(())
}

fn meta(name: &str) -> Value {
    json!({"name": name, "namespace": "ns"})
}

fn object<T: DeserializeOwned>(value: Value) -> Result<Arc<T>, serde_json::Error> {
    from_value(value).map(Arc::new)
}
