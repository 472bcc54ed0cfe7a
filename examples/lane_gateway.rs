//! The lane gateway's data plane alone, from a static table: no Kubernetes, for measuring.
//!
//! `lane_gateway LISTEN SERVICE BASE GRAY [RULES]`: at the entry LISTEN, requests with `group=gray` go to GRAY with
//! the lane tag set, others to BASE. At SERVICE, the address of the app for other services, those with the tag go to
//! GRAY. RULES further rules stand at the entry, each for a path of its own (`/rule-N`). `benches/gateway.sh`
//! compares its CPU time with nginx's on the same rules.

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
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, service, base, gray, rules @ ..] = args.as_slice() else {
        return Err(
            "usage: lane_gateway LISTEN SERVICE BASE GRAY [RULES], addresses with their ports"
                .into(),
        );
    };
    let (listen, service): (SocketAddr, SocketAddr) = (listen.parse()?, service.parse()?);
    let objects = build_objects(
        listen,
        service,
        [base.parse()?, gray.parse()?],
        rules.first().map_or(Ok(0), |n| n.parse())?,
    )?;
    let mut gateway = Gateway::new(listen.ip(), Limits::default(), HopSink::new(|_| ()));
    if let Some(why) = gateway.apply(&objects).failed.into_values().next() {
        return Err(why.into());
    }
    tokio::signal::ctrl_c().await?;
    gateway.drain().await;
    Ok(())
}

fn build_objects(
    listen: SocketAddr,
    service: SocketAddr,
    [base, gray]: [SocketAddr; 2],
    rules: usize,
) -> Result<Objects, Failure> {
    let mut objects = Objects::default();
    let port = service.port();
    for (name, to, tag) in [("app", base, None), ("app-gray", gray, Some("gray"))] {
        let mut spec = json!({"ports": [{"port": port}]});
        if tag.is_none() {
            spec["clusterIP"] = json!(service.ip());
        }
        objects
            .services
            .push(object(json!({"metadata": meta(name), "spec": spec}))?);
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
    let spec = json!({"entry": entry, "apps": [{"app": "app", "port": port}]});
    objects.groups.push(object(
        json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "LaneGroup", "metadata": meta("g"), "spec": spec}),
    )?);
    let condition = json!({"type": "parameter", "key": "group", "op": "==", "values": ["gray"]});
    let spec = json!({"group": "g", "tag": "gray", "enabled": true, "match": {"all": [condition]}});
    objects.lanes.push(object(
        json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Lane", "metadata": meta("gray"), "spec": spec}),
    )?);
    let to = |name: &str| json!([{"name": name, "port": port}]);
    let colour = json!({"type": "ExtensionRef", "extensionRef": {"group": "graylane.dev", "kind": "LaneGroup", "name": "g"}});
    let others = (0..rules).map(|n| json!({"matches": [{"path": {"type": "PathPrefix", "value": format!("/rule-{n}")}}], "backendRefs": to("app")}));
    let entry: Vec<Value> = others
        .chain([json!({"filters": [colour], "backendRefs": to("app")})])
        .collect();
    for (name, spec) in [
        (
            "entry",
            json!({"parentRefs": [{"name": "edge"}], "rules": entry}),
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
    Ok(objects)
}

fn meta(name: &str) -> Value {
    json!({"name": name, "namespace": "ns"})
}

fn object<T: DeserializeOwned>(value: Value) -> Result<Arc<T>, serde_json::Error> {
    from_value(value).map(Arc::new)
}
